#include "gpu/cuda/runner.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "gpu/operands.h"

namespace pare::gpu::cuda {

Result<std::unique_ptr<Runner>> Runner::create(
    Program program, const Launch& launch, const std::function<std::byte*(int64_t)>& address_of) {
  std::unique_ptr<Runner> runner(new Runner(std::move(program), launch));
  PARE_RETURN_IF_ERROR(runner->allocate());
  runner->resolve(address_of);
  // Once outside a graph: kernels are loaded, and what fails is named by its step.
  PARE_RETURN_IF_ERROR(runner->launch_all());
  PARE_CUDA(cudaStreamSynchronize(launch.stream));
  PARE_ASSIGN_OR_RETURN(runner->with_copies_, runner->capture(true));
  PARE_ASSIGN_OR_RETURN(runner->alone_, runner->capture(false));
  return runner;
}

Runner::~Runner() {
  cudaStreamSynchronize(launch_.stream);
  if (with_copies_ != nullptr) cudaGraphExecDestroy(with_copies_);
  if (alone_ != nullptr) cudaGraphExecDestroy(alone_);
}

Status Runner::allocate() {
  const auto input = static_cast<size_t>(program_.input_bytes);
  const auto output = static_cast<size_t>(program_.output_bytes);
  PARE_ASSIGN_OR_RETURN(input_, Memory::create(input));
  PARE_ASSIGN_OR_RETURN(output_, Memory::create(output));
  PARE_ASSIGN_OR_RETURN(arena_, Memory::create(static_cast<size_t>(program_.arena_bytes)));
  PARE_ASSIGN_OR_RETURN(host_input_, Memory::create(input, MemoryKind::kPinned));
  PARE_ASSIGN_OR_RETURN(host_output_, Memory::create(output, MemoryKind::kPinned));
  if (input > 0) PARE_CUDA(cudaMemsetAsync(input_.data(), 0, input, launch_.stream));
  return ok_status();
}

void Runner::resolve(const std::function<std::byte*(int64_t)>& address_of) {
  const auto resolve_one = [&](Operand& operand) {
    std::byte* base = nullptr;
    switch (operand.space) {
      case Space::kNone:
        return;
      case Space::kInput:
        base = input_.data();
        break;
      case Space::kOutput:
        base = output_.data();
        break;
      case Space::kArena:
        base = arena_.data();
        break;
      case Space::kWeights:
        operand.offset = reinterpret_cast<int64_t>(address_of(operand.offset));
        return;
    }
    operand.offset += reinterpret_cast<int64_t>(base);
  };
  each_kind(program_, [&](auto& ops) {
    for (auto& op : ops) each_operand(op, resolve_one);
  });
}

Status Runner::launch_step(size_t index, bool first) {
  const Step& step = program_.steps[index];
  const auto i = static_cast<size_t>(step.index);
  Launch how = launch_;
  how.overlap = !first;
  cudaError_t error = cudaSuccess;
  switch (step.kind) {
    case OpKind::kInput:
      error = launch(program_.inputs[i], how);
      break;
    case OpKind::kProduct:
      error = launch(program_.products[i], how);
      break;
    case OpKind::kRows:
      error = launch(program_.rows[i], how);
      break;
    case OpKind::kAttention:
      error = launch(program_.attentions[i], how);
      break;
    case OpKind::kPool:
      error = launch(program_.pools[i], how);
      break;
    case OpKind::kChain:
      error = launch(program_.chains[i], how);
      break;
    case OpKind::kReduce:
      error = launch(program_.reduces[i], how);
      break;
    case OpKind::kEncoder:
      error = launch(program_.encoders[i], how);
      break;
  }
  const StepInfo& info = program_.infos[index];
  return status_of(error, "cudaLaunchKernelEx")
      .with_context("node '" + info.name + "' (" + info.operation + ")");
}

Status Runner::launch_all() {
  size_t workspace = 0;
  for (const ProductOp& op : program_.products) {
    workspace = std::max(workspace, cuda::workspace_bytes(op, launch_));
  }
  if (workspace > workspace_.bytes()) {
    PARE_ASSIGN_OR_RETURN(workspace_, Memory::create(workspace));
    PARE_CUDA(cudaMemsetAsync(workspace_.data(), 0, workspace, launch_.stream));
    launch_.workspace = workspace_.data();
  }
  for (size_t i = 0; i < program_.steps.size(); ++i) {
    PARE_RETURN_IF_ERROR(launch_step(i, i == 0));
  }
  return ok_status();
}

Result<cudaGraphExec_t> Runner::capture(bool with_copies) {
  const cudaStream_t stream = launch_.stream;
  PARE_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  const auto record = [&]() -> Status {
    if (with_copies) {
      PARE_CUDA(cudaMemcpyAsync(input_.data(), host_input_.data(), input_.bytes(),
                                cudaMemcpyHostToDevice, stream));
    }
    PARE_RETURN_IF_ERROR(launch_all());
    if (with_copies) {
      PARE_CUDA(cudaMemcpyAsync(host_output_.data(), output_.data(), output_.bytes(),
                                cudaMemcpyDeviceToHost, stream));
    }
    return ok_status();
  };
  const Status recorded = record();
  cudaGraph_t graph = nullptr;
  const Status ended = status_of(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  cudaGraphExec_t exec = nullptr;
  Status status = recorded.ok() ? ended : recorded;
  if (status.ok())
    status = status_of(cudaGraphInstantiate(&exec, graph, 0), "cudaGraphInstantiate");
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (status.ok()) status = status_of(cudaGraphUpload(exec, stream), "cudaGraphUpload");
  if (!status.ok()) return status;
  return exec;
}

Status Runner::run(std::span<const uint8_t> pixels, std::span<float> scores) {
  std::memcpy(host_input_.data(), pixels.data(), pixels.size());
  PARE_CUDA(cudaGraphLaunch(with_copies_, launch_.stream));
  PARE_CUDA(cudaStreamSynchronize(launch_.stream));
  std::memcpy(scores.data(), host_output_.data(), scores.size_bytes());
  return ok_status();
}

namespace {

// Events that destroy themselves.
class Events {
 public:
  ~Events() {
    for (cudaEvent_t event : events_) cudaEventDestroy(event);
  }
  Status record(cudaStream_t stream) {
    cudaEvent_t event = nullptr;
    PARE_CUDA(cudaEventCreate(&event));
    events_.push_back(event);
    PARE_CUDA(cudaEventRecord(event, stream));
    return ok_status();
  }
  // Between events i and i + 1.
  Result<double> microseconds(size_t i) const {
    float ms = 0.0F;
    PARE_CUDA(cudaEventElapsedTime(&ms, events_[i], events_[i + 1]));
    return static_cast<double>(ms) * 1000.0;
  }

 private:
  std::vector<cudaEvent_t> events_;
};

}  // namespace

Result<std::vector<double>> Runner::times_us(int runs) {
  Events events;
  for (int i = 0; i < runs; ++i) {
    PARE_RETURN_IF_ERROR(events.record(launch_.stream));
    PARE_CUDA(cudaGraphLaunch(alone_, launch_.stream));
    PARE_RETURN_IF_ERROR(events.record(launch_.stream));
  }
  PARE_CUDA(cudaStreamSynchronize(launch_.stream));
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) {
    PARE_ASSIGN_OR_RETURN(const double t, events.microseconds(static_cast<size_t>(i) * 2));
    times.push_back(t);
  }
  return times;
}

Result<std::vector<double>> Runner::step_times_us(int runs) {
  std::vector<double> sums(program_.steps.size(), 0.0);
  for (int run = 0; run < runs; ++run) {
    Events events;
    PARE_RETURN_IF_ERROR(events.record(launch_.stream));
    for (size_t i = 0; i < program_.steps.size(); ++i) {
      PARE_RETURN_IF_ERROR(launch_step(i, true));
      PARE_RETURN_IF_ERROR(events.record(launch_.stream));
    }
    PARE_CUDA(cudaStreamSynchronize(launch_.stream));
    for (size_t i = 0; i < sums.size(); ++i) {
      PARE_ASSIGN_OR_RETURN(const double t, events.microseconds(i));
      sums[i] += t / runs;
    }
  }
  return sums;
}

std::vector<LayerPlan> Runner::layers() const {
  std::vector<LayerPlan> layers;
  for (size_t i = 0; i < program_.steps.size(); ++i) {
    const Step& step = program_.steps[i];
    const StepInfo& info = program_.infos[i];
    static constexpr const char* kNames[] = {"input", "product", "rows",   "attention",
                                             "pool",  "chain",   "reduce", "encoder"};
    KernelChoice kernel{.name = kNames[static_cast<size_t>(step.kind)]};
    const auto index = static_cast<size_t>(step.index);
    if (step.kind == OpKind::kProduct) kernel = choice(program_.products[index], launch_);
    if (step.kind == OpKind::kAttention) kernel = choice(program_.attentions[index], launch_);
    layers.push_back({.name = info.name,
                      .operation = info.operation,
                      .kernel = kernel.name,
                      .reason = kernel.reason,
                      .macs = info.macs,
                      .weight_bytes = info.weight_bytes,
                      .weight_density = info.weight_density});
  }
  return layers;
}

}  // namespace pare::gpu::cuda

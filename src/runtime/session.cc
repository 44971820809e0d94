#include "pare/session.h"

#include <fmt/format.h>

#include <map>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "graph/model_file.h"
#include "runtime/batch_runner.h"
#include "runtime/device_session.h"
#include "runtime/input_adapter.h"
#include "runtime/planner.h"
#include "runtime/session_internal.h"
#include "runtime/slices.h"

namespace pare {
namespace {

// A classifier: one image input, one row of scores for each image.
Status check_classifier(const Graph& graph, const ValueInfos& infos) {
  if (graph.inputs.size() != 1 || graph.outputs.empty()) {
    return unsupported(fmt::format("a classifier has one input and an output, found {} and {}",
                                   graph.inputs.size(), graph.outputs.size()));
  }
  const Shape& shape = infos.at(graph.outputs[0].name).shape;
  const DType type = infos.at(graph.outputs[0].name).type;
  if (shape.size() != 2 || type != DType::kFloat32) {
    return unsupported(fmt::format("output '{}' must be float32 of Nxclasses, found {} of {}",
                                   graph.outputs[0].name, dtype_name(type), shape_string(shape)));
  }
  return ok_status();
}

Status check_batch(int64_t batch) {
  if (batch >= 1 && batch <= kMaxBatch) return ok_status();
  return invalid_argument(fmt::format("a batch of {} images: expected 1 to {}", batch, kMaxBatch));
}

}  // namespace

class Session::Impl {
 public:
  static Result<std::unique_ptr<Impl>> create(const Graph& graph, const SessionOptions& options);

  Status run(std::span<const uint8_t> pixels, int64_t count, std::span<float> scores);
  Result<BatchRunner*> runner(int64_t batch);
  const ModelInfo& info() const { return info_; }
  MemoryUse memory(const BatchRunner& runner) const {
    MemoryUse use = runner.memory();
    use.weights_bytes += weights_.byte_count();
    return use;
  }
  StepTimes& times() { return times_; }
  // Null on the processor.
  DeviceSession* device() const { return device_.get(); }

 private:
  Impl(Graph graph, int threads) : graph_(std::move(graph)), pool_(threads) {}
  void describe_model();
  Result<std::shared_ptr<const Plan>> plan(const Graph& graph, int64_t batch, int threads,
                                           bool input_follows_relu = false);
  void release(const std::string& name);

  Graph graph_;
  std::optional<SplitGraph> split_;  // where the images of a large batch can be run in slices
  ThreadPool pool_;
  PlanOptions plan_options_;
  WeightStore weights_;
  std::map<int64_t, std::unique_ptr<BatchRunner>> runners_;
  InputAdapter adapter_;
  ModelInfo info_;
  StepTimes times_;
  std::unique_ptr<DeviceSession> device_;
};

Result<std::unique_ptr<Session::Impl>> Session::Impl::create(const Graph& graph,
                                                             const SessionOptions& options) {
  if (options.threads < 0 || options.threads > kMaxThreads) {
    return invalid_argument(
        fmt::format("{} threads: expected 0 (all cores) to {}", options.threads, kMaxThreads));
  }
  PARE_RETURN_IF_ERROR(check_graph(graph));
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph, 1));
  PARE_RETURN_IF_ERROR(check_classifier(graph, infos));
  PARE_ASSIGN_OR_RETURN(Graph prepared, prepare_graph(graph));
  const int threads = options.threads == 0 ? available_cores() : options.threads;
  auto impl = std::unique_ptr<Impl>(new Impl(std::move(prepared), threads));
  impl->plan_options_.threads = threads;
  PARE_ASSIGN_OR_RETURN(impl->adapter_,
                        InputAdapter::create(graph, infos.at(graph.inputs[0].name)));
  if (options.device == "cpu") {
    impl->split_ = split_for_slices(impl->graph_);
    PARE_ASSIGN_OR_RETURN(impl->plan_options_.storage, storage_type(options.precision));
    PARE_ASSIGN_OR_RETURN(impl->plan_options_.kernels,
                          kernel_request(options.cpu_level, options.reference_kernels));
    const bool own_choice = options.cpu_level.empty() && !options.reference_kernels;
    if (own_choice) impl->plan_options_.tuning = stored_tuning(graph);
  } else {
    DeviceRequest request{.graph = impl->graph_,
                          .adapter = impl->adapter_,
                          .class_count = infos.at(graph.outputs[0].name).shape[1],
                          .precision = options.precision};
    PARE_ASSIGN_OR_RETURN(impl->device_, open_device(options.device, std::move(request)));
  }
  impl->info_.class_count = infos.at(graph.outputs[0].name).shape[1];
  impl->info_.name = graph.name;
  impl->info_.parameters = graph.parameter_count();
  impl->describe_model();
  return impl;
}

void Session::Impl::describe_model() {
  info_.channels = adapter_.channels();
  info_.height = adapter_.height();
  info_.width = adapter_.width();
  info_.classes = graph_.contract.classes;
}

Result<std::shared_ptr<const Plan>> Session::Impl::plan(const Graph& graph, int64_t batch,
                                                        int threads, bool input_follows_relu) {
  PlanOptions options = plan_options_;
  options.batch = batch;
  options.threads = threads;
  options.input_follows_relu = input_follows_relu;
  PARE_ASSIGN_OR_RETURN(PlannedGraph planned, make_plan(graph, options, weights_));
  for (const std::string& name : planned.releasable) release(name);
  return std::move(planned.plan);
}

// The packed copy serves every batch size; the graph's own, which its parts share, is no longer
// needed.
void Session::Impl::release(const std::string& name) {
  const auto release_in = [&name](Graph& graph) {
    const auto it = graph.initializers.find(name);
    if (it == graph.initializers.end()) return;
    it->second = Tensor::from_external(it->second.type(), it->second.shape(), nullptr);
  };
  if (split_ && split_->images.find_initializer(name) != nullptr &&
      split_->head.find_initializer(name) != nullptr) {
    return;  // one part has packed it, the other may read it as it is
  }
  release_in(graph_);
  if (!split_) return;
  release_in(split_->images);
  release_in(split_->head);
}

Result<BatchRunner*> Session::Impl::runner(int64_t batch) {
  if (auto it = runners_.find(batch); it != runners_.end()) return it->second.get();
  PARE_RETURN_IF_ERROR(check_batch(batch));
  const int64_t slice = split_ ? slice_size(batch) : 0;
  BatchPlans plans;
  if (slice == 0) {
    PARE_ASSIGN_OR_RETURN(plans.all, plan(graph_, batch, plan_options_.threads));
  } else {
    PARE_ASSIGN_OR_RETURN(plans.slice, plan(split_->images, slice, 1));
    if (batch % slice != 0) {
      PARE_ASSIGN_OR_RETURN(plans.remainder, plan(split_->images, batch % slice, 1));
    }
    PARE_ASSIGN_OR_RETURN(
        plans.all, plan(split_->head, batch, plan_options_.threads, split_->head_follows_relu));
  }
  PARE_ASSIGN_OR_RETURN(auto runner, BatchRunner::create(std::move(plans), plan_options_.threads));
  return runners_.emplace(batch, std::move(runner)).first->second.get();
}

Status Session::Impl::run(std::span<const uint8_t> pixels, int64_t count, std::span<float> scores) {
  PARE_RETURN_IF_ERROR(check_batch(count));
  const int64_t image = info_.channels * info_.height * info_.width;
  if (static_cast<int64_t>(pixels.size()) != count * image ||
      static_cast<int64_t>(scores.size()) != count * info_.class_count) {
    return invalid_argument(fmt::format(
        "{} images of {}x{}x{} and {} classes need {} bytes and {} scores, found {} and {}", count,
        info_.channels, info_.height, info_.width, info_.class_count, count * image,
        count * info_.class_count, pixels.size(), scores.size()));
  }
  if (device_ != nullptr) return device_->run(pixels, count, scores);
  PARE_ASSIGN_OR_RETURN(BatchRunner * runner, this->runner(count));
  std::vector<double>* times = times_.enabled ? &times_.microseconds[count] : nullptr;
  PARE_RETURN_IF_ERROR(runner->run(adapter_, pixels, scores, pool_, times));
  if (times != nullptr) ++times_.runs[count];
  return ok_status();
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

namespace {

// The library throws nothing: what a file's own sizes ask for may be more than there is.
template <typename F>
auto without_throwing(F&& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return out_of_memory("no memory left for the model");
  }
}

}  // namespace

Result<Session> Session::from_graph(const Graph& graph, const SessionOptions& options) {
  return without_throwing([&]() -> Result<Session> {
    PARE_ASSIGN_OR_RETURN(auto impl, Impl::create(graph, options));
    return Session(std::move(impl));
  });
}

Result<Session> Session::load(const std::string& path, const SessionOptions& options) {
  return without_throwing([&]() -> Result<Session> {
    PARE_ASSIGN_OR_RETURN(const Graph graph, load_model(path));
    auto session = from_graph(graph, options);
    if (!session.ok()) return session.status().with_context(path);
    return session;
  });
}

Status Session::run(std::span<const uint8_t> pixels, int64_t count, std::span<float> scores) {
  return without_throwing([&] { return impl_->run(pixels, count, scores); });
}

const ModelInfo& Session::info() const { return impl_->info(); }

Result<std::vector<LayerPlan>> Session::plan(int64_t batch) {
  return without_throwing([&]() -> Result<std::vector<LayerPlan>> {
    if (impl_->device() != nullptr) return impl_->device()->plan(batch);
    PARE_ASSIGN_OR_RETURN(BatchRunner * runner, impl_->runner(batch));
    return runner->layers();
  });
}

Result<MemoryUse> Session::memory(int64_t batch) {
  return without_throwing([&]() -> Result<MemoryUse> {
    if (impl_->device() != nullptr) return impl_->device()->memory(batch);
    PARE_ASSIGN_OR_RETURN(BatchRunner * runner, impl_->runner(batch));
    return impl_->memory(*runner);
  });
}

Status Session::time_steps(bool enabled) {
  impl_->times() = StepTimes{.enabled = enabled};
  return ok_status();
}

Result<DeviceInfo> Session::device() const {
  if (impl_->device() == nullptr) return DeviceInfo();
  return impl_->device()->info();
}

Result<std::vector<double>> Session::device_times_us(int64_t batch, int runs) {
  if (impl_->device() == nullptr) return unsupported("this session runs on no device of its own");
  return impl_->device()->device_times_us(batch, runs);
}

std::vector<double> Session::step_times_us(int64_t batch) const {
  if (impl_->device() != nullptr) {
    constexpr int kRuns = 20;
    auto times = impl_->device()->step_times_us(batch, kRuns);
    return times.ok() ? *std::move(times) : std::vector<double>();
  }
  const StepTimes& times = impl_->times();
  const auto sums = times.microseconds.find(batch);
  const auto runs = times.runs.find(batch);
  if (sums == times.microseconds.end() || runs == times.runs.end()) return {};
  std::vector<double> mean = sums->second;
  for (double& t : mean) t /= static_cast<double>(runs->second);
  return mean;
}

}  // namespace pare

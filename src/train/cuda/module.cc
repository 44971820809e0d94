// libpare-train-cuda.so: the tools of gpu_tools.h on ATen's CUDA part.

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <utility>

#include "train/cuda/gpu_tools.h"
#include "train/cuda/kernels.h"
#include "train/cuda/nccl.h"

namespace pare::cuda {
namespace {

c10::cuda::CUDAStream stream() { return c10::cuda::getCurrentCUDAStream(); }

class Event {
 public:
  explicit Event(unsigned flags = cudaEventDisableTiming) {
    C10_CUDA_CHECK(cudaEventCreateWithFlags(&event_, flags));
  }
  ~Event() { C10_CUDA_CHECK_WARN(cudaEventDestroy(event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record() { C10_CUDA_CHECK(cudaEventRecord(event_, stream())); }
  void wait() const { C10_CUDA_CHECK(cudaEventSynchronize(event_)); }
  bool done() const {
    const cudaError_t state = cudaEventQuery(event_);
    if (state == cudaErrorNotReady) return false;
    C10_CUDA_CHECK(state);
    return true;
  }
  double seconds_until(const Event& later) const {
    float milliseconds = 0;
    C10_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, event_, later.event_));
    return 1e-3 * static_cast<double>(milliseconds);
  }

 private:
  cudaEvent_t event_ = nullptr;
};

class PinnedBytes {
 public:
  explicit PinnedBytes(int64_t bytes) {
    C10_CUDA_CHECK(cudaHostAlloc(&memory_, static_cast<size_t>(bytes), cudaHostAllocDefault));
  }
  ~PinnedBytes() { C10_CUDA_CHECK_WARN(cudaFreeHost(memory_)); }
  PinnedBytes(const PinnedBytes&) = delete;
  PinnedBytes& operator=(const PinnedBytes&) = delete;
  std::byte* data() const { return static_cast<std::byte*>(memory_); }

 private:
  void* memory_ = nullptr;
};

class Graph : public GpuGraph {
 public:
  explicit Graph(int& alive) : alive_(alive) { ++alive_; }
  ~Graph() override { --alive_; }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  void replay() override { graph.replay(); }
  at::cuda::CUDAGraph graph;

 private:
  int& alive_;
};

class Upload : public GpuUpload {
 public:
  Upload(int64_t bytes, int buffers) {
    for (int i = 0; i < buffers; ++i) slots_.push_back(std::make_unique<Slot>(bytes));
  }
  std::byte* next() override {
    at_ = (at_ + 1) % slots_.size();
    if (slots_[at_]->sent) slots_[at_]->arrived.wait();
    return slots_[at_]->memory.data();
  }
  void send(const at::Tensor& target, int64_t bytes) override {
    Slot& slot = *slots_[at_];
    C10_CUDA_CHECK(cudaMemcpyAsync(target.data_ptr(), slot.memory.data(),
                                   static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream()));
    slot.arrived.record();
    slot.sent = true;
  }

 private:
  struct Slot {
    explicit Slot(int64_t bytes) : memory(bytes) {}
    PinnedBytes memory;
    Event arrived;
    bool sent = false;
  };
  std::vector<std::unique_ptr<Slot>> slots_;
  size_t at_ = 0;
};

class Readback : public GpuReadback {
 public:
  explicit Readback(int numbers)
      : bytes_(numbers * static_cast<int64_t>(sizeof(double))), memory_(bytes_) {}
  void request(const at::Tensor& source) override {
    C10_CUDA_CHECK(cudaMemcpyAsync(memory_.data(), source.data_ptr(), static_cast<size_t>(bytes_),
                                   cudaMemcpyDeviceToHost, stream()));
    event_.record();
    requested_ = true;
  }
  bool arrived(bool wait) override {
    if (!requested_) return false;
    if (wait) event_.wait();
    return event_.done();
  }
  double value(int i) const override {
    double number = 0;
    std::memcpy(&number, memory_.data() + static_cast<size_t>(i) * sizeof(double), sizeof(double));
    return number;
  }

 private:
  int64_t bytes_;
  PinnedBytes memory_;
  Event event_;
  bool requested_ = false;
};

class Clock : public GpuClock {
 public:
  void begin() override {
    if (free_.empty()) free_.push_back(std::make_unique<Span>());
    running_ = std::move(free_.back());
    free_.pop_back();
    running_->first.record();
  }
  void end() override {
    running_->last.record();
    open_.push_back(std::move(running_));
    collect(false);
  }
  double seconds(bool wait) override {
    collect(wait);
    return seconds_;
  }

 private:
  struct Span {
    Event first{cudaEventDefault};
    Event last{cudaEventDefault};
  };
  void collect(bool wait) {
    while (!open_.empty()) {
      Span& span = *open_.front();
      if (wait) span.last.wait();
      if (!span.last.done()) return;
      seconds_ += span.first.seconds_until(span.last);
      free_.push_back(std::move(open_.front()));
      open_.pop_front();
    }
  }
  std::unique_ptr<Span> running_;
  std::deque<std::unique_ptr<Span>> open_;
  std::vector<std::unique_ptr<Span>> free_;
  double seconds_ = 0;
};

template <typename T>
T* pointer(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.data_ptr()) : nullptr;
}

at::Tensor device_bytes(int64_t bytes) {
  return at::empty({bytes}, at::TensorOptions().dtype(at::kByte).device(at::kCUDA));
}

class Update : public GpuUpdate {
 public:
  explicit Update(const std::vector<int64_t>& sizes)
      : row_bytes_(static_cast<int64_t>(sizes.size() * sizeof(WeightRow))),
        table_(row_bytes_, kTables),
        device_rows_(device_bytes(row_bytes_)) {
    std::vector<WeightChunk> chunks;
    for (size_t row = 0; row < sizes.size(); ++row) {
      for (int64_t begin = 0; begin < sizes[row]; begin += kChunk) {
        chunks.push_back({begin, static_cast<int32_t>(row)});
      }
    }
    chunk_count_ = static_cast<int>(chunks.size());
    const auto bytes = static_cast<int64_t>(chunks.size() * sizeof(WeightChunk));
    chunks_ =
        at::from_blob(chunks.data(), {bytes}, at::TensorOptions().dtype(at::kByte)).to(at::kCUDA);
  }

  void begin() override { rows_.clear(); }

  void add(const UpdateTensors& t) override {
    for (const at::Tensor* other : {&t.gradient, &t.first, &t.second, &t.average, &t.copy}) {
      if (other->defined() && other->strides() != t.weight.strides()) {
        throw std::runtime_error("a weight and what belongs to it lie differently in memory");
      }
    }
    const bool half = t.gradient.defined() && t.gradient.scalar_type() == at::kBFloat16;
    if (t.gradient.defined() && !half && t.gradient.scalar_type() != at::kFloat) {
      throw std::runtime_error("a gradient is neither float32 nor bfloat16");
    }
    rows_.push_back({.weight = pointer<float>(t.weight),
                     .gradient = pointer<void>(t.gradient),
                     .first = pointer<float>(t.first),
                     .second = pointer<float>(t.second),
                     .step = pointer<float>(t.step),
                     .average = pointer<float>(t.average),
                     .copy = pointer<__nv_bfloat16>(t.copy),
                     .count = t.weight.numel(),
                     .decay = t.decay,
                     .rate_share = t.rate_share,
                     .bfloat16_gradient = half ? 1 : 0});
  }

  void publish() override {
    if (static_cast<int64_t>(rows_.size() * sizeof(WeightRow)) != row_bytes_) {
      throw std::runtime_error("another number of weights than announced");
    }
    if (row_bytes_ == 0) return;
    std::memcpy(table_.next(), rows_.data(), static_cast<size_t>(row_bytes_));
    table_.send(device_rows_, row_bytes_);
  }

  void launch(const UpdateRule& rule, const at::Tensor& scalars,
              const at::Tensor& gradient_scale) override {
    update_weights(rule, pointer<WeightRow>(device_rows_), pointer<WeightChunk>(chunks_),
                   chunk_count_, pointer<UpdateScalars>(scalars), pointer<float>(gradient_scale),
                   stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }

 private:
  static constexpr int kTables = 4;
  int64_t row_bytes_;
  int chunk_count_ = 0;
  std::vector<WeightRow> rows_;
  Upload table_;
  at::Tensor device_rows_;
  at::Tensor chunks_;
};

NormShape norm_shape(const NormCall& call) {
  NormShape shape{};
  const bool flat = call.x.dim() == 2;
  shape.images = static_cast<int32_t>(call.x.size(0));
  shape.channels = static_cast<int32_t>(call.x.size(1));
  shape.height = flat ? 1 : static_cast<int32_t>(call.x.size(2));
  shape.width = flat ? 1 : static_cast<int32_t>(call.x.size(3));
  shape.window = call.window;
  shape.stride = call.stride;
  const auto out = [&](int32_t size) {
    return call.window == 0 ? size : (size - call.window) / call.stride + 1;
  };
  shape.out_height = out(shape.height);
  shape.out_width = out(shape.width);
  return shape;
}

NormRule norm_rule(const NormCall& call) {
  return {static_cast<float>(call.epsilon), static_cast<float>(call.momentum), call.relu ? 1 : 0};
}

NormTensors norm_tensors(const NormCall& call, const NormResult& result) {
  NormTensors t{};
  t.x = pointer<__nv_bfloat16>(call.x);
  t.y = pointer<__nv_bfloat16>(result.y);
  t.places = pointer<uint8_t>(result.places);
  t.gamma = pointer<float>(call.gamma);
  t.beta = pointer<float>(call.beta);
  t.bias = pointer<float>(call.bias);
  t.mean = pointer<float>(result.mean);
  t.invstd = pointer<float>(result.invstd);
  t.running_mean = pointer<float>(call.running_mean);
  t.running_variance = pointer<float>(call.running_variance);
  return t;
}

LayerNormTensors layer_norm_tensors(const LayerNormCall& call, const LayerNormResult& result) {
  LayerNormTensors t{};
  t.x = pointer<void>(call.x);
  t.y = pointer<__nv_bfloat16>(result.y);
  t.gamma = pointer<float>(call.gamma);
  t.beta = pointer<float>(call.beta);
  t.mean = pointer<float>(result.mean);
  t.invstd = pointer<float>(result.invstd);
  t.size = static_cast<int32_t>(call.x.size(-1));
  t.rows = call.x.numel() / call.x.size(-1);
  t.x_float32 = call.x.scalar_type() == at::kFloat ? 1 : 0;
  t.epsilon = static_cast<float>(call.epsilon);
  return t;
}

class Tools : public GpuTools {
 public:
  void enter() override {
    if (depth_++ > 0) return;
    before_ = stream();
    if (!own_) own_ = c10::cuda::getStreamFromPool(/*isHighPriority=*/false);
    C10_CUDA_CHECK(cudaStreamSynchronize(*before_));
    c10::cuda::setCurrentCUDAStream(*own_);
  }
  void leave() override {
    if (--depth_ > 0) return;
    C10_CUDA_CHECK_WARN(cudaStreamSynchronize(*own_));
    c10::cuda::setCurrentCUDAStream(*before_);
  }
  void synchronise() override { C10_CUDA_CHECK(cudaStreamSynchronize(stream())); }

  int64_t free_bytes() override {
    size_t free = 0;
    size_t all = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &all));
    return static_cast<int64_t>(free);
  }

  std::unique_ptr<GpuGraph> record(const std::function<void()>& work) override {
    const at::Generator generator = at::cuda::detail::getDefaultCUDAGenerator();
    // A pool that no graph uses any more is not used again.
    if (graphs_ == 0) pool_ = at::cuda::graph_pool_handle();
    synchronise();
    auto recorded = std::make_unique<Graph>(graphs_);
    recorded->graph.register_generator_state(generator);
    recorded->graph.capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      give_up(recorded->graph, generator);
      throw;
    }
    recorded->graph.capture_end();
    return recorded;
  }

  std::unique_ptr<GpuUpload> make_upload(int64_t bytes, int buffers) override {
    return std::make_unique<Upload>(bytes, buffers);
  }
  std::unique_ptr<GpuReadback> make_readback(int numbers) override {
    return std::make_unique<Readback>(numbers);
  }
  std::unique_ptr<GpuClock> make_clock() override { return std::make_unique<Clock>(); }
  std::unique_ptr<GpuUpdate> make_update(const std::vector<int64_t>& sizes) override {
    return std::make_unique<Update>(sizes);
  }

  c10::intrusive_ptr<c10d::Backend> make_nccl(const c10::intrusive_ptr<c10d::Store>& store,
                                              int rank, int size) override {
    return make_nccl_backend(store, rank, size);
  }

  void augment(const AugmentCall& call) override {
    AugmentBatch batch;
    batch.images = pointer<uint8_t>(call.images);
    batch.positions = pointer<int32_t>(call.positions);
    batch.draws = pointer<ImageDraw>(call.draws);
    batch.mix = pointer<BatchDraw>(call.mix);
    batch.out = pointer<uint8_t>(call.out);
    batch.count = static_cast<int32_t>(call.out.size(0));
    batch.channels = static_cast<int32_t>(call.out.size(1));
    batch.height = static_cast<int32_t>(call.out.size(2));
    batch.width = static_cast<int32_t>(call.out.size(3));
    batch.work = call.work;
    cuda::augment(batch, stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }

  at::Tensor unfold_pixels(const UnfoldCall& call) override {
    const auto size = [&call](int64_t d) { return static_cast<int32_t>(call.pixels.size(d)); };
    const UnfoldShape shape = {.images = size(0),
                               .channels = size(1),
                               .height = size(2),
                               .width = size(3),
                               .taps = static_cast<int32_t>(call.taps),
                               .stride = static_cast<int32_t>(call.stride),
                               .padding = static_cast<int32_t>(call.padding),
                               .out_width = static_cast<int32_t>(call.out_width),
                               .out_channels = static_cast<int32_t>(call.out_channels)};
    const at::Tensor out =
        at::empty({shape.images, shape.out_channels, shape.height, shape.out_width},
                  call.pixels.options().dtype(at::kBFloat16), at::MemoryFormat::ChannelsLast);
    cuda::unfold_pixels(shape, pointer<uint8_t>(call.pixels), pointer<float>(call.scale),
                        pointer<float>(call.shift), pointer<__nv_bfloat16>(out), stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return out;
  }

  bool has_layer_norm(int64_t size) override { return cuda::has_layer_norm(size); }

  LayerNormResult layer_norm_forward(const LayerNormCall& call) override {
    LayerNormResult result;
    result.y = at::empty(call.x.sizes(), call.x.options().dtype(at::kBFloat16));
    const auto floats = call.x.options().dtype(at::kFloat);
    result.mean = at::empty({call.x.numel() / call.x.size(-1)}, floats);
    result.invstd = at::empty_like(result.mean);
    cuda::layer_norm_forward(layer_norm_tensors(call, result), stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return result;
  }

  NormGradients layer_norm_backward(const LayerNormCall& call, const LayerNormResult& result,
                                    const at::Tensor& y_gradient) override {
    NormGradients gradients;
    gradients.x = at::empty_like(call.x);
    gradients.gamma = at::empty_like(call.gamma);
    gradients.beta = at::empty_like(call.beta);
    LayerNormTensors t = layer_norm_tensors(call, result);
    t.y_gradient = pointer<__nv_bfloat16>(y_gradient);
    t.x_gradient = pointer<void>(gradients.x);
    t.gamma_gradient = pointer<float>(gradients.gamma);
    t.beta_gradient = pointer<float>(gradients.beta);
    const at::Tensor partial =
        at::empty({layer_norm_partial_floats(t.rows, t.size)}, call.x.options().dtype(at::kFloat));
    cuda::layer_norm_backward(t, pointer<float>(partial), stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return gradients;
  }

  NormResult norm_forward(const NormCall& call) override {
    const NormShape shape = norm_shape(call);
    NormResult result;
    std::vector<int64_t> sizes = call.x.sizes().vec();
    auto format = at::MemoryFormat::Contiguous;
    if (call.x.dim() == 4) {
      sizes[2] = shape.out_height;
      sizes[3] = shape.out_width;
      format = at::MemoryFormat::ChannelsLast;
    }
    result.y = at::empty(sizes, call.x.options(), format);
    if (call.window != 0) {
      result.places = at::empty(sizes, call.x.options().dtype(at::kByte), format);
    }
    const auto floats = call.x.options().dtype(at::kFloat);
    result.mean = at::empty({shape.channels}, floats);
    result.invstd = at::empty({shape.channels}, floats);
    const at::Tensor partial = at::empty({norm_partial_floats(shape)}, floats);
    cuda::norm_forward(shape, norm_tensors(call, result), norm_rule(call), pointer<float>(partial),
                       stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return result;
  }

  NormGradients norm_backward(const NormCall& call, const NormResult& result,
                              const at::Tensor& y_gradient) override {
    const NormShape shape = norm_shape(call);
    NormGradients gradients;
    gradients.x = at::empty_like(call.x);
    gradients.gamma = at::empty_like(call.gamma);
    gradients.beta = at::empty_like(call.beta);
    const at::Tensor partial =
        at::empty({norm_partial_floats(shape)}, call.x.options().dtype(at::kFloat));
    NormTensors t = norm_tensors(call, result);
    t.y_gradient = pointer<__nv_bfloat16>(y_gradient);
    t.x_gradient = pointer<__nv_bfloat16>(gradients.x);
    t.gamma_gradient = pointer<float>(gradients.gamma);
    t.beta_gradient = pointer<float>(gradients.beta);
    cuda::norm_backward(shape, t, norm_rule(call), pointer<float>(partial), stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return gradients;
  }

 private:
  // Ends a recording that failed, which capture_end() does by half: the allocator would go on to
  // serve the pool of the graph, and the generator believes to be recorded. It gets a state of its
  // own again, which begins with its seed.
  void give_up(at::cuda::CUDAGraph& graph, at::Generator generator) const {
    const auto device = c10::cuda::current_device();
    try {
      graph.capture_end();
    } catch (const std::exception&) {
      try {
        c10::cuda::CUDACachingAllocator::endAllocateToPool(device, pool_);
        c10::cuda::CUDACachingAllocator::releasePool(device, pool_);
      } catch (const std::exception&) {
        // It was ended before.
      }
    }
    (void)cudaGetLastError();
    at::Generator fresh = at::make_generator<at::CUDAGeneratorImpl>(device);
    fresh.set_current_seed(generator.current_seed());
    generator.graphsafe_set_state(fresh);
  }

  int depth_ = 0;
  std::optional<c10::cuda::CUDAStream> before_;
  std::optional<c10::cuda::CUDAStream> own_;
  int graphs_ = 0;
  at::cuda::MempoolId_t pool_{};
};

}  // namespace
}  // namespace pare::cuda

extern "C" __attribute__((visibility("default"))) pare::GpuTools* pare_gpu_tools() {
  static pare::cuda::Tools tools;
  return &tools;
}

#include "train/gpu_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <stdexcept>

#include "train/tensors.h"

namespace pare {
namespace {

constexpr int64_t kWarmSteps = 3;
constexpr int kStepsAhead = 8;  // the CPU's lead
constexpr std::chrono::milliseconds kAskEvery{200};

// A Status on its way through LibTorch's functions.
struct StatusError : std::runtime_error {
  explicit StatusError(Status s) : std::runtime_error(s.message()), status(std::move(s)) {}
  Status status;
};

// Lays parts of one block of memory out, one after the other.
class Layout {
 public:
  int64_t add(int64_t bytes) {
    constexpr int64_t kAlign = 256;
    const int64_t begin = size_;
    size_ = (size_ + bytes + kAlign - 1) / kAlign * kAlign;
    return begin;
  }
  int64_t size() const { return size_; }

 private:
  int64_t size_ = 0;
};

// Where the parts of a batch begin.
struct BatchLayout {
  int64_t mix, share, labels, mixed_labels, mixed_weights, positions, draws, pixels, bytes;

  BatchLayout(int64_t count, int64_t pixel_bytes) {
    Layout layout;
    mix = layout.add(sizeof(BatchDraw));
    share = layout.add(sizeof(float));
    labels = layout.add(count * static_cast<int64_t>(sizeof(int64_t)));
    mixed_labels = layout.add(count * static_cast<int64_t>(sizeof(int64_t)));
    mixed_weights = layout.add(count * static_cast<int64_t>(sizeof(float)));
    positions = layout.add(count * static_cast<int64_t>(sizeof(int32_t)));
    draws = layout.add(count * static_cast<int64_t>(sizeof(ImageDraw)));
    pixels = layout.add(pixel_bytes);
    bytes = layout.size();
  }
};

template <typename T>
void put(std::byte* memory, int64_t at, std::span<const T> values) {
  std::memcpy(memory + at, values.data(), values.size_bytes());
}
template <typename To, typename From>
void put_as(std::byte* memory, int64_t at, const std::vector<From>& values) {
  auto* to = reinterpret_cast<To*>(memory + at);
  std::transform(values.begin(), values.end(), to, [](From v) { return static_cast<To>(v); });
}

at::Tensor part(const at::Tensor& memory, int64_t at, int64_t count, at::ScalarType type) {
  const auto bytes = count * static_cast<int64_t>(at::elementSize(type));
  return memory.narrow(0, at, bytes).view(type);
}

}  // namespace

GpuStep::GpuStep(GpuTools& tools, Parts parts)
    : tools_(tools),
      parts_(std::move(parts)),
      scalar_upload_(tools.make_upload(sizeof(UpdateScalars), kStepsAhead)),
      loss_readback_(tools.make_readback(1)),
      clock_(tools.make_clock()) {
  const auto on_gpu = at::TensorOptions().device(at::kCUDA);
  scalars_ = at::zeros({static_cast<int64_t>(sizeof(UpdateScalars))}, on_gpu.dtype(at::kByte));
  loss_sum_ = at::zeros({}, on_gpu.dtype(at::kDouble));
  std::vector<int64_t> sizes;
  for (const auto& p : parts_.network.parameters()) sizes.push_back(p.value.numel());
  if (parts_.average != nullptr) {
    for (const auto& b : parts_.network.buffers()) sizes.push_back(b.value.numel());
  }
  update_ = tools.make_update(sizes);
  if (parts_.ranks) {
    recording_ = false;
    note_ = "GPU: with several ranks the step is launched operator by operator";
  }
}

void GpuStep::make_plan(const Batch& batch, const ImageShape& shape) {
  const int64_t count = batch.count;
  drawn_only_ = batch.pixels.empty();
  if (drawn_only_ && !images_) throw std::runtime_error("a batch without pixels");
  const BatchLayout at(count, drawn_only_ ? 0 : count * shape.size());
  batch_bytes_ = at.bytes;
  batch_upload_ = tools_.make_upload(at.bytes, kStepsAhead);
  const auto bytes = at::TensorOptions().dtype(at::kByte).device(at::kCUDA);
  batch_memory_ = at::zeros({at.bytes}, bytes);
  mix_ = part(batch_memory_, at.mix, sizeof(BatchDraw), at::kByte);
  share_ = part(batch_memory_, at.share, 1, at::kFloat).squeeze(0);
  positions_ = part(batch_memory_, at.positions, count, at::kInt);
  draws_ =
      part(batch_memory_, at.draws, count * static_cast<int64_t>(sizeof(ImageDraw)), at::kByte);
  const std::vector<int64_t> sizes = {count, shape.channels, shape.height, shape.width};
  batch_.pixels = drawn_only_
                      ? at::empty(sizes, bytes)
                      : part(batch_memory_, at.pixels, count * shape.size(), at::kByte).view(sizes);
  batch_.labels = part(batch_memory_, at.labels, count, at::kLong);
  const AugmentOptions& augment = parts_.recipe.augment;
  if (augment.mixup_alpha > 0 || augment.cutmix_alpha > 0) {
    batch_.mixed_labels = part(batch_memory_, at.mixed_labels, count, at::kLong);
    batch_.mixed_weights = part(batch_memory_, at.mixed_weights, count, at::kFloat);
  }
  work_ = pixel_work(augment, shape);
}

void GpuStep::send(const Batch& batch, double divisor) {
  const auto pixel_bytes = static_cast<int64_t>(batch.pixels.size());
  const BatchLayout at(batch.count, pixel_bytes);
  if (at.bytes != batch_bytes_) throw std::runtime_error("a batch of another size");
  std::byte* memory = batch_upload_->next();
  const float share = 1.0F / static_cast<float>(divisor);
  put(memory, at.mix, std::span(&batch.mix, 1));
  put(memory, at.share, std::span(&share, 1));
  put_as<int64_t>(memory, at.labels, batch.labels);
  put_as<int64_t>(memory, at.mixed_labels, batch.mixed.labels);
  put(memory, at.mixed_weights, std::span<const float>(batch.mixed.weights));
  put_as<int32_t>(memory, at.positions, batch.images);
  put(memory, at.draws, std::span<const ImageDraw>(batch.draws));
  put(memory, at.pixels, std::span<const uint8_t>(batch.pixels));
  batch_upload_->send(batch_memory_, at.bytes);
}

void GpuStep::forward_backward() {
  if (drawn_only_) {
    tools_.augment({images_->pixels, positions_, draws_, mix_, batch_.pixels, work_});
  }
  const Result<at::Tensor> loss = parts_.loss(batch_);
  if (!loss.ok()) throw StatusError(loss.status());
  (*loss * share_).backward();
  loss_sum_.add_(loss->detach());
}

// True if what `work` launches came from a recording.
bool GpuStep::run(std::unique_ptr<GpuGraph>& graph, const std::function<void()>& work) {
  if (graph == nullptr && recording_ && steps_ >= kWarmSteps) {
    publish_at_once_ = false;
    try {
      graph = tools_.record(work);
    } catch (const std::exception& error) {
      recording_ = false;
      note_ = "GPU: the step is launched operator by operator, for it cannot be recorded: " +
              torch_error_line(error);
      if (first_graph_ == nullptr) drop_gradients();
    }
    publish_at_once_ = true;
  }
  if (graph == nullptr) {
    work();
    return false;
  }
  return true;
}

Status GpuStep::accumulate(const Batch& batch, const ImageShape& shape, double divisor) {
  try {
    if (batch_upload_ == nullptr) make_plan(batch, shape);
    if (gathered_ == 0) clock_->begin();
    send(batch, divisor);
    std::unique_ptr<GpuGraph>& graph = gathered_ == 0 ? first_graph_ : next_graph_;
    if (run(graph, [this] { forward_backward(); })) graph->replay();
    ++gathered_;
    ++loss_batches_;
  } catch (const StatusError& error) {
    return error.status;
  } catch (const std::exception& error) {
    return internal_error("training step: " + torch_error_line(error));
  }
  return ok_status();
}

Status GpuStep::update(int64_t step, double rate) {
  UpdateScalars scalars;
  scalars.rate = static_cast<float>(rate);
  scalars.average_share =
      static_cast<float>(1.0 - WeightAverage::decay_at(parts_.recipe.ema.decay, step));
  try {
    put(scalar_upload_->next(), 0, std::span<const UpdateScalars>(&scalars, 1));
    scalar_upload_->send(scalars_, sizeof scalars);
    const bool recorded_before = update_graph_ != nullptr;
    if (run(update_graph_, [this] { apply_update(); })) {
      if (!recorded_before) update_->publish();
      update_graph_->replay();
    }
    // A recorded backward pass writes into the same gradients again.
    if (first_graph_ == nullptr) drop_gradients();
    if (update_graph_ == nullptr) gradients_.clear();
    clock_->end();
    ++steps_;
    gathered_ = 0;
  } catch (const std::exception& error) {
    return internal_error("training step: " + torch_error_line(error));
  }
  return ok_status();
}

void GpuStep::apply_update() {
  const at::NoGradGuard no_grad;
  const at::Tensor scale = gradient_scale();
  parts_.optimiser.count_step();
  // The first of UpdateScalars is the rate.
  parts_.optimiser.step_matrices(scalars_.slice(0, 0, sizeof(float)).view(at::kFloat)[0], scale);
  gather_rows();
  if (publish_at_once_) update_->publish();
  update_->launch(parts_.optimiser.rule(), scalars_, scale);
  apply_masks();
}

// By what clipping multiplies the gradients: min(1, limit / norm).
at::Tensor GpuStep::gradient_scale() {
  const double limit = parts_.recipe.train.clip_norm;
  std::vector<at::Tensor> gradients;
  for (const auto& p : parts_.network.parameters()) {
    if (p.gradient().defined()) gradients.push_back(p.gradient());
  }
  if (limit <= 0 || gradients.empty()) return {};
  const at::Tensor norm = at::stack(at::_foreach_norm(gradients, 2, at::kFloat)).norm();
  return at::clamp_max(at::reciprocal(norm) * limit, 1.0);
}

void GpuStep::gather_rows() {
  const auto& parameters = parts_.network.parameters();
  gradients_.clear();
  update_->begin();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const TorchExecutor::Named& p = parameters[i];
    const Optimiser::Moments moments = parts_.optimiser.moments(i);
    at::Tensor gradient = moments.stepped_elsewhere ? at::Tensor() : p.gradient();
    if (gradient.defined() && gradient.strides() != p.value.strides()) {
      // The kernel walks through memory, so the gradient must lie as its weight does.
      gradient = at::empty_like(p.value, gradient.options()).copy_(gradient);
    }
    gradients_.push_back(gradient);
    const at::Tensor average =
        parts_.average == nullptr ? at::Tensor() : parts_.average->parameters()[i].value;
    update_->add({p.value, gradient, moments.first, moments.second, moments.step, average, p.copy,
                  static_cast<float>(moments.weight_decay),
                  static_cast<float>(moments.rate_share)});
  }
  if (parts_.average == nullptr) return;
  const at::Tensor none;
  for (size_t i = 0; i < parts_.network.buffers().size(); ++i) {
    update_->add({parts_.network.buffers()[i].value, none, none, none, none,
                  parts_.average->buffers()[i].value, none});
  }
}

void GpuStep::apply_masks() const {
  const auto mask = [this](const TorchExecutor& executor) {
    for (const TorchExecutor::Named& p : executor.parameters()) {
      const auto it = parts_.masks.find(p.name);
      if (it == parts_.masks.end()) continue;
      p.value.mul_(it->second);
      if (p.copy.defined()) p.copy.mul_(it->second);
    }
  };
  if (parts_.masks.empty()) return;
  mask(parts_.network);
  if (parts_.average != nullptr) mask(*parts_.average);
}

void GpuStep::drop_gradients() const {
  for (const auto& p : parts_.network.parameters()) p.drop_gradient();
}

void GpuStep::begin_losses(const LossSum& so_far) {
  const at::NoGradGuard no_grad;
  loss_sum_.fill_(so_far.sum);
  loss_batches_ = so_far.batches;
  known_ = so_far;
  asked_batches_.reset();
}

LossSum GpuStep::losses(bool wait) {
  if (!wait && asked_batches_ && loss_readback_->arrived(false)) {
    known_ = {loss_readback_->value(0), *asked_batches_};
    asked_batches_.reset();
  }
  const auto now = std::chrono::steady_clock::now();
  if (wait || (!asked_batches_.has_value() && now - last_asked_ > kAskEvery)) {
    loss_readback_->request(loss_sum_);
    asked_batches_ = loss_batches_;
    last_asked_ = now;
  }
  if (wait) {
    loss_readback_->arrived(true);
    known_ = {loss_readback_->value(0), loss_batches_};
    asked_batches_.reset();
  }
  return known_;
}

}  // namespace pare

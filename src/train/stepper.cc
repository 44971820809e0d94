#include "train/stepper.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/glob.h"
#include "base/rng.h"
#include "train/device.h"
#include "train/tensors.h"

namespace pare {
namespace {

Result<std::unique_ptr<TorchExecutor>> make_executor(const Graph& graph, at::Device device,
                                                     bool trainable,
                                                     const std::string& frozen = "") {
  auto executor = TorchExecutor::create(
      graph, {.device = device, .trainable = trainable, .frozen = split_patterns(frozen)});
  if (!executor.ok()) return executor.status();
  return std::make_unique<TorchExecutor>(std::move(executor).value());
}

}  // namespace

Result<std::unique_ptr<Stepper>> Stepper::create(const Graph& graph, const Graph* teacher,
                                                 const TrainRecipe& recipe, at::Device device,
                                                 bool own_part, Ranks* ranks) {
  std::unique_ptr<Stepper> s(new Stepper(recipe, device, own_part, ranks));
  const std::string& precision = recipe.train.precision;
  s->autocast_ =
      precision == "bfloat16" || (precision == "auto" && (device.is_cuda() || has_fast_bfloat16()));
  PARE_ASSIGN_OR_RETURN(s->network_, make_executor(graph, device, true, recipe.model.freeze));
  if (s->network_->parameters().empty()) {
    return invalid_argument(fmt::format("'{}' has no weights to train", graph.name));
  }
  if (recipe.ema.decay > 0) {
    PARE_ASSIGN_OR_RETURN(s->average_, make_executor(graph, device, false, recipe.model.freeze));
  }
  if (teacher != nullptr) {
    PARE_ASSIGN_OR_RETURN(s->teacher_, make_executor(*teacher, device, false));
  }
  s->optimiser_ = std::make_unique<Optimiser>(s->network_->parameters(), recipe.optimiser);
  if (s->tools_ != nullptr) s->set_up_gpu();
  if (ranks != nullptr) s->gradients_ = std::make_unique<GradientSum>(*ranks, *s->network_);
  return s;
}

Stepper::Stepper(TrainRecipe recipe, at::Device device, bool own_part, Ranks* ranks)
    : recipe_(std::move(recipe)), device_(device), ranks_(ranks) {
  if (!device.is_cuda() || !own_part) return;
  tools_ = load_gpu_tools(&no_tools_);
  if (tools_ != nullptr) tools_->enter();
}

Stepper::~Stepper() {
  gpu_.reset();
  if (tools_ != nullptr) tools_->leave();
}

void Stepper::set_up_gpu() {
  // cuDNN tries some kernels for each layer. Three find what ten do (AlexNet: 2.89 and 2.87 ms a
  // step) in 0.9 s instead of 3.1.
  constexpr int kKernelsTried = 3;
  at::globalContext().setBenchmarkCuDNN(recipe_.train.tune_kernels);
  at::globalContext().setBenchmarkLimitCuDNN(kKernelsTried);
  // Gradients of several batches are added up in float32, those of one can stay as they are made.
  if (autocast_ && recipe_.train.accumulate == 1) network_->keep_copies();
  for (TorchExecutor* executor : {network_.get(), average_.get(), teacher_.get()}) {
    if (executor != nullptr) executor->use_gpu_layers(*tools_);
  }
  if (autocast_ && teacher_ != nullptr) teacher_->keep_copies();
  gpu_ = std::make_unique<GpuStep>(
      *tools_, GpuStep::Parts{.network = *network_,
                              .average = average_.get(),
                              .optimiser = *optimiser_,
                              .recipe = recipe_,
                              .masks = masks_,
                              .loss = [this](const TorchBatch& b) { return batch_loss(b); },
                              .ranks = ranks_ != nullptr});
}

std::string Stepper::note() const {
  if (gpu_ != nullptr) return gpu_->note();
  if (device_.is_cuda() && !shared_.empty())
    return "GPU: steps are launched operator by operator, since weights share values";
  return no_tools_.empty() ? ""
                           : "GPU: steps are launched operator by operator, for our own CUDA part "
                             "cannot be loaded: " +
                                 no_tools_;
}

std::optional<double> Stepper::gpu_seconds() {
  return gpu_ == nullptr ? std::optional<double>() : gpu_->busy_seconds();
}

Result<bool> Stepper::keep_images(const Dataset& data) {
  constexpr int64_t kMaxChannels = 4;  // of the kernel that augments
  if (gpu_ == nullptr || data.image_shape().channels > kMaxChannels) return false;
  // Half of what is free: the other half is for the step.
  PARE_ASSIGN_OR_RETURN(images_, make_resident(data, device_, tools_->free_bytes() / 2));
  if (images_) gpu_->use_images(*images_);
  return images_.has_value();
}

void Stepper::seed_step(int64_t step) const {
  Rng rng(static_cast<uint64_t>(recipe_.train.seed), RngPurpose::kDropout,
          static_cast<uint64_t>(step));
  at::manual_seed(rng.next_u64());
}

Result<at::Tensor> Stepper::batch_loss(const TorchBatch& images) {
  PARE_ASSIGN_OR_RETURN(const at::Tensor output,
                        network_->forward(model_input(images.pixels, network_->source()),
                                          {.dropout = true,
                                           .batch_statistics = true,
                                           .autocast = autocast_,
                                           .ranks = norm_ranks(),
                                           .batch_share = batch_share_}));
  const at::Tensor scores = model_scores(output, network_->source().contract);
  const at::Tensor loss = label_loss(scores, images, recipe_.train.label_smoothing);
  if (teacher_ == nullptr) return loss;
  at::Tensor teacher_scores;
  {
    const at::NoGradGuard no_grad;
    PARE_ASSIGN_OR_RETURN(
        const at::Tensor taught,
        teacher_->forward(model_input(images.pixels, teacher_->source()), {.autocast = autocast_}));
    teacher_scores = model_scores(taught, teacher_->source().contract);
  }
  if (teacher_scores.sizes() != scores.sizes()) {
    return invalid_argument(fmt::format("the teacher has {} classes, the model {}",
                                        teacher_scores.size(1), scores.size(1)));
  }
  return loss * (1.0 - recipe_.distil.weight) +
         teacher_loss(scores, teacher_scores, recipe_.distil.temperature) * recipe_.distil.weight;
}

Status Stepper::accumulate(Batch& batch, const ImageShape& shape, int64_t group) {
  batch_share_ = batch.part();
  const bool last = ++gathered_ == group;
  if (last) gathered_ = 0;
  if (last && gradients_ != nullptr) gradients_->begin();
  PARE_RETURN_IF_ERROR(
      gpu_ != nullptr ? gpu_->accumulate(batch, shape, static_cast<double>(group) / batch_share_)
                      : accumulate_on_cpu(batch, shape, group));
  return last && gradients_ != nullptr ? gradients_->finish() : ok_status();
}

Status Stepper::accumulate_on_cpu(Batch& batch, const ImageShape& shape, int64_t group) {
  const TorchBatch images = to_torch_batch(batch, shape, device_);
  double value = 0;
  try {
    PARE_ASSIGN_OR_RETURN(const at::Tensor loss, batch_loss(images));
    (loss / (static_cast<double>(group) / batch_share_)).backward();
    value = loss.item().toDouble();
  } catch (const std::exception& error) {
    return internal_error("training step: " + torch_error_line(error));
  }
  if (!std::isfinite(value)) return numeric_error(fmt::format("the loss is {}", value));
  losses_.sum += value;
  ++losses_.batches;
  return ok_status();
}

Status Stepper::update(int64_t step, double lr) {
  if (gpu_ != nullptr) return gpu_->update(step, lr);
  shared_.average_gradients(*network_);
  if (recipe_.train.clip_norm > 0) optimiser_->clip(recipe_.train.clip_norm);
  optimiser_->step(lr);
  apply_masks();
  if (!shared_.empty()) shared_.average_weights(*network_);
  if (average_ != nullptr) WeightAverage(*network_, *average_, recipe_.ema.decay).update(step);
  return ok_status();
}

void Stepper::begin_losses(const LossSum& so_far) {
  losses_ = so_far;
  if (gpu_ != nullptr) gpu_->begin_losses(so_far);
}

Result<LossSum> Stepper::losses(bool wait) {
  LossSum known = gpu_ == nullptr ? losses_ : gpu_->losses(wait);
  if (!std::isfinite(known.sum)) return numeric_error("the loss is not finite any more");
  if (!wait || ranks_ == nullptr) return known;
  // Every batch is shared out alike.
  const at::Tensor sum = at::full({1}, known.sum * batch_share_, at::TensorOptions(at::kDouble));
  PARE_RETURN_IF_ERROR(ranks_->sum(sum));
  known.sum = sum.item().toDouble();
  return known;
}

std::optional<GradientTraffic> Stepper::traffic() const {
  return gradients_ == nullptr ? std::nullopt : std::optional(gradients_->traffic());
}

Status Stepper::set_masks(const std::map<std::string, Tensor>& masks) {
  for (const auto& [name, mask] : masks) {
    const TorchExecutor::Named* weight = network_->parameter(name);
    if (weight == nullptr) {
      return invalid_argument(fmt::format("mask for '{}', which is no trained weight", name));
    }
    PARE_ASSIGN_OR_RETURN(at::Tensor torch_mask, to_torch(mask));
    if (torch_mask.sizes() != weight->value.sizes()) {
      return invalid_argument(fmt::format("mask for '{}' has shape {}, not the weight's", name,
                                          shape_string(mask.shape())));
    }
    // In the weight's own memory layout, so that applying it is one pass.
    at::Tensor& mine = masks_[name];
    if (!mine.defined()) {
      mine = at::empty_like(weight->value.detach());
      if (gpu_ != nullptr) gpu_->record_update_anew();
    }
    mine.copy_(torch_mask);
  }
  apply_masks();
  return ok_status();
}

Status Stepper::set_shared(const std::map<std::string, Tensor>& shared) {
  if (shared.empty()) return ok_status();
  if (gpu_ != nullptr) return internal_error("shared values in steps of our own part of a GPU");
  PARE_RETURN_IF_ERROR(shared_.set(shared, *network_));
  shared_.average_weights(*network_);
  // An average of equal values stays one: the running average needs no further help.
  if (average_ != nullptr) shared_.average_weights(*average_);
  return ok_status();
}

void Stepper::apply_masks() {
  if (masks_.empty()) return;
  const at::NoGradGuard no_grad;
  for (const TorchExecutor::Named& p : network_->parameters()) {
    const auto it = masks_.find(p.name);
    if (it != masks_.end()) p.value.mul_(it->second);
  }
  network_->refresh_copies();
  if (average_ == nullptr) return;
  for (const TorchExecutor::Named& p : average_->parameters()) {
    const auto it = masks_.find(p.name);
    if (it != masks_.end()) p.value.mul_(it->second);
  }
}

Result<Scores> Stepper::validate(const std::shared_ptr<const Dataset>& data, int64_t batch_size,
                                 const std::atomic<bool>* stop) {
  if (tools_ != nullptr && validated_ != data) {
    validated_ = data;
    PARE_ASSIGN_OR_RETURN(validation_images_,
                          make_resident(*data, device_, tools_->free_bytes() / 2));
  }
  return evaluate(result(), data,
                  {.batch_size = batch_size,
                   .autocast = autocast_,
                   .device = device_,
                   .stop = stop,
                   .images = validation_images_ ? &*validation_images_ : nullptr,
                   .ranks = ranks_});
}

TorchBatch Stepper::plain_batch(Batch& batch, const ImageShape& shape) const {
  if (!images_) return to_torch_batch(batch, shape, device_);
  const at::Tensor positions =
      at::from_blob(batch.images.data(), {batch.count}, at::TensorOptions().dtype(at::kLong));
  TorchBatch out;
  out.pixels = images_->pixels.index_select(0, positions.to(device_));
  return out;
}

Status Stepper::recalibrate(const std::shared_ptr<const Dataset>& data,
                            const std::atomic<bool>* stop) {
  if (average_ == nullptr || average_->buffers().empty()) return ok_status();
  const at::NoGradGuard no_grad;
  const LoaderOptions options = {.batch_size = recipe_.train.batch_size,
                                 .seed = static_cast<uint64_t>(recipe_.train.seed),
                                 .threads = loader_threads(device_, ranks_),
                                 .pixels = !images_,
                                 .share = share_of(ranks_)};
  PARE_ASSIGN_OR_RETURN(const auto loader, Loader::create(data, options));
  Batch batch;
  const int64_t batches = std::min(recipe_.ema.recalibration_batches, loader->batches_per_epoch());
  for (int64_t i = 0; i < batches; ++i) {
    PARE_ASSIGN_OR_RETURN(const bool stopped, wish_of_any(ranks_, stop != nullptr && *stop));
    if (stopped) return cancelled("stopped while batch norm was measured");
    PARE_RETURN_IF_ERROR(loader->next(batch));
    batch_share_ = batch.part();
    const TorchBatch images = plain_batch(batch, data->image_shape());
    // The mean of all batches so far.
    const double share = 1.0 / static_cast<double>(i + 1);
    const auto output = average_->forward(model_input(images.pixels, average_->source()),
                                          {.batch_statistics = true,
                                           .batch_norm_momentum = share,
                                           .autocast = autocast_,
                                           .ranks = norm_ranks(),
                                           .batch_share = batch_share_});
    if (!output.ok()) return output.status();
  }
  return align_statistics();
}

bool Stepper::finite() const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> sums;
  for (const auto& p : network_->parameters()) sums.push_back(p.value.sum());
  return at::isfinite(at::stack(sums)).all().item().toBool();
}

std::map<std::string, at::Tensor> Stepper::live_tensors() const {
  std::map<std::string, at::Tensor> out;
  const auto add = [&out](const std::string& prefix, const TorchExecutor& executor) {
    for (const auto& p : executor.parameters()) out[prefix + "weight/" + p.name] = p.value;
    for (const auto& b : executor.buffers()) out[prefix + "buffer/" + b.name] = b.value;
  };
  add("", *network_);
  if (average_ != nullptr) add("average/", *average_);
  for (const auto& [name, tensor] : optimiser_->state()) out["optimiser/" + name] = tensor;
  for (const auto& [name, tensor] : masks_) out["mask/" + name] = tensor;
  return out;
}

Result<std::map<std::string, Tensor>> Stepper::state() const {
  std::map<std::string, Tensor> out;
  for (const auto& [name, tensor] : live_tensors()) {
    PARE_ASSIGN_OR_RETURN(out[name], from_torch(tensor, {.share = true}));
  }
  return out;
}

Status Stepper::load_state(const std::map<std::string, Tensor>& saved) {
  const at::NoGradGuard no_grad;
  for (auto& [name, live] : live_tensors()) {
    const auto it = saved.find(name);
    if (it == saved.end()) return corrupt("tensor '" + name + "' is missing");
    PARE_ASSIGN_OR_RETURN(const at::Tensor value, to_torch(it->second));
    if (value.sizes() != live.sizes() || value.scalar_type() != live.scalar_type()) {
      return corrupt(fmt::format("tensor '{}' is {} of {}, not as this run has it", name,
                                 dtype_name(it->second.type()), shape_string(it->second.shape())));
    }
    live.copy_(value);
  }
  network_->refresh_copies();
  return ok_status();
}

Status Stepper::take_leaders_state() {
  if (ranks_ == nullptr) return ok_status();
  for (const auto& [name, tensor] : live_tensors()) {
    PARE_RETURN_IF_ERROR(ranks_->copy_from_leader(tensor).with_context("tensor '" + name + "'"));
  }
  network_->refresh_copies();
  return ok_status();
}

// Means of steps are steps of means, and so are running averages of them: aligned or not, what the
// ranks have together is the same. By the whole batch all have the same already.
Status Stepper::align_statistics() {
  if (ranks_ == nullptr || norm_ranks() != nullptr) return ok_status();
  const at::NoGradGuard no_grad;
  for (const TorchExecutor* executor : {network_.get(), average_.get()}) {
    if (executor == nullptr) continue;
    const LearnedTensors learned = find_learned(executor->source());
    for (const TorchExecutor::Named& b : executor->buffers()) {
      // Frozen weights are buffers, too, and stay as they are.
      if (std::find(learned.buffers.begin(), learned.buffers.end(), b.name) ==
          learned.buffers.end()) {
        continue;
      }
      PARE_RETURN_IF_ERROR(ranks_->sum(b.value));
      b.value.detach().div_(ranks_->size());
    }
  }
  return ok_status();
}

int loader_threads(at::Device device, const Ranks* ranks) {
  const int cores = cores_of(ranks);
  return device.is_cuda() ? std::max(1, cores - 1) : std::max(1, cores / 4);
}

namespace {

// Sums of a validation, on the device: nobody waits for it before the end.
class ScoreSums {
 public:
  explicit ScoreSums(at::Device device)
      : sums_(at::zeros({3}, at::TensorOptions().dtype(at::kDouble).device(device))) {}

  void add(const at::Tensor& answers, const TorchBatch& images) {
    const int64_t count = answers.size(0);
    const int64_t five = std::min<int64_t>(5, answers.size(1));
    const at::Tensor best = std::get<1>(at::topk(answers, five, 1));
    const at::Tensor hits = best.eq(images.labels.unsqueeze(1));
    const at::Tensor loss = label_loss(answers, images, 0).to(at::kDouble) * count;
    sums_.add_(
        at::stack({loss, hits.select(1, 0).sum().to(at::kDouble), hits.sum().to(at::kDouble)}));
    images_ += count;
  }

  // Of all ranks, of which one may have been asked to stop.
  Result<Scores> scores(Ranks* ranks, bool stopped) const {
    const at::Tensor host =
        at::cat({sums_.to(at::kCPU), at::tensor({static_cast<double>(images_), stopped ? 1.0 : 0.0},
                                                at::TensorOptions(at::kDouble))});
    if (ranks != nullptr) PARE_RETURN_IF_ERROR(ranks->sum(host));
    const auto* sums = host.const_data_ptr<double>();
    if (sums[4] > 0) return cancelled("validation stopped");
    const double n = sums[3];
    return Scores{sums[0] / n, 100.0 * sums[1] / n, 100.0 * sums[2] / n, static_cast<int64_t>(n)};
  }

 private:
  at::Tensor sums_;
  int64_t images_ = 0;
};

// Batches of a data set in its order, from the GPU's memory or through a loader.
class PlainBatches {
 public:
  static Result<PlainBatches> create(const std::shared_ptr<const Dataset>& data,
                                     const EvaluateOptions& options) {
    PlainBatches out;
    out.shape_ = data->image_shape();
    out.device_ = options.device;
    out.batch_size_ = options.batch_size;
    out.size_ = data->size();
    out.share_ = share_of(options.ranks);
    if (options.images != nullptr) {
      out.resident_ = *options.images;
      return out;
    }
    PARE_ASSIGN_OR_RETURN(
        out.loader_, Loader::create(data, {.batch_size = options.batch_size,
                                           .shuffle = false,
                                           .drop_last = false,
                                           .threads = loader_threads(options.device, options.ranks),
                                           .share = out.share_}));
    return out;
  }

  int64_t count() const { return (size_ + batch_size_ - 1) / batch_size_; }

  // Batch `i`, in turn; it lives until the next one.
  Result<TorchBatch> next(int64_t i) {
    if (resident_) {
      const int64_t begin = i * batch_size_;
      const int64_t length = std::min(batch_size_, size_ - begin);
      TorchBatch out;
      out.pixels = resident_->pixels.narrow(0, begin, length);
      out.labels = resident_->labels.narrow(0, begin, length);
      if (share_.count > 1) {
        const at::Tensor places =
            at::tensor(places_of_share(length, share_), at::TensorOptions(at::kLong)).to(device_);
        out.pixels = out.pixels.index_select(0, places);
        out.labels = out.labels.index_select(0, places);
      }
      return out;
    }
    PARE_RETURN_IF_ERROR(loader_->next(batch_));
    return to_torch_batch(batch_, shape_, device_);
  }

 private:
  PlainBatches() = default;
  ImageShape shape_;
  at::Device device_ = at::kCPU;
  int64_t batch_size_ = 1;
  int64_t size_ = 0;
  BatchShare share_;
  std::optional<ResidentImages> resident_;
  std::unique_ptr<Loader> loader_;
  Batch batch_;
};

}  // namespace

Result<Scores> evaluate(TorchExecutor& executor, const std::shared_ptr<const Dataset>& data,
                        const EvaluateOptions& options) {
  const at::NoGradGuard no_grad;
  PARE_ASSIGN_OR_RETURN(PlainBatches batches, PlainBatches::create(data, options));
  ScoreSums sums(options.device);
  bool stopped = false;
  for (int64_t i = 0; i < batches.count(); ++i) {
    stopped = options.stop != nullptr && options.stop->load();
    if (stopped) break;
    try {
      PARE_ASSIGN_OR_RETURN(const TorchBatch images, batches.next(i));
      if (images.pixels.size(0) == 0) continue;  // of a small batch others have all
      PARE_ASSIGN_OR_RETURN(const at::Tensor output,
                            executor.forward(model_input(images.pixels, executor.source()),
                                             {.autocast = options.autocast}));
      const at::Tensor answers = model_scores(output, executor.source().contract);
      PARE_RETURN_IF_ERROR(check_classes(answers, *data));
      sums.add(answers, images);
    } catch (const std::exception& error) {
      return internal_error("validation: " + torch_error_line(error));
    }
  }
  return sums.scores(options.ranks, stopped);
}

}  // namespace pare

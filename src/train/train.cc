#include "train/train.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "graph/model_file.h"
#include "train/cuda/gpu_tools.h"
#include "train/device.h"
#include "train/finish.h"
#include "train/ranks.h"
#include "train/run_folder.h"
#include "train/run_plan.h"
#include "train/schedule.h"
#include "train/stepper.h"
#include "train/test_views.h"

namespace pare {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Loop {
 public:
  // `run` must outlive it; `validation` may be null.
  Loop(const TrainRun& run, std::shared_ptr<const Dataset> validation, RunPlan plan,
       at::Device device)
      : run_(run),
        ranks_(run.ranks),
        validation_(std::move(validation)),
        plan_(plan),
        device_(device) {}

  // `device_note`: why this device.
  Status prepare(const Graph& graph, int threads, const std::string& device_note);
  Status run_steps();
  Result<TrainResult> finish();

 private:
  void announce() const;
  Status read_losses(bool wait);
  double count_seconds();
  bool epoch_save_due() const;
  Status open_folder();
  Status resume();
  Result<json> read_state();
  Status agree() const;
  Status open_loader();
  Status one_step();
  Status update_masks();
  Status end_epoch();
  Status save();       // losses first
  Status save_read();  // with losses that were read
  Status write_state() const;
  Status stop();
  Status stopped() const;
  Status not_finite(const Status& why) const;
  std::string last_checkpoint() const;
  void report_step(double lr);
  double learning_rate(int64_t step) const;
  bool stopping() const { return run_.stop != nullptr && run_.stop->load(); }
  bool minutes_due() const;
  int64_t own_wishes() const {
    return (stopping() ? kStop : 0) | (leads() && minutes_due() ? kSave : 0);
  }
  // With ranks what any of them wished at the end of the last step, alone what holds now.
  bool wished(int64_t wish) const {
    return ((ranks_ == nullptr ? own_wishes() : wishes_) & wish) != 0;
  }
  bool leads() const { return ranks_ == nullptr || ranks_->leads(); }
  bool keeps() const { return !run_.folder.empty(); }  // rank 0, for all

  // What ranks may wish, seen by some of them sooner than by others.
  static constexpr int64_t kStop = 1;
  static constexpr int64_t kSave = 2;

  const TrainRun& run_;
  Ranks* ranks_;  // null: alone
  std::shared_ptr<const Dataset> validation_;
  RunPlan plan_;
  at::Device device_;
  RunIdentity identity_;
  std::string device_note_;
  std::unique_ptr<Stepper> stepper_;
  std::unique_ptr<RunFolder> folder_;
  std::unique_ptr<Loader> loader_;
  RunPosition position_;
  Batch batch_;
  Clock::time_point last_step_ = Clock::now();
  Clock::time_point last_save_ = Clock::now();
  Clock::time_point last_log_ = Clock::now();
  double step_seconds_ = 0;  // of one step, smoothed
  double run_seconds_ = 0;   // of this process's steps
  LossSum known_losses_;     // of the epoch
  std::string told_;         // the last note of the stepper
  int64_t wishes_ = 0;       // of any rank, at the last step
};

Status Loop::prepare(const Graph& graph, int threads, const std::string& device_note) {
  identity_ = {recipe_toml(run_.recipe),
               run_.data.train->hash(),
               network_hash(graph),
               device_.str(),
               threads,
               share_of(ranks_).count};
  PARE_RETURN_IF_ERROR(agree());
  PARE_ASSIGN_OR_RETURN(stepper_, Stepper::create(graph, run_.teacher, run_.recipe, device_,
                                                  /*own_part=*/run_.shared.empty(), ranks_));
  PARE_RETURN_IF_ERROR(stepper_->set_shared(run_.shared));
  PARE_RETURN_IF_ERROR(open_folder());
  device_note_ = device_note;
  if (run_.resume) {
    PARE_RETURN_IF_ERROR(resume());
  } else {
    PARE_RETURN_IF_ERROR(stepper_->take_leaders_state());
    announce();
  }
  PARE_RETURN_IF_ERROR(open_loader());
  return folder_->log({{"event", "start"},
                       {"step", position_.step},
                       {"total_steps", plan_.total_steps},
                       {"model", run_.recipe.model.name},
                       {"data", run_.data.train->description()},
                       {"validation", validation_ ? validation_->description() : "none"},
                       {"device", identity_.device},
                       {"threads", threads},
                       {"ranks", identity_.ranks},
                       {"precision", stepper_->autocast() ? "bfloat16" : "float32"}});
}

// Only rank 0 has a folder that keeps anything.
Status Loop::open_folder() {
  auto folder = !leads()      ? RunFolder::begin("", run_.recipe)
                : run_.resume ? RunFolder::reopen(run_.folder)
                              : RunFolder::begin(run_.folder, run_.recipe);
  if (!folder.ok()) return folder.status();
  folder_ = std::make_unique<RunFolder>(std::move(folder).value());
  return ok_status();
}

Status Loop::agree() const {
  if (ranks_ == nullptr) return ok_status();
  PARE_RETURN_IF_ERROR(ranks_->agree("recipe", identity_.recipe));
  PARE_RETURN_IF_ERROR(ranks_->agree("set of training images", identity_.data));
  PARE_RETURN_IF_ERROR(ranks_->agree("network", identity_.network));
  return ranks_->agree("kind of device", identity_.device);
}

void Loop::announce() const {
  if (run_.events.begins) run_.events.begins();
  if (!run_.events.note) return;
  run_.events.note(device_note_);
  constexpr int64_t kFewSteps = 4;
  if (plan_.steps_per_epoch >= kFewSteps) return;
  run_.events.note(
      fmt::format("{} images make {} step(s) of {} images an epoch: a smaller train.batch_size "
                  "learns more from them",
                  run_.data.train->size(), plan_.steps_per_epoch, run_.recipe.train.batch_size));
}

// Rank 0 reads the checkpoint, and the others take what was in it.
Result<json> Loop::read_state() {
  json state;
  if (leads()) {
    const std::string path = folder_->checkpoint_path();
    PARE_ASSIGN_OR_RETURN(Checkpoint checkpoint, read_checkpoint(path));
    const auto position = position_from_json(checkpoint.state, identity_);
    if (!position.ok()) return position.status().with_context(path);
    PARE_RETURN_IF_ERROR(stepper_->load_state(checkpoint.tensors).with_context(path));
    state = std::move(checkpoint.state);
  }
  if (ranks_ == nullptr) return state;
  PARE_ASSIGN_OR_RETURN(const std::string text, ranks_->text_from_leader(state.dump()));
  PARE_RETURN_IF_ERROR(stepper_->take_leaders_state());
  return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

Status Loop::resume() {
  PARE_ASSIGN_OR_RETURN(const json state, read_state());
  PARE_ASSIGN_OR_RETURN(position_, position_from_json(state, identity_));
  PARE_RETURN_IF_ERROR(folder_->rewind_logs(position_));
  const auto was = [&state](const char* key, const auto& now) {
    const auto found = state.find(key);
    return found != state.end() && *found == now;
  };
  announce();
  const bool same = was("threads", identity_.threads) && was("device", identity_.device) &&
                    was("ranks", identity_.ranks);
  if (run_.events.note) {
    run_.events.note(
        fmt::format("going on after step {} of {}", position_.step, plan_.total_steps));
    if (!same) {
      run_.events.note(
          "other device or number of threads or ranks than before: the last bits of the weights "
          "will differ from those of an unbroken run");
    }
  }
  // The run was stopped between an epoch's checkpoint and its validation.
  if (position_.step > 0 && plan_.ends_epoch(position_.step) &&
      position_.reported_epochs < plan_.epoch_of(position_.step - 1) + 1) {
    return end_epoch();
  }
  return ok_status();
}

Status Loop::open_loader() {
  if (position_.step >= plan_.total_steps) return ok_status();
  const TrainRecipe& r = run_.recipe;
  PARE_ASSIGN_OR_RETURN(const bool drawn_only, stepper_->keep_images(*run_.data.train));
  stepper_->begin_losses({position_.epoch_loss, position_.epoch_batches});
  PARE_ASSIGN_OR_RETURN(
      loader_, Loader::create(run_.data.train, {.batch_size = r.train.batch_size,
                                                .seed = static_cast<uint64_t>(r.train.seed),
                                                .augment = r.augment,
                                                .threads = loader_threads(device_, ranks_),
                                                .prefetch = 2 + 2 * loader_threads(device_, ranks_),
                                                .epoch = plan_.epoch_of(position_.step),
                                                .batch = plan_.first_batch(position_.step),
                                                .pixels = !drawn_only,
                                                .share = share_of(ranks_)}));
  if (loader_->batches_per_epoch() != plan_.batches_per_epoch) {
    return internal_error(fmt::format("the loader makes {} batches an epoch, the plan {}",
                                      loader_->batches_per_epoch(), plan_.batches_per_epoch));
  }
  return ok_status();
}

double Loop::learning_rate(int64_t step) const {
  return run_.recipe.optimiser.lr *
         schedule_factor(run_.recipe.schedule, {plan_.steps_per_epoch, plan_.total_steps}, step);
}

Status Loop::run_steps() {
  last_step_ = last_save_ = last_log_ = Clock::now();
  while (position_.step < plan_.total_steps) {
    // With ranks it is decided by all, at the end of a step.
    if (wished(kStop)) return stop();
    PARE_RETURN_IF_ERROR(one_step());
    if (plan_.ends_epoch(position_.step)) {
      PARE_RETURN_IF_ERROR(read_losses(/*wait=*/true));
      count_seconds();
      PARE_ASSIGN_OR_RETURN(const bool due, wish_of_any(ranks_, leads() && epoch_save_due()));
      if (due) PARE_RETURN_IF_ERROR(save_read());
      PARE_RETURN_IF_ERROR(end_epoch());
      last_step_ = Clock::now();  // validation is no part of a step
    } else if (wished(kSave)) {
      PARE_RETURN_IF_ERROR(save());
    }
  }
  return ok_status();
}

bool Loop::minutes_due() const {
  const double minutes = run_.recipe.checkpoint.minutes;
  return minutes > 0 && seconds_since(last_save_) > 60 * minutes;
}

Status Loop::one_step() {
  const int64_t step = position_.step;
  if (ranks_ != nullptr) ranks_->begin_vote(own_wishes());
  PARE_RETURN_IF_ERROR(update_masks());
  stepper_->seed_step(step);
  const int64_t group = plan_.group(step);
  for (int64_t i = 0; i < group; ++i) {
    PARE_RETURN_IF_ERROR(loader_->next(batch_));
    const Status taken = stepper_->accumulate(batch_, run_.data.train->image_shape(), group);
    if (taken.code() == StatusCode::kNumeric) return not_finite(taken);
    PARE_RETURN_IF_ERROR(taken);
    ++position_.epoch_batches;
  }
  const double lr = learning_rate(step);
  PARE_RETURN_IF_ERROR(stepper_->update(step, lr));
  if (ranks_ != nullptr) {
    PARE_ASSIGN_OR_RETURN(wishes_, ranks_->end_vote());
  }
  position_.step = step + 1;
  PARE_RETURN_IF_ERROR(read_losses(/*wait=*/false));
  const double seconds = count_seconds();
  step_seconds_ = step_seconds_ == 0 ? seconds : 0.95 * step_seconds_ + 0.05 * seconds;
  report_step(lr);
  return ok_status();
}

double Loop::count_seconds() {
  const double seconds = seconds_since(last_step_);
  last_step_ = Clock::now();
  position_.seconds += seconds;
  position_.epoch_seconds += seconds;
  run_seconds_ += seconds;
  return seconds;
}

Status Loop::read_losses(bool wait) {
  const auto losses = stepper_->losses(wait);
  if (losses.status().code() == StatusCode::kNumeric) return not_finite(losses.status());
  if (!losses.ok()) return losses.status();
  known_losses_ = *losses;
  position_.epoch_loss = losses->sum;
  if (const std::string note = stepper_->note(); note != told_) {
    told_ = note;
    if (run_.events.note) run_.events.note(note);
  }
  return ok_status();
}

// A GPU can be done with an epoch before a checkpoint is written: there, not each one is saved.
bool Loop::epoch_save_due() const {
  constexpr double kLeastSeconds = 30;
  const TrainRecipe::Checkpoint& c = run_.recipe.checkpoint;
  if (position_.step == plan_.total_steps) return c.epochs > 0 || c.minutes > 0;
  const double since = seconds_since(last_save_);
  if (c.minutes > 0 && since > 60 * c.minutes) return true;
  const int64_t done = plan_.epoch_of(position_.step - 1) + 1;
  return c.epochs > 0 && done % c.epochs == 0 && (!device_.is_cuda() || since > kLeastSeconds);
}

Status Loop::update_masks() {
  if (!run_.masks || position_.step % std::max(1, run_.mask_every_steps) != 0) return ok_status();
  PARE_ASSIGN_OR_RETURN(const Graph current, stepper_->network().to_graph({.share = true}));
  const double progress =
      static_cast<double>(position_.step) / static_cast<double>(plan_.total_steps);
  PARE_ASSIGN_OR_RETURN(const auto masks, run_.masks(progress, current));
  return stepper_->set_masks(masks);
}

void Loop::report_step(double lr) {
  StepReport report;
  report.step = position_.step;
  report.total_steps = plan_.total_steps;
  report.epoch = plan_.epoch_of(position_.step - 1) + 1;
  report.epochs = plan_.epochs();
  report.loss =
      known_losses_.sum / static_cast<double>(std::max<int64_t>(1, known_losses_.batches));
  report.learning_rate = lr;
  report.images_per_s =
      static_cast<double>(plan_.group(position_.step - 1) * batch_.whole) / step_seconds_;
  report.eta_s = step_seconds_ * static_cast<double>(plan_.total_steps - position_.step);
  if (run_.events.step) run_.events.step(report);
  constexpr double kLogSeconds = 5;
  if (seconds_since(last_log_) < kLogSeconds) return;
  last_log_ = Clock::now();
  const Status logged = folder_->log_step(report);
  if (!logged.ok() && run_.events.note) run_.events.note(logged.message());
}

Status Loop::end_epoch() {
  EpochReport report;
  report.step = position_.step;
  report.epoch = plan_.epoch_of(position_.step - 1) + 1;
  report.epochs = plan_.epochs();
  const auto batches = static_cast<double>(std::max<int64_t>(1, position_.epoch_batches));
  report.train_loss = position_.epoch_loss / batches;
  report.learning_rate = learning_rate(position_.step - 1);
  report.images =
      position_.epoch_batches * std::min(run_.recipe.train.batch_size, run_.data.train->size());
  report.seconds = position_.epoch_seconds;
  const int64_t every = run_.recipe.train.validate_every;
  if (validation_ != nullptr && every > 0 && report.epoch % every == 0) {
    PARE_RETURN_IF_ERROR(stepper_->align_statistics());
    const auto scores = stepper_->validate(validation_, run_.recipe.train.batch_size, run_.stop);
    // The checkpoint was written before; a resumed run validates again.
    if (scores.status().code() == StatusCode::kCancelled) return stopped();
    if (!scores.ok()) return scores.status();
    report.validation_loss = scores->loss;
    report.validation_top1 = scores->top1;
    report.validation_top5 = scores->top5;
  }
  position_.reported_epochs = report.epoch;
  position_.epoch_loss = 0;
  position_.epoch_batches = 0;
  position_.epoch_seconds = 0;
  stepper_->begin_losses({});
  known_losses_ = {};
  if (run_.events.epoch) run_.events.epoch(report);
  return folder_->log_epoch(run_, report);
}

Status Loop::save() {
  if (!keeps()) return ok_status();
  PARE_RETURN_IF_ERROR(read_losses(/*wait=*/true));
  return save_read();
}

Status Loop::save_read() {
  if (!keeps()) return ok_status();
  if (!stepper_->finite()) {
    return numeric_error(fmt::format(
        "after step {} a weight is not a finite number any more; the last good checkpoint is {}",
        position_.step, last_checkpoint()));
  }
  PARE_RETURN_IF_ERROR(stepper_->align_statistics());
  if (leads()) PARE_RETURN_IF_ERROR(write_state());
  last_save_ = Clock::now();
  return ok_status();
}

Status Loop::write_state() const {
  Checkpoint checkpoint;
  checkpoint.state = position_to_json(position_, identity_);
  PARE_ASSIGN_OR_RETURN(checkpoint.tensors, stepper_->state());
  return write_checkpoint(folder_->checkpoint_path(), checkpoint);
}

Status Loop::stop() {
  PARE_RETURN_IF_ERROR(save());
  return stopped();
}

// With everything saved, the words to go on.
Status Loop::stopped() const {
  if (!keeps()) {
    return cancelled(fmt::format("stopped after step {} of {}", position_.step, plan_.total_steps));
  }
  PARE_RETURN_IF_ERROR(folder_->log({{"event", "stop"}, {"step", position_.step}}));
  return cancelled(
      fmt::format("stopped after step {} of {}, all saved; go on with: pare train "
                  "--resume --out {}",
                  position_.step, plan_.total_steps, run_.folder));
}

// For messages.
std::string Loop::last_checkpoint() const {
  if (keeps() && !leads()) return "rank 0's";
  return folder_->keeps() && file_exists(folder_->checkpoint_path()) ? folder_->checkpoint_path()
                                                                     : "none";
}

Status Loop::not_finite(const Status& why) const {
  const Batch& batch = batch_;
  std::string images;
  for (size_t i = 0; i < std::min<size_t>(8, batch.images.size()); ++i) {
    images += (i == 0 ? "" : ", ") + std::to_string(batch.images[i]);
  }
  return numeric_error(fmt::format(
      "{} at step {} (epoch {}, batch {}; images {}, ...); the last good checkpoint is {}. A lower "
      "optimiser.lr or train.clip_norm = 1 may help",
      why.message(), position_.step + 1, batch.epoch + 1, batch.index + 1, images,
      last_checkpoint()));
}

Result<TrainResult> Loop::finish() {
  PARE_RETURN_IF_ERROR(stepper_->align_statistics());
  const Status recalibrated = stepper_->recalibrate(run_.data.train, run_.stop);
  if (recalibrated.code() == StatusCode::kCancelled) return stopped();
  PARE_RETURN_IF_ERROR(recalibrated);
  TrainResult result;
  PARE_ASSIGN_OR_RETURN(result.graph, stepper_->result().to_graph());
  if (!run_.keep_form) {
    PARE_ASSIGN_OR_RETURN(result.graph, finish_graph(result.graph, run_));
  }
  result.weights_hash = weights_hash(result.graph);
  if (ranks_ != nullptr) PARE_RETURN_IF_ERROR(ranks_->agree("result", result.weights_hash));
  result.steps = position_.step;
  result.seconds = position_.seconds;
  result.traffic = stepper_->traffic();
  if (const auto worked = stepper_->gpu_seconds(); worked && run_seconds_ > 0) {
    result.gpu_share = *worked / run_seconds_;
  }
  if (run_.data.test != nullptr) {
    if (run_.events.note) {
      run_.events.note(fmt::format("measuring the result on {}", run_.data.test->description()));
    }
    PARE_ASSIGN_OR_RETURN(
        TorchExecutor executor,
        TorchExecutor::create(result.graph, {.device = device_, .trainable = false}));
    std::optional<ResidentImages> images;
    if (device_.is_cuda()) {
      constexpr int64_t kRoomBytes = int64_t{4} << 30;
      PARE_ASSIGN_OR_RETURN(images, make_resident(*run_.data.test, device_, kRoomBytes));
    }
    const auto scores = evaluate(executor, run_.data.test,
                                 {.batch_size = run_.recipe.train.batch_size,
                                  .device = device_,
                                  .stop = run_.stop,
                                  .images = images ? &*images : nullptr,
                                  .ranks = ranks_});
    if (scores.status().code() == StatusCode::kCancelled) return stopped();
    if (!scores.ok()) return scores.status();
    result.test_loss = scores->loss;
    result.top1 = scores->top1;
    result.top5 = scores->top5;
    result.images = scores->images;
    if (const int64_t views = run_.recipe.train.test_views; views > 1) {
      const auto top1 = top1_of_views(executor, run_.data.test,
                                      {.views = views,
                                       .batch_size = run_.recipe.train.batch_size,
                                       .device = device_,
                                       .stop = run_.stop,
                                       .ranks = ranks_});
      if (top1.status().code() == StatusCode::kCancelled) return stopped();
      if (!top1.ok()) return top1.status();
      result.views_top1 = *top1;
    }
  }
  if (folder_->keeps()) {
    result.model_path = folder_->model_path();
    PARE_RETURN_IF_ERROR(save_model(result.graph, result.model_path));
    PARE_RETURN_IF_ERROR(folder_->log({{"event", "end"},
                                       {"step", position_.step},
                                       {"weights_hash", result.weights_hash},
                                       {"top1", result.top1},
                                       {"top5", result.top5},
                                       {"seconds", result.seconds}}));
  }
  return result;
}

// The GPU of this rank among those of its host, and the way to the others'.
Status use_ranks_gpu(Ranks& ranks) {
  PARE_RETURN_IF_ERROR(choose_gpu(ranks.place().local_rank));
  std::string why;
  GpuTools* tools = load_gpu_tools(&why);
  if (tools == nullptr) return unsupported("several GPUs need our own CUDA part: " + why);
  return ranks.use_gpu(*tools);
}

}  // namespace

Result<TrainResult> train(const TrainRun& asked) {
  TrainRun run = asked;
  PARE_RETURN_IF_ERROR(check_train_recipe(run.recipe));
  if (run.data.train == nullptr || run.data.train->size() == 0) {
    return invalid_argument("training needs images, the training set is empty");
  }
  if (run.resume && run.folder.empty()) {
    return invalid_argument("--resume needs the folder of the run (--out)");
  }
  PARE_ASSIGN_OR_RETURN(const DeviceChoice device, choose_device(run.device));
  if (device.cuda && run.ranks != nullptr) PARE_RETURN_IF_ERROR(use_ranks_gpu(*run.ranks));
  const int threads = run.threads > 0 ? run.threads : cores_of(run.ranks);
  at::set_num_threads(threads);
  PARE_ASSIGN_OR_RETURN(std::shared_ptr<const Dataset> validation, split_validation(run));
  const auto prepared = prepare_graph(run);
  if (!prepared.ok()) return prepared.status().with_context(run.recipe.model.name);
  PARE_RETURN_IF_ERROR(check_teacher(run));
  PARE_RETURN_IF_ERROR(check_ranks(run));
  const RunPlan plan = plan_run(run);
  Loop loop(run, std::move(validation), plan, device.cuda ? at::kCUDA : at::kCPU);
  PARE_RETURN_IF_ERROR(loop.prepare(*prepared, threads, device.why));
  PARE_RETURN_IF_ERROR(loop.run_steps());
  return loop.finish();
}

}  // namespace pare

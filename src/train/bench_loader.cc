// Whether the trainer waits for images, or the loader for the trainer: real training steps by a
// recipe, on the built-in images, with the loader as `pare train` uses it.
//
//   bench_train_loader [RECIPE] [ROUNDS] [THREADS]     alexnet, 4 rounds, all cores
//
// Prints what the loader makes when nobody holds it up, the share of the time that next() waited
// for a batch, and a step's time with the loader against one that finds its batch in memory. Exits
// 1 when more than 2 % of the time went into waiting.

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <vector>

#include "base/stats.h"
#include "base/thread_pool.h"
#include "data/loader.h"
#include "models/models.h"
#include "train/recipe.h"
#include "train/stepper.h"

namespace pare {
namespace {

constexpr int kStepsARound = 8;
constexpr double kMostWaiting = 0.02;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

LoaderOptions loader_options(const TrainRecipe& recipe, int threads) {
  return {.batch_size = recipe.train.batch_size,
          .augment = recipe.augment,
          .threads = threads,
          .prefetch = 2 + 2 * threads};
}

// Images a second when they are taken as fast as they come.
Result<double> loader_alone(const std::shared_ptr<const Dataset>& data, const TrainRecipe& recipe,
                            int threads) {
  PARE_ASSIGN_OR_RETURN(const auto loader, Loader::create(data, loader_options(recipe, threads)));
  Batch batch;
  constexpr double kSeconds = 2;
  int64_t images = 0;
  for (int i = 0; i < 2 * (2 + 2 * threads); ++i) PARE_RETURN_IF_ERROR(loader->next(batch));
  const auto start = Clock::now();
  while (seconds_since(start) < kSeconds) {
    PARE_RETURN_IF_ERROR(loader->next(batch));
    images += batch.count;
  }
  return static_cast<double>(images) / seconds_since(start);
}

class Bench {
 public:
  Bench(std::shared_ptr<const Dataset> data, Stepper& stepper, Loader& loader)
      : data_(std::move(data)), stepper_(stepper), loader_(loader) {}

  // A round of steps, each with a fresh batch or all with the last one.
  Status round(bool fresh, std::vector<double>& times) {
    for (int i = 0; i < kStepsARound; ++i) {
      const auto start = Clock::now();
      if (fresh) PARE_RETURN_IF_ERROR(loader_.next(batch_));
      stepper_.seed_step(step_);
      PARE_RETURN_IF_ERROR(stepper_.accumulate(batch_, data_->image_shape(), 1));
      PARE_RETURN_IF_ERROR(stepper_.update(step_++, /*lr=*/1e-4));
      // What was made ready while the other kind ran its round is used up first.
      if (!fresh || i >= kStepsARound / 2) times.push_back(seconds_since(start));
    }
    return ok_status();
  }

 private:
  std::shared_ptr<const Dataset> data_;
  Stepper& stepper_;
  Loader& loader_;
  Batch batch_;
  int64_t step_ = 0;
};

Result<int> run(const std::string& name, int rounds, int threads) {
  PARE_ASSIGN_OR_RETURN(const TrainRecipe recipe, load_train_recipe(name));
  PARE_ASSIGN_OR_RETURN(const DatasetPair data, open_dataset({}));
  const int workers = loader_threads(at::kCPU);
  for (const int w : {1, available_cores()}) {
    PARE_ASSIGN_OR_RETURN(const double speed, loader_alone(data.train, recipe, w));
    fmt::print("loader alone, {} worker{}: {:.0f} images/s\n", w, w == 1 ? "" : "s", speed);
  }
  at::set_num_threads(threads);
  PARE_ASSIGN_OR_RETURN(const Graph graph,
                        build_model(recipe.model.name, {.training_form = recipe.model.batch_norm}));
  PARE_ASSIGN_OR_RETURN(auto stepper, Stepper::create(graph, nullptr, recipe, at::kCPU));
  PARE_ASSIGN_OR_RETURN(auto loader, Loader::create(data.train, loader_options(recipe, workers)));
  Bench bench(data.train, *stepper, *loader);
  std::vector<double> warm_up;
  PARE_RETURN_IF_ERROR(bench.round(true, warm_up));
  std::vector<double> fresh;
  std::vector<double> held;
  double waited = 0;
  double seconds = 0;
  for (int r = 0; r < rounds; ++r) {
    const LoaderStats before = loader->stats();
    const auto start = Clock::now();
    PARE_RETURN_IF_ERROR(bench.round(true, fresh));
    seconds += seconds_since(start);
    waited += loader->stats().consumer_wait_s - before.consumer_wait_s;
    PARE_RETURN_IF_ERROR(bench.round(false, held));
  }
  const LoaderStats stats = loader->stats();
  const double step = quantile(fresh, 0.5);
  fmt::print(
      "{}, batch {}, {} threads, {}: a step takes {:.1f} ms ({:.0f} images/s), with its "
      "batch in memory {:.1f} ms (medians of {} and {}): ratio {:.3f}\n",
      name, recipe.train.batch_size, threads, stepper->autocast() ? "bfloat16" : "float32",
      1e3 * step, static_cast<double>(recipe.train.batch_size) / step, 1e3 * quantile(held, 0.5),
      fresh.size(), held.size(), step / quantile(held, 0.5));
  fmt::print(
      "waiting for a batch: {:.2f} % of the time; {} loader thread{} at work {:.1f} % of it\n",
      100 * waited / seconds, workers, workers == 1 ? "" : "s",
      100 * stats.worker_busy_s / (stats.elapsed_s * workers));
  return waited / seconds <= kMostWaiting ? 0 : 1;
}

}  // namespace
}  // namespace pare

int main(int argc, char** argv) {
  const std::string recipe = argc > 1 ? argv[1] : "alexnet";
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 4;
  const int threads = argc > 3 ? std::atoi(argv[3]) : pare::available_cores();
  const auto result = pare::run(recipe, rounds < 1 ? 1 : rounds, threads < 1 ? 1 : threads);
  if (result.ok()) return *result;
  fmt::print(stderr, "bench_train_loader: {}\n", result.status().message());
  return 1;
}

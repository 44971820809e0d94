// Training steps on a GPU, as the trainer takes them: images/s, and the share of the time in which
// the GPU works.
//
//   bench_train_gpu [RECIPE [BATCH [STEPS [FIELD=VALUE ...]]]]      alexnet 1024 200
//
// The images are noise of CIFAR-10's size and number; augmentation is the recipe's. With
// PARE_BENCH_PLAIN=1 by LibTorch's operators alone. With PARE_BENCH_PROFILE=1 one step, launched
// operator by operator, is shown to a profiler (`ncu --profile-from-start off`), and no more is
// done.

#include <dlfcn.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>

#include "base/rng.h"
#include "data/memory_dataset.h"
#include "models/models.h"
#include "train/device.h"
#include "train/recipe.h"
#include "train/stepper.h"

namespace pare {
namespace {

using Clock = std::chrono::steady_clock;

std::shared_ptr<const Dataset> noise() {
  constexpr ImageShape kShape = {3, 32, 32};
  constexpr int64_t kImages = 50000;
  std::vector<uint8_t> pixels(static_cast<size_t>(kImages * kShape.size()));
  Rng rng(1, RngPurpose::kTiming);
  for (uint8_t& p : pixels) p = static_cast<uint8_t>(rng.next_u32());
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < kImages; ++i) labels.push_back(static_cast<int32_t>(rng.below(10)));
  return MemoryDataset::create(kShape, std::move(pixels), std::move(labels),
                               {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, "noise")
      .value();
}

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// LibTorch brings the CUDA runtime; the program is not linked with it.
void call_cudart(const char* name) {
  if (auto* function = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, name))) function();
}

Status run(const std::string& name, int64_t batch_size, int64_t steps,
           const std::vector<std::string>& settings) {
  PARE_ASSIGN_OR_RETURN(TrainRecipe recipe, load_train_recipe(name));
  for (const std::string& s : settings) PARE_RETURN_IF_ERROR(set_recipe_field(recipe, s));
  recipe.train.batch_size = batch_size;
  PARE_ASSIGN_OR_RETURN(const DeviceChoice device, choose_device("cuda"));
  PARE_ASSIGN_OR_RETURN(const Graph graph, build_model(recipe.model.name, {.training_form = true}));
  std::optional<Graph> teacher;
  if (!recipe.distil.teacher.empty()) {
    PARE_ASSIGN_OR_RETURN(teacher, build_model(recipe.distil.teacher, {}));
  }
  const bool plain = std::getenv("PARE_BENCH_PLAIN") != nullptr;
  PARE_ASSIGN_OR_RETURN(const auto stepper, Stepper::create(graph, teacher ? &*teacher : nullptr,
                                                            recipe, at::kCUDA, !plain));
  if (const char* limit = std::getenv("PARE_BENCH_CUDNN")) {
    at::globalContext().setBenchmarkCuDNN(std::atoi(limit) > 0);
    at::globalContext().setBenchmarkLimitCuDNN(std::atoi(limit));
  }
  const auto data = noise();
  PARE_ASSIGN_OR_RETURN(const bool drawn_only, stepper->keep_images(*data));
  PARE_ASSIGN_OR_RETURN(const auto loader,
                        Loader::create(data, {.batch_size = batch_size,
                                              .augment = recipe.augment,
                                              .threads = loader_threads(at::kCUDA),
                                              .prefetch = 2 + 2 * loader_threads(at::kCUDA),
                                              .pixels = !drawn_only}));
  Batch batch;
  int64_t step = 0;
  const auto take = [&]() -> Status {
    stepper->seed_step(step);
    PARE_RETURN_IF_ERROR(loader->next(batch));
    PARE_RETURN_IF_ERROR(stepper->accumulate(batch, data->image_shape(), 1));
    return stepper->update(step++, 1e-4);
  };
  if (std::getenv("PARE_BENCH_PROFILE") != nullptr) {
    for (int i = 0; i < 2; ++i) PARE_RETURN_IF_ERROR(take());
    call_cudart("cudaProfilerStart");
    PARE_RETURN_IF_ERROR(take());
    PARE_RETURN_IF_ERROR(stepper->losses(/*wait=*/true).status());
    call_cudart("cudaProfilerStop");
    return ok_status();
  }
  constexpr int kWarmSteps = 8;
  auto start = Clock::now();
  for (int i = 0; i < kWarmSteps; ++i) PARE_RETURN_IF_ERROR(take());
  PARE_RETURN_IF_ERROR(stepper->losses(/*wait=*/true).status());
  const double warm = since(start);
  const double worked = stepper->gpu_seconds().value_or(0);
  start = Clock::now();
  for (int64_t i = 0; i < steps; ++i) PARE_RETURN_IF_ERROR(take());
  PARE_ASSIGN_OR_RETURN(const LossSum losses, stepper->losses(/*wait=*/true));
  const double seconds = since(start);
  fmt::print(
      "{} batch {}: {:.3f} ms a step, {:.0f} images/s, GPU at work {:.1f} %, first {} steps "
      "{:.1f} s, mean loss {:.4f} {}\n",
      name, batch_size, 1e3 * seconds / static_cast<double>(steps),
      static_cast<double>(steps * batch_size) / seconds,
      100 * (stepper->gpu_seconds().value_or(0) - worked) / seconds, kWarmSteps, warm,
      losses.sum / static_cast<double>(losses.batches), stepper->note());
  return ok_status();
}

}  // namespace
}  // namespace pare

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  const auto number = [&](size_t i, int64_t otherwise) {
    return args.size() > i ? std::max<int64_t>(1, std::atoll(args[i].c_str())) : otherwise;
  };
  const std::vector<std::string> settings(args.begin() + std::min<int64_t>(3, argc - 1),
                                          args.end());
  const pare::Status done =
      pare::run(args.empty() ? "alexnet" : args[0], number(1, 1024), number(2, 200), settings);
  if (!done.ok()) fmt::print(stderr, "{}\n", done.message());
  return done.ok() ? 0 : 1;
}

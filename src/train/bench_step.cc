// A training step of the exact AlexNet, batch 256: ours, through the graph and its executor,
// against a bare LibTorch loop (the same net as torch::nn modules, channels-last, the same
// autocast, SGD, one normalised batch held in memory). The two alternate in one run; what counts is
// the ratio.
//
//   bench_train_step [ROUNDS] [THREADS]        exits 1 when the medians' ratio is above 1.1
//
// Both start from the same weights, and the losses of the first step must agree before anything is
// timed.

#include <fmt/format.h>
#include <torch/nn/modules.h>
#include <torch/optim/sgd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>

#include "base/rng.h"
#include "base/stats.h"
#include "base/thread_pool.h"
#include "models/models.h"
#include "train/stepper.h"
#include "train/tensors.h"

namespace pare {
namespace {

namespace nn = torch::nn;

constexpr int64_t kBatch = 256;
constexpr ImageShape kShape = {3, 32, 32};
constexpr double kLearningRate = 0.01;
constexpr double kMomentum = 0.9;
constexpr double kBar = 1.1;

struct BareNet : nn::Module {
  nn::Sequential layers;

  BareNet() {
    const auto conv = [](int64_t in, int64_t out, int64_t kernel, int64_t padding) {
      return nn::Conv2d(nn::Conv2dOptions(in, out, kernel).padding(padding));
    };
    const auto pool = [](int64_t kernel) {
      return nn::MaxPool2d(nn::MaxPool2dOptions(kernel).stride(2));
    };
    layers = nn::Sequential(conv(3, 64, 11, 0), nn::ReLU(), pool(3),            //
                            conv(64, 192, 5, 2), nn::ReLU(), pool(2),           //
                            conv(192, 384, 3, 1), nn::ReLU(),                   //
                            conv(384, 256, 3, 1), nn::ReLU(),                   //
                            conv(256, 256, 3, 1), nn::ReLU(), pool(2),          //
                            nn::Flatten(),                                      //
                            nn::Linear(1024, 4096), nn::ReLU(), nn::Dropout(),  //
                            nn::Linear(4096, 4096), nn::ReLU(), nn::Dropout(),  //
                            nn::Linear(4096, 10));
    register_module("layers", layers);
  }
};

// The weights of our graph, in the order in which both nets use them.
void copy_weights(const TorchExecutor& from, BareNet& to) {
  const torch::NoGradGuard no_grad;
  const auto target = to.parameters();
  for (size_t i = 0; i < target.size(); ++i) target[i].copy_(from.parameters()[i].value);
}

Batch random_batch() {
  Batch batch;
  batch.count = kBatch;
  Rng rng(1, RngPurpose::kTiming);
  batch.pixels.resize(static_cast<size_t>(kBatch * kShape.size()));
  for (uint8_t& p : batch.pixels) p = static_cast<uint8_t>(rng.next_u32());
  for (int64_t i = 0; i < kBatch; ++i) batch.labels.push_back(static_cast<int32_t>(rng.below(10)));
  batch.mixed.labels = batch.labels;
  batch.mixed.weights.assign(static_cast<size_t>(kBatch), 0.0F);
  return batch;
}

class BareLoop {
 public:
  BareLoop(const Stepper& ours, Batch& batch, bool autocast)
      : optimiser_(net_.parameters(),
                   torch::optim::SGDOptions(kLearningRate).momentum(kMomentum).nesterov(true)),
        autocast_(autocast) {
    copy_weights(ours.network(), net_);
    net_.to(torch::kFloat);
    for (auto& p : net_.parameters()) {
      if (p.dim() == 4) p.set_data(p.contiguous(torch::MemoryFormat::ChannelsLast));
    }
    const TorchBatch images = to_torch_batch(batch, kShape, torch::kCPU);
    const auto& weights = ours.network().source().initializers;
    // The graph's first nodes, done once.
    const auto scale = to_torch(weights.at("preprocess.scale")).value();
    const auto shift = to_torch(weights.at("preprocess.shift")).value();
    images_ = (images.pixels.to(torch::kFloat) * scale + shift)
                  .contiguous(torch::MemoryFormat::ChannelsLast);
    labels_ = images.labels.clone();
  }

  double step() {
    optimiser_.zero_grad();
    torch::Tensor scores;
    at::autocast::set_autocast_enabled(torch::kCPU, autocast_);
    at::autocast::set_autocast_dtype(torch::kCPU, torch::kBFloat16);
    scores = net_.layers->forward(images_);
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(torch::kCPU, false);
    const torch::Tensor loss =
        torch::nn::functional::cross_entropy(scores.to(torch::kFloat), labels_);
    loss.backward();
    optimiser_.step();
    return loss.item<double>();
  }

 private:
  BareNet net_;
  torch::optim::SGD optimiser_;
  bool autocast_;
  torch::Tensor images_;
  torch::Tensor labels_;
};

double seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int run(int rounds, int threads) {
  at::set_num_threads(threads);
  const auto graph = build_model("alexnet", {});
  TrainRecipe recipe;
  recipe.optimiser.lr = kLearningRate;
  recipe.optimiser.momentum = kMomentum;
  auto stepper = Stepper::create(*graph, nullptr, recipe, at::kCPU);
  if (!stepper.ok()) {
    fmt::print(stderr, "{}\n", stepper.status().message());
    return 1;
  }
  Stepper& ours = **stepper;
  Batch batch = random_batch();
  BareLoop bare(ours, batch, ours.autocast());

  int64_t number = 0;
  const auto our_step = [&] {
    ours.seed_step(number++);
    ours.begin_losses({});
    const Status taken = ours.accumulate(batch, kShape, 1);
    const double loss = taken.ok() ? ours.losses(/*wait=*/true)->sum : NAN;
    (void)ours.update(number, kLearningRate);
    return loss;
  };
  at::manual_seed(Rng(0, RngPurpose::kDropout, 0).next_u64());  // the dropout that ours draws
  const double bare_loss = bare.step();
  const double our_loss = our_step();
  // bfloat16 keeps 8 bits; the two sum in other orders.
  if (!(std::fabs(bare_loss - our_loss) < 0.02 * bare_loss)) {
    fmt::print(stderr, "the nets differ: loss {} ours, {} bare\n", our_loss, bare_loss);
    return 1;
  }
  std::vector<double> our_times;
  std::vector<double> bare_times;
  for (int i = 0; i < rounds + 2; ++i) {
    auto start = std::chrono::steady_clock::now();
    our_step();
    const double our_time = seconds(start);
    start = std::chrono::steady_clock::now();
    bare.step();
    const double bare_time = seconds(start);
    if (i < 2) continue;  // warm-up
    our_times.push_back(our_time);
    bare_times.push_back(bare_time);
  }
  const double ratio = quantile(our_times, 0.5) / quantile(bare_times, 0.5);
  const Interval interval = bootstrap_ratio_of_medians(our_times, bare_times);
  fmt::print(
      "AlexNet, batch {}, {} threads, {}: ours {:.1f} ms, bare LibTorch {:.1f} ms (medians of "
      "{})\n",
      kBatch, threads, ours.autocast() ? "bfloat16" : "float32", 1e3 * quantile(our_times, 0.5),
      1e3 * quantile(bare_times, 0.5), rounds);
  fmt::print("ratio {:.3f} (95 %: {:.3f} to {:.3f}), bar {}\n", ratio, interval.low, interval.high,
             kBar);
  return ratio <= kBar ? 0 : 1;
}

}  // namespace
}  // namespace pare

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 15;
  const int threads = argc > 2 ? std::atoi(argv[2]) : pare::available_cores();
  return pare::run(rounds < 1 ? 1 : rounds, threads < 1 ? 1 : threads);
}

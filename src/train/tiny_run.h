// A network and images so small that a whole training run takes a second, for the tests: two
// convolutions with batch norm, dropout and a dense layer, on 8×8 pictures whose class is the
// corner that is bright.
#ifndef PARE_TRAIN_TINY_RUN_H_
#define PARE_TRAIN_TINY_RUN_H_

#include <string>

#include "base/rng.h"
#include "data/memory_dataset.h"
#include "graph/graph.h"
#include "train/train.h"

namespace pare {

inline std::shared_ptr<const Dataset> tiny_images(int64_t count, uint64_t seed) {
  constexpr ImageShape kShape = {3, 8, 8};
  std::vector<uint8_t> pixels(static_cast<size_t>(count * kShape.size()));
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < count; ++i) {
    Rng rng(seed, RngPurpose::kTest, static_cast<uint64_t>(i));
    labels.push_back(static_cast<int32_t>(rng.below(4)));
    const int64_t top = labels.back() / 2 * 4;
    const int64_t left = labels.back() % 2 * 4;
    for (int64_t p = 0; p < kShape.size(); ++p) {
      const int64_t y = p / 8 % 8;
      const int64_t x = p % 8;
      const bool bright = y >= top && y < top + 4 && x >= left && x < left + 4;
      pixels[static_cast<size_t>(i * kShape.size() + p)] =
          static_cast<uint8_t>(rng.below(128) + (bright ? 60 : 0));
    }
  }
  return MemoryDataset::create(kShape, std::move(pixels), std::move(labels),
                               {"nw", "ne", "sw", "se"}, "toy corners")
      .value();
}

// `width`: channels of the convolutions.
inline Graph tiny_graph(uint64_t seed = 1, int64_t width = 6) {
  Graph g;
  g.name = "tiny";
  g.inputs = {{"input", DType::kUInt8, {kDynamic, 3, 8, 8}}};
  g.outputs = {{"logits", DType::kFloat32, {kDynamic, 4}}};
  g.contract.height = g.contract.width = 8;
  uint64_t tensor = 0;
  const auto random = [&](const std::string& name, Shape shape, float deviation) {
    Tensor t(DType::kFloat32, std::move(shape));
    Rng rng(seed, RngPurpose::kInit, tensor++);
    for (float& v : t.mutable_values<float>()) v = deviation * rng.normal();
    g.initializers[name] = t;
  };
  const auto filled = [&](const std::string& name, int64_t size, float value) {
    g.initializers[name] =
        Tensor::from_values<float>({size}, std::vector<float>(static_cast<size_t>(size), value));
  };
  const std::vector<int64_t> pads = {1, 1, 1, 1};
  const auto block = [&](const std::string& n, const std::string& x, int64_t in, int64_t out) {
    random("conv" + n + ".weight", {out, in, 3, 3}, 0.2F);
    filled("conv" + n + ".bias", out, 0);
    filled("bn" + n + ".scale", out, 1);
    filled("bn" + n + ".shift", out, 0);
    filled("bn" + n + ".mean", out, 0);
    filled("bn" + n + ".variance", out, 1);
    g.nodes.push_back({"Conv",
                       "",
                       "conv" + n,
                       {x, "conv" + n + ".weight", "conv" + n + ".bias"},
                       {"conv" + n},
                       {{"pads", pads}}});
    g.nodes.push_back({"BatchNormalization",
                       "",
                       "bn" + n,
                       {"conv" + n, "bn" + n + ".scale", "bn" + n + ".shift", "bn" + n + ".mean",
                        "bn" + n + ".variance"},
                       {"bn" + n},
                       {}});
    g.nodes.push_back({"Relu", "", "relu" + n, {"bn" + n}, {"relu" + n}, {}});
  };
  g.initializers["input.scale"] =
      Tensor::from_values<float>({1, 3, 1, 1}, std::vector<float>(3, 1.0F / 128));
  g.initializers["input.shift"] =
      Tensor::from_values<float>({1, 3, 1, 1}, std::vector<float>(3, -0.7F));
  g.initializers["ratio"] = Tensor::scalar<float>(0.1F);
  g.nodes = {{"Cast", "", "input.float", {"input"}, {"input.float"}, {{"to", int64_t{1}}}},
             {"Mul", "", "input.scaled", {"input.float", "input.scale"}, {"input.scaled"}, {}},
             {"Add", "", "input.normal", {"input.scaled", "input.shift"}, {"input.normal"}, {}}};
  block("1", "input.normal", 3, width);
  block("2", "relu1", width, width);
  g.nodes.push_back(
      {"MaxPool",
       "",
       "pool",
       {"relu2"},
       {"pool"},
       {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}}});
  g.nodes.push_back({"Flatten", "", "flatten", {"pool"}, {"flatten"}, {}});
  g.nodes.push_back({"Dropout", "", "drop", {"flatten", "ratio"}, {"drop"}, {}});
  random("dense.weight", {4, 16 * width}, 0.1F);
  filled("dense.bias", 4, 0);
  g.nodes.push_back({"Gemm",
                     "",
                     "dense",
                     {"drop", "dense.weight", "dense.bias"},
                     {"logits"},
                     {{"transB", int64_t{1}}}});
  return g;
}

// Every part of the state takes part: momentum, average, batch norm, dropout, mixing, gathering.
inline TrainRun tiny_run(const std::string& folder) {
  TrainRun run;
  run.recipe.name = "tiny";
  run.recipe.model.name = "tiny";
  run.recipe.train.epochs = 4;
  run.recipe.train.batch_size = 16;
  run.recipe.train.accumulate = 2;
  run.recipe.train.clip_norm = 5;
  run.recipe.train.label_smoothing = 0.1;
  run.recipe.optimiser.lr = 0.05;
  run.recipe.optimiser.weight_decay = 1e-3;
  run.recipe.schedule.warmup_epochs = 0.5;
  run.recipe.augment.crop_padding = 1;
  run.recipe.augment.cutmix_alpha = 1;
  run.recipe.augment.mix_probability = 0.3F;
  run.recipe.ema.decay = 0.9;
  run.recipe.ema.recalibration_batches = 4;
  run.graph = tiny_graph();
  run.data = {tiny_images(480, 11), tiny_images(200, 12)};
  run.folder = folder;
  run.threads = 1;
  return run;
}

}  // namespace pare

#endif  // PARE_TRAIN_TINY_RUN_H_

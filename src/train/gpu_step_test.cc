// Our own CUDA part against what it stands for: the augmentation on the CPU, the optimiser and the
// step by LibTorch's operators. Skipped where there is no GPU, or the part was not built.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "base/rng.h"
#include "models/models.h"
#include "train/cuda/gpu_tools.h"
#include "train/device.h"
#include "train/gpu_layers.h"
#include "train/stepper.h"
#include "train/tiny_run.h"

namespace pare {
namespace {

class GpuPart : public testing::Test {
 protected:
  void SetUp() override {
    const auto choice = choose_device("auto");
    ASSERT_TRUE(choice.ok()) << choice.status().message();
    if (!choice->cuda) GTEST_SKIP() << choice->why;
    std::string why;
    tools_ = load_gpu_tools(&why);
    if (tools_ == nullptr) GTEST_SKIP() << why;
    tools_->enter();
  }
  void TearDown() override {
    if (tools_ != nullptr) tools_->leave();
  }
  GpuTools* tools_ = nullptr;
};

at::Tensor bytes_on_gpu(const void* data, size_t size) {
  return at::from_blob(const_cast<void*>(data), {static_cast<int64_t>(size)},
                       at::TensorOptions().dtype(at::kByte))
      .to(at::kCUDA);
}

std::shared_ptr<const MemoryDataset> noise_images(const ImageShape& shape, int64_t count) {
  std::vector<uint8_t> pixels(static_cast<size_t>(count * shape.size()));
  Rng rng(5, RngPurpose::kTest);
  for (uint8_t& p : pixels) p = static_cast<uint8_t>(rng.next_u32());
  std::vector<int32_t> labels(static_cast<size_t>(count));
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int32_t>(i % 3);
  return MemoryDataset::create(shape, std::move(pixels), std::move(labels), {"a", "b", "c"},
                               "noise")
      .value();
}

std::vector<AugmentOptions> all_augmentations() {
  AugmentOptions crop;
  crop.crop_padding = 3;
  crop.flip = true;
  AugmentOptions affine = crop;
  affine.rotate_degrees = 25;
  affine.scale = 0.3F;
  affine.shift = 0.1F;
  AugmentOptions colour = crop;
  colour.colour = 0.4F;
  AugmentOptions everything = affine;
  everything.colour = 0.4F;
  everything.cutout = 5;
  AugmentOptions mixup = everything;
  mixup.mixup_alpha = 0.8F;
  AugmentOptions cutmix = crop;
  cutmix.cutmix_alpha = 1;
  cutmix.cutout = 4;
  return {{}, crop, affine, colour, everything, mixup, cutmix};
}

// The batch that a loader makes of these options, against the kernel's.
void expect_same_pixels(GpuTools& tools, const ImageShape& shape, const AugmentOptions& options) {
  constexpr int64_t kImages = 40;
  constexpr int64_t kBatch = 13;  // odd: the middle image has no partner
  const auto data = noise_images(shape, kImages);
  const auto loader =
      Loader::create(data, {.batch_size = kBatch, .seed = 7, .augment = options}).value();
  const at::Tensor images =
      bytes_on_gpu(data->image(0).data(), static_cast<size_t>(kImages * shape.size()))
          .view({kImages, shape.channels, shape.height, shape.width});
  for (int k = 0; k < 8; ++k) {
    Batch batch;
    ASSERT_TRUE(loader->next(batch).ok());
    const std::vector<int32_t> positions(batch.images.begin(), batch.images.end());
    const at::Tensor device_positions =
        bytes_on_gpu(positions.data(), positions.size() * sizeof(int32_t)).view(at::kInt);
    const at::Tensor draws = bytes_on_gpu(batch.draws.data(), kBatch * sizeof(ImageDraw));
    const at::Tensor mix = bytes_on_gpu(&batch.mix, sizeof batch.mix);
    const at::Tensor out =
        at::empty({kBatch, shape.channels, shape.height, shape.width}, images.options());
    tools.augment({images, device_positions, draws, mix, out, pixel_work(options, shape)});
    const at::Tensor got = out.to(at::kCPU).reshape({-1});
    const at::Tensor expected =
        at::from_blob(batch.pixels.data(), {kBatch * shape.size()}, at::TensorOptions(at::kByte));
    EXPECT_EQ(got.ne(expected).sum().item().toLong(), 0)
        << "batch " << k << ", kind of mixing " << batch.mix.kind;
  }
}

TEST_F(GpuPart, AugmentationHasTheBitsOfTheCpu) {
  const auto kinds = all_augmentations();
  for (const ImageShape& shape : {ImageShape{3, 32, 32}, ImageShape{3, 17, 23},
                                  ImageShape{1, 9, 31}, ImageShape{3, 64, 48}}) {
    for (size_t i = 0; i < kinds.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "options " << i << ", " << shape.channels
                                      << " channels of " << shape.height << " by " << shape.width);
      expect_same_pixels(*tools_, shape, kinds[i]);
    }
  }
}

// Weights of sizes that no vector divides, one of them a convolution's in channels-last order.
std::vector<TorchExecutor::Named> odd_weights() {
  at::manual_seed(3);
  const auto on_gpu = at::TensorOptions().device(at::kCUDA);
  std::vector<TorchExecutor::Named> out;
  out.push_back(
      {"conv", at::randn({6, 5, 3, 3}, on_gpu).contiguous(at::MemoryFormat::ChannelsLast), true});
  out.push_back({"bias", at::randn({7}, on_gpu), false});
  out.push_back({"dense", at::randn({123, 81}, on_gpu), true});
  for (auto& p : out) p.value.requires_grad_(true);
  return out;
}

std::vector<TorchExecutor::Named> copies_of(const std::vector<TorchExecutor::Named>& weights) {
  std::vector<TorchExecutor::Named> out;
  for (const auto& p : weights) {
    at::Tensor value = p.value.detach().clone();
    value.requires_grad_(true);
    out.push_back({p.name, value, p.decay});
  }
  return out;
}

void expect_same_updates(GpuTools& tools, const TrainRecipe::Optimiser& settings) {
  const std::vector<TorchExecutor::Named> expected = odd_weights();
  const std::vector<TorchExecutor::Named> got = copies_of(expected);
  Optimiser reference(expected, settings);
  Optimiser state(got, settings);
  std::vector<int64_t> sizes;
  std::vector<at::Tensor> averages;
  std::vector<at::Tensor> copies;
  for (const auto& p : got) {
    sizes.push_back(p.value.numel());
    averages.push_back(p.value.detach().clone());
    copies.push_back(p.value.detach().to(at::kBFloat16));
  }
  const auto update = tools.make_update(sizes);
  const at::Tensor scale = at::full({}, 0.5F, at::TensorOptions().device(at::kCUDA));
  std::vector<at::Tensor> expected_averages;
  for (const auto& average : averages) expected_averages.push_back(average.clone());
  for (int step = 0; step < 4; ++step) {
    const UpdateScalars scalars = {.rate = 0.01F * static_cast<float>(step + 1),
                                   .average_share = 0.25F};
    const at::Tensor on_gpu = bytes_on_gpu(&scalars, sizeof scalars);
    state.count_step();
    update->begin();
    for (size_t i = 0; i < got.size(); ++i) {
      // As a convolution in bfloat16 gives it; the reference is fed the same numbers.
      const bool half = i != 1;
      const at::Tensor gradient =
          at::randn_like(got[i].value.detach()).to(half ? at::kBFloat16 : at::kFloat);
      expected[i].value.mutable_grad() = gradient.to(at::kFloat) * 0.5;
      const Optimiser::Moments m = state.moments(i);
      update->add({got[i].value, gradient, m.first, m.second, m.step, averages[i], copies[i],
                   static_cast<float>(m.weight_decay)});
      got[i].value.mutable_grad() = at::Tensor();
    }
    update->publish();
    update->launch(state.rule(), on_gpu, scale);
    tools.synchronise();
    reference.step(static_cast<double>(scalars.rate));
    for (size_t i = 0; i < got.size(); ++i) {
      const at::NoGradGuard no_grad;
      expected_averages[i].lerp_(expected[i].value, 0.25);
      const auto largest = [](const at::Tensor& a, const at::Tensor& b) {
        return (a.detach() - b.detach()).abs().max().item().toDouble();
      };
      EXPECT_LT(largest(got[i].value, expected[i].value), 2e-6) << got[i].name << " " << step;
      EXPECT_LT(largest(averages[i], expected_averages[i]), 2e-6) << got[i].name << " " << step;
      EXPECT_EQ(largest(copies[i], got[i].value.detach().to(at::kBFloat16)), 0) << got[i].name;
    }
  }
}

TEST_F(GpuPart, UpdatesAreThoseOfLibTorch) {
  TrainRecipe::Optimiser sgd = {.kind = "sgd", .weight_decay = 0.01};
  expect_same_updates(*tools_, sgd);
  sgd.nesterov = false;
  expect_same_updates(*tools_, sgd);
  expect_same_updates(*tools_, {.kind = "adamw", .weight_decay = 0.05});
}

// The size of a difference against the size of what is expected.
double relative(const at::Tensor& got, const at::Tensor& expected) {
  const at::Tensor e = expected.detach().to(at::kFloat);
  return ((got.detach().to(at::kFloat) - e).norm() / e.norm()).item().toDouble();
}

// Batch norm, ReLU and pooling by the kernel, against LibTorch's in float32 on the same numbers.
void expect_same_norm(GpuTools& tools, std::vector<int64_t> sizes, bool relu, int window,
                      int stride) {
  at::manual_seed(9);
  const auto on_gpu = at::TensorOptions().device(at::kCUDA);
  at::Tensor x = (at::randn(sizes, on_gpu) * 2 + 3).to(at::kBFloat16);
  if (sizes.size() == 4) x = x.contiguous(at::MemoryFormat::ChannelsLast);
  const auto leaf = [](const at::Tensor& t) { return t.detach().clone().requires_grad_(true); };
  const at::Tensor gamma = at::randn({sizes[1]}, on_gpu);
  const at::Tensor beta = at::randn({sizes[1]}, on_gpu);
  const at::Tensor bias = at::randn({sizes[1]}, on_gpu);

  const at::Tensor rx = leaf(x), rgamma = leaf(gamma), rbeta = leaf(beta);
  at::Tensor rmean = at::zeros({sizes[1]}, on_gpu);
  at::Tensor rvariance = at::ones({sizes[1]}, on_gpu);
  at::Tensor expected =
      at::batch_norm(rx.to(at::kFloat), rgamma, rbeta, rmean, rvariance, true, 0.1, 1e-5, true);
  expected = expected.to(at::kBFloat16).to(at::kFloat);
  if (relu) expected = at::relu(expected);
  if (window > 0) expected = at::max_pool2d(expected, {window, window}, {stride, stride});
  const at::Tensor dy = at::randn_like(expected).to(at::kBFloat16);
  expected.backward(dy.to(at::kFloat));

  NormCall call;
  call.x = leaf(x);
  call.gamma = leaf(gamma);
  call.beta = leaf(beta);
  call.bias = bias;
  call.running_mean = at::zeros({sizes[1]}, on_gpu);
  call.running_variance = at::ones({sizes[1]}, on_gpu);
  call.relu = relu;
  call.window = window;
  call.stride = stride;
  ASSERT_TRUE(fits_norm_kernel(call.x));
  const at::Tensor y = norm_layer(tools, call);
  ASSERT_EQ(y.sizes(), expected.sizes());
  y.backward(dy);
  EXPECT_LT(relative(y, expected), 3e-3);
  EXPECT_LT(relative(call.x.grad(), rx.grad()), 1e-2);
  EXPECT_LT(relative(call.gamma.grad(), rgamma.grad()), 5e-3);
  EXPECT_LT(relative(call.beta.grad(), rbeta.grad()), 5e-3);
  EXPECT_LT(relative(call.running_mean, rmean + 0.1 * bias), 1e-4);
  EXPECT_LT(relative(call.running_variance, rvariance), 1e-4);
}

TEST_F(GpuPart, NormsAreThoseOfLibTorch) {
  for (const bool relu : {false, true}) {
    SCOPED_TRACE(relu);
    expect_same_norm(*tools_, {37, 24}, relu, 0, 0);
    expect_same_norm(*tools_, {1024, 4096}, relu, 0, 0);
    expect_same_norm(*tools_, {5, 64, 22, 22}, relu, 0, 0);
    expect_same_norm(*tools_, {3, 192, 10, 7}, relu, 2, 2);
    expect_same_norm(*tools_, {9, 64, 22, 21}, relu, 3, 2);
    expect_same_norm(*tools_, {2, 8, 5, 5}, relu, 2, 1);
  }
}

TEST_F(GpuPart, LayerNormsAreThoseOfLibTorch) {
  at::manual_seed(12);
  const auto on_gpu = at::TensorOptions().device(at::kCUDA);
  for (const int64_t size : {64, 128, 192, 768, 1280}) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      SCOPED_TRACE(testing::Message() << size << " " << at::toString(type));
      const auto leaf = [](const at::Tensor& t) { return t.clone().requires_grad_(true); };
      const at::Tensor x = (at::randn({7, 25, size}, on_gpu) * 3 + 2).to(type);
      const at::Tensor gamma = at::randn({size}, on_gpu);
      const at::Tensor beta = at::randn({size}, on_gpu);
      const at::Tensor rx = leaf(x), rgamma = leaf(gamma), rbeta = leaf(beta);
      const at::Tensor expected = at::layer_norm(rx.to(at::kFloat), {size}, rgamma, rbeta, 1e-6);
      const at::Tensor dy = at::randn_like(expected).to(at::kBFloat16);
      expected.backward(dy.to(at::kFloat));
      const LayerNormCall call = {leaf(x), leaf(gamma), leaf(beta), 1e-6};
      ASSERT_TRUE(fits_layer_norm_kernel(*tools_, call.x, call.gamma));
      const at::Tensor y = layer_norm_layer(*tools_, call);
      y.backward(dy);
      EXPECT_LT(relative(y, expected), 3e-3);
      EXPECT_LT(relative(call.x.grad(), rx.grad()), 5e-3);
      EXPECT_LT(relative(call.gamma.grad(), rgamma.grad()), 1e-4);
      EXPECT_LT(relative(call.beta.grad(), rbeta.grad()), 1e-4);
    }
  }
}

// Dense layers, attention and layer norm at once: the answers of the ViT are those that it has node
// by node.
TEST_F(GpuPart, ViTsAnswerAsNodeByNode) {
  const Graph graph = build_model("vit-seed", {.seed = 3, .training_form = true}).value();
  auto one_by_one = TorchExecutor::create(graph, {.device = at::kCUDA}).value();
  auto chained = TorchExecutor::create(graph, {.device = at::kCUDA}).value();
  chained.use_gpu_layers(*tools_);
  at::manual_seed(1);
  const at::Tensor images =
      at::randint(256, {32, 3, 32, 32}, at::TensorOptions().dtype(at::kByte).device(at::kCUDA));
  const at::Tensor labels = at::randint(10, {32}, images.options().dtype(at::kLong));
  std::vector<at::Tensor> scores;
  for (TorchExecutor* executor : {&one_by_one, &chained}) {
    scores.push_back(executor->forward(images, {.autocast = true}).value());
    TorchBatch batch;
    batch.labels = labels;
    label_loss(scores.back().to(at::kFloat), batch, 0).backward();
  }
  EXPECT_LT(relative(scores[1], scores[0]), 0.03);
  for (size_t i = 0; i < chained.parameters().size(); ++i) {
    const at::Tensor expected = one_by_one.parameters()[i].value.grad();
    if (expected.norm().item().toDouble() < 1e-4) continue;
    EXPECT_LT(relative(chained.parameters()[i].value.grad(), expected), 0.1)
        << chained.parameters()[i].name;
  }
}

TEST_F(GpuPart, ConvolutionsOfPixelsAreThoseOfLibTorch) {
  at::manual_seed(10);
  const auto on_gpu = at::TensorOptions().device(at::kCUDA);
  struct Case {
    int64_t kernel;
    std::vector<int64_t> strides, pads;
  };
  for (const Case& c : {Case{11, {1, 1}, {0, 0, 0, 0}}, Case{3, {1, 1}, {1, 1, 1, 1}},
                        Case{6, {6, 6}, {0, 0, 0, 0}}, Case{5, {2, 2}, {1, 2, 2, 1}}}) {
    PixelConv call;
    call.pixels = at::randint(256, {5, 3, 32, 29}, on_gpu.dtype(at::kByte));
    call.scale = at::full({3}, 1.0F / 64, on_gpu);
    call.shift = at::randn({3}, on_gpu) - 2;
    call.weight = at::randn({16, 3, c.kernel, c.kernel}, on_gpu).to(at::kBFloat16);
    call.weight.requires_grad_(true);
    call.bias = at::randn({16}, on_gpu).to(at::kBFloat16);
    call.strides = c.strides;
    call.pads = c.pads;
    const at::Tensor weight = call.weight.detach().clone().requires_grad_(true);
    at::Tensor x =
        call.pixels.to(at::kFloat) * call.scale.view({1, 3, 1, 1}) + call.shift.view({1, 3, 1, 1});
    x = at::constant_pad_nd(x.to(at::kBFloat16), {c.pads[1], c.pads[3], c.pads[0], c.pads[2]});
    const at::Tensor expected = at::conv2d(x, weight, call.bias, c.strides);
    const at::Tensor got = pixel_conv(*tools_, call);
    ASSERT_EQ(got.sizes(), expected.sizes());
    const at::Tensor dy = at::randn_like(expected);
    expected.backward(dy);
    got.backward(dy);
    EXPECT_LT(relative(got, expected), 5e-3) << c.kernel;
    EXPECT_LT(relative(call.weight.grad(), weight.grad()), 5e-3) << c.kernel;
  }
}

struct Course {
  std::map<std::string, at::Tensor> weights;
  double loss = 0;
  Scores scores;
  std::string note;
};

// A few steps of the tiny net on the GPU, by recorded steps or by LibTorch's operators alone.
Course tiny_course(const Graph& graph, const TrainRecipe& recipe, bool own_part,
                   bool with_teacher = false, bool with_masks = false) {
  constexpr int kSteps = 7;
  const auto data = tiny_images(480, 11);
  const Graph teacher = tiny_graph(2);
  auto stepper =
      Stepper::create(graph, with_teacher ? &teacher : nullptr, recipe, at::kCUDA, own_part)
          .value();
  const bool drawn_only = stepper->keep_images(*data).value();
  EXPECT_EQ(drawn_only, own_part);
  const auto loader =
      Loader::create(
          data, {.batch_size = 16, .seed = 4, .augment = recipe.augment, .pixels = !drawn_only})
          .value();
  Batch batch;
  for (int step = 0; step < kSteps; ++step) {
    stepper->seed_step(step);
    if (with_masks && step >= 2) {
      Tensor mask(DType::kUInt8, {4, 96});
      for (int64_t i = 0; i < 384; ++i) mask.mutable_values<uint8_t>()[i] = (i + step) % 3 != 0;
      EXPECT_TRUE(stepper->set_masks({{"dense.weight", mask}}).ok());
    }
    for (int64_t k = 0; k < recipe.train.accumulate; ++k) {
      EXPECT_TRUE(loader->next(batch).ok());
      const Status taken = stepper->accumulate(batch, data->image_shape(), recipe.train.accumulate);
      EXPECT_TRUE(taken.ok()) << taken.message();
    }
    const Status updated = stepper->update(step, 0.05);
    EXPECT_TRUE(updated.ok()) << updated.message();
  }
  Course course;
  course.loss = stepper->losses(/*wait=*/true).value().sum;
  course.scores = stepper->validate(tiny_images(200, 12), 64, nullptr).value();
  course.note = stepper->note();
  for (const auto& p : stepper->network().parameters()) {
    course.weights[p.name] = p.value.detach().to(at::kCPU);
  }
  for (const auto& p : stepper->result().parameters()) {
    course.weights["result/" + p.name] = p.value.detach().to(at::kCPU);
  }
  for (const auto& b : stepper->result().buffers()) {
    course.weights["result/" + b.name] = b.value.to(at::kCPU);
  }
  return course;
}

void expect_same_course(const TrainRecipe& recipe, bool with_teacher, bool with_masks) {
  const Course expected = tiny_course(tiny_graph(), recipe, false, with_teacher, with_masks);
  const Course got = tiny_course(tiny_graph(), recipe, true, with_teacher, with_masks);
  EXPECT_EQ(got.note, "");  // recorded
  EXPECT_NEAR(got.loss, expected.loss, 2e-3 * expected.loss);
  EXPECT_NEAR(got.scores.loss, expected.scores.loss, 5e-2 * expected.scores.loss);
  EXPECT_NEAR(got.scores.top1, expected.scores.top1, 2);
  for (const auto& [name, weight] : expected.weights) {
    // The gradient of a bias before batch norm is rounding noise, which AdamW makes large.
    const bool noise = name.find("conv") != std::string::npos && name.ends_with("bias");
    if (recipe.optimiser.kind == "adamw" && (noise || name.ends_with("mean"))) continue;
    const double scale = std::max(0.05, weight.abs().max().item().toDouble());
    EXPECT_LT((got.weights.at(name) - weight).abs().max().item().toDouble(), 5e-3 * scale) << name;
  }
}

TEST_F(GpuPart, RecordedStepsAreThoseOfLibTorch) {
  TrainRecipe recipe = tiny_run("").recipe;
  recipe.train.precision = "float32";
  recipe.augment.mix_probability = 0.6F;
  for (const int64_t group : {1, 3}) {
    recipe.train.accumulate = group;
    for (const bool with_teacher : {false, true}) {
      SCOPED_TRACE(testing::Message() << "groups of " << group << ", teacher " << with_teacher);
      expect_same_course(recipe, with_teacher, /*with_masks=*/false);
    }
  }
  recipe.train.accumulate = 1;
  recipe.train.clip_norm = 0;
  recipe.optimiser.kind = "adamw";
  expect_same_course(recipe, false, /*with_masks=*/true);
}

// An operator that fetches a number from the GPU: its step cannot be recorded, and is right
// nevertheless, dropout included.
TEST_F(GpuPart, WhatCannotBeRecordedIsLaunchedStepByStep) {
  Graph graph = tiny_graph();
  graph.initializers["least.constant"] = Tensor::scalar<float>(-1000.0F);
  for (Node& node : graph.nodes) {
    if (node.op == "Flatten") node.inputs[0] = "clipped";
  }
  const auto flatten = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                                    [](const Node& node) { return node.op == "Flatten"; });
  graph.nodes.insert(flatten, {Node{"Identity", "", "least", {"least.constant"}, {"least"}, {}},
                               Node{"Clip", "", "clip", {"pool", "least"}, {"clipped"}, {}}});
  TrainRecipe recipe = tiny_run("").recipe;
  recipe.train.precision = "float32";
  recipe.train.accumulate = 2;
  const Course expected = tiny_course(graph, recipe, false);
  const Course got = tiny_course(graph, recipe, true);
  EXPECT_NE(got.note, "");
  EXPECT_NEAR(got.loss, expected.loss, 2e-3 * expected.loss);
  for (const auto& [name, weight] : expected.weights) {
    if (weight.dim() < 2) continue;
    EXPECT_LT(relative(got.weights.at(name), weight), 5e-3) << name;
  }
  // Recording works again for the next net.
  EXPECT_EQ(tiny_course(tiny_graph(), recipe, true).note, "");
}

// Muon's products and the rates of its own for the rest.
TEST_F(GpuPart, RecordedStepsOfMuonAreThoseOfLibTorch) {
  TrainRecipe recipe = tiny_run("").recipe;
  recipe.train.precision = "float32";
  recipe.optimiser.kind = "muon";
  recipe.optimiser.bias_lr = recipe.optimiser.lr / 4;
  recipe.optimiser.bias_decay = 0.01;
  for (const bool normalise : {false, true}) {
    SCOPED_TRACE(normalise);
    recipe.optimiser.muon_normalise = normalise;
    expect_same_course(recipe, /*with_teacher=*/false, /*with_masks=*/false);
  }
}

// With the layers that run at once, in bfloat16: to its rounding.
TEST_F(GpuPart, StepsOfChainsLearnAsThoseOfLibTorch) {
  TrainRecipe recipe = tiny_run("").recipe;
  recipe.train.precision = "bfloat16";
  for (const int64_t group : {1, 2}) {
    recipe.train.accumulate = group;
    const Course expected = tiny_course(tiny_graph(1, 8), recipe, false);
    const Course got = tiny_course(tiny_graph(1, 8), recipe, true);
    EXPECT_EQ(got.note, "");
    EXPECT_NEAR(got.loss, expected.loss, 0.02 * expected.loss);
    EXPECT_NEAR(got.scores.loss, expected.scores.loss, 0.1 * expected.scores.loss);
    for (const auto& [name, weight] : expected.weights) {
      if (weight.dim() < 2) continue;
      EXPECT_LT(relative(got.weights.at(name), weight), 0.05) << name;
    }
  }
}

TEST_F(GpuPart, ARunThatGoesOnEndsAsAnUnbrokenOne) {
  const auto course = [](const std::string& name, int64_t stop_at) {
    const std::string folder = testing::TempDir() + "/pare_gpu_" + name;
    std::filesystem::remove_all(folder);
    TrainRun run = tiny_run(folder);
    run.device = "cuda";
    if (stop_at > 0) {
      std::atomic<bool> stop = false;
      run.stop = &stop;
      run.events.step = [&](const StepReport& s) { stop = s.step == stop_at; };
      EXPECT_EQ(train(run).status().code(), StatusCode::kCancelled);
      run.events.step = nullptr;
      run.stop = nullptr;
      run.resume = true;
    }
    return train(run).value();
  };
  const TrainResult unbroken = course("unbroken", 0);
  const TrainResult resumed = course("resumed", 23);
  EXPECT_EQ(resumed.steps, unbroken.steps);
  ASSERT_TRUE(unbroken.gpu_share.has_value());
  EXPECT_GT(*unbroken.gpu_share, 0);
  EXPECT_LE(*unbroken.gpu_share, 1);
  for (const auto& [name, tensor] : unbroken.graph.initializers) {
    if (tensor.type() != DType::kFloat32) continue;
    const auto expected = tensor.values<float>();
    const auto got = resumed.graph.initializers.at(name).values<float>();
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(got[i], expected[i], 1e-3F + 1e-2F * std::abs(expected[i])) << name << " " << i;
    }
  }
  RecordProperty("same_bits", unbroken.weights_hash == resumed.weights_hash ? "yes" : "no");
}

}  // namespace
}  // namespace pare

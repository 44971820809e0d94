#include "compress/calibrate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "compress/compress.h"
#include "compress/toy.h"
#include "data/memory_dataset.h"

namespace pare {
namespace {

using ::testing::HasSubstr;

ForwardOptions in_batches_of(int64_t batch, int threads = 1) {
  ForwardOptions options;
  options.batch_size = batch;
  options.threads = threads;
  return options;
}

// One dense layer on two pixels: y = W (x / 10) + b, worked out by hand.
Graph two_pixels(bool float_input) {
  Graph graph;
  graph.opset = 17;
  graph.inputs = {{"x", float_input ? DType::kFloat32 : DType::kUInt8, {kDynamic, 1, 1, 2}}};
  graph.contract.channels = 1;
  graph.contract.height = 1;
  graph.contract.width = 2;
  const auto add = [&graph](const char* op, const char* name, std::vector<std::string> inputs) {
    Node node;
    node.op = op;
    node.name = name;
    node.inputs = std::move(inputs);
    node.outputs = {name};
    graph.nodes.push_back(std::move(node));
  };
  if (!float_input) {
    add("Cast", "cast", {"x"});
    graph.nodes.back().attributes["to"] = int64_t{1};
    add("Mul", "scaled", {"cast", "tenth"});
    graph.initializers["tenth"] = Tensor::scalar<float>(0.1F);
  } else {
    graph.contract.float_input = true;
    graph.contract.scale = 0.1F;
  }
  add("Flatten", "flat", {float_input ? "x" : "scaled"});
  add("Gemm", "y", {"flat", "w", "b"});
  graph.initializers["w"] = Tensor::from_values<float>({2, 2}, std::vector<float>{1, 2, 3, -4});
  graph.initializers["b"] = Tensor::from_values<float>({2}, std::vector<float>{0.5F, -0.5F});
  graph.outputs = {{"y", DType::kFloat32, {kDynamic, 2}}};
  return graph;
}

std::shared_ptr<const Dataset> three_images() {
  return *MemoryDataset::create({1, 1, 2}, {10, 20, 0, 0, 100, 50}, {0, 0, 0}, {"only"}, "three");
}

TEST(Forward, HandMadeNet) {
  for (const bool float_input : {false, true}) {
    for (const int64_t batch : {1, 2, 64}) {
      const auto y = forward(two_pixels(float_input), *three_images(), in_batches_of(batch));
      ASSERT_TRUE(y.ok()) << y.status().message();
      EXPECT_EQ(y->shape(), (Shape{3, 2}));
      // x = (1, 2), (0, 0), (10, 5); y = (x0 + 3 x1 + .5, 2 x0 - 4 x1 - .5)
      const std::vector<float> want = {7.5F, -6.5F, 0.5F, -0.5F, 25.5F, -0.5F};
      const auto got = to_float_vector(*y);
      for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5) << i;
    }
  }
}

TEST(Forward, ShowsKeptValuesOfEveryBatchAndCountsImages) {
  ForwardOptions options = in_batches_of(2);
  options.keep = {"flat"};
  std::vector<int64_t> rows;
  options.show = [&rows](const std::string& name, const Tensor& value) {
    EXPECT_EQ(name, "flat");
    rows.push_back(value.dim(0));
    return ok_status();
  };
  std::vector<int64_t> done;
  options.progress = [&done](int64_t d, int64_t total) {
    EXPECT_EQ(total, 3);
    done.push_back(d);
  };
  ASSERT_TRUE(forward(two_pixels(false), *three_images(), options).ok());
  EXPECT_EQ(rows, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(done, (std::vector<int64_t>{2, 3}));
}

TEST(Forward, RefusesImagesOfAnotherSize) {
  const auto y = forward(toy::net(), *three_images(), in_batches_of(2));
  ASSERT_FALSE(y.ok());
  EXPECT_THAT(y.status().message(), HasSubstr("the model takes images of 3x8x8"));
  EXPECT_THAT(y.status().message(), HasSubstr("1x1x2"));
}

TEST(Forward, RefusesAFloatInputWithoutAContract) {
  Graph graph = two_pixels(true);
  graph.contract = {};
  const auto y = forward(graph, *three_images(), in_batches_of(2));
  ASSERT_FALSE(y.ok());
  EXPECT_THAT(y.status().message(), HasSubstr("pare import"));
}

TEST(DrawImages, AreApartBalancedAndSeeded) {
  CompressContext context = toy::context(96);
  const DrawnImages a = *draw_images(context);
  EXPECT_EQ(a.calibration->size(), 64);
  EXPECT_EQ(a.sensitivity->size(), 32);
  const auto pixels = [](const Dataset& images) {
    std::vector<std::vector<uint8_t>> all;
    std::vector<int64_t> by_class(images.classes().size(), 0);
    for (int64_t i = 0; i < images.size(); ++i) {
      all.emplace_back(static_cast<size_t>(images.image_shape().size()));
      EXPECT_TRUE(images.read_image(i, all.back()).ok());
      ++by_class[static_cast<size_t>(images.label(i))];
    }
    for (const int64_t n : by_class) {
      EXPECT_NEAR(static_cast<double>(n),
                  static_cast<double>(images.size()) / static_cast<double>(by_class.size()), 1.0);
    }
    return all;
  };
  const auto calibration = pixels(*a.calibration);
  for (const auto& image : pixels(*a.sensitivity)) {
    EXPECT_EQ(std::count(calibration.begin(), calibration.end(), image), 0);
  }
  EXPECT_EQ(draw_images(context)->calibration->hash(), a.calibration->hash());
  context.seed = 1;
  EXPECT_NE(draw_images(context)->calibration->hash(), a.calibration->hash());
}

// Labels in order, as an image folder has them: both sets still see every class.
TEST(DrawImages, SortedByClass) {
  std::vector<int32_t> labels;
  for (int32_t c = 0; c < 4; ++c) labels.insert(labels.end(), 50, c);
  CompressContext context = toy::context();
  context.train = *MemoryDataset::create({1, 1, 1}, std::vector<uint8_t>(200), labels,
                                         {"a", "b", "c", "d"}, "sorted");
  const DrawnImages drawn = *draw_images(context);
  for (const auto& images : {drawn.calibration, drawn.sensitivity}) {
    std::vector<int64_t> of_class(4, 0);
    for (int64_t i = 0; i < images->size(); ++i) ++of_class[static_cast<size_t>(images->label(i))];
    EXPECT_EQ(of_class, std::vector<int64_t>(4, images->size() / 4)) << images->description();
  }
}

// Fewer images than asked for: both get what there is.
TEST(DrawImages, SmallTrainingSet) {
  const DrawnImages few = *draw_images(toy::context(10));
  EXPECT_EQ(few.calibration->size(), 10);
  EXPECT_GT(few.sensitivity->size(), 0);
}

TEST(CollectHistograms, SeeExactlyTheValues) {
  const Graph graph = toy::net();
  const CompressContext context = toy::context();
  const auto images = toy::images(30, 3);
  const auto histograms = collect_histograms(graph, *images, {"relu1", "logits"}, context);
  ASSERT_TRUE(histograms.ok()) << histograms.status().message();
  ForwardOptions options = in_batches_of(30);
  options.keep = {"relu1"};
  float highest = 0;
  int64_t count = 0;
  int64_t zeros = 0;
  options.show = [&](const std::string&, const Tensor& value) {
    for (const float v : value.values<float>()) {
      highest = std::max(highest, v);
      ++count;
      zeros += v == 0 ? 1 : 0;
    }
    return ok_status();
  };
  const Tensor logits = *forward(graph, *images, options);
  const Histogram& relu = histograms->at("relu1");
  EXPECT_EQ(relu.count(), count);
  EXPECT_NEAR(static_cast<double>(relu.zeros()), static_cast<double>(zeros), 2);
  EXPECT_EQ(relu.min(), 0.0F);
  EXPECT_NEAR(relu.max(), highest, 1e-5 * highest);
  EXPECT_EQ(histograms->at("logits").count(), logits.size());
}

// The same bits for any number of threads.
TEST(CollectHistograms, ThreadsChangeNothing) {
  CompressContext context = toy::context();
  std::vector<std::vector<int64_t>> bins;
  for (const int threads : {1, 2, 3}) {
    context.threads = threads;
    const auto histograms = collect_histograms(toy::net(), *context.train, {"relu3"}, context);
    const Histogram& h = histograms->at("relu3");
    auto& list = bins.emplace_back();
    for (int k = -Histogram::kSide; k < Histogram::kSide; ++k) list.push_back(h.bin(k));
  }
  EXPECT_EQ(bins[0], bins[1]);
  EXPECT_EQ(bins[0], bins[2]);
}

TEST(CollectHistograms, NamesAValueThatIsNotFinite) {
  Graph graph = toy::net();
  graph.initializers["scale"].mutable_values<float>()[0] = std::numeric_limits<float>::infinity();
  const auto histograms =
      collect_histograms(graph, *toy::images(4), {"scaled", "relu1"}, toy::context());
  ASSERT_FALSE(histograms.ok());
  EXPECT_EQ(histograms.status().code(), StatusCode::kNumeric);
  EXPECT_THAT(histograms.status().message(), HasSubstr("'scaled'"));
}

// KL divergence of (1/2, 1/2) from (3/4, 1/4): ln(1/2 / 3/4)/2 + ln(1/2 / 1/4)/2 = 0.1438410 nats.
TEST(MeanDivergence, ByHand) {
  const Tensor p = Tensor::from_values<float>({2, 2}, std::vector<float>{0, 0, 5, 5});
  const Tensor q = Tensor::from_values<float>({2, 2}, std::vector<float>{std::log(3.0F), 0, 7, 7});
  EXPECT_NEAR(mean_divergence(p, q), 0.1438410 / 2, 1e-6);
  EXPECT_EQ(mean_divergence(p, p), 0.0);
}

TEST(Prepare, FoldsAndWidensButKeepsTheNormalisation) {
  const Graph prepared = *prepare_for_compression(toy::net());
  EXPECT_NE(prepared.find_initializer("scale"), nullptr);
  const auto whole = to_float_vector(*toy::net().find_initializer("conv1.weight"));
  EXPECT_EQ(to_float_vector(*prepared.find_initializer("conv1.weight")), whole);
  const Recipe half = *parse_recipe("fp16");
  const Graph stored = compress(toy::net(), half, {})->graph;
  ASSERT_EQ(stored.find_initializer("conv2.weight"), nullptr);
  const Graph again = *prepare_for_compression(stored);
  const Tensor* weight = again.find_initializer("conv2.weight");
  ASSERT_NE(weight, nullptr);
  EXPECT_EQ(weight->type(), DType::kFloat32);
  const auto original = to_float_vector(*toy::net().find_initializer("conv2.weight"));
  const auto widened = to_float_vector(*weight);
  for (size_t i = 0; i < original.size(); ++i) {
    EXPECT_EQ(widened[i], static_cast<float>(Float16(original[i])));
  }
}

}  // namespace
}  // namespace pare

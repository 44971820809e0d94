// Sessions of whole small nets: float, quantised, any number of threads, several at once.
#include "pare/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "base/rng.h"
#include "graph/graph.h"
#include "runtime/executor.h"
#include "runtime/toy.h"

namespace pare {
namespace {

std::vector<uint8_t> images(int64_t count, uint64_t seed = 5) {
  Rng rng(seed, RngPurpose::kTest);
  std::vector<uint8_t> pixels(static_cast<size_t>(count * 3 * 12 * 12));
  for (uint8_t& p : pixels) p = static_cast<uint8_t>(rng.below(256));
  return pixels;
}

std::vector<float> scores_of(Session& session, const std::vector<uint8_t>& pixels, int64_t count) {
  std::vector<float> scores(static_cast<size_t>(count * session.info().class_count));
  const Status status = session.run(pixels, count, scores);
  EXPECT_TRUE(status.ok()) << status.message();
  return scores;
}

Session session_of(const Graph& graph, const SessionOptions& options) {
  auto session = Session::from_graph(graph, options);
  EXPECT_TRUE(session.ok()) << session.status().message();
  return *std::move(session);
}

// What the graph says, value by value, nothing fused.
std::vector<float> unfused(const Graph& graph, const std::vector<uint8_t>& pixels, int64_t count) {
  auto executor = Executor::create(
      graph, {.batch = count, .threads = 1, .keep_all = true, .reference_kernels = true});
  EXPECT_TRUE(executor.ok()) << executor.status().message();
  Tensor input(DType::kUInt8, {count, 3, 12, 12});
  std::copy(pixels.begin(), pixels.end(), input.mutable_values<uint8_t>().begin());
  auto outputs = executor->run(std::vector<Tensor>{input});
  EXPECT_TRUE(outputs.ok()) << outputs.status().message();
  return to_float_vector((*outputs)[0]);
}

bool has_step(Session& session, const std::string& operation, const std::string& kernel) {
  const auto plan = session.plan(2);
  for (const LayerPlan& layer : *plan) {
    if (layer.operation.find(operation) != std::string::npos &&
        layer.kernel.find(kernel) != std::string::npos) {
      return true;
    }
  }
  return false;
}

TEST(Session, FloatNetMatchesTheUnfusedReference) {
  const Graph graph = float_net();
  const auto pixels = images(3);
  Session session = session_of(graph, {.threads = 2});
  const auto got = scores_of(session, pixels, 3);
  const auto want = unfused(graph, pixels, 3);
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-4F);
  EXPECT_TRUE(has_step(session, "Conv + Add + Relu", ""));
  EXPECT_TRUE(has_step(session, "Gemm + Gelu", ""));
}

// One tensor as the weights of two convolutions that group it differently, and one number as the
// bias of two layers of different widths: each gets its own packed form.
TEST(Session, SharedConstantsServeEachLayerInItsOwnWay) {
  Net net(9);
  const std::string x = net.normalised();
  const std::string four = net.add("Conv", {x, net.weights({4, 3, 3, 3})});
  const std::string eight = net.add("Conv", {x, net.weights({8, 3, 3, 3})});
  const std::string shared = net.weights({4, 4, 3, 3});
  const std::string one = net.add("Conv", {four, shared});
  const std::string two = net.add("Conv", {eight, shared}, {{"group", int64_t{2}}});
  const std::string bias = net.scalar(0.25F);
  std::string y = net.add("Flatten", {net.add("Relu", {net.add("Add", {one, two})})});
  y = net.add("Relu", {net.add("Add", {net.add("MatMul", {y, net.weights({256, 600})}), bias})});
  y = net.add("Add", {net.add("MatMul", {y, net.weights({600, 10})}), bias});
  const Graph graph = net.finish(y, 10);
  const auto pixels = images(9);
  Session session = session_of(graph, {.threads = 2});
  const auto got = scores_of(session, pixels, 9);
  const auto want = unfused(graph, pixels, 9);
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-3F);
}

TEST(Session, QuantisedNetRunsInIntegers) {
  const Graph graph = quantised_net();
  Session session = session_of(graph, {.threads = 2});
  EXPECT_TRUE(has_step(session, "Conv + Relu + QuantizeLinear", "u8s8"));
  EXPECT_TRUE(has_step(session, "Gemm + Gelu + QuantizeLinear", "u8s8"));
  EXPECT_TRUE(has_step(session, "MaxPool", ""));
  const auto plan = session.plan(2);
  for (const LayerPlan& layer : *plan) {
    EXPECT_NE(layer.operation, "DequantizeLinear") << layer.name;
    EXPECT_NE(layer.operation, "Cast") << layer.name;
  }
}

// The fused integers follow the requantisation rule, the unfused graph rounds a float product: they
// may differ by one step of a code here and there, which moves a score by little.
TEST(Session, QuantisedNetAgreesWithItsOwnMeaning) {
  const Graph graph = quantised_net();
  const auto pixels = images(16);
  Session session = session_of(graph, {.threads = 2});
  const auto got = scores_of(session, pixels, 16);
  const auto want = unfused(graph, pixels, 16);
  float largest = 0;
  float spread = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    largest = std::max(largest, std::fabs(got[i] - want[i]));
    spread = std::max(spread, std::fabs(want[i]));
  }
  EXPECT_LT(largest, 0.02F * spread);
}

TEST(Session, QuantisedNetIsBitEqualOnEveryLevel) {
  const Graph graph = quantised_net();
  const auto pixels = images(5);
  Session reference = session_of(graph, {.threads = 1, .reference_kernels = true});
  const auto want = scores_of(reference, pixels, 5);
  int levels = 0;
  for (const char* level : {"baseline", "avx2", "avx_vnni", "avx512", "avx512_vnni", "amx"}) {
    auto session = Session::from_graph(graph, {.threads = 2, .cpu_level = level});
    if (!session.ok()) {
      std::printf("skipped %s: %s\n", level, session.status().message().c_str());
      continue;
    }
    ++levels;
    EXPECT_EQ(scores_of(*session, pixels, 5), want) << level;
  }
  EXPECT_GE(levels, 1);
}

// Whichever batch was first: its packing of the weights must serve the others, or be made anew.
TEST(Session, SixteenBitStorageServesEveryBatchInAnyOrder) {
  const Graph graph = float_net();
  const auto pixels = images(23);
  const std::vector<uint8_t> first(pixels.begin(), pixels.begin() + 432);
  for (const char* precision : {"bfloat16", "float16"}) {
    for (const bool one_first : {true, false}) {
      Session session = session_of(graph, {.threads = 2, .precision = precision});
      if (one_first) scores_of(session, first, 1);
      const auto many = scores_of(session, pixels, 23);
      const auto one = scores_of(session, first, 1);
      float spread = 0;
      for (const float score : many) spread = std::max(spread, std::fabs(score));
      for (size_t c = 0; c < one.size(); ++c) EXPECT_NEAR(one[c], many[c], 0.05F * spread);
    }
  }
}

// 23 images: slices of four and three left over.
TEST(Session, SameBitsForAnyThreadsRunsAndBatches) {
  constexpr int64_t kCount = 23;
  for (const Graph& graph : {float_net(), quantised_net()}) {
    const auto pixels = images(kCount);
    Session one = session_of(graph, {.threads = 1});
    const auto want = scores_of(one, pixels, kCount);
    for (int threads : {1, 2, 3}) {
      Session session = session_of(graph, {.threads = threads});
      EXPECT_EQ(scores_of(session, pixels, kCount), want);
      EXPECT_EQ(scores_of(session, pixels, kCount), want);
      // One at a time, after the weights of the graph were released.
      for (int64_t i = 0; i < kCount; ++i) {
        const std::vector<uint8_t> image(pixels.begin() + i * 432, pixels.begin() + (i + 1) * 432);
        const auto scores = scores_of(session, image, 1);
        EXPECT_TRUE(std::equal(scores.begin(), scores.end(), want.begin() + i * 10)) << i;
      }
    }
  }
}

// `graph` with a twelfth of its weights left, the others `zero`.
Graph pruned(Graph graph, float zero) {
  Rng rng(6, RngPurpose::kTest);
  for (auto& [name, tensor] : graph.initializers) {
    if (tensor.shape().size() < 2 || element_count(tensor.shape()) < 64) continue;
    for (int64_t i = 0; i < element_count(tensor.shape()); ++i) {
      if (rng.bernoulli(1.0F / 12.0F)) continue;
      const auto at = static_cast<size_t>(i);
      if (tensor.type() == DType::kInt8) tensor.mutable_values<int8_t>()[at] = 0;
      if (tensor.type() == DType::kFloat32) tensor.mutable_values<float>()[at] = zero;
    }
  }
  return graph;
}

TEST(Session, PrunedNetsSkipTheirZerosAndAnswerTheSame) {
  constexpr int64_t kCount = 23;
  const auto pixels = images(kCount);
  // The least number there is adds nothing to a sum, but is no zero: the dense kernels run.
  Session dense = session_of(pruned(float_net(), 0x1p-149F), {.threads = 2});
  EXPECT_FALSE(has_step(dense, "Gemm", "sparse"));
  Session reference =
      session_of(pruned(quantised_net(), 0.0F), {.threads = 1, .reference_kernels = true});
  for (const Graph& graph : {pruned(float_net(), 0.0F), pruned(quantised_net(), 0.0F)}) {
    Session session = session_of(graph, {.threads = 2});
    const bool integers = has_step(session, "QuantizeLinear", "u8s8");
    const auto want = scores_of(integers ? reference : dense, pixels, kCount);
    EXPECT_EQ(scores_of(session, pixels, kCount), want);
    EXPECT_EQ(has_step(session, "Gemm", "sparse"), detect_cpu().features.avx2);
    for (int64_t i = 0; i < kCount; ++i) {
      const std::vector<uint8_t> image(pixels.begin() + i * 432, pixels.begin() + (i + 1) * 432);
      const auto scores = scores_of(session, image, 1);
      EXPECT_TRUE(std::equal(scores.begin(), scores.end(), want.begin() + i * 10)) << i;
    }
  }
}

// Image bytes -> conv -> ReLU -> pool -> a wide dense layer -> ReLU -> another -> dense.
Graph relu_net(bool integers) {
  Net net(9);
  const auto layer = [&](const std::string& op, const std::string& x, const Shape& shape) {
    std::vector<std::string> inputs = {x};
    if (integers) {
      const auto p = net.int8_parameters(shape, 0, 4.0F);
      inputs.insert(inputs.end(), p.begin(), p.end());
    } else {
      inputs.push_back(net.weights(shape));
    }
    if (op == "Conv") return net.add(op, inputs);
    return net.add(op, inputs, {{"transB", int64_t{1}}});
  };
  // A zero point other than zero too: what a ReLU leaves is then not zero.
  const auto stored = [&](const std::string& x, uint8_t zero) {
    return integers ? net.quantised(x, 4.0F, zero) : x;
  };
  std::string x =
      integers ? stored(net.add("Cast", {"input"}, {{"to", int64_t{1}}}), 0) : net.normalised();
  x = stored(net.add("Relu", {layer("Conv", x, {8, 3, 3, 3})}), 0);
  x = net.add(
      "MaxPool", {x},
      {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  x = stored(net.add("Flatten", {stored(x, 0)}), 0);
  x = stored(net.add("Relu", {layer("Gemm", x, {3000, 200})}), 3);
  x = stored(net.add("Relu", {layer("Gemm", x, {800, 3000})}), 0);
  return net.finish(layer("Gemm", x, {10, 800}), 10);
}

int64_t columns_steps(Session& session, int64_t batch) {
  const auto layers = session.plan(batch);
  if (!layers.ok()) return -1;
  return std::count_if(layers->begin(), layers->end(), [](const LayerPlan& layer) {
    return layer.kernel.find("columns") != std::string::npos;
  });
}

// 23 images run in slices: the head is known to follow a ReLU there too. Columns of floats are for
// few rows; what one batch size packed, the other can use, whichever comes first.
TEST(Session, ColumnsOfZeroInputsAreLeftOutWithTheSameAnswers) {
  constexpr int64_t kCount = 23;
  if (!detect_cpu().features.avx2) GTEST_SKIP() << "needs avx2";
  const auto pixels = images(kCount);
  for (const bool integers : {false, true}) {
    const Graph graph = relu_net(integers);
    Session reference = session_of(graph, {.threads = 1, .reference_kernels = true});
    const auto want = scores_of(reference, pixels, kCount);
    Session many_first = session_of(graph, {.threads = 2});
    const auto got = scores_of(many_first, pixels, kCount);
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_NEAR(got[i], want[i], integers ? 0.0F : 1e-3F) << i;
    }
    // 200 -> 3000 is large enough for bytes alone.
    EXPECT_EQ(columns_steps(many_first, kCount), integers ? 2 : 0);
    EXPECT_EQ(columns_steps(many_first, 1), integers ? 2 : 0);
    for (const int threads : {1, 3}) {
      Session one_first = session_of(graph, {.threads = threads});
      EXPECT_EQ(columns_steps(one_first, 1), integers ? 2 : 1);
      for (Session* session : {&many_first, &one_first}) {
        for (int64_t i = 0; i < kCount; ++i) {
          const std::vector<uint8_t> image(pixels.begin() + i * 432,
                                           pixels.begin() + (i + 1) * 432);
          const auto scores = scores_of(*session, image, 1);
          EXPECT_TRUE(std::equal(scores.begin(), scores.end(), got.begin() + i * 10)) << i;
        }
        EXPECT_EQ(scores_of(*session, pixels, kCount), got);
      }
    }
  }
}

TEST(Session, StepsOfSlicesAreListedTimedAndCounted) {
  Session session = session_of(float_net(), {.threads = 2});
  const auto layers = session.plan(23);
  ASSERT_TRUE(layers.ok());
  EXPECT_NE(layers->front().reason.find("images at a time"), std::string::npos);
  EXPECT_EQ(layers->back().reason.find("images at a time"), std::string::npos);
  ASSERT_TRUE(session.time_steps(true).ok());
  scores_of(session, images(23), 23);
  EXPECT_EQ(session.step_times_us(23).size(), layers->size());
  // A slice of four on each of two threads needs less than all 23 at once.
  EXPECT_LT(session.memory(23)->arena_bytes, 23 * session.memory(1)->arena_bytes);
}

TEST(Session, SixteenBitStorageStaysClose) {
  const Graph graph = float_net();
  const auto pixels = images(4);
  Session exact = session_of(graph, {.threads = 1});
  const auto want = scores_of(exact, pixels, 4);
  for (const char* precision : {"float16", "bfloat16"}) {
    Session session = session_of(graph, {.threads = 2, .precision = precision});
    const auto got = scores_of(session, pixels, 4);
    const float tolerance = precision[0] == 'f' ? 0.02F : 0.15F;
    bool differs = false;
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_NEAR(got[i], want[i], tolerance) << precision;
      differs = differs || got[i] != want[i];
    }
    EXPECT_TRUE(differs) << precision << " changed nothing";
    EXPECT_LT(10 * session.memory(4)->weights_bytes, 6 * exact.memory(4)->weights_bytes);
  }
  EXPECT_EQ(Session::from_graph(graph, {.precision = "int8"}).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(Session, SeveralAtOnceDoNotDisturbEachOther) {
  Session a = session_of(float_net(), {.threads = 2});
  Session b = session_of(quantised_net(), {.threads = 2});
  const auto pixels = images(2);
  const auto from_a = scores_of(a, pixels, 2);
  const auto from_b = scores_of(b, pixels, 2);
  EXPECT_EQ(scores_of(a, pixels, 2), from_a);
  EXPECT_EQ(scores_of(b, pixels, 2), from_b);
}

TEST(Session, WrongSizesAreNamed) {
  Session session = session_of(float_net(), {.threads = 1});
  std::vector<float> scores(10);
  const std::vector<uint8_t> pixels(431);
  const Status status = session.run(pixels, 1, scores);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("432 bytes and 10 scores, found 431 and 10"), std::string::npos)
      << status.message();
  EXPECT_EQ(session.run(pixels, 0, scores).code(), StatusCode::kInvalidArgument);
}

TEST(Session, AnOperatorWithoutKernelIsNamed) {
  Net net(3);
  std::string x = net.add("Cast", {"input"}, {{"to", int64_t{1}}});
  x = net.add("LRN", {x}, {{"size", int64_t{3}}});
  x = net.add("GlobalAveragePool", {x});
  x = net.add("Flatten", {x});
  auto session = Session::from_graph(net.finish(x, 3), {});
  ASSERT_TRUE(session.ok()) << session.status().message();
  const auto plan = session->plan(1);
  EXPECT_EQ(plan.status().code(), StatusCode::kUnsupported);
  EXPECT_NE(plan.status().message().find("node 'LRN1'"), std::string::npos)
      << plan.status().message();
}

TEST(Session, FloatInputFollowsItsContract) {
  Net net(4);
  net.graph.inputs[0].type = DType::kFloat32;
  net.graph.inputs[0].shape = {kDynamic, 12, 12, 3};
  std::string x = net.add("ReduceMean", {"input"},
                          {{"axes", std::vector<int64_t>{1, 2}}, {"keepdims", int64_t{0}}});
  Graph graph = net.finish(x, 3);
  graph.opset = 17;
  graph.contract.channels_last = true;
  auto refused = Session::from_graph(graph, {});
  EXPECT_NE(refused.status().message().find("pare import"), std::string::npos);
  graph.contract.float_input = true;
  graph.contract.bgr = true;
  graph.contract.scale = 0.5F;
  graph.contract.mean = {1, 2, 3};
  graph.contract.std = {1, 2, 4};
  Session session = session_of(graph, {.threads = 1});
  std::vector<uint8_t> pixels(432);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(10 * (1 + i / 144));
  const auto scores = scores_of(session, pixels, 1);
  // Blue (30) comes first: (15 - 1) / 1, green (10 - 2) / 2, red (5 - 3) / 4.
  EXPECT_EQ(scores, (std::vector<float>{14, 4, 0.5F}));
}

TEST(Session, TimesItsSteps) {
  Session session = session_of(float_net(), {.threads = 1});
  const auto pixels = images(2);
  EXPECT_TRUE(session.step_times_us(2).empty());
  ASSERT_TRUE(session.time_steps(true).ok());
  scores_of(session, pixels, 2);
  EXPECT_EQ(session.step_times_us(2).size(), session.plan(2)->size());
}

TEST(Executor, ShowsEveryValueInOrder) {
  const Graph graph = float_net();
  auto executor = Executor::create(graph, {.batch = 2, .threads = 1, .keep_all = true});
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  std::vector<std::string> names;
  auto status = executor->run(std::vector<Tensor>{Tensor(DType::kUInt8, {2, 3, 12, 12})},
                              [&](const std::string& name, const Tensor& value) {
                                EXPECT_GT(value.size(), 0);
                                names.push_back(name);
                                return ok_status();
                              });
  ASSERT_TRUE(status.ok());
  std::vector<std::string> want = {"input"};
  for (const Node& node : graph.nodes) want.push_back(node.outputs[0]);
  EXPECT_EQ(names, want);
}

TEST(Executor, ShowsWhatAStepWritesForTheNodeItSwallowed) {
  Graph graph;
  graph.inputs = {{"x", DType::kFloat32, {kDynamic, 4}}};
  graph.outputs = {{"y", DType::kFloat32, {kDynamic, 2}}};
  graph.initializers = {{"gamma", Tensor::from_values<float>({4}, std::vector<float>(4, 1.0F))},
                        {"beta", Tensor::from_values<float>({4}, std::vector<float>(4, 0.0F))},
                        {"scale", Tensor::scalar<float>(0.5F)},
                        {"zero", Tensor::scalar<uint8_t>(128)},
                        {"w", Tensor::from_values<float>({4, 2}, std::vector<float>(8, 1.0F))}};
  graph.nodes = {{"LayerNormalization", "", "norm", {"x", "gamma", "beta"}, {"n"}, {}},
                 {"QuantizeLinear", "", "q", {"n", "scale", "zero"}, {"n8"}, {}},
                 {"DequantizeLinear", "", "dq", {"n8", "scale", "zero"}, {"nf"}, {}},
                 {"MatMul", "", "fc", {"nf", "w"}, {"y"}, {}}};
  auto executor = Executor::create(graph, {.batch = 1, .threads = 1, .keep = {"n8"}});
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  std::vector<uint8_t> shown;
  const auto status =
      executor->run(std::vector<Tensor>{Tensor::from_values<float>({1, 4}, {-1, 1, -1, 1})},
                    [&shown](const std::string&, const Tensor& value) {
                      const auto values = value.values<uint8_t>();
                      shown.assign(values.begin(), values.end());
                      return ok_status();
                    });
  ASSERT_TRUE(status.ok()) << status.status().message();
  EXPECT_EQ(shown, (std::vector<uint8_t>{126, 130, 126, 130}));
}

TEST(Executor, KeepsOneValueAndStopsWhenTold) {
  const Graph graph = float_net();
  const std::string relu = graph.nodes[4].outputs[0];
  auto executor = Executor::create(graph, {.batch = 1, .threads = 1, .keep = {relu}});
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  int shown = 0;
  const std::vector<Tensor> inputs = {Tensor(DType::kUInt8, {1, 3, 12, 12})};
  auto result = executor->run(inputs, [&](const std::string& name, const Tensor& value) {
    ++shown;
    EXPECT_EQ(name, relu);
    EXPECT_EQ(value.shape(), (Shape{1, 8, 10, 10}));
    return cancelled("enough");
  });
  EXPECT_EQ(shown, 1);
  EXPECT_EQ(result.status().code(), StatusCode::kCancelled);
  EXPECT_EQ(Executor::create(graph, {.keep = {"nothing"}}).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(executor->run(std::vector<Tensor>{Tensor(DType::kUInt8, {2, 3, 12, 12})}).ok());
}

}  // namespace
}  // namespace pare

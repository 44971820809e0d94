// The training executor against ONNX Runtime (tests/fixtures/make_train.py), and its gradients
// against finite differences.

#include "train/executor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/rng.h"
#include "graph/onnx.h"
#include "graph/safetensors.h"
#include "models/models.h"
#include "testing/files.h"
#include "train/tiny_run.h"

namespace pare {
namespace {

std::string fixture(const std::string& name) {
  return testing_files::fixture_path("train/" + name);
}

std::vector<float> read_floats(const std::string& path) {
  const auto bytes = read_file(path, 1 << 24);
  EXPECT_TRUE(bytes.ok()) << bytes.status().message();
  std::vector<float> out(bytes->size() / sizeof(float));
  std::memcpy(out.data(), bytes->data(), out.size() * sizeof(float));
  return out;
}

// Elementwise closeness of float32 formulas that only differ in the order of a few operations.
bool close(float a, float b) { return std::fabs(a - b) <= 2e-6F + 2e-5F * std::fabs(b); }

TEST(TorchExecutor, EveryOperatorAnswersAsOnnxRuntime) {
  const auto graph = read_onnx(fixture("operators.onnx"));
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  std::vector<float> floats = read_floats(fixture("operators.f32"));
  const auto text = read_text_file(fixture("operators.json"));
  ASSERT_TRUE(text.ok());
  const auto about = nlohmann::json::parse(*text);

  auto executor = TorchExecutor::create(*graph);
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  const auto shape = about["image"].get<std::vector<int64_t>>();
  const at::Tensor image = at::from_blob(floats.data(), shape);
  const auto answer = executor->forward(image, {});
  ASSERT_TRUE(answer.ok()) << answer.status().message();

  const auto expected = std::span(floats).subspan(static_cast<size_t>(image.numel()));
  ASSERT_EQ(answer->numel(), static_cast<int64_t>(expected.size()));
  const float* got = answer->const_data_ptr<float>();
  size_t at = 0;
  for (const auto& entry : about["cases"]) {
    const auto name = entry[0].get<std::string>();
    const auto length = entry[1].get<size_t>();
    size_t wrong = 0;
    for (size_t i = at; i < at + length; ++i) {
      if (close(got[i], expected[i])) continue;
      if (wrong++ == 0) {
        ADD_FAILURE() << name << " element " << i - at << ": " << got[i] << ", expected "
                      << expected[i];
      }
    }
    at += length;
  }
  EXPECT_EQ(at, expected.size());
}

// Files that PyTorch's two exporters wrote (tests/fixtures/make_onnx.py), with PyTorch's own
// answers.
TEST(TorchExecutor, ExportedNetworksAnswerAsPyTorchAndAllTheirWeightsLearn) {
  int files = 0;
  const std::string folder = testing_files::fixture_path("onnx");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    const auto answers = read_safetensors(entry.path());
    ASSERT_TRUE(answers.ok()) << answers.status().message();
    const std::string name = entry.path().stem();
    const auto graph = read_onnx(folder + "/" + name + ".onnx");
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    auto executor = TorchExecutor::create(*graph);
    ASSERT_TRUE(executor.ok()) << name << ": " << executor.status().message();
    const at::Tensor x = to_torch(answers->tensors.at("x")).value();
    const auto got = executor->forward(x, {});
    ASSERT_TRUE(got.ok()) << name << ": " << got.status().message();
    const at::Tensor expected = to_torch(answers->tensors.at("y")).value();
    EXPECT_LT((*got - expected).abs().max().item().toFloat(),
              1e-4F * (1 + expected.abs().max().item().toFloat()))
        << name;
    ASSERT_GT(executor->parameters().size(), 4U) << name;
    got->pow(2).sum().backward();
    for (const auto& p : executor->parameters()) {
      EXPECT_TRUE(p.value.grad().defined()) << name << ": " << p.name;
    }
    ++files;
  }
  EXPECT_GE(files, 13);
}

TEST(TorchExecutor, FrozenWeightsAreKeptButNotTrained) {
  const Graph graph = tiny_graph(1);
  auto all = TorchExecutor::create(graph).value();
  auto executor = TorchExecutor::create(graph, {.frozen = {"conv1.weight", "bn*.scale"}}).value();
  EXPECT_EQ(executor.parameters().size() + 3, all.parameters().size());
  EXPECT_EQ(executor.buffers().size(), all.buffers().size() + 3);
  for (const auto& p : executor.parameters()) EXPECT_NE(p.name, "conv1.weight");
  const Graph kept = executor.to_graph().value();
  EXPECT_EQ(to_float_vector(kept.initializers.at("conv1.weight")),
            to_float_vector(graph.initializers.at("conv1.weight")));
}

TEST(TorchExecutor, NamesTheOperatorItLacks) {
  Graph graph;
  graph.inputs = {{"x", DType::kFloat32, {1}}};
  graph.outputs = {{"y", DType::kFloat32, {1}}};
  graph.nodes = {{"Frobnicate", "", "odd", {"x"}, {"y"}, {}}};
  const auto executor = TorchExecutor::create(graph);
  EXPECT_EQ(executor.status().code(), StatusCode::kUnsupported);
  EXPECT_NE(executor.status().message().find("node 'odd' (Frobnicate)"), std::string::npos);
}

TEST(TorchExecutor, NamesTheNodeThatDoesNotFit) {
  Graph graph;
  graph.inputs = {{"x", DType::kFloat32, {2, 3}}};
  graph.outputs = {{"y", DType::kFloat32, {2, 3}}};
  graph.nodes = {{"Gemm", "", "dense", {"x", "w"}, {"y"}, {}}};
  graph.initializers["w"] = Tensor(DType::kFloat32, {4, 3});
  auto executor = TorchExecutor::create(graph);
  ASSERT_TRUE(executor.ok());
  const auto answer = executor->forward(at::zeros({2, 3}), {});
  EXPECT_EQ(answer.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(answer.status().message().find("node 'dense' (Gemm)"), std::string::npos);
}

// Numbers that a graph may only have once it runs: nothing before has looked at them.
TEST(TorchExecutor, RefusesSlicesAndPaddingsThatCannotBe) {
  struct Case {
    Node node;
    std::vector<int64_t> axes;
    std::vector<int64_t> last;  // steps, or nothing
    const char* says;
  };
  const Node cut = {"Slice", "", "cut", {"x", "zero", "four", "axes", "last"}, {"y"}, {}};
  const Node frame = {"Pad", "", "frame", {"x", "ones", "", "axes"}, {"y"}, {}};
  const Case cases[] = {{cut, {0}, {0}, "'cut' (Slice): a step of 0"},
                        {cut, {0}, {1, 1}, "1 starts, 1 ends, 1 axes and 2 steps"},
                        {cut, {0, 0}, {1}, "2 axes"},
                        {frame, {9}, {}, "'frame' (Pad): axis 9 of 1 dimensions"},
                        {frame, {-2}, {}, "axis -2 of 1 dimensions"}};
  for (const Case& c : cases) {
    Graph graph;
    graph.inputs = {{"x", DType::kFloat32, {4}}};
    graph.outputs = {{"y", DType::kFloat32, {4}}};
    graph.nodes = {c.node};
    const auto add = [&graph](const std::string& name, const std::vector<int64_t>& values) {
      graph.initializers[name] =
          Tensor::from_values<int64_t>({static_cast<int64_t>(values.size())}, values);
    };
    add("zero", {0});
    add("four", {4});
    add("ones", {1, 1});
    add("axes", c.axes);
    add("last", c.last);
    auto executor = TorchExecutor::create(graph);
    ASSERT_TRUE(executor.ok()) << executor.status().message();
    const auto answer = executor->forward(at::zeros({4}), {});
    EXPECT_EQ(answer.status().code(), StatusCode::kInvalidArgument) << c.says;
    EXPECT_NE(answer.status().message().find(c.says), std::string::npos)
        << answer.status().message();
  }
}

TEST(FindLearned, TakesLayersAndLeavesPreprocessing) {
  const auto graph = build_model("alexnet", {.training_form = true});
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const LearnedTensors learned = find_learned(*graph);
  int64_t count = 0;
  int64_t norms = 0;
  for (const LearnedTensor& p : learned.parameters) {
    const Tensor& t = graph->initializers.at(p.name);
    EXPECT_EQ(p.decay, t.rank() > 1) << p.name;  // true of this network
    if (p.name.starts_with("bn")) {
      norms += t.size();
    } else {
      count += t.size();
    }
  }
  EXPECT_EQ(count, 23490378);
  EXPECT_EQ(norms, 2 * (64 + 192 + 384 + 256 + 256 + 4096 + 4096));
  EXPECT_EQ(learned.buffers.size(), 14U);
}

TEST(FindLearned, TakesEveryParameterOfTheTransformer) {
  const auto graph = build_model("vit-seed", {});
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  int64_t count = 0;
  for (const LearnedTensor& p : find_learned(*graph).parameters) {
    count += graph->initializers.at(p.name).size();
  }
  EXPECT_EQ(count, 6061578);
}

// conv -> batch norm -> gelu -> dense, small enough for finite differences.
Graph small_graph() {
  Graph g;
  g.opset = 20;
  g.inputs = {{"x", DType::kFloat32, {kDynamic, 2, 5, 5}}};
  g.outputs = {{"y", DType::kFloat32, {kDynamic, 3}}};
  g.nodes = {{"Conv", "", "conv", {"x", "w", "b"}, {"c"}, {}},
             {"BatchNormalization", "", "bn", {"c", "s", "t", "m", "v"}, {"n"}, {}},
             {"Gelu", "", "gelu", {"n"}, {"a"}, {}},
             {"Flatten", "", "flat", {"a"}, {"f"}, {}},
             {"Gemm", "", "dense", {"f", "d"}, {"y"}, {{"transB", int64_t{1}}}}};
  uint32_t seed = 0;
  const auto random = [&seed](Shape shape) {
    Tensor t(DType::kFloat32, std::move(shape));
    Rng rng(3, RngPurpose::kTest, seed++);
    for (float& v : t.mutable_values<float>()) v = 0.5F * rng.normal();
    return t;
  };
  g.initializers = {{"w", random({3, 2, 3, 3})}, {"b", random({3})}, {"s", random({3})},
                    {"t", random({3})},          {"m", random({3})}, {"d", random({3, 27})}};
  g.initializers["v"] = Tensor::from_values<float>({3}, std::vector<float>{0.7F, 1.1F, 1.4F});
  return g;
}

TEST(TorchExecutor, GradientsAreThoseOfFiniteDifferences) {
  auto executor = TorchExecutor::create(small_graph());
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  at::manual_seed(1);
  const at::Tensor x = at::randn({4, 2, 5, 5});
  const at::Tensor direction = at::randn({4, 3});
  const RunMode mode = {.batch_statistics = true};
  const auto objective = [&] { return (executor->forward(x, mode).value() * direction).sum(); };
  objective().backward();
  ASSERT_EQ(executor->parameters().size(), 5U);
  for (const auto& p : executor->parameters()) {
    const at::NoGradGuard no_grad;
    const at::Tensor probe = at::randn_like(p.value);
    const double analytic = (p.value.grad() * probe).sum().item().toDouble();
    constexpr double kStep = 1e-2;
    p.value.add_(probe, kStep);
    const double above = objective().item().toDouble();
    p.value.sub_(probe, 2 * kStep);
    const double below = objective().item().toDouble();
    p.value.add_(probe, kStep);
    // Third derivatives times step², and float32's rounding of the sums.
    EXPECT_NEAR((above - below) / (2 * kStep), analytic, 0.02 + 0.02 * std::fabs(analytic))
        << p.name;
  }
}

TEST(TorchExecutor, BatchNormMovesItsStatisticsTowardsTheBatch) {
  auto executor = TorchExecutor::create(small_graph());
  ASSERT_TRUE(executor.ok());
  const at::Tensor x = at::zeros({2, 2, 5, 5});  // so the convolution gives its bias everywhere
  const Graph before = executor->to_graph().value();
  ASSERT_TRUE(executor->forward(x, {.batch_statistics = true}).ok());
  const Graph after = executor->to_graph().value();
  const auto bias = before.initializers.at("b").values<float>();
  const auto old_mean = before.initializers.at("m").values<float>();
  const auto old_variance = before.initializers.at("v").values<float>();
  const auto mean = after.initializers.at("m").values<float>();
  const auto variance = after.initializers.at("v").values<float>();
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(mean[c], 0.9F * old_mean[c] + 0.1F * bias[c], 1e-6F);
    EXPECT_NEAR(variance[c], 0.9F * old_variance[c], 1e-6F);
  }
}

TEST(TorchExecutor, DropoutDropsOnlyWhenAsked) {
  Graph g;
  g.inputs = {{"x", DType::kFloat32, {1, 1000}}};
  g.outputs = {{"y", DType::kFloat32, {1, 1000}}};
  g.nodes = {{"Dropout", "", "drop", {"x", "r"}, {"y"}, {}}};
  g.initializers["r"] = Tensor::scalar<float>(0.25F);
  auto executor = TorchExecutor::create(g);
  ASSERT_TRUE(executor.ok());
  const at::Tensor x = at::ones({1, 1000});
  EXPECT_TRUE(at::equal(executor->forward(x, {}).value(), x));
  at::manual_seed(5);
  const at::Tensor dropped = executor->forward(x, {.dropout = true}).value();
  const auto zeros = dropped.eq(0).sum().item().toLong();
  EXPECT_NEAR(static_cast<double>(zeros), 250.0, 5 * std::sqrt(1000 * 0.25 * 0.75));
  EXPECT_FLOAT_EQ(dropped.max().item().toFloat(), 1.0F / 0.75F);
}

TEST(TorchExecutor, WeightsComeBackAsTheyWereLoaded) {
  const auto graph = build_model("vit-seed", {.seed = 4});
  ASSERT_TRUE(graph.ok());
  const auto executor = TorchExecutor::create(*graph);
  ASSERT_TRUE(executor.ok());
  const Graph back = executor->to_graph().value();
  ASSERT_EQ(back.initializers.size(), graph->initializers.size());
  for (const auto& [name, tensor] : graph->initializers) {
    const Tensor& other = back.initializers.at(name);
    ASSERT_EQ(other.shape(), tensor.shape()) << name;
    EXPECT_EQ(0, std::memcmp(other.data(), tensor.data(), static_cast<size_t>(tensor.byte_count())))
        << name;
  }
}

}  // namespace
}  // namespace pare

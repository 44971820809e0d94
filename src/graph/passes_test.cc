// Structural passes: what they make of the nets PyTorch's exporters write
// (tests/fixtures/make_onnx.py) and, for the arithmetic, of small graphs worked out by hand. That
// whole nets answer the same before and after is tested where they can be run, in tests/onnx.
#include "graph/passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "graph/onnx.h"
#include "graph/toy.h"
#include "testing/files.h"

namespace pare {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using toy::count_op;
using toy::node;
using Ints = std::vector<int64_t>;

const Node* find_op(const Graph& graph, const std::string& op) {
  const auto it = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                               [&](const Node& node) { return node.op == op; });
  return it == graph.nodes.end() ? nullptr : &*it;
}

Graph fixture(const std::string& name) {
  auto graph = read_onnx(testing_files::fixture_path("onnx/" + name + ".onnx"));
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  return graph.ok() ? *graph : Graph{};
}

Graph checked(Result<Graph> graph) {
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  if (!graph.ok()) return {};
  EXPECT_TRUE(check_graph(*graph).ok()) << check_graph(*graph).message();
  return *std::move(graph);
}

Tensor floats(Shape shape, const std::vector<float>& values) {
  return Tensor::from_values<float>(std::move(shape), values);
}

// x of [N, columns] -> the nodes -> y.
Graph small(int64_t columns, std::vector<Node> nodes) {
  Graph g;
  g.inputs = {{"x", DType::kFloat32, {kDynamic, columns}}};
  g.outputs = {{"y", DType::kFloat32, {kDynamic, columns}}};
  g.nodes = std::move(nodes);
  return g;
}

struct Exported {
  const char* name;
  int nodes;  // after prepare_for_runtime
  int layer_norms;
  int gelus;
  int attentions;
  bool packed;
};

class ExportedNets : public ::testing::TestWithParam<Exported> {};

TEST_P(ExportedNets, AreFused) {
  const Exported& expected = GetParam();
  const Graph original = fixture(expected.name);
  const Graph simple = checked(simplify(original));
  EXPECT_EQ(count_op(simple, "LayerNormalization"), expected.layer_norms);
  EXPECT_EQ(count_op(simple, "Gelu"), expected.gelus);
  EXPECT_EQ(count_op(simple, "Identity"), 0);
  EXPECT_EQ(simple.inputs, original.inputs);
  EXPECT_EQ(simple.outputs, original.outputs);
  EXPECT_TRUE(serialise_onnx(simple).ok());

  const Graph fused = checked(prepare_for_runtime(original));
  EXPECT_EQ(count_op(fused, "Attention"), expected.attentions);
  EXPECT_EQ(count_op(fused, "Softmax"), 0);
  std::string ops;
  for (const Node& n : fused.nodes) ops += " " + n.op;
  EXPECT_EQ(static_cast<int>(fused.nodes.size()), expected.nodes) << ops;
  for (const Node& n : fused.nodes) {
    if (n.op != "Attention") continue;
    EXPECT_EQ(n.inputs.size(), expected.packed ? 1U : 3U);
    EXPECT_EQ(n.int_attribute("num_heads", 0), 2);
    EXPECT_NEAR(n.float_attribute("scale", 0.0F), 1.0 / std::sqrt(8.0), 1e-6);
  }
  EXPECT_EQ(checked(fix_batch(original, 2)).outputs[0].shape[0], 2);
}

// Counted by hand. A ViT block: norm, qkv (MatMul, Add), attention, projection (2), residual, norm,
// fc1 (2), GELU, fc2 (2), residual: 14. timm's net around two of them: patches (Conv, Reshape,
// Transpose), class token (Shape, Concat, Expand, Concat), positions, norm, Gather, head, and in
// the TorchScript file Gather, Unsqueeze and Where around the class token's shape; with the mean of
// the tokens instead: Conv, Reshape, Transpose, positions, mean, norm, head. PlainVit: one block
// with three projections (4 more), patches (3), positions, mean, head.
INSTANTIATE_TEST_SUITE_P(
    Passes, ExportedNets,
    ::testing::Values(
        Exported{"vit_script", 42, 5, 2, 2, true}, Exported{"vit_dynamo", 39, 5, 2, 2, true},
        Exported{"vit_fixed_script", 35, 5, 2, 2, true},
        Exported{"vit_fixed_dynamo", 35, 5, 2, 2, true},
        Exported{"plain_vit_erf_script", 24, 2, 1, 1, false},
        Exported{"plain_vit_erf_dynamo", 24, 2, 1, 1, false},
        Exported{"plain_vit_tanh_script", 24, 2, 1, 1, false},
        Exported{"plain_vit_tanh_dynamo", 24, 2, 1, 1, false},
        // Conv Relu MaxPool, Conv Relu Conv Conv Add Relu, mean, flatten, Gemm.
        Exported{"residual_script", 12, 0, 0, 0, false},
        Exported{"residual_dynamo", 12, 0, 0, 0, false},
        Exported{"residual_unfolded", 12, 0, 0, 0, false},
        // (Conv Relu MaxPool) twice, Flatten, Gemm, Relu, Gemm: its mean is of one pixel.
        Exported{"alex_script", 10, 0, 0, 0, false}, Exported{"alex_dynamo", 10, 0, 0, 0, false}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(FuseGelu, KeepsTheFormApart) {
  const Graph erf = checked(simplify(fixture("plain_vit_erf_script")));
  const Graph tanh = checked(simplify(fixture("plain_vit_tanh_script")));
  EXPECT_EQ(find_op(erf, "Gelu")->string_attribute("approximate", ""), "none");
  EXPECT_EQ(find_op(tanh, "Gelu")->string_attribute("approximate", ""), "tanh");
  EXPECT_EQ(erf.opset, 20);
}

// x · (1 + erf(x / root)) · half
Graph gelu_graph(float root, float half, float one) {
  Graph g =
      small(4, {node("Div", "div", {"x", "root"}, {"a"}), node("Erf", "erf", {"a"}, {"b"}),
                node("Add", "add", {"one", "b"}, {"c"}), node("Mul", "mul", {"c", "x"}, {"d"}),
                node("Mul", "half", {"half", "d"}, {"y"})});
  g.initializers["root"] = Tensor::scalar(root);
  g.initializers["half"] = Tensor::scalar(half);
  g.initializers["one"] = Tensor::scalar(one);
  return g;
}

TEST(FuseGelu, OnlyWithItsConstants) {
  const float root = std::sqrt(2.0F);
  EXPECT_EQ(count_op(checked(fuse_gelu(gelu_graph(root, 0.5F, 1.0F))), "Gelu"), 1);
  EXPECT_EQ(count_op(checked(fuse_gelu(gelu_graph(1.4F, 0.5F, 1.0F))), "Gelu"), 0);
  EXPECT_EQ(count_op(checked(fuse_gelu(gelu_graph(root, 0.6F, 1.0F))), "Gelu"), 0);
  EXPECT_EQ(count_op(checked(fuse_gelu(gelu_graph(root, 0.5F, 1.1F))), "Gelu"), 0);
}

TEST(FuseGelu, OfAProductAndWithAFactorBehind) {
  // x = u · v, and the result times 3: the GELU ends one node earlier.
  Graph g = gelu_graph(std::sqrt(2.0F), 0.5F, 1.0F);
  g.inputs[0].name = "u";
  g.nodes.insert(g.nodes.begin(), node("Mul", "product", {"u", "u"}, {"x"}));
  g.nodes.back().outputs = {"z"};
  g.nodes.push_back(node("Mul", "three", {"z", "three"}, {"y"}));
  g.initializers["three"] = Tensor::scalar(3.0F);
  const Graph fused = checked(fuse_gelu(std::move(g)));
  ASSERT_EQ(fused.nodes.size(), 3U);
  EXPECT_EQ(fused.nodes[1].op, "Gelu");
  EXPECT_THAT(fused.nodes[1].inputs, ElementsAre("x"));
}

// The nodes of (x - mean) / sqrt(var + ε), with the mean over the axes of `axes`.
Graph norm_graph(const Ints& axes, const Ints& second_axes) {
  Graph g =
      small(4, {node("ReduceMean", "mean", {"x"}, {"m"}, {{"axes", axes}}),
                node("Sub", "sub", {"x", "m"}, {"d"}), node("Mul", "square", {"d", "d"}, {"s"}),
                node("ReduceMean", "variance", {"s"}, {"v"}, {{"axes", second_axes}}),
                node("Add", "plus", {"v", "epsilon"}, {"e"}), node("Sqrt", "root", {"e"}, {"r"}),
                node("Div", "div", {"d", "r"}, {"y"})});
  g.initializers["epsilon"] = Tensor::scalar(1e-3F);
  return g;
}

TEST(FuseLayerNorm, WithoutParametersGetsOnes) {
  const Graph fused = checked(fuse_layer_norm(norm_graph({1}, {-1})));
  ASSERT_EQ(fused.nodes.size(), 1U);
  EXPECT_EQ(fused.nodes[0].op, "LayerNormalization");
  EXPECT_EQ(fused.nodes[0].int_attribute("axis", 0), -1);
  EXPECT_FLOAT_EQ(fused.nodes[0].float_attribute("epsilon", 0), 1e-3F);
  EXPECT_EQ(to_float_vector(fused.initializers.at(fused.nodes[0].inputs[1])),
            (std::vector<float>{1, 1, 1, 1}));
}

TEST(FuseLayerNorm, NotOverTheImagesNorOverDifferentAxes) {
  EXPECT_EQ(checked(fuse_layer_norm(norm_graph({0}, {0}))).nodes.size(), 7U);
  EXPECT_EQ(checked(fuse_layer_norm(norm_graph({1}, {0}))).nodes.size(), 7U);
  // The images need not stand in front.
  Graph turned = norm_graph({1}, {1});
  turned.nodes.insert(turned.nodes.begin(), node("Transpose", "turn", {"image"}, {"x"}));
  turned.inputs[0].name = "image";
  turned.outputs[0].shape = {4, kDynamic};
  EXPECT_EQ(checked(fuse_layer_norm(std::move(turned))).nodes.size(), 8U);
}

Graph conv_norm() {
  Graph g;
  g.inputs = {{"x", DType::kFloat32, {kDynamic, 1, 2, 2}}};
  g.outputs = {{"y", DType::kFloat32, {kDynamic, 2, 2, 2}}};
  g.nodes = {node("Conv", "conv", {"x", "w", "b"}, {"c"}),
             node("BatchNormalization", "bn", {"c", "gamma", "beta", "mean", "var"}, {"y"},
                  {{"epsilon", 0.0F}})};
  g.initializers["w"] = floats({2, 1, 1, 1}, {3, 5});
  g.initializers["b"] = floats({2}, {1, 2});
  g.initializers["gamma"] = floats({2}, {2, 10});
  g.initializers["beta"] = floats({2}, {7, 8});
  g.initializers["mean"] = floats({2}, {-1, 4});
  g.initializers["var"] = floats({2}, {4, 25});
  return g;
}

TEST(FoldBatchNorm, ByHand) {
  // Channel 0: γ/σ = 1, (3x + 1 + 1) + 7; channel 1: γ/σ = 2, (5x + 2 - 4) · 2 + 8.
  const Graph folded = checked(fold_batch_norm(conv_norm()));
  ASSERT_EQ(folded.nodes.size(), 1U);
  EXPECT_EQ(to_float_vector(folded.initializers.at("w")), (std::vector<float>{3, 10}));
  EXPECT_EQ(to_float_vector(folded.initializers.at("b")), (std::vector<float>{9, 4}));
  EXPECT_EQ(folded.initializers.size(), 2U);
}

TEST(FoldBatchNorm, ThroughAMaxPoolUnlessItTurnsTheOrderRound) {
  for (const bool negative : {false, true}) {
    Graph g = conv_norm();
    g.nodes[1].inputs[0] = "p";
    g.nodes.insert(g.nodes.begin() + 1, node("MaxPool", "pool", {"c"}, {"p"},
                                             {{"kernel_shape", std::vector<int64_t>{2, 2}}}));
    g.outputs[0].shape = {kDynamic, 2, 1, 1};
    if (negative) g.initializers["gamma"] = floats({2}, {2, -10});
    const Graph folded = checked(fold_batch_norm(std::move(g)));
    ASSERT_EQ(folded.nodes.size(), negative ? 3U : 2U);
    if (negative) continue;
    EXPECT_EQ(folded.nodes[1].outputs[0], "y");
    EXPECT_EQ(to_float_vector(folded.initializers.at("w")), (std::vector<float>{3, 10}));
    EXPECT_EQ(to_float_vector(folded.initializers.at("b")), (std::vector<float>{9, 4}));
  }
}

TEST(FoldBatchNorm, NotWhenTheConvolutionIsReadElsewhereToo) {
  Graph g = conv_norm();
  g.outputs.push_back({"c", DType::kFloat32, {kDynamic, 2, 2, 2}});
  EXPECT_EQ(checked(fold_batch_norm(std::move(g))).nodes.size(), 2U);
}

TEST(FoldBatchNorm, SharedWeightsAreNotChangedForOthers) {
  Graph g = conv_norm();
  g.nodes.push_back(node("Conv", "other", {"x", "w"}, {"z"}));
  g.outputs.push_back({"z", DType::kFloat32, {kDynamic, 2, 2, 2}});
  const Graph folded = checked(fold_batch_norm(std::move(g)));
  EXPECT_EQ(to_float_vector(folded.initializers.at("w")), (std::vector<float>{3, 5}));
  EXPECT_EQ(to_float_vector(folded.initializers.at(folded.nodes[0].inputs[1])),
            (std::vector<float>{3, 10}));
}

TEST(FoldBatchNorm, IntoADenseLayerEitherWayRound) {
  for (const bool transposed : {false, true}) {
    Graph g = small(2, {node("Gemm", "dense", {"x", "w"}, {"c"}),
                        node("BatchNormalization", "bn", {"c", "gamma", "beta", "mean", "var"},
                             {"y"}, {{"epsilon", 0.0F}})});
    if (transposed) g.nodes[0].attributes["transB"] = int64_t{1};
    const Graph bn = conv_norm();
    for (const char* name : {"gamma", "beta", "mean", "var"}) {
      g.initializers[name] = bn.initializers.at(name);
    }
    g.initializers["w"] = floats({2, 2}, {1, 2, 3, 4});
    const Graph folded = checked(fold_batch_norm(std::move(g)));
    ASSERT_EQ(folded.nodes.size(), 1U);
    EXPECT_EQ(to_float_vector(folded.initializers.at("w")),
              transposed ? (std::vector<float>{1, 2, 6, 8}) : (std::vector<float>{1, 4, 3, 8}));
    EXPECT_EQ(to_float_vector(folded.initializers.at(folded.nodes[0].inputs[2])),
              (std::vector<float>{8, 0}));
  }
}

// uint8 image -> float -> · scale -> + shift -> Conv 2->1 of 1x2 pixels.
Graph normalised_conv(int64_t pad) {
  Graph g;
  g.inputs = {{"x", DType::kUInt8, {kDynamic, 2, 3, 3}}};
  g.nodes = {node("Cast", "cast", {"x"}, {"f"}, {{"to", int64_t{1}}}),
             node("Mul", "scale", {"f", "a"}, {"g"}), node("Sub", "shift", {"g", "b"}, {"h"}),
             node("Conv", "conv", {"h", "w", "bias"}, {"y"}, {{"pads", Ints{0, pad, 0, pad}}})};
  g.outputs = {{"y", DType::kFloat32, {kDynamic, 1, 3, 2 + 2 * pad}}};
  g.initializers["a"] = floats({1, 2, 1, 1}, {2, 4});
  g.initializers["b"] = floats({2, 1, 1}, {1, -3});
  g.initializers["w"] = floats({1, 2, 1, 2}, {1, 2, 3, 4});
  g.initializers["bias"] = floats({1}, {10});
  return g;
}

TEST(FoldNormalisation, ByHand) {
  // bias + Σ w·b: 10 - 1·(1+2) + 3·(3+4)
  const Graph folded = checked(fold_normalisation(normalised_conv(0)));
  ASSERT_EQ(folded.nodes.size(), 2U);
  EXPECT_EQ(to_float_vector(folded.initializers.at("w")), (std::vector<float>{2, 4, 12, 16}));
  EXPECT_EQ(to_float_vector(folded.initializers.at("bias")), (std::vector<float>{28}));
}

TEST(FoldNormalisation, LeftApartWhereTheConvolutionPads) {
  EXPECT_EQ(checked(fold_normalisation(normalised_conv(1))).nodes.size(), 4U);
}

TEST(FoldNormalisation, DivisionAndOneNumberForAllChannels) {
  Graph g = normalised_conv(0);
  g.nodes[1].op = "Div";
  g.initializers["a"] = Tensor::scalar(0.5F);
  const Graph folded = checked(fold_normalisation(std::move(g)));
  EXPECT_EQ(to_float_vector(folded.initializers.at("w")), (std::vector<float>{2, 4, 6, 8}));
}

TEST(FoldNormalisation, NotAPositionEmbedding) {
  Graph g = normalised_conv(0);
  g.initializers["a"] = Tensor(DType::kFloat32, {1, 2, 3, 3});
  EXPECT_EQ(checked(fold_normalisation(std::move(g))).nodes.size(), 4U);
}

TEST(DropIdentities, KeepsTheNamesOfOutputs) {
  Graph g = small(4, {node("Relu", "relu", {"x"}, {"a"}), node("Identity", "i", {"a"}, {"b"}),
                      node("Dropout", "d", {"b"}, {"c"}),
                      node("Cast", "cast", {"c"}, {"y"}, {{"to", int64_t{1}}})});
  const Graph dropped = checked(drop_identities(std::move(g)));
  ASSERT_EQ(dropped.nodes.size(), 1U);
  EXPECT_EQ(dropped.nodes[0].op, "Relu");
  EXPECT_THAT(dropped.nodes[0].outputs, ElementsAre("y"));
}

TEST(DropIdentities, AnInputThatIsAnOutputStays) {
  const Graph dropped = checked(drop_identities(small(4, {node("Identity", "i", {"x"}, {"y"})})));
  EXPECT_EQ(dropped.nodes.size(), 1U);
}

TEST(DropIdentities, TwoTransposesBecomeOneOrNone) {
  const auto chain = [](const Ints& first, const Ints& second) {
    Graph g;
    g.inputs = {{"x", DType::kFloat32, {kDynamic, 2, 3}}};
    g.outputs = {{"y", DType::kFloat32, {}}};
    g.nodes = {node("Transpose", "t", {"x"}, {"a"}, {{"perm", first}}),
               node("Transpose", "u", {"a"}, {"b"}, {{"perm", second}}),
               node("Relu", "r", {"b"}, {"y"})};
    g.outputs[0].shape = infer_shapes(g)->at("y").shape;
    return checked(drop_identities(std::move(g)));
  };
  EXPECT_EQ(chain({0, 2, 1}, {0, 2, 1}).nodes.size(), 1U);
  const Graph one = chain({1, 2, 0}, {1, 0, 2});
  ASSERT_EQ(one.nodes.size(), 2U);
  EXPECT_EQ(one.nodes[0].ints_attribute("perm"), (Ints{2, 1, 0}));
}

TEST(DropIdentities, ADropoutInTrainingStays) {
  Graph g = small(
      4, {node("Dropout", "d", {"x", "", "training"}, {"a"}), node("Relu", "relu", {"a"}, {"y"})});
  g.initializers["training"] = Tensor::scalar(true);
  EXPECT_EQ(checked(drop_identities(std::move(g))).nodes.size(), 2U);
}

// softmax(q kᵀ · scale) v of one packed value, in the order q, k, v or another.
Graph attention_graph(const std::array<int64_t, 3>& thirds) {
  Graph g;
  g.inputs = {{"x", DType::kFloat32, {kDynamic, 5, 24}}};
  g.outputs = {{"y", DType::kFloat32, {kDynamic, 5, 8}}};
  g.initializers["sizes"] = Tensor::from_values<int64_t>({3}, Ints{8, 8, 8});
  g.initializers["heads"] = Tensor::from_values<int64_t>({4}, Ints{0, 5, 2, 4});
  g.initializers["merged"] = Tensor::from_values<int64_t>({3}, Ints{0, 5, 8});
  g.initializers["scale"] = Tensor::scalar(0.5F);
  g.nodes = {node("Split", "split", {"x", "sizes"}, {"p0", "p1", "p2"}, {{"axis", int64_t{-1}}})};
  const char* names[] = {"q", "k", "v"};
  for (size_t i = 0; i < 3; ++i) {
    const std::string n = names[i];
    const Ints perm = n == "k" ? Ints{0, 2, 3, 1} : Ints{0, 2, 1, 3};
    g.nodes.push_back(
        node("Reshape", n + "r", {"p" + std::to_string(thirds[i]), "heads"}, {n + "4"}));
    g.nodes.push_back(node("Transpose", n + "t", {n + "4"}, {n}, {{"perm", perm}}));
  }
  g.nodes.push_back(node("MatMul", "scores", {"q", "k"}, {"s"}));
  g.nodes.push_back(node("Mul", "scaled", {"s", "scale"}, {"ss"}));
  g.nodes.push_back(node("Softmax", "softmax", {"ss"}, {"p"}));
  g.nodes.push_back(node("MatMul", "context", {"p", "v"}, {"c"}));
  g.nodes.push_back(node("Transpose", "back", {"c"}, {"t"}, {{"perm", Ints{0, 2, 1, 3}}}));
  g.nodes.push_back(node("Reshape", "merge", {"t", "merged"}, {"y"}));
  return g;
}

TEST(FuseAttention, PackedThirds) {
  const Graph fused = checked(fuse_attention(attention_graph({0, 1, 2})));
  ASSERT_EQ(fused.nodes.size(), 1U);
  EXPECT_EQ(fused.nodes[0].domain, "pare");
  EXPECT_THAT(fused.nodes[0].inputs, ElementsAre("x"));
  EXPECT_THAT(fused.nodes[0].outputs, ElementsAre("y"));
  EXPECT_EQ(fused.nodes[0].int_attribute("num_heads", 0), 2);
  EXPECT_EQ(fused.nodes[0].float_attribute("scale", 0), 0.5F);
  EXPECT_THAT(serialise_onnx(fused).status().message(), HasSubstr("only inside Pare"));
}

TEST(FuseAttention, ThirdsInAnotherOrderStaySplit) {
  const Graph fused = checked(fuse_attention(attention_graph({1, 0, 2})));
  ASSERT_EQ(fused.nodes.size(), 2U);
  EXPECT_EQ(fused.nodes[0].op, "Split");
  EXPECT_THAT(fused.nodes[1].inputs, ElementsAre("p1", "p0", "p2"));
}

TEST(FuseAttention, NotWhenItIsSomethingElse) {
  const auto fuses = [](auto change) {
    Graph g = attention_graph({0, 1, 2});
    change(g);
    return count_op(checked(fuse_attention(std::move(g))), "Attention") == 1;
  };
  const auto find = [](Graph& g, const std::string& name) -> Node& {
    return *std::find_if(g.nodes.begin(), g.nodes.end(),
                         [&](const Node& n) { return n.name == name; });
  };
  EXPECT_TRUE(fuses([](Graph&) {}));
  // Softmax over the queries.
  EXPECT_FALSE(fuses([&](Graph& g) { find(g, "softmax").attributes["axis"] = int64_t{2}; }));
  // A mask.
  EXPECT_FALSE(fuses([&](Graph& g) {
    g.initializers["mask"] = Tensor(DType::kFloat32, {5, 5});
    find(g, "scaled") = node("Add", "scaled", {"s", "mask"}, {"ss"});
  }));
  // The values scaled.
  EXPECT_FALSE(fuses([&](Graph& g) {
    find(g, "vt").outputs = {"v_"};
    g.nodes.insert(g.nodes.end() - 5, node("Mul", "vs", {"v_", "scale"}, {"v"}));
  }));
  // A scale for each key.
  EXPECT_FALSE(fuses([](Graph& g) { g.initializers["scale"] = Tensor(DType::kFloat32, {5}); }));
}

TEST(FixBatch, PutsTheNumberEverywhere) {
  const Graph fixed = checked(fix_batch(attention_graph({0, 1, 2}), 7));
  EXPECT_EQ(fixed.inputs[0].shape[0], 7);
  EXPECT_EQ(fixed.outputs[0].shape[0], 7);
  EXPECT_FALSE(fix_batch(attention_graph({0, 1, 2}), 0).ok());
}

}  // namespace
}  // namespace pare

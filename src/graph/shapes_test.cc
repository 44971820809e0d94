// Shape rules against values worked out by hand from ONNX's operator descriptions.
#include "graph/shapes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/operators.h"
#include "graph/window.h"

namespace pare {
namespace {

using ::testing::HasSubstr;
using Ints = std::vector<int64_t>;

// A graph built node by node; values are float32 unless said otherwise.
class Builder {
 public:
  Builder& input(const std::string& name, Shape shape, DType type = DType::kFloat32) {
    graph_.inputs.push_back({name, type, std::move(shape)});
    return *this;
  }
  Builder& ints(const std::string& name, const Ints& values) {
    graph_.initializers[name] =
        Tensor::from_values<int64_t>({static_cast<int64_t>(values.size())}, values);
    return *this;
  }
  Builder& integer(const std::string& name, int64_t value) {
    graph_.initializers[name] = Tensor::scalar<int64_t>(value);
    return *this;
  }
  Builder& weights(const std::string& name, Shape shape, DType type = DType::kFloat32) {
    graph_.initializers[name] = Tensor(type, std::move(shape));
    return *this;
  }
  Builder& add(const std::string& op, std::vector<std::string> inputs,
               std::vector<std::string> outputs, std::map<std::string, Attribute> attributes = {}) {
    Node n;
    n.op = op;
    n.name = "n" + std::to_string(graph_.nodes.size());
    n.inputs = std::move(inputs);
    n.outputs = std::move(outputs);
    n.attributes = std::move(attributes);
    graph_.nodes.push_back(std::move(n));
    return *this;
  }
  Builder& opset(int64_t number) {
    graph_.opset = number;
    return *this;
  }
  Result<ValueInfos> infer(int64_t batch = kDynamic) const { return infer_shapes(graph_, batch); }
  Shape shape(const std::string& value, int64_t batch = kDynamic) const {
    auto infos = infer(batch);
    EXPECT_TRUE(infos.ok()) << infos.status().message();
    return infos.ok() ? infos->at(value).shape : Shape{-99};
  }
  std::string error() const { return infer().status().message(); }

 private:
  Graph graph_;
};

TEST(Shapes, ConvolutionAndPooling) {
  Builder b;
  b.input("x", {kDynamic, 3, 32, 32}).weights("w", {64, 3, 11, 11}).weights("b", {64});
  b.add("Conv", {"x", "w", "b"}, {"c"});
  b.add("MaxPool", {"c"}, {"p"}, {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}});
  b.add("MaxPool", {"c"}, {"ceil"},
        {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"ceil_mode", int64_t{1}}});
  b.add("GlobalAveragePool", {"p"}, {"g"});
  b.add("Conv", {"x", "w"}, {"same"},
        {{"auto_pad", std::string("SAME_UPPER")}, {"strides", Ints{4, 4}}});
  EXPECT_EQ(b.shape("c"), (Shape{kDynamic, 64, 22, 22}));
  EXPECT_EQ(b.shape("p"), (Shape{kDynamic, 64, 10, 10}));
  EXPECT_EQ(b.shape("ceil"), (Shape{kDynamic, 64, 11, 11}));
  EXPECT_EQ(b.shape("g"), (Shape{kDynamic, 64, 1, 1}));
  EXPECT_EQ(b.shape("same"), (Shape{kDynamic, 64, 8, 8}));
  EXPECT_EQ(b.shape("c", 5), (Shape{5, 64, 22, 22}));
}

TEST(Shapes, WindowsThatStartInThePaddingAreDropped) {
  // PyTorch: MaxPool2d(2, stride=2, padding=1, ceil_mode=True) of 5x5 gives 3x3: a fourth window
  // would start at 6, where input and left padding end.
  Node pool;
  pool.op = "MaxPool";
  pool.attributes = {{"kernel_shape", Ints{2, 2}},
                     {"strides", Ints{2, 2}},
                     {"pads", Ints{1, 1, 1, 1}},
                     {"ceil_mode", int64_t{1}}};
  const auto window = resolve_window(pool, {1, 1, 5, 5}, 0, 0);
  ASSERT_TRUE(window.ok());
  EXPECT_EQ(window->out_h, 3);
}

TEST(Shapes, SamePaddingPutsTheOddRowWhereItBelongs) {
  Node conv;
  conv.op = "Conv";
  conv.attributes = {{"auto_pad", std::string("SAME_LOWER")}, {"strides", Ints{1, 1}}};
  const auto lower = resolve_window(conv, {1, 1, 8, 8}, 4, 4);
  ASSERT_TRUE(lower.ok());
  EXPECT_EQ(lower->pad_top, 2);
  EXPECT_EQ(lower->pad_bottom, 1);
  EXPECT_EQ(lower->out_h, 8);
  conv.attributes["auto_pad"] = std::string("SAME_UPPER");
  EXPECT_EQ(resolve_window(conv, {1, 1, 8, 8}, 4, 4)->pad_top, 1);
}

TEST(Shapes, ErrorsNameNodeExpectedAndFound) {
  Builder b;
  b.input("x", {kDynamic, 1, 28, 28}).weights("w", {64, 3, 5, 5}).add("Conv", {"x", "w"}, {"y"});
  EXPECT_EQ(b.error(),
            "node 'n0' (Conv): weights of 64x3x5x5 in 1 groups expect 3 channels, input of "
            "1x1x28x28 has 1");
  Builder big;
  big.input("x", {kDynamic, 3, 4, 4}).weights("w", {8, 3, 5, 5}).add("Conv", {"x", "w"}, {"y"});
  EXPECT_THAT(big.error(), HasSubstr("a window of 5 does not fit an image side of 4"));
  Builder types;
  types.input("x", {kDynamic, 3}, DType::kUInt8).input("y", {kDynamic, 3});
  types.add("Add", {"x", "y"}, {"z"});
  EXPECT_THAT(types.error(), HasSubstr("input 1 is float32, expected uint8"));
}

TEST(Shapes, FollowsComputedReshapeTargets) {
  // What PyTorch writes for x.reshape(B, N, 3, heads, C // heads).permute(2, 0, 3, 1, 4).
  Builder b;
  b.input("x", {kDynamic, 197, 576}).integer("0", 0).integer("1", 1);
  b.ints("tail", {3, 3, -1}).ints("axes0", {0});
  b.add("Shape", {"x"}, {"s"});
  b.add("Gather", {"s", "0"}, {"n"}, {{"axis", int64_t{0}}});
  b.add("Gather", {"s", "1"}, {"t"}, {{"axis", int64_t{0}}});
  b.add("Unsqueeze", {"n", "axes0"}, {"n1"});
  b.add("Unsqueeze", {"t", "axes0"}, {"t1"});
  b.add("Concat", {"n1", "t1", "tail"}, {"target"}, {{"axis", int64_t{0}}});
  b.add("Reshape", {"x", "target"}, {"r"});
  b.add("Transpose", {"r"}, {"y"}, {{"perm", Ints{2, 0, 3, 1, 4}}});
  EXPECT_EQ(b.shape("r"), (Shape{kDynamic, 197, 3, 3, 64}));
  EXPECT_EQ(b.shape("y"), (Shape{3, kDynamic, 3, 197, 64}));
  EXPECT_EQ(b.shape("y", 2), (Shape{3, 2, 3, 197, 64}));
}

// The first of them is out of range before any other is known to be wrong.
TEST(Shapes, ATransposeNeedsAnOrderOfItsDimensions) {
  for (const Ints& perm : {Ints{7, 0}, Ints{0, 0}, Ints{-1, 0}, Ints{0}, Ints{0, 1, 2}}) {
    Builder b;
    b.input("x", {2, 3});
    b.add("Transpose", {"x"}, {"y"}, {{"perm", perm}});
    EXPECT_THAT(b.error(), HasSubstr("is not an order of 2 dimensions"));
  }
}

TEST(Shapes, FollowsArithmeticOnSizes) {
  // heads = 192 / 64 through Div; -1 replaced by Where(Equal(...)) as Expand's exporters write it.
  Builder b;
  b.input("x", {kDynamic, 10, 192}).ints("64", {64}).ints("i2", {2}).ints("i0", {0});
  b.ints("target", {-1, 4, 192}).ints("minus1", {-1}).ints("one", {1}).ints("three", {3});
  b.weights("token", {1, 1, 192});
  b.add("Shape", {"x"}, {"s"});
  b.add("Gather", {"s", "i2"}, {"c"});
  b.add("Div", {"c", "64"}, {"heads"});
  b.add("Mul", {"heads", "64"}, {"width"});
  b.add("Concat", {"i0", "minus1", "heads", "64"}, {"split"}, {{"axis", int64_t{0}}});
  b.add("Reshape", {"x", "split"}, {"y"});
  b.add("ConstantOfShape", {"three"}, {"ones"},
        {{"value", Tensor::from_values<int64_t>({1}, Ints{1})}});
  b.add("Equal", {"target", "minus1"}, {"equal"});
  b.add("Where", {"equal", "ones", "target"}, {"expanded"});
  b.add("Expand", {"token", "expanded"}, {"e"});
  EXPECT_EQ(b.shape("y"), (Shape{kDynamic, 10, 3, 64}));
  EXPECT_EQ(b.shape("e"), (Shape{1, 4, 192}));
}

TEST(Shapes, RefusesAGraphThatOnlyFitsItsOwnBatch) {
  Builder b;
  b.input("x", {kDynamic, 6}).ints("target", {1, 6}).add("Reshape", {"x", "target"}, {"y"});
  EXPECT_THAT(b.error(), HasSubstr("takes any number of images, but not this one"));
  EXPECT_EQ(b.shape("y", 1), (Shape{1, 6}));
}

TEST(Shapes, RefusesShapesThatDependOnTheImage) {
  Builder b;
  b.input("x", {kDynamic, 6}).input("target", {2}, DType::kInt64);
  b.add("Reshape", {"x", "target"}, {"y"});
  EXPECT_THAT(b.error(), HasSubstr("(the new shape) depends on the image"));
}

TEST(Shapes, RefusesAnOpenImageSize) {
  Builder b;
  b.input("x", {kDynamic, 3, kDynamic, 32}).add("Relu", {"x"}, {"y"});
  EXPECT_THAT(b.error(), HasSubstr("only the number of images may be open"));
}

TEST(Shapes, SlicesLikeNumPy) {
  Builder b;
  b.input("x", {kDynamic, 10, 8})
      .ints("a", {1, 2})
      .ints("s", {-3, 7})
      .ints("e", {INT64_MAX, INT64_MIN});
  b.ints("st", {1, -2});
  b.add("Slice", {"x", "s", "e", "a", "st"}, {"y"});
  EXPECT_EQ(b.shape("y"), (Shape{kDynamic, 3, 4}));
}

TEST(Shapes, SlicedSizesAreKnownValues) {
  Builder b;
  b.input("x", {kDynamic, 10, 8}).ints("s", {2}).ints("e", {0}).ints("a", {0}).ints("st", {-1});
  b.add("Shape", {"x"}, {"shape"});
  b.add("Slice", {"shape", "s", "e", "a", "st"}, {"back"});  // 8, 10
  b.weights("v", {1}).add("Expand", {"v", "back"}, {"y"});
  EXPECT_EQ(b.shape("y"), (Shape{8, 10}));
}

TEST(Shapes, ReducesWithAxesAsAttributeAndAsInput) {
  Builder b;
  b.input("x", {kDynamic, 10, 8}).ints("axes", {-1});
  b.add("ReduceSum", {"x", "axes"}, {"input"});
  b.add("ReduceSum", {"x"}, {"all"});
  b.add("ReduceSum", {"x"}, {"none"}, {{"noop_with_empty_axes", int64_t{1}}});
  b.add("ReduceMean", {"x"}, {"attribute"}, {{"axes", Ints{1}}, {"keepdims", int64_t{0}}});
  EXPECT_EQ(b.shape("attribute"), (Shape{kDynamic, 8}));
  EXPECT_EQ(b.shape("input"), (Shape{kDynamic, 10, 1}));
  EXPECT_EQ(b.shape("all"), (Shape{1, 1, 1}));
  EXPECT_EQ(b.shape("none"), (Shape{kDynamic, 10, 8}));
  EXPECT_THAT(b.opset(18).error(), HasSubstr("in opset 18 axes are input 1"));
}

TEST(Shapes, SplitsUnevenly) {
  Builder b;
  b.opset(18).input("x", {kDynamic, 7}).ints("sizes", {2, 5});
  b.add("Split", {"x"}, {"a", "b"}, {{"axis", int64_t{1}}, {"num_outputs", int64_t{2}}});
  b.add("Split", {"x", "sizes"}, {"c", "d"}, {{"axis", int64_t{1}}});
  EXPECT_EQ(b.shape("a"), (Shape{kDynamic, 4}));
  EXPECT_EQ(b.shape("b"), (Shape{kDynamic, 3}));
  EXPECT_EQ(b.shape("d"), (Shape{kDynamic, 5}));
}

TEST(Shapes, MatrixProductsBroadcast) {
  Builder b;
  b.input("x", {kDynamic, 3, 197, 64}).weights("w", {64, 10}).weights("v", {64});
  b.add("MatMul", {"x", "w"}, {"y"}).add("MatMul", {"x", "v"}, {"z"});
  EXPECT_EQ(b.shape("y"), (Shape{kDynamic, 3, 197, 10}));
  EXPECT_EQ(b.shape("z"), (Shape{kDynamic, 3, 197}));
}

TEST(Shapes, QuantisedTypes) {
  Builder b;
  b.input("x", {kDynamic, 8}).weights("s", {}).weights("z", {}, DType::kUInt8);
  b.weights("w", {8, 4}, DType::kInt8).weights("ws", {4});
  b.add("QuantizeLinear", {"x", "s", "z"}, {"q"});
  b.add("DequantizeLinear", {"q", "s", "z"}, {"d"});
  b.add("DequantizeLinear", {"w", "ws"}, {"wf"}, {{"axis", int64_t{1}}});
  b.add("MatMul", {"d", "wf"}, {"y"});
  b.add("DynamicQuantizeLinear", {"x"}, {"dq", "dscale", "dzero"});
  b.add("MatMulInteger", {"dq", "w", "dzero"}, {"acc"});
  const auto infos = b.infer();
  ASSERT_TRUE(infos.ok()) << infos.status().message();
  EXPECT_EQ(infos->at("q").type, DType::kUInt8);
  EXPECT_EQ(infos->at("d").type, DType::kFloat32);
  EXPECT_EQ(infos->at("acc").type, DType::kInt32);
  EXPECT_EQ(infos->at("y").shape, (Shape{kDynamic, 4}));
  EXPECT_EQ(infos->at("dscale").shape, Shape{});
}

TEST(Shapes, SizesThatOverflowAreRefused) {
  Builder b;
  b.input("x", {kDynamic, 4}).ints("huge", {1 << 20, 1 << 20, 1 << 20, 1 << 20});
  b.weights("v", {1}).add("Expand", {"v", "huge"}, {"y"});
  EXPECT_THAT(b.error(), HasSubstr("more than 2^40 elements"));
  Builder tile;
  tile.input("x", {kDynamic, 4}).ints("r", {1, INT64_MAX}).add("Tile", {"x", "r"}, {"y"});
  EXPECT_FALSE(tile.infer().ok());
  Builder zero;  // a zero must not hide what the other sizes come to
  zero.ints("shape", {0, INT64_MAX, INT64_MAX}).input("x", {kDynamic, 4});
  zero.add("ConstantOfShape", {"shape"}, {"y"});
  EXPECT_FALSE(zero.infer().ok());
}

TEST(Shapes, LogicIsForBools) {
  Builder b;
  b.input("x", {kDynamic, 4}).weights("w", {3}).add("Not", {"w"}, {"y"});
  EXPECT_THAT(b.error(), HasSubstr("input 0 is float32, expected bool"));
  Builder both;
  both.input("x", {kDynamic, 4}).weights("w", {3}).weights("m", {3}, DType::kBool);
  both.add("Or", {"m", "w"}, {"y"});
  EXPECT_THAT(both.error(), HasSubstr("input 1 is float32, expected bool"));
  Builder known;  // a target computed from bools: [1, 2]
  known.input("x", {kDynamic, 4}).weights("no", {1}, DType::kBool).ints("two", {2});
  known.add("Not", {"no"}, {"yes"}).add("Or", {"no", "yes"}, {"or"}).add("Max", {"or"}, {"max"});
  known.add("Cast", {"max"}, {"one"}, {{"to", int64_t{7}}});
  known.add("Concat", {"one", "two"}, {"target"}, {{"axis", int64_t{0}}});
  known.weights("v", {1}).add("Expand", {"v", "target"}, {"y"});
  EXPECT_EQ(known.shape("y"), (Shape{1, 2}));
}

TEST(Shapes, ParametersHaveTheSizesThatKernelsIndexThemBy) {
  Builder clip;
  clip.input("x", {kDynamic, 4}).weights("low", {4, 1, 1}).add("Clip", {"x", "low"}, {"y"});
  EXPECT_THAT(clip.error(), HasSubstr("bound 1 has shape 4x1x1, expected one number"));
  Builder product;
  product.input("x", {kDynamic, 4}, DType::kUInt8).weights("w", {4, 8}, DType::kInt8);
  product.weights("xz", {}, DType::kUInt8).weights("wz", {3}, DType::kInt8);
  product.add("MatMulInteger", {"x", "w", "xz", "wz"}, {"y"});
  EXPECT_THAT(product.error(), HasSubstr("zero point 3 is int8 of 3, expected int8 and 1 or 8"));
  Builder conv;
  conv.input("x", {kDynamic, 1, 4, 4}, DType::kUInt8).weights("w", {8, 1, 3, 3}, DType::kInt8);
  conv.weights("xz", {}, DType::kInt8).add("ConvInteger", {"x", "w", "xz"}, {"y"});
  EXPECT_THAT(conv.error(), HasSubstr("zero point 2 is int8 of scalar, expected uint8"));
}

TEST(Shapes, InputsLeftOutAreNotLookedFor) {
  Builder b;
  b.input("x", {kDynamic, 4}).add("Add", {"x", "x", ""}, {"y"});
  EXPECT_THAT(b.error(), HasSubstr("its last input has no name"));
  Node node;
  node.inputs = {"x", "", "z", "", ""};
  node.outputs = {"", ""};
  node.drop_empty_ends();
  EXPECT_EQ(node.inputs, (std::vector<std::string>{"x", "", "z"}));
  EXPECT_EQ(node.outputs, std::vector<std::string>{""});
}

TEST(Shapes, BlocksAreMovedInOneOfTwoOrders) {
  const auto blocks = [](const std::string& mode) {
    Builder b;
    b.input("x", {kDynamic, 8, 3, 3});
    b.add("DepthToSpace", {"x"}, {"y"}, {{"blocksize", int64_t{2}}, {"mode", mode}});
    return b;
  };
  EXPECT_EQ(blocks("DCR").shape("y"), (Shape{kDynamic, 2, 6, 6}));
  EXPECT_EQ(blocks("CRD").shape("y"), (Shape{kDynamic, 2, 6, 6}));
  EXPECT_THAT(blocks("RDC").error(), HasSubstr("'n0'"));
  EXPECT_THAT(blocks("RDC").error(), HasSubstr("mode 'RDC', expected DCR or CRD"));
}

TEST(Shapes, NothingOverflowsOnTheWay) {
  Builder range;
  range.input("x", {kDynamic, 4}).integer("from", INT64_MIN).integer("to", INT64_MAX);
  range.integer("step", int64_t{1} << 62).add("Range", {"from", "to", "step"}, {"y"});
  EXPECT_EQ(range.shape("y"), Shape{4});
  Builder window;
  window.input("x", {kDynamic, 1, 8, 8}).input("w", {1, 1, int64_t{1} << 39, 1});
  window.add("Conv", {"x", "w"}, {"y"}, {{"dilations", Ints{1 << 24, 1}}});
  EXPECT_THAT(window.error(), HasSubstr("is out of range"));
  Builder zero;  // 2^62 and 4 before the zero that makes it nothing
  zero.input("x", {kDynamic, int64_t{1} << 62, 4, 0}).add("Flatten", {"x"}, {"y"});
  EXPECT_THAT(zero.error(), HasSubstr("more than 2^40 elements"));
}

TEST(Operators, AreListedOnceAndFound) {
  std::vector<std::string> names;
  for (const Operator& op : all_operators()) {
    const std::string full = std::string(op.domain) + "." + op.name;
    EXPECT_EQ(std::count(names.begin(), names.end(), full), 0) << full << " is listed twice";
    names.push_back(full);
    EXPECT_EQ(find_operator(op.domain, op.name), &op);
  }
}

}  // namespace
}  // namespace pare

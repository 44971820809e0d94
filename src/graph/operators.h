// Operators: what Pare knows of each ONNX operator: how many inputs and outputs it takes, its
// attributes, and the rule that gives the types and shapes of its outputs.
//
// The list is operators.inc, one line an operator; a rule sees sizes that are all known, because
// infer_shapes puts numbers in place of the batch (see shapes.cc). Rules are pure: they look at the
// node, the inputs' types and shapes, and those input values that are known before running
// (KnownValue), and set the outputs.
//
// Source: onnx/docs/Operators.md, opset 17 to 21.
#ifndef PARE_GRAPH_OPERATORS_H_
#define PARE_GRAPH_OPERATORS_H_

#include <fmt/format.h>

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

// A small tensor whose elements are known before the graph runs: a constant, or computed from
// shapes. Elements stand row-major in `ints` (integer types and bool) or in `floats`, each already
// rounded to `type`.
struct KnownValue {
  DType type = DType::kInt64;
  Shape shape;
  std::vector<int64_t> ints;
  std::vector<double> floats;

  bool operator==(const KnownValue&) const = default;
};
using KnownValues = std::unordered_map<std::string, KnownValue>;

// Larger ones are never needed for a shape.
inline constexpr int64_t kMaxKnownElements = 1024;

class RuleContext {
 public:
  RuleContext(const Node& node, int64_t opset, const ValueInfos& infos, const KnownValues& known)
      : node_(node), opset_(opset), infos_(infos), known_(known), outputs_(node.outputs.size()) {}

  const Node& node() const { return node_; }
  int64_t opset() const { return opset_; }
  bool has(size_t i) const { return node_.has_input(i); }
  size_t input_count() const { return node_.inputs.size(); }
  size_t output_count() const { return node_.outputs.size(); }
  // Input i must be there (the driver has checked the required ones).
  const ValueInfo& in(size_t i) const { return infos_.at(node_.inputs[i]); }
  const Shape& shape(size_t i) const { return in(i).shape; }
  DType type(size_t i) const { return in(i).type; }
  int64_t rank(size_t i) const { return static_cast<int64_t>(shape(i).size()); }
  const KnownValue* known(size_t i) const;
  // The elements of an integer input that the shape depends on.
  Result<std::vector<int64_t>> ints(size_t i, const char* what) const;

  // Outputs beyond those the node names are ignored.
  void set(size_t i, DType type, Shape shape);
  std::vector<ValueInfo>& outputs() { return outputs_; }

  template <typename... Args>
  Status fail(fmt::format_string<Args...> format, Args&&... args) const {
    return invalid_argument(where() + fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  Status fail_unsupported(fmt::format_string<Args...> format, Args&&... args) const {
    return unsupported(where() + fmt::format(format, std::forward<Args>(args)...));
  }
  std::string where() const { return fmt::format("node '{}' ({}): ", node_.name, node_.op); }

 private:
  const Node& node_;
  int64_t opset_;
  const ValueInfos& infos_;
  const KnownValues& known_;
  std::vector<ValueInfo> outputs_;
};

using ShapeRule = Status (*)(RuleContext& context);
inline constexpr int kAnyNumber = -1;

struct Operator {
  const char* domain;
  const char* name;
  int min_inputs;
  int max_inputs;  // kAnyNumber: no bound
  int min_outputs;
  int max_outputs;
  ShapeRule rule;
  // "kernel_shape:I! group:i": names with the kind of their value (i integer, f float, s string,
  // t tensor, I integers, F floats, S strings), "!" when required.
  const char* attributes;
};

// nullptr when Pare does not know it.
const Operator* find_operator(const std::string& domain, const std::string& name);
const std::vector<Operator>& all_operators();

// "node 'x' (Op): ..." for the wrong number of inputs, a missing, unknown or wrongly typed
// attribute; kUnsupported for an unknown operator or an attribute Pare does not know.
Status check_node(const Node& node);

// The axes of a node in -rank ... rank-1, made non-negative, sorted, each once.
Result<std::vector<int64_t>> normalised_axes(const RuleContext& context, std::vector<int64_t> axes,
                                             int64_t rank);
Result<int64_t> normalised_axis(const RuleContext& context, int64_t axis, int64_t rank);
// NumPy broadcasting of two shapes.
Result<Shape> broadcast_shapes(const RuleContext& context, const Shape& a, const Shape& b);
// The axes of Reduce*, Squeeze or Unsqueeze, which older opsets keep in an attribute and newer ones
// in input 1. Empty when there are none.
Result<std::vector<int64_t>> axes_of(const RuleContext& context);
// Starts, steps and sizes of Slice along every axis of its input.
struct SliceRange {
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
};
Result<std::vector<SliceRange>> slice_ranges(const RuleContext& context);

// What an operator computes on known inputs; false when it is not one that shapes depend on, or an
// input is unknown. `context.outputs()` holds the outputs' types and shapes already.
bool evaluate_known(RuleContext& context, std::vector<KnownValue>& outputs);
// The known value of a small initializer; false when it is large or of a type without a value.
bool known_from_tensor(const Tensor& tensor, KnownValue& value);
Tensor tensor_from_known(const KnownValue& value);

// Everything that can be known of a graph's values for one number of images.
struct Inference {
  ValueInfos infos;
  KnownValues known;
};
Result<Inference> infer_concrete(const Graph& graph, int64_t batch);

// The rules, by family.
#define PARE_DECLARE_RULE(name) Status name(RuleContext& context)
PARE_DECLARE_RULE(same_as_input_rule);  // one input decides; others are parameters
PARE_DECLARE_RULE(float_unary_rule);    // floating input
PARE_DECLARE_RULE(gelu_rule);
PARE_DECLARE_RULE(clip_rule);
PARE_DECLARE_RULE(dropout_rule);
PARE_DECLARE_RULE(cast_rule);
PARE_DECLARE_RULE(arithmetic_rule);  // any number of broadcast inputs of one type
PARE_DECLARE_RULE(compare_rule);     // two broadcast inputs, bool output
PARE_DECLARE_RULE(logic_rule);       // broadcast bools
PARE_DECLARE_RULE(pow_rule);
PARE_DECLARE_RULE(prelu_rule);
PARE_DECLARE_RULE(where_rule);
PARE_DECLARE_RULE(softmax_rule);
PARE_DECLARE_RULE(conv_rule);
PARE_DECLARE_RULE(conv_integer_rule);
PARE_DECLARE_RULE(gemm_rule);
PARE_DECLARE_RULE(matmul_rule);
PARE_DECLARE_RULE(matmul_integer_rule);
PARE_DECLARE_RULE(batch_norm_rule);
PARE_DECLARE_RULE(layer_norm_rule);
PARE_DECLARE_RULE(attention_rule);
PARE_DECLARE_RULE(lrn_rule);
PARE_DECLARE_RULE(pool_rule);
PARE_DECLARE_RULE(global_pool_rule);
PARE_DECLARE_RULE(reduce_rule);
PARE_DECLARE_RULE(arg_rule);
PARE_DECLARE_RULE(quantize_rule);
PARE_DECLARE_RULE(dequantize_rule);
PARE_DECLARE_RULE(dynamic_quantize_rule);
PARE_DECLARE_RULE(flatten_rule);
PARE_DECLARE_RULE(reshape_rule);
PARE_DECLARE_RULE(transpose_rule);
PARE_DECLARE_RULE(concat_rule);
PARE_DECLARE_RULE(split_rule);
PARE_DECLARE_RULE(slice_rule);
PARE_DECLARE_RULE(gather_rule);
PARE_DECLARE_RULE(squeeze_rule);
PARE_DECLARE_RULE(unsqueeze_rule);
PARE_DECLARE_RULE(expand_rule);
PARE_DECLARE_RULE(tile_rule);
PARE_DECLARE_RULE(pad_rule);
PARE_DECLARE_RULE(shape_rule);
PARE_DECLARE_RULE(size_rule);
PARE_DECLARE_RULE(constant_of_shape_rule);
PARE_DECLARE_RULE(range_rule);
PARE_DECLARE_RULE(depth_to_space_rule);
PARE_DECLARE_RULE(space_to_depth_rule);
#undef PARE_DECLARE_RULE

}  // namespace pare

#endif  // PARE_GRAPH_OPERATORS_H_

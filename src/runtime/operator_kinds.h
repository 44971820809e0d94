// Small questions about nodes that fusion and lowering both ask.
#ifndef PARE_RUNTIME_OPERATOR_KINDS_H_
#define PARE_RUNTIME_OPERATOR_KINDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/dtype.h"
#include "graph/graph.h"
#include "kernels/elementwise/loops.h"
#include "kernels/epilogue.h"
#include "runtime/plan.h"

namespace pare {

class Lowering;

// One scale and zero point of a whole tensor.
struct Quantisation {
  float scale = 1.0F;
  int32_t zero_point = 0;
  DType type = DType::kUInt8;
};
// Of a QuantizeLinear or DequantizeLinear with one constant scale and zero point and an 8-bit code;
// nullopt for others.
std::optional<Quantisation> uniform_quantisation(const Graph& graph, const ValueInfos& infos,
                                                 const Node& node);
// Whether `value` is a constant behind DequantizeLinear or a Cast that keeps it small.
bool follows_constant(const Graph& graph, const GraphIndex& index, const std::string& value);
// Whether `value` is a ReLU's result, perhaps pooled, reshaped or quantised: many of its elements
// are zero, or its zero point. `input_does`: the answer for the graph's inputs.
bool follows_relu(const Graph& graph, const GraphIndex& index, const std::string& value,
                  bool input_does);
// Absent counts as not zero.
bool all_zero(const Tensor* tensor);
// Operands of a chain at most; the elementwise kernels take no more.
inline constexpr size_t kMaxChainOperands = 16;

// The loop of an elementwise float operator of one (non-parameter) input; Clip is not among them.
std::optional<LoopOp> unary_loop(const Node& node);
// The loop of one that combines its inputs.
std::optional<LoopOp> binary_loop(const std::string& op);
// Types that an elementwise program computes with.
bool is_program_float(DType type);
// Types that it can read.
bool is_program_source(DType type);

// The zero point of QuantizeLinear or DequantizeLinear; different ones in one tensor, or one that
// is computed while running, are unsupported.
Result<int32_t> uniform_zero_point(Lowering& lowering, const Node& node);
// The axis of its scales, non-negative (0 for a scalar input).
Result<int64_t> quantisation_axis(Lowering& lowering, const Node& node);

// The float32 values of a DequantizeLinear whose input, scales and zero points are constants, 4-bit
// ones and scales in blocks included.
Result<Tensor> dequantise_constant(Lowering& lowering, const Node& node);

// Queries, keys and values of an Attention as views of `type`, the elements of a token one after
// the other; a node with one input has them side by side in it.
Result<std::vector<View>> attention_operands(Lowering& lowering, const Node& node, DType type);

struct ActivationKind {
  Activation activation = Activation::kNone;
  float alpha = 0.0F;
  float beta = 0.0F;
};
// What a node does to its input as an epilogue's activation; nullopt for none of them. Clip needs
// its bounds among the graph's initializers.
std::optional<ActivationKind> activation_kind(const Graph& graph, const Node& node);

}  // namespace pare

#endif  // PARE_RUNTIME_OPERATOR_KINDS_H_

// Fusion: which nodes of a prepared graph run as one step.
//
// Three kinds of group, each emitted where its last node stands:
//   product  Conv, Gemm, MatMul or MatMulInteger with what may follow it: bias, residual addition,
//            activation, quantisation (epilogue.h). If its operands are dequantised integers, the
//            product is an integer one.
//   chain    elementwise float operations in a row; operands that are dequantised integers are read
//            as integers
//   tail     a layer norm, attention or mean whose float result is quantised at once
// A value that somebody else reads, or that is to be shown, ends a group.
#ifndef PARE_RUNTIME_FUSION_H_
#define PARE_RUNTIME_FUSION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graph/graph.h"
#include "graph/operators.h"
#include "kernels/epilogue.h"
#include "runtime/operator_kinds.h"

namespace pare {

struct ProductGroup {
  int anchor = -1;           // the product's node
  std::vector<int> nodes;    // all that run with it, ascending
  std::string source;        // what the product reads: integers, if it is an integer product
  std::string weights;       // likewise
  std::string weight_scale;  // integer product: initializer of one or N elements
  std::string int_bias;      // integer product: int32 initializer in units of x_scale * w_scale
  std::string bias;          // float, one for each output channel or one for all; times bias_factor
  float bias_factor = 1.0F;
  std::string residual;
  Activation activation = Activation::kNone;
  float alpha = 0.0F;
  float beta = 0.0F;
  std::optional<Quantisation> source_quantisation;  // an integer product
  std::optional<Quantisation> output_quantisation;
  // MatMulInteger of a dynamically quantised source: its scale and zero point, made while running.
  std::string dynamic_scale;
  std::string dynamic_zero_point;
  // Both operands vary, or a Gemm's C is no bias: the product stands alone and runs as it is.
  bool general = false;
  // An attention alone reads the result, as its queries, keys and values: both may run as one step,
  // so nothing is emitted before the attention.
  bool feeds_attention = false;
  std::string output;
};

struct ChainGroup {
  std::vector<int> nodes;
  std::string output;
};

struct TailGroup {
  int quantize = -1;  // the QuantizeLinear node
  Quantisation quantisation;
  std::string output;
};

struct Fusion {
  std::vector<bool> skipped;                       // nodes that some group swallows or nobody needs
  std::unordered_map<int, ProductGroup> products;  // by the group's last node
  std::unordered_map<int, ChainGroup> chains;      // likewise
  std::unordered_map<int, TailGroup> tails;        // by the layer's node
};

struct FusionOptions {
  std::unordered_set<std::string> keep;  // values that must exist
  bool keep_all = false;
  bool join_attention = false;  // sets ProductGroup::feeds_attention
};

Fusion plan_fusion(const Graph& graph, const Inference& inference, const FusionOptions& options);

}  // namespace pare

#endif  // PARE_RUNTIME_FUSION_H_

// Fusion: which nodes of a prepared graph run as one step.
//
// Three kinds of group, each emitted where its last node stands:
//   product  Conv, Gemm, MatMul, MatMulInteger or ConvInteger with what may follow it: bias,
//            residual addition, activation, quantisation (epilogue.h). If its operands are
//            dequantised integers, the product is an integer one.
//   chain    elementwise float operations in a row, quantising and dequantising included
//   tail     another operator (norm, attention, pooling) whose float result is quantised at once
// A value that somebody else reads, or that is to be shown, ends a group.
#ifndef PARE_RUNTIME_FUSION_H_
#define PARE_RUNTIME_FUSION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"
#include "graph/operators.h"
#include "kernels/epilogue.h"

namespace pare {

// One scale and zero point of a whole tensor.
struct Quantisation {
  float scale = 1.0F;
  int32_t zero_point = 0;
  DType type = DType::kUInt8;
};

struct ProductGroup {
  int anchor = -1;         // the product's node
  std::vector<int> nodes;  // all of them, ascending
  std::string source;   // what the product reads: before DequantizeLinear if it is an integer one
  std::string weights;  // likewise
  std::string weight_scale;  // integer product: the scale initializer, of one or N elements
  std::string int_bias;      // integer product: an int32 initializer scaled by x_scale * w_scale
  std::string bias;          // float32, one for each output channel
  std::string residual;
  Activation activation = Activation::kNone;
  float alpha = 0.0F;
  float beta = 0.0F;
  std::optional<Quantisation> source_quantisation;  // an integer product
  std::optional<Quantisation> output_quantisation;
  // MatMulInteger/ConvInteger: values computed while running.
  std::string dynamic_scale;       // the scale of the source
  std::string dynamic_zero_point;  // its zero point
  std::string output;
};

struct ChainGroup {
  std::vector<int> nodes;
  std::string output;
};

struct TailGroup {
  int anchor = -1;
  std::vector<int> nodes;
  Quantisation quantisation;
  std::string output;
};

struct Fusion {
  std::vector<bool> skipped;                       // nodes that some group swallows or nobody needs
  std::unordered_map<int, ProductGroup> products;  // by the group's last node
  std::unordered_map<int, ChainGroup> chains;
  std::unordered_map<int, TailGroup> tails;
};

struct FusionOptions {
  std::unordered_set<std::string> keep;  // values that must exist
  bool keep_all = false;
};

Fusion plan_fusion(const Graph& graph, const Inference& inference, const FusionOptions& options);

}  // namespace pare

#endif  // PARE_RUNTIME_FUSION_H_

// The operators of a Graph in LibTorch, one function each, all differentiable by its autograd.
//
// Meaning and attributes are ONNX's, opset 17 to 21 (https://onnx.ai/onnx/operators). Two differ
// from plain inference when the mode asks for it, whatever their own training_mode says (files are
// exported for inference): Dropout drops, and BatchNormalization normalises by the batch and
// updates its running mean and variance, inputs 3 and 4, in place.
//
// Integers that describe shapes live on the host, also when the images are on a GPU.
#ifndef PARE_TRAIN_OPERATORS_H_
#define PARE_TRAIN_OPERATORS_H_

#include <span>
#include <string>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"
#include "train/torch.h"

namespace pare {

class Ranks;

struct RunMode {
  bool dropout = false;
  bool batch_statistics = false;
  // Share of the new batch in the running statistics; negative: as the node says.
  double batch_norm_momentum = -1;
  bool autocast = false;  // convolutions and matrix products in bfloat16
  // Batch statistics are those of the whole batch, of which this rank has `batch_share`.
  Ranks* ranks = nullptr;
  double batch_share = 1;
  // The executor's own: the first convolution reads the pixels themselves (gpu_layers.h).
  bool pixels = false;
};

struct OperatorCall {
  const Node& node;
  std::span<const at::Tensor> inputs;  // undefined for an optional input left out
  int64_t opset;
  const RunMode& mode;

  bool has(size_t i) const { return i < inputs.size() && inputs[i].defined(); }
  const at::Tensor& in(size_t i) const { return inputs[i]; }
};

using OperatorResult = Result<std::vector<at::Tensor>>;
using OperatorFunction = OperatorResult (*)(const OperatorCall& call);

// nullptr for an operator that training lacks.
OperatorFunction find_torch_operator(const Node& node);

// The tables behind find_torch_operator: elementwise arithmetic and comparisons; layers; moving
// data and computing shapes.
OperatorFunction find_math_operator(const std::string& op);
OperatorFunction find_layer_operator(const std::string& op);
OperatorFunction find_shape_operator(const std::string& op);

// For messages: "node 'conv1' (Conv)".
std::string describe(const Node& node);

// The elements of an integer tensor, wherever it is.
std::vector<int64_t> host_integers(const at::Tensor& tensor);

}  // namespace pare

#endif  // PARE_TRAIN_OPERATORS_H_

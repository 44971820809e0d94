// Which nodes of a graph a GPU runs at once while it trains.
//
// Of each chain, nothing else reads what one node hands to the next; so it can run where its last
// node stands.
#ifndef PARE_TRAIN_GPU_CHAINS_H_
#define PARE_TRAIN_GPU_CHAINS_H_

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "graph/graph.h"

namespace pare {

// Batch norm with the ReLU and the max pooling behind it, and the convolution or dense layer before
// it, whose bias batch norm cancels. Positions in Graph::nodes; -1 for what is not there.
struct NormChain {
  int product = -1;  // with a bias: Conv, or Gemm
  int norm = -1;
  int relu = -1;
  int pool = -1;  // square, without padding, its only output the largest values
  int window = 0;
  int stride = 0;

  std::vector<int> nodes() const;
};

// MatMul by a matrix of weights and Add of a bias: a dense layer for any number of tokens.
struct DenseChain {
  int product = -1;
  int add = -1;
  bool bias_first = false;  // of the inputs of Add

  std::vector<int> nodes() const { return {product, add}; }
};

// softmax(scale · q k) v: MatMul, Mul by one number, Softmax, Dropout, MatMul.
struct AttentionChain {
  int scores = -1;
  int scale = -1;
  int softmax = -1;
  int dropout = -1;
  int context = -1;
  double factor = 1;  // of Mul

  std::vector<int> nodes() const;
};

// Layer norm over the last dimension, with scale and shift.
struct LayerNormChain {
  int norm = -1;
  std::vector<int> nodes() const { return {norm}; }
};

using GpuChain = std::variant<NormChain, DenseChain, AttentionChain, LayerNormChain>;
// The nodes of a chain in the order in which they run.
std::vector<int> chain_nodes(const GpuChain& chain);
// All of them; no node is in two.
std::vector<GpuChain> find_gpu_chains(const Graph& graph);

// The way of uint8 pixels to the first convolution: Cast, Mul by and Add of one number a channel.
struct PixelPath {
  std::vector<int> nodes;    // Cast, Mul, Add
  int conv = -1;             // reads what they make; of one group, not dilated
  std::string scale, shift;  // initializers of C numbers, or one
};
std::optional<PixelPath> find_pixel_path(const Graph& graph);

}  // namespace pare

#endif  // PARE_TRAIN_GPU_CHAINS_H_

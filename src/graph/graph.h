// Graph: a model as ONNX operators, whoever built it.
//
// Values are named; every name is written once (by an input, an initializer or one node) and nodes
// stand in an order in which each value is written before it is read. Constants are initializers.
// Operators, attributes and their meaning are ONNX's (opset 17 to 21, default domain), so what one
// of our builders makes, an ONNX file brings or a pass rewrites is treated alike by everything
// downstream. A Graph is a value: copies are cheap (tensors share memory) and passes are functions
// Graph -> Graph.
//
// Preprocessing lives inside: our own graphs take uint8 images [N, C, H, W] and begin with the
// nodes that scale and normalise them. What the file must know beyond ONNX stands in `contract`.
#ifndef PARE_GRAPH_GRAPH_H_
#define PARE_GRAPH_GRAPH_H_

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"

namespace pare {

using Attribute = std::variant<int64_t, float, std::string, Tensor, std::vector<int64_t>,
                               std::vector<float>, std::vector<std::string>>;

struct Node {
  std::string op;                   // "Conv", "Gemm", "QuantizeLinear", ...
  std::string domain;               // empty for ONNX's own operators
  std::string name;                 // unique in the graph; what messages and reports call it
  std::vector<std::string> inputs;  // an empty name is an optional input left out
  std::vector<std::string> outputs;
  std::map<std::string, Attribute> attributes;

  // Attribute lookups with ONNX's default for one that is absent. One of another kind counts as
  // absent here; the checker has already refused such a node.
  int64_t int_attribute(const std::string& key, int64_t fallback) const;
  float float_attribute(const std::string& key, float fallback) const;
  std::string string_attribute(const std::string& key, const std::string& fallback) const;
  std::vector<int64_t> ints_attribute(const std::string& key,
                                      const std::vector<int64_t>& fallback = {}) const;
  bool has_input(size_t i) const { return i < inputs.size() && !inputs[i].empty(); }
  // A file may name what it leaves out at the end of a list ""; readers make it absent, so that the
  // lists' lengths are the numbers of inputs and outputs.
  void drop_empty_ends();
};

struct ValueInfo {
  std::string name;
  DType type = DType::kFloat32;
  Shape shape;  // kDynamic for the number of images

  bool operator==(const ValueInfo&) const = default;
};

// How an image file becomes the model's input. Our own models: uint8 NCHW, scaling inside the
// graph. For an imported model `pare import` states it, and every command follows it.
struct InputContract {
  int64_t channels = 3;
  int64_t height = 0;  // 0: the file does not state a contract
  int64_t width = 0;
  bool channels_last = false;  // NHWC input
  bool bgr = false;            // channel order
  // The shorter side is resized to `resize` (0: both sides straight to height × width), then a
  // centre crop of height × width is taken.
  int64_t resize = 0;
  bool float_input = false;  // the graph wants float32: (pixel * scale - mean) / std, per channel
  float scale = 1.0F / 255.0F;
  std::vector<float> mean;             // empty: 0
  std::vector<float> std;              // empty: 1
  bool outputs_probabilities = false;  // softmax is already in the graph
  std::vector<std::string> classes;

  bool operator==(const InputContract&) const = default;
};

class Graph {
 public:
  std::string name;
  int64_t opset = 17;
  std::vector<ValueInfo> inputs;
  std::vector<ValueInfo> outputs;
  std::vector<Node> nodes;
  std::map<std::string, Tensor> initializers;
  InputContract contract;
  // Free text that travels with the model: how it was trained, what was done to it.
  std::map<std::string, std::string> metadata;

  const Tensor* find_initializer(const std::string& value) const;
  // A value or node name not yet taken, made from `stem`.
  std::string fresh_name(const std::string& stem) const;
  // Number of elements of all floating or quantised weights (initializers that some node reads as a
  // weight), counting a tensor once.
  int64_t parameter_count() const;
};

// Who writes and who reads each value; built once per pass and stale after a change.
class GraphIndex {
 public:
  explicit GraphIndex(const Graph& graph);
  // Index into graph.nodes of the node that writes `value`; -1 for an input, initializer or
  // unknown.
  int producer(const std::string& value) const;
  // Indices of the nodes that read `value`, ascending; one that reads it twice appears once.
  const std::vector<int>& consumers(const std::string& value) const;
  bool is_output(const std::string& value) const;

 private:
  std::unordered_map<std::string, int> producers_;
  std::unordered_map<std::string, std::vector<int>> consumers_;
  std::unordered_map<std::string, bool> outputs_;
};

// Types and shapes of every value. Keys are value names.
using ValueInfos = std::unordered_map<std::string, ValueInfo>;

// Infers type and shape of every value, following ONNX's rules, integer constants included (a
// Reshape whose target is computed from Shape nodes is followed). An operator Pare does not know is
// named with its node (kUnsupported); shapes that do not fit name node, expected and found
// (kInvalidArgument). `batch`: put in place of kDynamic, or kDynamic to keep it.
Result<ValueInfos> infer_shapes(const Graph& graph, int64_t batch = kDynamic);

// Everything a reader promises: names written once, before they are read; attributes of the right
// kind; known operators with the right number of inputs; outputs written; shapes that fit.
Status check_graph(const Graph& graph);

// Orders the nodes so that values are written before they are read; fails on a cycle or missing
// value.
Status sort_nodes(Graph& graph);

// Removes nodes and initializers that no output needs.
void remove_unused(Graph& graph);

}  // namespace pare

#endif  // PARE_GRAPH_GRAPH_H_

// What passes ask of a graph when they look for a pattern.
//
// A pass that finds one writes a new node in the place of the pattern's last, with the same output,
// and lets remove_unused() take what nobody reads any more. Nothing has to be proven about other
// readers of the values between: they keep what they read.
#ifndef PARE_GRAPH_PASSES_MATCHER_H_
#define PARE_GRAPH_PASSES_MATCHER_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace pare {

class Matcher {
 public:
  // The graph must outlive the matcher and keep its nodes and names meanwhile.
  explicit Matcher(const Graph& graph) : graph_(graph), index_(graph) {}

  const Graph& graph() const { return graph_; }
  const GraphIndex& index() const { return index_; }

  // The node that writes `value` if it is ONNX's operator `op`; nullptr otherwise.
  const Node* producer(const std::string& value, const std::string& op) const;
  const Node* producer(const std::string& value) const;
  // The one node that reads `value`, when it is no graph output; nullptr otherwise.
  const Node* only_reader(const std::string& value) const;

  // The number in an initializer of one element.
  std::optional<double> scalar(const std::string& value) const;
  // The constant as floats, when `value` is a floating initializer.
  std::optional<std::vector<float>> floats(const std::string& value) const;

  // For a node of two inputs: the constant one's number and the other input.
  struct WithScalar {
    std::string value;
    double number;
    bool scalar_first;
  };
  std::optional<WithScalar> with_scalar(const Node& node) const;

 private:
  const Graph& graph_;
  GraphIndex index_;
};

// Whether a constant of a formula, rounded to at worst float16, is `expected`.
bool is_number(std::optional<double> found, double expected);

// Reads of `from` become reads of `to`, graph outputs excepted.
void redirect(Graph& graph, const std::string& from, const std::string& to);

// The tensor under a name that only `node` reads: the same name when nobody else reads it, a fresh
// one otherwise.
std::string replace_initializer(Graph& graph, const GraphIndex& index, const std::string& name,
                                Tensor tensor);

}  // namespace pare

#endif  // PARE_GRAPH_PASSES_MATCHER_H_

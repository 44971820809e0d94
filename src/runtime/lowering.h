// Lowering: from a prepared graph to the steps of a plan, node by node.
//
// A function for each operator (operators.inc) asks for the views of its inputs, in the memory
// order it needs (a copy is put in front when they lie otherwise), allocates its outputs and emits
// a step. Operators that only look at memory in another way (reshape, transpose, slice) emit
// nothing.
//
// Four-dimensional activations lie channels-last; operators without an opinion keep the order of
// their input.
//
// What is virtual is what another target than this processor does in its own way (gpu/lowering.h):
// it keeps the rules of views and chains and emits operations of its own.
#ifndef PARE_RUNTIME_LOWERING_H_
#define PARE_RUNTIME_LOWERING_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"
#include "graph/operators.h"
#include "kernels/kernel.h"
#include "runtime/plan.h"
#include "runtime/tuning.h"

namespace pare {

// Weights in the form that kernels read, shared by the plans of a session. Keys name the graph's
// tensor and the form.
class WeightStore {
 public:
  using Make = std::function<Result<Tensor>()>;
  // The tensor under `key`, made now if there is none yet.
  Result<Tensor> get(const std::string& key, const Make& make);
  const Tensor* find(const std::string& key) const;  // nullptr: not there yet
  int64_t byte_count() const;

 private:
  std::map<std::string, Tensor> tensors_;
};

struct PlanOptions {
  int64_t batch = 1;
  int threads = 1;
  KernelRequest kernels;
  // Type in which float layers keep weights and activations: float32, bfloat16 or float16.
  DType storage = DType::kFloat32;
  // The graph's input follows a ReLU in the graph that it was split from (slices.h). Each batch
  // size must choose the same packing for a layer's weights, split or not.
  bool input_follows_relu = false;
  KernelTuning tuning;            // kernels to take where they can be
  std::vector<std::string> keep;  // values shown by taps
  bool keep_all = false;
};

struct ElementwiseProblem;
struct Fusion;
struct ProductGroup;
struct TailGroup;

class Lowering {
 public:
  Lowering(const Graph& graph, const Inference& inference, const Fusion& fusion,
           const PlanOptions& options, WeightStore& weights);
  virtual ~Lowering() = default;

  // The plan of the whole graph.
  Result<Plan> lower();

  const Graph& graph() const { return graph_; }
  const Fusion& fusion() const { return fusion_; }
  const PlanOptions& options() const { return options_; }
  const ValueInfos& infos() const { return inference_.infos; }
  // The node that computes `value`, or nullptr.
  const Node* producer(const std::string& value) const;
  // The product that runs with an attention (ProductGroup::feeds_attention), or nullptr.
  const ProductGroup* projection(const Node& attention) const;
  // The quantisation that runs with a layer, or nullptr.
  const TailGroup* tail(const Node& node) const;
  // Where what `node` computes ends: the tail's output, or its own first.
  const std::string& result_of(const Node& node) const;
  const KernelRequest& kernels() const { return options_.kernels; }
  WeightStore& weights() { return weights_; }
  const Tensor* packed_weights(const std::string& key) const { return weights_.find(key); }
  const ValueInfo& info(const std::string& value) const { return inference_.infos.at(value); }
  // Context of one node for the helpers of graph/operators.h (axes_of, slice_ranges, ...).
  RuleContext rule_context(const Node& node) const {
    return {node, graph_.opset, inference_.infos, inference_.known};
  }

  // The constant that `value` is, or nullptr: an initializer, or known from shapes. A tensor whose
  // memory was released after packing counts as a constant but has no data (Tensor::empty()).
  const Tensor* constant(const std::string& value);
  // The integers of a constant input; fails naming the node when it is not known before running.
  Result<std::vector<int64_t>> constant_ints(const Node& node, size_t input);
  // A constant as float32, dequantised or converted if the graph stores it smaller: follows
  // DequantizeLinear and Cast of a constant. an empty tensor when `value` is not a constant.
  Result<Tensor> float_constant(const std::string& value);

  // Weights as the graph stores them, or in the session's storage type: like float_constant, but
  // 16-bit floats behind a Cast stay 16-bit.
  Result<Tensor> stored_constant(const std::string& value);
  // Its type, known even when the memory has been released.
  DType stored_type(const std::string& value) const;
  // Whether `value` is a constant behind DequantizeLinear or Cast.
  bool follows_constant(const std::string& value) const;
  // Whether `value` is a ReLU's result, perhaps pooled or reshaped: many zeros.
  bool follows_relu(const std::string& value) const;
  // The type in which to store a float value that a product computes.
  virtual DType storage_type(const std::string& value) const;
  // The type in which a product's epilogue reads a residual that lies in `type`.
  virtual DType residual_type(DType) const { return DType::kFloat32; }
  // The graph's tensor now lives in the weight store: its own memory may be released.
  void mark_packed(const std::string& weights) { packed_.insert(weights); }
  // Names of initializers that nothing in the plan reads any more.
  std::vector<std::string> releasable() const;

  // Where a value lies. Constants become constant buffers at their first use.
  virtual Result<View> value(const std::string& name);
  void bind(const std::string& name, View view);
  View constant_view(Tensor tensor);
  // A constant out of the weight store.
  View stored_view(Tensor tensor);
  bool is_constant(const View& view) const {
    return plan_.buffers[static_cast<size_t>(view.buffer)].is_constant;
  }
  const void* constant_data(const View& view) const {
    return plan_.buffers[static_cast<size_t>(view.buffer)].constant.data() +
           view.offset * dtype_bits(view.type) / 8;
  }
  // Fresh memory; `order` empty: row-major.
  View allocate(DType type, const Shape& shape, const std::vector<int>& order = {});

  // The same elements in the memory order asked for: `view` itself, or a copy.
  virtual Result<View> in_order(const View& view, const std::vector<int>& order,
                                const std::string& why);
  Result<View> dense(const View& view, const std::string& why) {
    return in_order(view, plain_order(static_cast<int>(view.shape.size())), why);
  }
  // Converts the element type by an elementwise step.
  Result<View> converted(const View& view, DType type, const std::string& why);

  // What an elementwise chain stores `value` as.
  virtual DType chain_type(const std::string& value) const { return info(value).type; }
  // The memory order of a chain's result whose operand lies in `order`.
  virtual std::vector<int> chain_order(std::vector<int> order) const { return order; }
  // A step that runs an elementwise program on views, whose strides stand in the problem.
  virtual Status emit_program(const Node& node, ElementwiseProblem problem, std::vector<View> views,
                              const View& dst);
  // A step dst[i] = table[src[i]] of dense bytes in one order.
  virtual Status emit_table(const Node& node, const std::array<uint8_t, 256>& table,
                            const View& src, const View& dst);
  virtual void emit(Step step) { plan_.steps.push_back(std::move(step)); }

 protected:
  virtual Status lower_node(size_t index);
  const GraphIndex& index() const { return index_; }
  Plan& plan() { return plan_; }

 private:
  Status add_taps(const Node& node);
  Status finish();

  const Graph& graph_;
  GraphIndex index_;
  const Inference& inference_;
  const Fusion& fusion_;
  const PlanOptions& options_;
  WeightStore& weights_;
  Plan plan_;
  std::unordered_map<std::string, View> views_;
  std::map<std::string, Tensor> known_tensors_;
  std::unordered_set<std::string> kept_;
  std::unordered_set<std::string> packed_;
};

// Name, operation and kernel of a step for LayerPlan.
LayerPlan describe(const Node& node, std::string kernel, std::string reason);

using LowerFunction = Status (*)(Lowering&, const Node&);
// nullptr when there is none for the operator.
LowerFunction find_lowering(const std::string& domain, const std::string& op);

}  // namespace pare

#endif  // PARE_RUNTIME_LOWERING_H_

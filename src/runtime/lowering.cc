#include "runtime/lowering.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "kernels/elementwise/elementwise.h"
#include "kernels/move/move.h"
#include "runtime/fusion.h"
#include "runtime/lower.h"
#include "runtime/memory_plan.h"
#include "runtime/operator_kinds.h"
#include "runtime/row_groups.h"

namespace pare {

Result<Tensor> WeightStore::get(const std::string& key, const Make& make) {
  if (auto it = tensors_.find(key); it != tensors_.end()) return it->second;
  PARE_ASSIGN_OR_RETURN(Tensor tensor, make());
  tensors_.emplace(key, tensor);
  return tensor;
}

const Tensor* WeightStore::find(const std::string& key) const {
  const auto it = tensors_.find(key);
  return it == tensors_.end() ? nullptr : &it->second;
}

int64_t WeightStore::byte_count() const {
  int64_t bytes = 0;
  for (const auto& [key, tensor] : tensors_) bytes += tensor.byte_count();
  return bytes;
}

LayerPlan describe(const Node& node, std::string kernel, std::string reason) {
  LayerPlan layer;
  layer.name = node.name;
  layer.operation = node.op;
  layer.kernel = std::move(kernel);
  layer.reason = std::move(reason);
  return layer;
}

namespace {

struct LoweringEntry {
  const char* domain;
  const char* op;
  LowerFunction function;
};

constexpr LoweringEntry kLowerings[] = {
#define PARE_LOWERING(domain, op, function) {domain, op, function},
#include "runtime/operators.inc"
#undef PARE_LOWERING
};

}  // namespace

LowerFunction find_lowering(const std::string& domain, const std::string& op) {
  for (const LoweringEntry& entry : kLowerings) {
    if (op == entry.op && domain == entry.domain) return entry.function;
  }
  return nullptr;
}

Lowering::Lowering(const Graph& graph, const Inference& inference, const Fusion& fusion,
                   const PlanOptions& options, WeightStore& weights)
    : graph_(graph),
      index_(graph),
      inference_(inference),
      fusion_(fusion),
      options_(options),
      weights_(weights),
      kept_(options.keep.begin(), options.keep.end()) {}

const Tensor* Lowering::constant(const std::string& value) {
  if (const Tensor* t = graph_.find_initializer(value)) return t;
  if (auto it = known_tensors_.find(value); it != known_tensors_.end()) return &it->second;
  auto known = inference_.known.find(value);
  if (known == inference_.known.end()) return nullptr;
  return &known_tensors_.emplace(value, tensor_from_known(known->second)).first->second;
}

Result<std::vector<int64_t>> Lowering::constant_ints(const Node& node, size_t input) {
  const Tensor* t = constant(node.inputs[input]);
  if (t == nullptr) {
    return unsupported(fmt::format("node '{}' ({}): input {} ('{}') must be known before running",
                                   node.name, node.op, input, node.inputs[input]));
  }
  return to_int64_vector(*t);
}

const Node* Lowering::producer(const std::string& value) const {
  const int i = index_.producer(value);
  return i < 0 ? nullptr : &graph_.nodes[static_cast<size_t>(i)];
}

const ProductGroup* Lowering::projection(const Node& attention) const {
  const auto it = fusion_.products.find(index_.producer(attention.inputs[0]));
  const bool feeds = it != fusion_.products.end() && it->second.feeds_attention;
  return feeds ? &it->second : nullptr;
}

const std::string& Lowering::result_of(const Node& node) const {
  const TailGroup* group = tail(node);
  return group == nullptr ? node.outputs[0] : group->output;
}

const TailGroup* Lowering::tail(const Node& node) const {
  const auto it = fusion_.tails.find(static_cast<int>(&node - graph_.nodes.data()));
  return it == fusion_.tails.end() ? nullptr : &it->second;
}

Result<Tensor> Lowering::float_constant(const std::string& value) {
  if (const Tensor* t = constant(value); t != nullptr) {
    if (t->empty()) return internal_error("the weights '" + value + "' were released");
    if (!is_floating(t->type())) return Tensor();
    return convert_floating(*t, DType::kFloat32);
  }
  const Node* node = producer(value);
  if (node == nullptr) return Tensor();
  if (node->op == "Cast" && constant(node->inputs[0]) != nullptr) {
    return float_constant(node->inputs[0]);
  }
  if (node->op != "DequantizeLinear" || constant(node->inputs[0]) == nullptr) {
    return Tensor();
  }
  return dequantise_constant(*this, *node);
}

DType Lowering::stored_type(const std::string& value) const {
  const Tensor* t = graph_.find_initializer(value);
  const Node* node = producer(value);
  if (t == nullptr && node != nullptr && node->op == "Cast") {
    t = graph_.find_initializer(node->inputs[0]);
  }
  const bool half = t != nullptr && is_floating(t->type()) && dtype_bits(t->type()) == 16;
  return half ? t->type() : options_.storage;
}

Result<Tensor> Lowering::stored_constant(const std::string& value) {
  const Node* node = producer(value);
  const bool cast = node != nullptr && node->op == "Cast";
  const Tensor* t = constant(cast ? node->inputs[0] : value);
  if (t != nullptr && !t->empty() && t->type() == stored_type(value)) {
    return *t;
  }
  PARE_ASSIGN_OR_RETURN(const Tensor tensor, float_constant(value));
  if (tensor.empty()) return Tensor();
  return convert_floating(tensor, stored_type(value));
}

bool Lowering::follows_constant(const std::string& value) const {
  return pare::follows_constant(graph_, index_, value);
}

bool Lowering::follows_relu(const std::string& value) const {
  return pare::follows_relu(graph_, index_, value, options_.input_follows_relu);
}

DType Lowering::storage_type(const std::string& value) const {
  const DType type = info(value).type;
  if (type != DType::kFloat32 || options_.storage == DType::kFloat32) return type;
  // Only where the next layer multiplies it again, or pools it first; sums of a residual stream,
  // norms and what others read stay in float32.
  if (index_.is_output(value)) return type;
  for (int reader : index_.consumers(value)) {
    const Node& node = graph_.nodes[static_cast<size_t>(reader)];
    const bool product = node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul";
    const bool source =
        product && node.inputs[0] == value && graph_.find_initializer(node.inputs[1]) != nullptr;
    const bool passes = node.op == "MaxPool" || node.op == "Flatten" || node.op == "Reshape";
    if (!source && !(passes && storage_type(node.outputs[0]) != type)) return type;
  }
  return options_.storage;
}

std::vector<std::string> Lowering::releasable() const {
  std::vector<std::string> names;
  for (const std::string& value : packed_) {
    const Node* node = producer(value);
    const std::string& name = node == nullptr ? value : node->inputs[0];
    // Shape inference looks into small tensors.
    const Tensor* tensor = graph_.find_initializer(name);
    if (tensor == nullptr || tensor->size() <= kMaxKnownElements) continue;
    if (views_.count(name) == 0 && views_.count(value) == 0) names.push_back(name);
  }
  return names;
}

Status Lowering::emit_program(const Node& node, ElementwiseProblem problem, std::vector<View> views,
                              const View& dst) {
  PARE_ASSIGN_OR_RETURN(const auto choice, choose_elementwise(problem, kernels()));
  auto plan = std::make_shared<ElementwisePlan>(std::move(problem), *choice.kernel);
  Step step;
  step.layer = describe(node, choice.kernel->name, choice.reason);
  for (const View& view : views) step.reads.push_back(view.buffer);
  step.writes = {dst.buffer};
  step.run = [plan, views = std::move(views), dst](const StepContext& c) {
    const void* srcs[kMaxElementwiseOperands];
    for (size_t k = 0; k < views.size(); ++k) srcs[k] = c.data(views[k]);
    plan->run(srcs, c.data(dst), c.pool());
    return ok_status();
  };
  emit(std::move(step));
  return ok_status();
}

Status Lowering::emit_table(const Node& node, const std::array<uint8_t, 256>& table,
                            const View& src, const View& dst) {
  Step step;
  step.layer = describe(node, "table_u8", "8 bits in and out: 256 answers worked out once");
  step.reads = {src.buffer};
  step.writes = {dst.buffer};
  step.run = [shared = std::make_shared<std::array<uint8_t, 256>>(table), src,
              dst](const StepContext& c) {
    run_table(shared->data(), c.data<uint8_t>(src), c.data<uint8_t>(dst), src.size(), c.pool());
    return ok_status();
  };
  emit(std::move(step));
  return ok_status();
}

View Lowering::constant_view(Tensor tensor) {
  View view;
  view.buffer = static_cast<int>(plan_.buffers.size());
  view.type = tensor.type();
  view.shape = tensor.shape();
  view.strides = dense_strides(tensor.shape());
  Buffer buffer;
  buffer.bytes = tensor.byte_count();
  buffer.constant = std::move(tensor);
  buffer.is_constant = true;
  plan_.buffers.push_back(std::move(buffer));
  return view;
}

View Lowering::stored_view(Tensor tensor) {
  View view = constant_view(std::move(tensor));
  plan_.buffers.back().in_weight_store = true;
  return view;
}

Result<View> Lowering::value(const std::string& name) {
  if (auto it = views_.find(name); it != views_.end()) return it->second;
  const Tensor* t = constant(name);
  if (t == nullptr) return internal_error("value '" + name + "' has no place in the plan");
  if (t->empty()) {
    return internal_error("the weights '" + name + "' were released after packing");
  }
  if (dtype_bits(t->type()) < 8) {
    return unsupported(
        fmt::format("tensor '{}' of {} can only be dequantised", name, dtype_name(t->type())));
  }
  const View view = constant_view(*t);
  views_.emplace(name, view);
  return view;
}

void Lowering::bind(const std::string& name, View view) {
  views_.insert_or_assign(name, std::move(view));
}

View Lowering::allocate(DType type, const Shape& shape, const std::vector<int>& order) {
  View view;
  view.buffer = static_cast<int>(plan_.buffers.size());
  view.type = type;
  view.shape = shape;
  view.strides =
      strides_in_order(shape, order.empty() ? plain_order(static_cast<int>(shape.size())) : order);
  Buffer buffer;
  buffer.bytes = element_count(shape) * dtype_bits(type) / 8;
  plan_.buffers.push_back(std::move(buffer));
  return view;
}

Result<View> Lowering::in_order(const View& view, const std::vector<int>& order,
                                const std::string& why) {
  if (is_dense_in(view, order)) return view;
  View dst = allocate(view.type, view.shape, order);
  auto plan = std::make_shared<MovePlan>(MoveProblem{.element_bytes = dtype_bits(view.type) / 8,
                                                     .shape = view.shape,
                                                     .src_strides = view.strides,
                                                     .dst_strides = dst.strides});
  Step step;
  step.layer.name = why;
  step.layer.operation = "copy to another memory order";
  step.layer.kernel = "move_strided";
  step.layer.reason = "the only one";
  step.reads = {view.buffer};
  step.writes = {dst.buffer};
  step.run = [plan, view, dst](const StepContext& c) {
    plan->run(c.data(view), c.data(dst), c.pool());
    return ok_status();
  };
  emit(std::move(step));
  return dst;
}

Result<View> Lowering::converted(const View& view, DType type, const std::string& why) {
  if (view.type == type) return view;
  View dst = allocate(type, view.shape, memory_order(view));
  ElementwiseProblem problem;
  problem.shape = view.shape;
  problem.operands = {{.type = view.type, .strides = view.strides}};
  problem.dst = {.type = type, .strides = dst.strides};
  Node node;
  node.name = why;
  node.op = fmt::format("convert {} to {}", dtype_name(view.type), dtype_name(type));
  PARE_RETURN_IF_ERROR(emit_program(node, std::move(problem), {view}, dst));
  return dst;
}

Status Lowering::lower_node(size_t index) {
  const int i = static_cast<int>(index);
  const Node& node = graph_.nodes[index];
  if (auto it = fusion_.products.find(i); it != fusion_.products.end()) {
    if (it->second.feeds_attention) return ok_status();  // lower_attention() takes it up
    return lower_product(*this, it->second);
  }
  if (auto it = fusion_.chains.find(i); it != fusion_.chains.end()) {
    return lower_chain(*this, it->second);
  }
  const LowerFunction function = find_lowering(node.domain, node.op);
  if (function == nullptr) {
    return unsupported(fmt::format("node '{}': the runtime has no kernel for operator '{}{}{}'",
                                   node.name, node.domain, node.domain.empty() ? "" : ".",
                                   node.op));
  }
  return function(*this, node);
}

Status Lowering::add_taps(const Node& node) {
  for (const std::string& name : node.outputs) {
    if (name.empty() || (!options_.keep_all && kept_.count(name) == 0)) continue;
    PARE_ASSIGN_OR_RETURN(const View view, value(name));
    PARE_ASSIGN_OR_RETURN(View shown, dense(view, "show " + name));
    plan_.taps.push_back({static_cast<int>(plan_.steps.size()) - 1, name, std::move(shown)});
  }
  return ok_status();
}

Result<Plan> Lowering::lower() {
  plan_.batch = options_.batch;
  for (const ValueInfo& input : graph_.inputs) {
    const View view = allocate(input.type, info(input.name).shape);
    plan_.inputs.push_back(view);
    bind(input.name, view);
    if (options_.keep_all || kept_.count(input.name) != 0) {
      plan_.taps.push_back({-1, input.name, view});
    }
  }
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    if (!fusion_.skipped[i]) PARE_RETURN_IF_ERROR(lower_node(i));
    // What is skipped may have been written by the step that swallowed it.
    const bool written = !fusion_.skipped[i] ||
                         std::all_of(node.outputs.begin(), node.outputs.end(),
                                     [this](const auto& name) { return views_.contains(name); });
    if (written && (options_.keep_all || !kept_.empty())) PARE_RETURN_IF_ERROR(add_taps(node));
  }
  PARE_RETURN_IF_ERROR(finish());
  form_row_groups(plan_, options_.threads);
  plan_memory(plan_);
  return std::move(plan_);
}

Status Lowering::finish() {
  for (const ValueInfo& output : graph_.outputs) {
    PARE_ASSIGN_OR_RETURN(const View view, value(output.name));
    PARE_ASSIGN_OR_RETURN(View out, dense(view, "output " + output.name));
    plan_.outputs.push_back(std::move(out));
  }
  return ok_status();
}

}  // namespace pare

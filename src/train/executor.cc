#include "train/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_set>

#include "base/cpu_features.h"
#include "base/glob.h"
#include "train/tensors.h"

namespace pare {
namespace {

// Operators through which pixels pass before the first layer: scaling, normalising, reordering.
bool is_pixel_operator(const std::string& op) {
  static const std::set<std::string> ops = {"Cast", "Mul",      "Add",       "Sub",
                                            "Div",  "Identity", "Transpose", "Reshape"};
  return ops.contains(op);
}

// Collects what is learned, each initializer once.
class LearnedCollector {
 public:
  explicit LearnedCollector(const Graph& graph) : graph_(graph) {
    for (const ValueInfo& input : graph.inputs) pixels_.insert(input.name);
  }

  void visit(const Node& node) {
    if (reads_pixels(node)) {
      for (const std::string& output : node.outputs) pixels_.insert(output);
      return;
    }
    const std::string& op = node.op;
    if (op == "Conv" || op == "Gemm" || op == "MatMul") {
      if (op == "MatMul") parameter(node, 0, /*decay=*/true);
      parameter(node, 1, /*decay=*/true);
      parameter(node, 2, /*decay=*/false);
    } else if (op == "BatchNormalization") {
      parameter(node, 1, false);
      parameter(node, 2, false);
      buffer(node, 3);
      buffer(node, 4);
    } else if (op == "LayerNormalization" || op == "PRelu") {
      parameter(node, 1, false);
      parameter(node, 2, false);
    } else if (op == "Transpose") {
      vector_parameter(node, 0, /*decay=*/true);
    } else if (op == "Gather" || op == "Expand" || op == "Reshape" || op == "Unsqueeze") {
      vector_parameter(node, 0, false);
    } else if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div" || op == "Concat") {
      for (size_t i = 0; i < node.inputs.size(); ++i) vector_parameter(node, i, false);
    }
  }

  LearnedTensors take() { return std::move(learned_); }

 private:
  bool reads_pixels(const Node& node) const {
    if (!is_pixel_operator(node.op)) return false;
    bool any = false;
    for (const std::string& input : node.inputs) {
      if (pixels_.contains(input)) {
        any = true;
      } else if (!input.empty() && graph_.find_initializer(input) == nullptr) {
        return false;
      }
    }
    return any;
  }

  const Tensor* floating(const Node& node, size_t i) const {
    if (!node.has_input(i)) return nullptr;
    const Tensor* tensor = graph_.find_initializer(node.inputs[i]);
    return tensor != nullptr && is_floating(tensor->type()) ? tensor : nullptr;
  }

  void parameter(const Node& node, size_t i, bool decay) {
    if (floating(node, i) == nullptr || !seen_.insert(node.inputs[i]).second) return;
    learned_.parameters.push_back({node.inputs[i], decay});
  }

  // One number alone is a constant of a formula (an epsilon, a square root), not learned.
  void vector_parameter(const Node& node, size_t i, bool decay) {
    const Tensor* tensor = floating(node, i);
    if (tensor != nullptr && tensor->size() > 1) parameter(node, i, decay);
  }

  void buffer(const Node& node, size_t i) {
    if (floating(node, i) == nullptr || !seen_.insert(node.inputs[i]).second) return;
    learned_.buffers.push_back(node.inputs[i]);
  }

  const Graph& graph_;
  std::unordered_set<std::string> pixels_;
  std::unordered_set<std::string> seen_;
  LearnedTensors learned_;
};

// bfloat16 for convolutions and matrix products while it lives; the copies of weights it made are
// dropped with it.
class Autocast {
 public:
  Autocast(c10::DeviceType device, bool enabled) : device_(device), enabled_(enabled) {
    if (!enabled_) return;
    was_ = at::autocast::is_autocast_enabled(device_);
    at::autocast::set_autocast_enabled(device_, true);
    at::autocast::set_autocast_dtype(device_, at::kBFloat16);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    if (!enabled_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, was_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  c10::DeviceType device_;
  bool enabled_;
  bool was_ = false;
};

// Whether the operator reads input i as a number on the host: it then stays there, for fetching it
// from a GPU would wait for all work before it.
bool reads_on_host(const std::string& op, size_t i) {
  return (op == "Dropout" && i == 1) || (op == "Pow" && i == 1) || (op == "Clip" && i >= 1);
}

// Initializers of one element that are read on the host and nowhere else.
std::unordered_set<std::string> host_numbers(const Graph& graph) {
  std::unordered_set<std::string> host;
  std::unordered_set<std::string> elsewhere;
  for (const Node& node : graph.nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      (reads_on_host(node.op, i) ? host : elsewhere).insert(node.inputs[i]);
    }
  }
  std::erase_if(host, [&](const std::string& name) {
    const Tensor* tensor = graph.find_initializer(name);
    return elsewhere.contains(name) || tensor == nullptr || tensor->size() != 1;
  });
  return host;
}

// Initializers that convolutions and matrix products read and nothing else does.
std::unordered_set<std::string> product_weights(const Graph& graph) {
  std::unordered_set<std::string> products;
  std::unordered_set<std::string> elsewhere;
  for (const Node& node : graph.nodes) {
    const bool product = node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul";
    for (const std::string& input : node.inputs) (product ? products : elsewhere).insert(input);
  }
  std::erase_if(products, [&](const std::string& name) { return elsewhere.contains(name); });
  return products;
}

bool matches_any(const std::vector<std::string>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&name](const std::string& pattern) { return glob_match(pattern, name); });
}

}  // namespace

std::string describe(const Node& node) { return fmt::format("node '{}' ({})", node.name, node.op); }

LearnedTensors find_learned(const Graph& graph) {
  LearnedCollector collector(graph);
  for (const Node& node : graph.nodes) collector.visit(node);
  return collector.take();
}

Result<TorchExecutor> TorchExecutor::create(const Graph& graph,
                                            const TorchExecutorOptions& options) {
  if (graph.inputs.size() != 1 || graph.outputs.empty()) {
    return unsupported(fmt::format("training needs a model with one input, '{}' has {}", graph.name,
                                   graph.inputs.size()));
  }
  TorchExecutor executor;
  executor.graph_ = graph;
  executor.input_ = executor.number_of(graph.inputs[0].name);
  PARE_RETURN_IF_ERROR(executor.load_initializers(options));
  PARE_RETURN_IF_ERROR(executor.plan_steps());
  executor.output_ = executor.number_of(graph.outputs[0].name);
  executor.plan_releases();
  return executor;
}

int TorchExecutor::number_of(const std::string& value) {
  if (value.empty()) return -1;
  const auto [it, added] = numbers_.emplace(value, static_cast<int>(constants_.size()));
  if (added) constants_.emplace_back();
  return it->second;
}

Status TorchExecutor::load_initializers(const TorchExecutorOptions& options) {
  const LearnedTensors learned = find_learned(graph_);
  std::unordered_set<std::string> conv_weights;
  for (const Node& node : graph_.nodes) {
    if (node.op == "Conv" && node.has_input(1)) conv_weights.insert(node.inputs[1]);
  }
  const std::unordered_set<std::string> on_host = host_numbers(graph_);
  for (const auto& [name, tensor] : graph_.initializers) {
    auto loaded = to_torch(tensor);
    if (!loaded.ok()) return loaded.status().with_context("initializer '" + name + "'");
    at::Tensor value = std::move(loaded).value();
    if (value.is_floating_point() && !on_host.contains(name)) value = value.to(options.device);
    if (conv_weights.contains(name) && value.dim() == 4) {
      value = value.contiguous(at::MemoryFormat::ChannelsLast);
    }
    constants_[static_cast<size_t>(number_of(name))] = value;
  }
  const auto learned_value = [&](const std::string& name) -> Result<at::Tensor> {
    at::Tensor value = constants_[static_cast<size_t>(number_of(name))];
    if (value.scalar_type() == at::kFloat || !options.trainable) return value;
    return unsupported(fmt::format("weights '{}' are {}: training needs the float32 model", name,
                                   dtype_name(graph_.initializers.at(name).type())));
  };
  for (const LearnedTensor& p : learned.parameters) {
    PARE_ASSIGN_OR_RETURN(at::Tensor value, learned_value(p.name));
    if (matches_any(options.frozen, p.name)) {
      buffers_.push_back({p.name, value, p.decay});
      continue;
    }
    value.requires_grad_(options.trainable);
    parameters_.push_back({p.name, value, p.decay});
  }
  for (const std::string& name : learned.buffers) {
    PARE_ASSIGN_OR_RETURN(at::Tensor value, learned_value(name));
    buffers_.push_back({name, value});
  }
  return ok_status();
}

Status TorchExecutor::plan_steps() {
  std::unordered_set<std::string> learned;
  for (const Named& p : parameters_) learned.insert(p.name);
  for (const Named& b : buffers_) learned.insert(b.name);
  for (size_t n = 0; n < graph_.nodes.size(); ++n) {
    const Node& node = graph_.nodes[n];
    Step step{.function = find_torch_operator(node),
              .node = static_cast<int>(n),
              .inputs = {},
              .outputs = {},
              .last_read = {}};
    if (step.function == nullptr) {
      return unsupported(describe(node) + ": training has no such operator");
    }
    bool constant = true;
    for (const std::string& input : node.inputs) {
      step.inputs.push_back(number_of(input));
      if (input.empty()) continue;
      if (learned.contains(input) ||
          !constants_[static_cast<size_t>(step.inputs.back())].defined()) {
        constant = false;
      }
    }
    for (const std::string& output : node.outputs) step.outputs.push_back(number_of(output));
    if (constant) {
      PARE_RETURN_IF_ERROR(run_step(step, constants_, {}));
    } else {
      steps_.push_back(std::move(step));
    }
  }
  return ok_status();
}

void TorchExecutor::plan_releases() {
  std::unordered_set<int> read_later = {output_};
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    std::set<int> values(step->inputs.begin(), step->inputs.end());
    values.insert(step->outputs.begin(), step->outputs.end());
    for (int value : values) {
      if (value < 0 || !read_later.insert(value).second) continue;
      if (!constants_[static_cast<size_t>(value)].defined()) step->last_read.push_back(value);
    }
  }
}

Status TorchExecutor::run_step(const Step& step, std::vector<at::Tensor>& values,
                               const RunMode& mode) const {
  if (!step.members.empty()) return run_members(step, values, mode);
  const Node& node = graph_.nodes[static_cast<size_t>(step.node)];
  std::vector<at::Tensor> inputs;
  for (int input : step.inputs) {
    inputs.push_back(input < 0 ? at::Tensor() : values[static_cast<size_t>(input)]);
    if (input >= 0 && !inputs.back().defined()) {
      return corrupt(describe(node) + ": an input is read before it is written");
    }
  }
  try {
    auto outputs = run_product(step, std::move(inputs), mode);
    if (!outputs.ok()) return outputs.status().with_context(describe(node));
    for (size_t i = 0; i < outputs->size() && i < step.outputs.size(); ++i) {
      if (step.outputs[i] >= 0) values[static_cast<size_t>(step.outputs[i])] = (*outputs)[i];
    }
  } catch (const std::exception& error) {
    return invalid_argument(describe(node) + ": " + torch_error_line(error));
  }
  return ok_status();
}

Result<at::Tensor> TorchExecutor::forward(const at::Tensor& input, const RunMode& mode) {
  const Autocast autocast(input.device().type(), mode.autocast);
  std::vector<at::Tensor> values = constants_;
  RunMode inner = mode;
  inner.pixels = takes_pixels(input, mode);
  at::Tensor& images = values[static_cast<size_t>(input_)];
  images =
      input.dim() == 4 && !inner.pixels ? input.contiguous(at::MemoryFormat::ChannelsLast) : input;
  for (const Step& step : steps_) {
    if (inner.pixels && is_pixel_step(step)) {
      // Passed on as they are, to the convolution.
      values[static_cast<size_t>(step.outputs[0])] = input;
      continue;
    }
    PARE_RETURN_IF_ERROR(run_step(step, values, inner));
    for (int value : step.last_read) values[static_cast<size_t>(value)] = at::Tensor();
  }
  return values[static_cast<size_t>(output_)];
}

const TorchExecutor::Named* TorchExecutor::parameter(const std::string& name) const {
  const auto it = std::ranges::find(parameters_, name, &Named::name);
  return it == parameters_.end() ? nullptr : &*it;
}

void TorchExecutor::keep_copies() {
  const at::NoGradGuard no_grad;
  const std::unordered_set<std::string> products = product_weights(graph_);
  for (Named& p : parameters_) {
    // Matrices and filters: biases are small, and batch norm wants those before it in float32.
    if (!products.contains(p.name) || p.value.dim() < 2) continue;
    p.copy = p.value.detach().to(at::kBFloat16);
    p.copy.requires_grad_(p.value.requires_grad());
    constants_[static_cast<size_t>(number_of(p.name))] = p.copy;
  }
}

void TorchExecutor::refresh_copies() {
  const at::NoGradGuard no_grad;
  for (const Named& p : parameters_) {
    if (p.copy.defined()) p.copy.copy_(p.value);
  }
}

Result<Graph> TorchExecutor::to_graph(const FromTorchOptions& options) const {
  Graph out = graph_;
  for (const auto* list : {&parameters_, &buffers_}) {
    for (const Named& named : *list) {
      PARE_ASSIGN_OR_RETURN(out.initializers[named.name], from_torch(named.value, options));
    }
  }
  return out;
}

bool has_fast_bfloat16() {
  const CpuFeatures features = detect_cpu().features;
  return features.avx512_bf16 || features.amx_bf16;
}

}  // namespace pare

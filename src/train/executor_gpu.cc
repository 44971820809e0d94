// TorchExecutor on a GPU: chains of nodes that our kernels run at once (gpu_chains.h), and pixels
// that go to the first convolution as they are.

#include <algorithm>
#include <unordered_set>

#include "train/executor.h"
#include "train/gpu_layers.h"

namespace pare {

// One step for all nodes of a chain.
TorchExecutor::Step TorchExecutor::chain_step(const GpuChain& chain, std::vector<Step> members) {
  Step step{.function = nullptr,
            .node = members.back().node,
            .inputs = {},
            .outputs = members.back().outputs,
            .last_read = {}};
  std::unordered_set<int> inside;
  for (const Step& member : members) {
    for (const int input : member.inputs) {
      if (!inside.contains(input)) step.inputs.push_back(input);
    }
    inside.insert(member.outputs.begin(), member.outputs.end());
  }
  step.members = std::move(members);
  step.chain = chain;
  return step;
}

void TorchExecutor::use_gpu_layers(GpuTools& tools) {
  tools_ = &tools;
  use_pixel_path();
  std::unordered_map<int, Step> of_node;
  for (Step& step : steps_) of_node[step.node] = step;
  std::unordered_map<int, GpuChain> by_last;
  std::unordered_set<int> inside;
  for (const GpuChain& chain : find_gpu_chains(graph_)) {
    const std::vector<int> nodes = chain_nodes(chain);
    const bool all =
        std::all_of(nodes.begin(), nodes.end(), [&](int node) { return of_node.contains(node); });
    if (!all) continue;  // part of it is a constant
    by_last.emplace(nodes.back(), chain);
    inside.insert(nodes.begin(), nodes.end());
  }
  std::vector<Step> steps;
  for (Step& step : steps_) {
    if (const auto it = by_last.find(step.node); it != by_last.end()) {
      std::vector<Step> members;
      for (const int node : chain_nodes(it->second)) members.push_back(of_node[node]);
      steps.push_back(chain_step(it->second, std::move(members)));
    } else if (!inside.contains(step.node)) {
      steps.push_back(std::move(step));
    }
  }
  steps_ = std::move(steps);
  for (Step& step : steps_) step.last_read.clear();
  plan_releases();
}

void TorchExecutor::use_pixel_path() {
  pixel_path_ = find_pixel_path(graph_);
  if (!pixel_path_) return;
  const Node& conv = graph_.nodes[static_cast<size_t>(pixel_path_->conv)];
  const int64_t channels = graph_.find_initializer(conv.inputs[1])->shape()[1];
  const auto spread = [&](const std::string& name) {
    const at::Tensor& value = constants_[static_cast<size_t>(number_of(name))];
    return value.reshape({-1}).expand({channels}).contiguous();
  };
  pixel_scale_ = spread(pixel_path_->scale);
  pixel_shift_ = spread(pixel_path_->shift);
}

bool TorchExecutor::takes_pixels(const at::Tensor& input, const RunMode& mode) const {
  return pixel_path_ && mode.autocast && input.is_cuda() && input.dim() == 4 &&
         input.scalar_type() == at::kByte && input.size(1) == pixel_scale_.size(0);
}

bool TorchExecutor::is_pixel_step(const Step& step) const {
  const std::vector<int>& nodes = pixel_path_->nodes;
  return std::find(nodes.begin(), nodes.end(), step.node) != nodes.end();
}

OperatorResult TorchExecutor::run_product(const Step& step, std::vector<at::Tensor> inputs,
                                          const RunMode& mode) const {
  const Node& node = graph_.nodes[static_cast<size_t>(step.node)];
  if (!mode.pixels || step.node != pixel_path_->conv) {
    return step.function({node, inputs, graph_.opset, mode});
  }
  PixelConv call;
  call.pixels = inputs[0];
  call.scale = pixel_scale_;
  call.shift = pixel_shift_;
  call.weight = inputs[1];
  if (inputs.size() > 2) call.bias = inputs[2];
  call.strides = node.ints_attribute("strides", call.strides);
  call.pads = node.ints_attribute("pads", call.pads);
  return std::vector<at::Tensor>{pixel_conv(*tools_, call)};
}

Status TorchExecutor::run_members(const Step& step, std::vector<at::Tensor>& values,
                                  const RunMode& mode) const {
  if (mode.autocast) {
    try {
      PARE_ASSIGN_OR_RETURN(
          const bool done,
          std::visit([&](const auto& chain) { return run(chain, step, values, mode); },
                     step.chain));
      if (done) return ok_status();
    } catch (const std::exception& error) {
      return invalid_argument(describe(graph_.nodes[static_cast<size_t>(step.node)]) + ": " +
                              torch_error_line(error));
    }
  }
  for (const Step& member : step.members) PARE_RETURN_IF_ERROR(run_step(member, values, mode));
  // What they hand to each other is no value of the plan.
  for (size_t i = 0; i + 1 < step.members.size(); ++i) {
    for (const int value : step.members[i].outputs) {
      if (value >= 0) values[static_cast<size_t>(value)] = at::Tensor();
    }
  }
  return ok_status();
}

// The functions below run a chain at once, in bfloat16; false if it must be run node by node.

Result<bool> TorchExecutor::run(const NormChain& chain, const Step& step,
                                std::vector<at::Tensor>& values, const RunMode& mode) const {
  if (!mode.batch_statistics || mode.ranks != nullptr) return false;
  const bool with_product = chain.product >= 0;
  const Step& norm_step = step.members[with_product ? 1 : 0];
  const Node& norm = graph_.nodes[static_cast<size_t>(chain.norm)];
  NormCall call;
  call.gamma = input_of(norm_step, 1, values);
  if (call.gamma.size(0) % kNormChannels != 0) return false;
  if (with_product) {
    const Step& product = step.members[0];
    std::vector<at::Tensor> inputs = {input_of(product, 0, values), input_of(product, 1, values),
                                      at::Tensor()};
    call.bias = input_of(product, 2, values).detach();
    auto made = run_product(product, std::move(inputs), mode);
    if (!made.ok()) return made.status();
    call.x = made->front();
  } else {
    call.x = input_of(norm_step, 0, values);
  }
  if (!fits_norm_kernel(call.x)) return false;
  call.beta = input_of(norm_step, 2, values);
  call.running_mean = input_of(norm_step, 3, values);
  call.running_variance = input_of(norm_step, 4, values);
  call.epsilon = static_cast<double>(norm.float_attribute("epsilon", 1e-5F));
  call.momentum = mode.batch_norm_momentum >= 0
                      ? mode.batch_norm_momentum
                      : 1.0 - static_cast<double>(norm.float_attribute("momentum", 0.9F));
  call.relu = chain.relu >= 0;
  call.window = chain.window;
  call.stride = chain.stride;
  values[static_cast<size_t>(step.outputs[0])] = norm_layer(*tools_, call);
  return true;
}

Result<bool> TorchExecutor::run(const DenseChain& chain, const Step& step,
                                std::vector<at::Tensor>& values, const RunMode& /*mode*/) const {
  const at::Tensor x = input_of(step.members[0], 0, values);
  const at::Tensor weight = input_of(step.members[0], 1, values);
  const at::Tensor bias = input_of(step.members[1], chain.bias_first ? 0 : 1, values);
  if (!x.is_cuda() || x.dim() < 2) return false;
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(1);
  values[static_cast<size_t>(step.outputs[0])] =
      at::addmm(bias, x.reshape({-1, weight.size(0)}), weight).view(sizes);
  return true;
}

Result<bool> TorchExecutor::run(const LayerNormChain& chain, const Step& step,
                                std::vector<at::Tensor>& values, const RunMode& /*mode*/) const {
  const at::Tensor x = input_of(step.members[0], 0, values);
  const at::Tensor gamma = input_of(step.members[0], 1, values);
  if (!fits_layer_norm_kernel(*tools_, x, gamma)) return false;
  const Node& node = graph_.nodes[static_cast<size_t>(chain.norm)];
  values[static_cast<size_t>(step.outputs[0])] =
      layer_norm_layer(*tools_, {x, gamma, input_of(step.members[0], 2, values),
                                 static_cast<double>(node.float_attribute("epsilon", 1e-5F))});
  return true;
}

Result<bool> TorchExecutor::run(const AttentionChain& chain, const Step& step,
                                std::vector<at::Tensor>& values, const RunMode& mode) const {
  const at::Tensor q = input_of(step.members.front(), 0, values);
  const at::Tensor k = input_of(step.members.front(), 1, values);
  const at::Tensor v = input_of(step.members.back(), 1, values);
  if (!q.is_cuda() || q.dim() != 4 || k.dim() != 4 || v.dim() != 4) return false;
  double dropout = 0;
  if (chain.dropout >= 0 && mode.dropout) {
    const Step& drop = step.members[step.members.size() - 2];
    const bool given = drop.inputs.size() > 1 && drop.inputs[1] >= 0;
    dropout = given ? input_of(drop, 1, values).item().toDouble() : 0.5;
  }
  values[static_cast<size_t>(step.outputs[0])] = at::scaled_dot_product_attention(
      q, k.transpose(-2, -1), v, /*attn_mask=*/{}, dropout, /*is_causal=*/false, chain.factor);
  return true;
}

}  // namespace pare

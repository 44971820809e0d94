// Operators that move data, make constants or compute shapes.

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "train/operators.h"
#include "train/tensors.h"

namespace pare {

std::vector<int64_t> host_integers(const at::Tensor& tensor) {
  const at::Tensor host = tensor.to(at::kCPU, at::kLong).contiguous();
  const auto* first = host.const_data_ptr<int64_t>();
  return {first, first + host.numel()};
}

OperatorFunction find_torch_operator(const Node& node) {
  if (!node.domain.empty()) return nullptr;
  if (OperatorFunction f = find_math_operator(node.op)) return f;
  if (OperatorFunction f = find_layer_operator(node.op)) return f;
  return find_shape_operator(node.op);
}

namespace {

using Tensors = std::vector<at::Tensor>;

at::Tensor integers(const std::vector<int64_t>& values) {
  return at::tensor(values, at::TensorOptions().dtype(at::kLong));
}

// Integers by input, or in older opsets by attribute.
std::vector<int64_t> integers_of(const OperatorCall& call, size_t input, const char* attribute) {
  return call.has(input) ? host_integers(call.in(input)) : call.node.ints_attribute(attribute);
}

int64_t positive_axis(int64_t axis, int64_t rank) { return axis < 0 ? axis + rank : axis; }

OperatorResult reshape(const OperatorCall& call) {
  std::vector<int64_t> shape = host_integers(call.in(1));
  if (call.node.int_attribute("allowzero", 0) == 0) {
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] == 0) shape[d] = call.in(0).size(static_cast<int64_t>(d));
    }
  }
  return Tensors{at::reshape(call.in(0), shape)};
}

OperatorResult flatten(const OperatorCall& call) {
  const at::Tensor& x = call.in(0);
  const int64_t axis = positive_axis(call.node.int_attribute("axis", 1), x.dim());
  int64_t outer = 1;
  for (int64_t d = 0; d < axis; ++d) outer *= x.size(d);
  return Tensors{at::reshape(x, {outer, outer == 0 ? 0 : x.numel() / outer})};
}

OperatorResult transpose(const OperatorCall& call) {
  std::vector<int64_t> order = call.node.ints_attribute("perm");
  if (order.empty()) {
    for (int64_t d = call.in(0).dim(); d-- > 0;) order.push_back(d);
  }
  return Tensors{at::permute(call.in(0), order)};
}

OperatorResult squeeze(const OperatorCall& call) {
  const std::vector<int64_t> axes = integers_of(call, 1, "axes");
  return Tensors{axes.empty() ? at::squeeze(call.in(0)) : at::squeeze(call.in(0), axes)};
}

OperatorResult unsqueeze(const OperatorCall& call) {
  std::vector<int64_t> axes = integers_of(call, 1, "axes");
  const int64_t rank = call.in(0).dim() + static_cast<int64_t>(axes.size());
  for (int64_t& axis : axes) axis = positive_axis(axis, rank);
  std::sort(axes.begin(), axes.end());
  at::Tensor out = call.in(0);
  for (int64_t axis : axes) out = at::unsqueeze(out, axis);
  return Tensors{out};
}

OperatorResult concat(const OperatorCall& call) {
  const Tensors parts(call.inputs.begin(), call.inputs.end());
  return Tensors{at::cat(parts, call.node.int_attribute("axis", 0))};
}

OperatorResult split(const OperatorCall& call) {
  const int64_t axis = call.node.int_attribute("axis", 0);
  std::vector<int64_t> sizes = integers_of(call, 1, "split");
  if (sizes.empty()) {
    // Equal parts, the last one smaller if it must be.
    const auto parts = static_cast<int64_t>(call.node.outputs.size());
    const int64_t total = call.in(0).size(axis);
    const int64_t part = (total + parts - 1) / parts;
    for (int64_t i = 0; i < parts; ++i) {
      sizes.push_back(std::clamp<int64_t>(total - i * part, 0, part));
    }
  }
  return at::split_with_sizes(call.in(0), sizes, axis);
}

OperatorResult slice(const OperatorCall& call) {
  const std::vector<int64_t> starts = host_integers(call.in(1));
  const std::vector<int64_t> ends = host_integers(call.in(2));
  std::vector<int64_t> axes;
  for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (call.has(3)) axes = host_integers(call.in(3));
  std::vector<int64_t> steps(starts.size(), 1);
  if (call.has(4)) steps = host_integers(call.in(4));
  const size_t count = starts.size();
  if (ends.size() != count || axes.size() != count || steps.size() != count) {
    return invalid_argument(fmt::format("{} starts, {} ends, {} axes and {} steps", count,
                                        ends.size(), axes.size(), steps.size()));
  }
  at::Tensor out = call.in(0);
  for (size_t i = 0; i < starts.size(); ++i) {
    if (steps[i] > 0) {
      out = at::slice(out, axes[i], starts[i], ends[i], steps[i]);
      continue;
    }
    if (steps[i] == 0) return invalid_argument("a step of 0");
    // Backwards: LibTorch has no negative steps, so the positions are listed.
    const int64_t size = out.size(axes[i]);
    if (size == 0) continue;
    const auto clamped = [&](int64_t p, int64_t low) {
      return std::clamp<int64_t>(p < 0 ? p + size : p, low, size - 1);
    };
    const int64_t first = clamped(starts[i], 0);
    const int64_t last = ends[i] < -size ? -1 : clamped(ends[i], -1);
    std::vector<int64_t> positions;
    for (int64_t p = first; p > last; p += steps[i]) positions.push_back(p);
    out = at::index_select(out, axes[i], integers(positions).to(out.device()));
  }
  return Tensors{out};
}

OperatorResult gather(const OperatorCall& call) {
  const at::Tensor& x = call.in(0);
  const int64_t axis = positive_axis(call.node.int_attribute("axis", 0), x.dim());
  at::Tensor indices = call.in(1).to(at::kLong);
  if (indices.dim() == 0) return Tensors{at::select(x, axis, indices.item().toLong())};
  indices = at::where(indices < 0, indices + x.size(axis), indices);
  std::vector<int64_t> shape(x.sizes().begin(), x.sizes().begin() + axis);
  shape.insert(shape.end(), indices.sizes().begin(), indices.sizes().end());
  shape.insert(shape.end(), x.sizes().begin() + axis + 1, x.sizes().end());
  const at::Tensor rows = at::index_select(x, axis, indices.reshape({-1}).to(x.device()));
  return Tensors{at::reshape(rows, shape)};
}

OperatorResult expand(const OperatorCall& call) {
  const std::vector<int64_t> target = host_integers(call.in(1));
  return Tensors{call.in(0).expand(at::infer_size(call.in(0).sizes(), target))};
}

OperatorResult tile(const OperatorCall& call) {
  return Tensors{call.in(0).repeat(host_integers(call.in(1)))};
}

OperatorResult shape_of(const OperatorCall& call) {
  const auto sizes = call.in(0).sizes();
  const auto rank = static_cast<int64_t>(sizes.size());
  const auto bound = [&](int64_t p) { return std::clamp<int64_t>(p < 0 ? p + rank : p, 0, rank); };
  const int64_t start = bound(call.node.int_attribute("start", 0));
  const int64_t end = std::max(start, bound(call.node.int_attribute("end", rank)));
  return Tensors{integers({sizes.begin() + start, sizes.begin() + end})};
}

OperatorResult size_of(const OperatorCall& call) {
  return Tensors{at::scalar_tensor(call.in(0).numel(), at::TensorOptions().dtype(at::kLong))};
}

OperatorResult constant_of_shape(const OperatorCall& call) {
  at::Tensor value = at::zeros({1});
  if (const auto it = call.node.attributes.find("value"); it != call.node.attributes.end()) {
    if (const auto* tensor = std::get_if<Tensor>(&it->second)) {
      PARE_ASSIGN_OR_RETURN(value, to_torch(*tensor));
    }
  }
  return Tensors{at::full(host_integers(call.in(0)), value.item(), value.options())};
}

OperatorResult range(const OperatorCall& call) {
  return Tensors{at::arange(call.in(0).item(), call.in(1).item(), call.in(2).item(),
                            at::TensorOptions().dtype(call.in(0).scalar_type()))};
}

OperatorResult pad(const OperatorCall& call) {
  const std::string mode = call.node.string_attribute("mode", "constant");
  const std::vector<int64_t> given = host_integers(call.in(1));
  const int64_t rank = call.in(0).dim();
  std::vector<int64_t> axes;
  for (int64_t d = 0; d < rank; ++d) axes.push_back(d);
  if (call.has(3)) axes = host_integers(call.in(3));
  if (given.size() != 2 * axes.size()) {
    return invalid_argument(fmt::format("{} paddings for {} axes", given.size(), axes.size()));
  }
  // LibTorch lists (before, after) from the last dimension back.
  std::vector<int64_t> pads(static_cast<size_t>(2 * rank), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = positive_axis(axes[i], rank);
    if (axis < 0 || axis >= rank) {
      return invalid_argument(fmt::format("axis {} of {} dimensions", axes[i], rank));
    }
    const auto back = static_cast<size_t>(rank - 1 - axis);
    pads[2 * back] = given[i];
    pads[2 * back + 1] = given[i + axes.size()];
  }
  if (mode == "constant") {
    const at::Scalar value = call.has(2) ? call.in(2).item() : at::Scalar(0);
    return Tensors{at::constant_pad_nd(call.in(0), pads, value)};
  }
  return unsupported("padding mode '" + mode + "'");
}

// Channels to pixels: [N, b·b·C, H, W] -> [N, C, H·b, W·b]; DCR counts the block before the
// channel, CRD after it.
OperatorResult depth_to_space(const OperatorCall& call) {
  const at::Tensor& x = call.in(0);
  const int64_t b = call.node.int_attribute("blocksize", 1);
  const int64_t c = x.size(1) / (b * b);
  const bool block_first = call.node.string_attribute("mode", "DCR") == "DCR";
  const at::Tensor parts =
      block_first
          ? x.reshape({x.size(0), b, b, c, x.size(2), x.size(3)}).permute({0, 3, 4, 1, 5, 2})
          : x.reshape({x.size(0), c, b, b, x.size(2), x.size(3)}).permute({0, 1, 4, 2, 5, 3});
  return Tensors{parts.reshape({x.size(0), c, x.size(2) * b, x.size(3) * b})};
}

OperatorResult space_to_depth(const OperatorCall& call) {
  const at::Tensor& x = call.in(0);
  const int64_t b = call.node.int_attribute("blocksize", 1);
  const at::Tensor parts = x.reshape({x.size(0), x.size(1), x.size(2) / b, b, x.size(3) / b, b})
                               .permute({0, 3, 5, 1, 2, 4});
  return Tensors{parts.reshape({x.size(0), b * b * x.size(1), x.size(2) / b, x.size(3) / b})};
}

}  // namespace

OperatorFunction find_shape_operator(const std::string& op) {
  static const std::map<std::string, OperatorFunction> table = {
      {"Concat", concat},
      {"ConstantOfShape", constant_of_shape},
      {"DepthToSpace", depth_to_space},
      {"Expand", expand},
      {"Flatten", flatten},
      {"Gather", gather},
      {"Pad", pad},
      {"Range", range},
      {"Reshape", reshape},
      {"Shape", shape_of},
      {"Size", size_of},
      {"Slice", slice},
      {"SpaceToDepth", space_to_depth},
      {"Split", split},
      {"Squeeze", squeeze},
      {"Tile", tile},
      {"Transpose", transpose},
      {"Unsqueeze", unsqueeze},
  };
  const auto it = table.find(op);
  return it == table.end() ? nullptr : it->second;
}

}  // namespace pare

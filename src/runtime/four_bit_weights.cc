#include "runtime/four_bit_weights.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

namespace pare {
namespace {

constexpr int32_t kLargestFactor = 15;

// Nibbles as bytes, the first of a byte in its lower half.
Tensor widened(const Tensor& packed) {
  Tensor wide(DType::kInt8, packed.shape());
  auto dst = wide.mutable_values<int8_t>();
  const auto* src = reinterpret_cast<const uint8_t*>(packed.data());
  const bool is_signed = packed.type() == DType::kInt4;
  const auto value = [is_signed](int nibble) {
    return static_cast<int8_t>(is_signed ? (nibble ^ 8) - 8 : nibble);
  };
  for (size_t i = 0; i + 1 < dst.size(); i += 2) {
    dst[i] = value(src[i / 2] & 15);
    dst[i + 1] = value(src[i / 2] >> 4);
  }
  if (dst.size() % 2 != 0) dst.back() = value(src[dst.size() / 2] & 15);
  return wide;
}

// The factors of `scales` as multiples of `scale`; nullopt where one is none.
std::optional<std::vector<int32_t>> factors_of(std::span<const float> scales, float scale) {
  std::vector<int32_t> factors;
  for (const float s : scales) {
    const float factor = std::nearbyintf(s / scale);
    if (!(factor >= 1.0F && factor <= static_cast<float>(kLargestFactor)) || factor * scale != s)
      return std::nullopt;
    factors.push_back(static_cast<int32_t>(factor));
  }
  return factors;
}

class Widener {
 public:
  explicit Widener(Graph graph) : graph_(std::move(graph)) {}

  Graph run() {
    for (Node& node : graph_.nodes) {
      if (node.op != "DequantizeLinear" || !node.domain.empty()) continue;
      const Tensor* integers = graph_.find_initializer(node.inputs[0]);
      const Tensor* scales = graph_.find_initializer(node.inputs[1]);
      if (integers == nullptr || scales == nullptr || scales->type() != DType::kFloat32) continue;
      if (integers->type() != DType::kInt4 && integers->type() != DType::kUInt4) continue;
      const std::optional<int32_t> zero_point = zero_point_of(node);
      if (!zero_point) continue;
      if (node.int_attribute("block_size", 0) == 0) {
        Tensor wide = widened(*integers);
        for (int8_t& q : wide.mutable_values<int8_t>()) q = static_cast<int8_t>(q - *zero_point);
        replace(node, std::move(wide), *scales);
      } else {
        widen_blocks(node, *integers, *scales, *zero_point);
      }
    }
    remove_unused(graph_);
    return std::move(graph_);
  }

 private:
  // Nothing where they differ, or are computed.
  std::optional<int32_t> zero_point_of(const Node& node) const {
    if (!node.has_input(2)) return 0;
    const Tensor* zero = graph_.find_initializer(node.inputs[2]);
    if (zero == nullptr || zero->size() == 0) return std::nullopt;
    const auto values = to_int64_vector(*zero);
    if (!values.ok() || std::any_of(values->begin(), values->end(),
                                    [&](int64_t v) { return v != values->front(); }))
      return std::nullopt;
    return static_cast<int32_t>(values->front());
  }

  void replace(Node& node, Tensor integers, Tensor scales) {
    const std::string wide = graph_.fresh_name(node.inputs[0] + ".int8");
    const std::string scale = graph_.fresh_name(node.inputs[1] + ".channels");
    graph_.initializers[wide] = std::move(integers);
    graph_.initializers[scale] = std::move(scales);
    node.inputs = {wide, scale};
  }

  void widen_blocks(Node& node, const Tensor& integers, const Tensor& scales, int32_t zero_point) {
    int64_t axis = node.int_attribute("axis", 1);
    if (axis < 0) axis += 2;
    const int64_t block = node.int_attribute("block_size", 0);
    if (integers.rank() != 2 || scales.rank() != 2 || axis < 0 || axis > 1 || block < 1) return;
    const int64_t channels = integers.dim(static_cast<int>(1 - axis));
    const int64_t along = integers.dim(static_cast<int>(axis));
    const int64_t blocks = along / block + (along % block != 0 ? 1 : 0);
    // Sizes that do not fit are the shape rules' to refuse.
    if (scales.dim(static_cast<int>(axis)) != blocks ||
        scales.dim(static_cast<int>(1 - axis)) != channels)
      return;
    // Element (channel, i) of a matrix whose other dimension is `length` long.
    const auto at = [axis, channels](int64_t channel, int64_t i, int64_t length) {
      return static_cast<size_t>(axis == 1 ? channel * length + i : i * channels + channel);
    };
    const auto scale_values = scales.values<float>();
    Tensor wide = widened(integers);
    auto q = wide.mutable_values<int8_t>();
    std::vector<float> channel_scales;
    for (int64_t c = 0; c < channels; ++c) {
      std::vector<float> own;
      for (int64_t b = 0; b < blocks; ++b) own.push_back(scale_values[at(c, b, blocks)]);
      const auto common = find_common_scale(own);
      if (!common) return;
      channel_scales.push_back(common->scale);
      for (int64_t i = 0; i < along; ++i) {
        int8_t& value = q[at(c, i, along)];
        const int32_t product =
            (value - zero_point) * common->factors[static_cast<size_t>(i / block)];
        if (product < -127 || product > 127) return;
        value = static_cast<int8_t>(product);
      }
    }
    replace(node, std::move(wide), Tensor::from_values<float>({channels}, channel_scales));
    node.attributes["axis"] = 1 - axis;
    node.attributes.erase("block_size");
  }

  Graph graph_;
};

}  // namespace

std::optional<CommonScale> find_common_scale(std::span<const float> scales) {
  if (scales.empty()) return std::nullopt;
  const float largest = *std::max_element(scales.begin(), scales.end());
  if (!(largest > 0) || !std::isfinite(largest)) return std::nullopt;
  constexpr float kUp = std::numeric_limits<float>::infinity();
  for (int32_t factor = 1; factor <= kLargestFactor; ++factor) {
    // Undoing a rounded product gives the number or one beside it.
    const float near = largest / static_cast<float>(factor);
    for (const float scale : {near, std::nextafter(near, kUp), std::nextafter(near, 0.0F)})
      if (auto factors = factors_of(scales, scale)) return CommonScale{scale, *std::move(factors)};
  }
  return std::nullopt;
}

Graph widen_four_bit_weights(Graph graph) { return Widener(std::move(graph)).run(); }

}  // namespace pare

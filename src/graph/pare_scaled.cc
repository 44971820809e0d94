#include "graph/pare_scaled.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace pare {
namespace {

constexpr float kLargest = 127.0F;
// A scale comes back as largest / 127, which rounding can put this many steps of float32 beside the
// scale that the tensor was made with: half a step each from the product and the division, doubled
// where the division crosses a power of two.
constexpr int kNeighbours = 2;

int64_t channel_of(int64_t i, bool last_axis, int64_t channels, int64_t inner) {
  return last_axis ? i % channels : i / inner;
}

// The whole number for -0.0.
constexpr int8_t kMinusZero = -128;

bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

// The nearest whole number, if there is one in reach.
std::optional<int8_t> whole_number(float w, float scale) {
  if (same_bits(w, -0.0F)) return kMinusZero;
  const float q = scale > 0 ? std::nearbyintf(w / scale) : 0.0F;
  if (!(std::fabs(q) <= kLargest)) return std::nullopt;
  return static_cast<int8_t>(q);
}

float restored(std::byte value, float scale) {
  const auto q = static_cast<int8_t>(value);
  return q == kMinusZero ? -0.0F : scale * static_cast<float>(q);
}

// Visits the elements of one channel until `visit` says false; false then.
template <typename F>
bool for_channel(std::span<const float> w, bool last_axis, size_t channel, size_t channels,
                 F&& visit) {
  const size_t inner = w.size() / channels;
  const size_t begin = last_axis ? channel : channel * inner;
  const size_t step = last_axis ? channels : 1;
  for (size_t k = 0; k < inner; ++k) {
    if (!visit(begin + k * step)) return false;
  }
  return true;
}

// The channel's scale, or a negative number when it has none.
float channel_scale(std::span<const float> w, bool last_axis, size_t channel, size_t channels) {
  float largest = 0;
  const bool finite = for_channel(w, last_axis, channel, channels, [&](size_t i) {
    largest = std::max(largest, std::fabs(w[i]));
    return std::isfinite(w[i]);
  });
  if (!finite) return -1;
  float scale = largest / kLargest;
  for (int k = 0; k < kNeighbours; ++k) scale = std::nextafter(scale, 0.0F);
  for (int k = -kNeighbours; k <= kNeighbours; ++k) {
    const bool fits = for_channel(w, last_axis, channel, channels, [&](size_t i) {
      const std::optional<int8_t> q = whole_number(w[i], scale);
      return q.has_value() && same_bits(restored(static_cast<std::byte>(*q), scale), w[i]);
    });
    if (fits) return scale;
    scale = std::nextafter(scale, HUGE_VALF);
  }
  return -1;
}

bool find_scales(std::span<const float> w, bool last_axis, std::vector<float>& scales) {
  for (size_t c = 0; c < scales.size(); ++c) {
    scales[c] = channel_scale(w, last_axis, c, scales.size());
    if (scales[c] < 0) return false;
  }
  return true;
}

}  // namespace

std::optional<ScaledTensor> find_scaled(const Tensor& tensor) {
  if (tensor.type() != DType::kFloat32 || tensor.rank() < 2 || tensor.size() == 0) {
    return std::nullopt;
  }
  const std::span<const float> w = tensor.values<float>();
  for (const bool last_axis : {false, true}) {
    ScaledTensor s;
    s.last_axis = last_axis;
    s.scales.resize(static_cast<size_t>(last_axis ? tensor.shape().back() : tensor.dim(0)));
    if (!find_scales(w, last_axis, s.scales)) continue;
    const auto channels = static_cast<int64_t>(s.scales.size());
    const int64_t inner = tensor.size() / channels;
    s.values = Tensor(DType::kInt8, tensor.shape());
    const std::span<int8_t> q = s.values.mutable_values<int8_t>();
    for (size_t i = 0; i < w.size(); ++i) {
      const float scale = s.scales[static_cast<size_t>(
          channel_of(static_cast<int64_t>(i), last_axis, channels, inner))];
      q[i] = whole_number(w[i], scale).value_or(int8_t{0});
    }
    return s;
  }
  return std::nullopt;
}

void restore_scaled(std::span<const std::byte> values, bool last_axis,
                    std::span<const float> scales, int64_t first, int64_t size,
                    std::span<float> out) {
  const auto channels = static_cast<int64_t>(scales.size());
  const int64_t inner = size / channels;
  size_t k = 0;
  while (k < out.size()) {
    // A run of one channel along the first axis, of all channels along the last.
    const int64_t at = first + static_cast<int64_t>(k);
    const int64_t begin = last_axis ? at % channels : at % inner;
    const int64_t length = (last_axis ? channels : inner) - begin;
    const size_t end = std::min(out.size(), k + static_cast<size_t>(length));
    if (last_axis) {
      const float* scale = scales.data() + begin;
      for (; k < end; ++k) out[k] = restored(values[k], *scale++);
    } else {
      const float scale = scales[static_cast<size_t>(at / inner)];
      for (; k < end; ++k) out[k] = restored(values[k], scale);
    }
  }
}

}  // namespace pare

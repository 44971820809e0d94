// pixel.h over the vector type V.
#include "kernels/pool/pixel.h"
#include "kernels/simd/typed.inl"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

// Folds the window with join(result so far, element), for channels c … c+n-1.
template <typename Join>
inline V::F fold_window(const PoolPixelArgs& a, int64_t c, int64_t n, V::F start, Join&& join) {
  V::F result = start;
  for (int64_t r = 0; r < a.rows; ++r) {
    int64_t at = a.first + r * a.row_step + c;
    for (int64_t x = 0; x < a.columns; ++x, at += a.column_step) {
      result = join(result, load_typed(a.type, a.src, at, n));
    }
  }
  return result;
}

void max_pixel(const PoolPixelArgs& a) {
  for (int64_t c = 0; c < a.channels; c += V::kLanes) {
    const int64_t n = a.channels - c < V::kLanes ? a.channels - c : V::kLanes;
    const V::F v = fold_window(a, c, n, V::set(-__builtin_inff()),
                               [](V::F most, V::F x) { return V::max(most, x); });
    store_typed(a.dst_type, a.dst, a.dst_first + c, v, n, a.rounding);
  }
}

void average_pixel(const PoolPixelArgs& a) {
  for (int64_t c = 0; c < a.channels; c += V::kLanes) {
    const int64_t n = a.channels - c < V::kLanes ? a.channels - c : V::kLanes;
    V::F v = fold_window(a, c, n, V::zero(), [](V::F sum, V::F x) { return V::add(sum, x); });
    v = V::div(V::sub(v, V::set(a.zero)), V::set(a.count));
    if (a.scale != 1.0F) v = V::mul(v, V::set(a.scale));
    store_typed(a.dst_type, a.dst, a.dst_first + c, v, n, a.rounding);
  }
}

#if defined(__AVX2__)
struct Bytes {
  static constexpr int64_t kLanes = 32;
  __m256i v = _mm256_setzero_si256();
  void raise(const uint8_t* p) {
    v = _mm256_max_epu8(v, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  void store(uint8_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
};
#else
struct Bytes {
  static constexpr int64_t kLanes = 16;
  uint8x16_t v = vdupq_n_u8(0);
  void raise(const uint8_t* p) { v = vmaxq_u8(v, vld1q_u8(p)); }
  void store(uint8_t* p) const { vst1q_u8(p, v); }
};
#endif

void max_uint8_pixel(const PoolPixelArgs& a) {
  const auto* src = static_cast<const uint8_t*>(a.src) + a.first;
  auto* dst = static_cast<uint8_t*>(a.dst) + a.dst_first;
  int64_t c = 0;
  for (; c + Bytes::kLanes <= a.channels; c += Bytes::kLanes) {
    Bytes most;
    for (int64_t r = 0; r < a.rows; ++r) {
      const uint8_t* p = src + r * a.row_step + c;
      for (int64_t x = 0; x < a.columns; ++x, p += a.column_step) {
        most.raise(p);
      }
    }
    most.store(dst + c);
  }
  for (; c < a.channels; ++c) {
    uint8_t most = 0;
    for (int64_t r = 0; r < a.rows; ++r) {
      for (int64_t x = 0; x < a.columns; ++x) {
        const uint8_t v = src[r * a.row_step + x * a.column_step + c];
        if (v > most) most = v;
      }
    }
    dst[c] = most;
  }
}

}  // namespace
}  // namespace pare

#define PARE_POOL_PIXEL \
  { max_pixel, max_uint8_pixel, average_pixel }

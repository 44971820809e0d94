#include "kernels/gemm/column_weights.h"

#include <emmintrin.h>

#include <algorithm>

namespace pare {
namespace {

// [N,K] is turned around in squares, so that both sides stay in the cache.
constexpr int64_t kSquare = 64;

// The weights of the outputs first_n … end_n - 1 by the inputs from first_k on.
template <typename T>
void copy_elements(const ColumnLayout& layout, const GemmWeights& w, int64_t first_n, int64_t end_n,
                   int64_t first_k, T* dst) {
  const auto* src = static_cast<const T*>(w.data);
  const int64_t stride = layout.stride() / layout.weight_bytes();
  for (int64_t k0 = first_k; k0 < w.k; k0 += kSquare) {
    const int64_t last_k = std::min(w.k, k0 + kSquare);
    for (int64_t n0 = first_n; n0 < end_n; n0 += kSquare) {
      const int64_t last_n = std::min(end_n, n0 + kSquare);
      for (int64_t k = k0; k < last_k; ++k) {
        for (int64_t n = n0; n < last_n; ++n) {
          dst[k * stride + n] = src[w.k_major ? k * w.n + n : n * w.k + k];
        }
      }
    }
  }
}

// 16 x 16 bytes turned around: to[k][n] = from[n][k]. Each of four rounds interleaves rows that are
// half the rows apart.
void turn_square(const int8_t* from, int64_t from_stride, int8_t* to, int64_t to_stride) {
  __m128i rows[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    rows[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i * from_stride));
  }
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
    __m128i next[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      next[2 * i] = _mm_unpacklo_epi8(rows[i], rows[i + 8]);
      next[2 * i + 1] = _mm_unpackhi_epi8(rows[i], rows[i + 8]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) rows[i] = next[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i * to_stride), rows[i]);
  }
}

// How many outputs and inputs are packed.
struct Done {
  int64_t n = 0;
  int64_t k = 0;
};
// [N,K] of bytes in whole squares of sixteen: most of what loading a model does.
Done turn_bytes(const ColumnLayout& layout, const GemmWeights& w, std::byte* packed) {
  constexpr int64_t kSide = 16;
  if (w.k_major || w.type != DType::kInt8) return {};
  const auto* src = static_cast<const int8_t*>(w.data);
  auto* dst = reinterpret_cast<int8_t*>(packed);
  const Done done{w.n / kSide * kSide, w.k / kSide * kSide};
  // A line of the columns at a time.
  for (int64_t n0 = 0; n0 < done.n; n0 += kColumnLine) {
    const int64_t last = std::min(done.n, n0 + kColumnLine);
    for (int64_t k = 0; k < done.k; k += kSide) {
      for (int64_t n = n0; n < last; n += kSide) {
        turn_square(src + n * w.k + k, w.k, dst + k * layout.stride() + n, layout.stride());
      }
    }
  }
  return done;
}

template <typename T>
void fill_columns(const ColumnLayout& layout, const GemmWeights& w, std::byte* packed) {
  auto* dst = reinterpret_cast<T*>(packed);
  const Done done = turn_bytes(layout, w, packed);
  copy_elements(layout, w, 0, done.n, done.k, dst);
  copy_elements(layout, w, done.n, w.n, 0, dst);
  const int64_t stride = layout.stride() / layout.weight_bytes();
  for (int64_t k = 0; k < w.k; ++k) std::fill(dst + k * stride + w.n, dst + (k + 1) * stride, T{});
}

// Whether any of `count` floats is infinite or NaN: all bits of `exponent` are set.
template <typename T>
bool any_infinite(const T* bits, int64_t count, T exponent) {
  return std::any_of(bits, bits + count, [&](T b) { return (b & exponent) == exponent; });
}

bool has_infinite(DType type, const std::byte* column, int64_t count) {
  const auto* words = reinterpret_cast<const uint16_t*>(column);
  if (type == DType::kBFloat16) return any_infinite<uint16_t>(words, count, 0x7f80);
  if (type == DType::kFloat16) return any_infinite<uint16_t>(words, count, 0x7c00);
  return any_infinite<uint32_t>(reinterpret_cast<const uint32_t*>(column), count, 0x7f800000U);
}

// Eight columns of a panel, four bytes of depth each, out of four columns of the weights.
void interleave_bytes(const std::byte* const (&from)[4], int64_t at, std::byte* dst) {
  const auto load = [&](int i) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from[i] + at));
  };
  const __m128i a = _mm_unpacklo_epi8(load(0), load(1));
  const __m128i b = _mm_unpacklo_epi8(load(2), load(3));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), _mm_unpacklo_epi16(a, b));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + 16), _mm_unpackhi_epi16(a, b));
}

}  // namespace

void pack_columns(const ColumnLayout& layout, const GemmWeights& w, std::byte* packed) {
  switch (layout.weight_bytes()) {
    case 1:
      fill_columns<int8_t>(layout, w, packed);
      break;
    case 2:
      fill_columns<uint16_t>(layout, w, packed);
      break;
    default:
      fill_columns<uint32_t>(layout, w, packed);
      break;
  }
  std::byte* tail = packed + layout.tail_offset();
  std::fill(tail, packed + layout.bytes(), std::byte{0});
  if (layout.type == DType::kInt8) {
    gemm_column_sums(w, reinterpret_cast<int32_t*>(tail));
    return;
  }
  for (int64_t k = 0; k < w.k; ++k) {
    tail[k] = std::byte{has_infinite(layout.type, packed + k * layout.stride(), w.n)};
  }
}

void unpack_columns(const ColumnLayout& layout, const std::byte* packed, std::byte* dense) {
  const int64_t bytes = layout.n * layout.weight_bytes();
  for (int64_t k = 0; k < layout.k; ++k) {
    std::copy_n(packed + k * layout.stride(), bytes, dense + k * bytes);
  }
}

void columns_to_quads(const ColumnLayout& layout, const std::byte* packed, const ColumnBlock& block,
                      const PanelLayout& panels, std::byte* dst) {
  alignas(16) static constexpr std::byte kZeros[kMaxPiece] = {};
  const int64_t count = panels.panels();
  const int64_t width = panels.width();
  const int64_t panel_bytes = panels.panel_offset(1);
  const int64_t last_width = panels.panel_vectors(count - 1) * panels.tiles->lanes;
  for (int64_t k = 0; k < block.depth; k += 4) {
    const std::byte* first = packed + (block.first_k + k) * layout.stride() + block.first;
    const std::byte* from[4] = {first, kZeros, kZeros, kZeros};
    for (int64_t g = 1; g < std::min<int64_t>(4, block.depth - k); ++g) {
      from[g] = first + g * layout.stride();
    }
    for (int64_t p = 0; p < count; ++p) {
      const int64_t its = p + 1 < count ? width : last_width;
      std::byte* to = dst + p * panel_bytes + k * its;
      for (int64_t c = 0; c < its; c += 8) interleave_bytes(from, p * width + c, to + 4 * c);
    }
  }
}

void prefetch_columns(const ColumnLayout& layout, const std::byte* packed, const ColumnBlock& block,
                      int64_t from, int64_t to) {
  const std::byte* column = packed + block.first * layout.weight_bytes();
  for (int64_t k = from; k < to; ++k) {
    const std::byte* at = column + (block.first_k + k) * layout.stride();
    for (int64_t b = 0; b < block.outputs * layout.weight_bytes(); b += kColumnLine) {
      __builtin_prefetch(at + b, 0, 2);
    }
  }
}

}  // namespace pare

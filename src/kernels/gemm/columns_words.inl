// columns.h for uint8 by int8, exact: two columns are interleaved as sixteen-bit words, whose
// products with the pair of inputs vpmaddwd adds without saturating. An input less its zero point
// is a word.
//
// ColumnWords, from the including file, is a vector: load(p) (bytes widened to words), low(a, b)
// and high(a, b) (words of a and b in turn, of the even and the odd groups of four), add(sum,
// words, pair), and in_order(a, b) (the sums of low and high as they should lie).
#include "kernels/gemm/columns_ahead.h"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

template <typename ColumnWords>
void add_byte_columns(const ColumnArgs& a) {
  constexpr int64_t kBytes = 2 * V::kLanes;  // of a column, for a vector of words
  const auto* values = static_cast<const int16_t*>(a.values);
  const int64_t ahead = columns_ahead(a);
  for (int64_t i = 0; i < a.count; i += kColumnsTogether) {
    const FourColumns c = four_columns(a, i);
    const FourColumns later = four_columns(a, i + ahead);
    int16_t x[kColumnsTogether] = {};
    for (int64_t j = 0; j < kColumnsTogether && i + j < a.count; ++j) x[j] = values[i + j];
    int32_t pairs[2];
    __builtin_memcpy(pairs, x, sizeof(pairs));
    const V::I first = V::set_int(pairs[0]);
    const V::I second = V::set_int(pairs[1]);
    auto* sums = static_cast<int32_t*>(a.sums);
    for (int64_t line = 0; line < a.lines; ++line) {
      if (a.fetch) prefetch(later, line * kColumnLine);
#pragma GCC unroll 4
      for (int64_t b = 0; b < kColumnLine; b += kBytes) {
        const int64_t at = line * kColumnLine + b;
        const V::I c0 = ColumnWords::load(c.at[0] + at);
        const V::I c1 = ColumnWords::load(c.at[1] + at);
        const V::I c2 = ColumnWords::load(c.at[2] + at);
        const V::I c3 = ColumnWords::load(c.at[3] + at);
        V::I low = V::load_int(sums);
        V::I high = V::load_int(sums + V::kLanes);
        low = ColumnWords::add(low, ColumnWords::low(c0, c1), first);
        high = ColumnWords::add(high, ColumnWords::high(c0, c1), first);
        low = ColumnWords::add(low, ColumnWords::low(c2, c3), second);
        high = ColumnWords::add(high, ColumnWords::high(c2, c3), second);
        V::store_int(sums, low);
        V::store_int(sums + V::kLanes, high);
        sums += 2 * V::kLanes;
      }
    }
  }
}

template <typename ColumnWords>
void put_words_in_order(int32_t* sums, int64_t lines) {
  for (int64_t i = 0; i < lines * kColumnLine; i += 2 * V::kLanes) {
    V::I low = V::load_int(sums + i);
    V::I high = V::load_int(sums + i + V::kLanes);
    ColumnWords::in_order(low, high);
    V::store_int(sums + i, low);
    V::store_int(sums + i + V::kLanes, high);
  }
}

}  // namespace
}  // namespace pare

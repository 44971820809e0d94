// What comes after the columns that are being added (columns.h); for files of one instruction set.
#ifndef PARE_KERNELS_GEMM_COLUMNS_AHEAD_H_
#define PARE_KERNELS_GEMM_COLUMNS_AHEAD_H_

#include "kernels/gemm/columns.h"

namespace pare {
namespace {

// Columns are taken four at a time, and those of a later four are asked for meanwhile: as many
// bytes ahead as the second-level cache holds with ease.
inline constexpr int64_t kColumnsTogether = 4;
inline constexpr int64_t kColumnsAheadBytes = 32 << 10;

// How many columns ahead of those at work: whole fours.
inline int64_t columns_ahead(const ColumnArgs& a) {
  const int64_t fours = kColumnsAheadBytes / (a.lines * kColumnLine * kColumnsTogether);
  return (fours < 1 ? 1 : (fours > 8 ? 8 : fours)) * kColumnsTogether;
}

struct FourColumns {
  const char* at[kColumnsTogether];
};

// Columns i … i + 3; past the last, that again.
inline FourColumns four_columns(const ColumnArgs& a, int64_t i) {
  FourColumns c;
#pragma GCC unroll 4
  for (int64_t j = 0; j < kColumnsTogether; ++j) {
    const int64_t at = i + j < a.count ? i + j : a.count - 1;
    c.at[j] = a.columns + a.index[at] * a.stride;
  }
  return c;
}

inline void prefetch(const FourColumns& c, int64_t offset) {
#pragma GCC unroll 4
  for (const char* column : c.at) __builtin_prefetch(column + offset, 0, 2);
}

}  // namespace
}  // namespace pare

#endif  // PARE_KERNELS_GEMM_COLUMNS_AHEAD_H_

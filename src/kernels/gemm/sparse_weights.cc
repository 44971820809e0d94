#include "kernels/gemm/sparse_weights.h"

#include <cstring>
#include <vector>

namespace pare {
namespace {

// The weights of `outputs` outputs from `first` on in stretch s, [outputs][kSparseStretch]; the
// rest of a last stretch stays as it was.
template <typename T>
void read_tile(const GemmWeights& w, int64_t first, int64_t outputs, int64_t s, T* tile) {
  const auto* src = static_cast<const T*>(w.data);
  const int64_t first_k = s * kSparseStretch;
  const int64_t depth = std::min(kSparseStretch, w.k - first_k);
  if (w.k_major) {
    for (int64_t k = 0; k < depth; ++k) {
      const T* from = src + (first_k + k) * w.n + first;
      for (int64_t n = 0; n < outputs; ++n) tile[n * kSparseStretch + k] = from[n];
    }
  } else {
    for (int64_t n = 0; n < outputs; ++n) {
      std::copy_n(src + (first + n) * w.k + first_k, depth, tile + n * kSparseStretch);
    }
  }
}

int64_t round_up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

// visit(b, s, tile) for the blocks of outputs of one row, or those of many.
template <typename T, typename Visit>
void for_column_tiles(const GemmWeights& w, Visit&& visit) {
  const SparseShape shape{w.n, w.k};
  std::vector<T> tile(static_cast<size_t>(kSparseColumn * kSparseStretch));
  for (int64_t b = 0; b < shape.column_blocks(); ++b) {
    for (int64_t s = 0; s < shape.stretches(); ++s) {
      read_tile(w, b * shape.column_block(), shape.column_outputs(b), s, tile.data());
      visit(b, s, tile.data());
    }
  }
}
template <typename T, typename Visit>
void for_row_tiles(const GemmWeights& w, bool convolution, Visit&& visit) {
  const SparseShape shape{w.n, w.k, convolution};
  std::vector<T> tile(static_cast<size_t>(kSparseBlock * kSparseStretch));
  for (int64_t b = 0; b < shape.blocks(); ++b) {
    for (int64_t s = 0; s < shape.stretches(); ++s) {
      read_tile(w, b * shape.block(), shape.outputs(b), s, tile.data());
      visit(b, s, tile.data());
    }
  }
}

template <typename T>
SparseCounts count_weights(const GemmWeights& w, const SparsePacking& how) {
  const SparseShape shape{w.n, w.k, how.convolution};
  SparseCounts counts;
  int64_t weights = 0;
  for_row_tiles<T>(w, how.convolution, [&](int64_t b, int64_t s, const T* tile) {
    for (int64_t n = 0; n < shape.outputs(b); ++n) {
      const T* row = tile + n * kSparseStretch;
      const int64_t count = shape.depth(s) - std::count(row, row + shape.depth(s), T{});
      weights += count;
      counts.entries += round_up(count, how.pairs);
    }
  });
  counts.columns =
      static_cast<double>(weights) <= how.most_columns * static_cast<double>(w.n * w.k);
  if (!counts.columns) return counts;
  for_column_tiles<T>(w, [&](int64_t b, int64_t s, const T* tile) {
    int32_t column[kSparseStretch] = {};
    for (int64_t n = 0; n < shape.column_outputs(b); ++n) {
      for (int64_t k = 0; k < shape.depth(s); ++k) {
        column[k] += tile[n * kSparseStretch + k] != T{} ? 1 : 0;
      }
    }
    for (const int64_t c : column) counts.groups += (c + kSparseGroup - 1) / kSparseGroup;
  });
  return counts;
}

template <typename T>
void pack_rows(const GemmWeights& w, const SparsePacking& how, const SparseParts& parts) {
  const SparseShape shape{w.n, w.k, how.convolution};
  auto* weights = reinterpret_cast<T*>(parts.row_weights);
  uint32_t* starts = parts.row_starts;
  int64_t entries = 0;
  for_row_tiles<T>(w, how.convolution, [&](int64_t b, int64_t s, const T* tile) {
    for (int64_t n = 0; n < shape.block(); ++n) {
      *starts++ = static_cast<uint32_t>(entries);
      if (n >= shape.outputs(b)) continue;
      const int64_t first = entries;
      for (int64_t k = 0; k < shape.depth(s); ++k) {
        const T value = tile[n * kSparseStretch + k];
        if (value == T{}) continue;
        parts.depths[entries] = static_cast<uint8_t>(k);
        weights[entries++] = value;
      }
      for (; (entries - first) % how.pairs != 0; ++entries) {
        parts.depths[entries] = parts.depths[entries - 1];
        weights[entries] = T{};
      }
    }
  });
  *starts = static_cast<uint32_t>(entries);
}

// A column's outputs ascending, then zeros for the first outputs that it lacks: fewer than a group,
// since a block's outputs are whole groups.
template <typename T>
void pack_columns(const GemmWeights& w, const SparseParts& parts) {
  const SparseShape shape{w.n, w.k};
  auto* weights = reinterpret_cast<T*>(parts.column_weights);
  uint32_t* starts = parts.column_starts;
  int64_t at = 0;
  for_column_tiles<T>(w, [&](int64_t b, int64_t s, const T* tile) {
    for (int64_t k = 0; k < shape.depth(s); ++k) {
      *starts++ = static_cast<uint32_t>(at / kSparseGroup);
      bool taken[kSparseColumn] = {};
      for (int64_t n = 0; n < shape.column_outputs(b); ++n) {
        const T value = tile[n * kSparseStretch + k];
        if (value == T{}) continue;
        taken[n] = true;
        parts.outputs[at] = static_cast<uint16_t>(n);
        weights[at++] = value;
      }
      for (uint16_t n = 0; at % kSparseGroup != 0; ++n) {
        if (taken[n]) continue;
        parts.outputs[at] = n;
        weights[at++] = T{};
      }
    }
  });
  *starts = static_cast<uint32_t>(at / kSparseGroup);
}

template <typename T>
void pack_as(const GemmWeights& w, const SparsePacking& how, const SparseCounts& counts,
             std::byte* packed) {
  std::memcpy(packed, &counts, sizeof(counts));
  const SparseParts parts = sparse_parts({w.n, w.k, how.convolution}, counts, sizeof(T), packed);
  pack_rows<T>(w, how, parts);
  if (counts.columns) pack_columns<T>(w, parts);
}

}  // namespace

SparseParts sparse_parts(const SparseShape& shape, const SparseCounts& counts, int64_t weight_bytes,
                         std::byte* packed) {
  SparseParts parts;
  int64_t at = 64;
  static_assert(sizeof(SparseCounts) <= 64);
  const auto take = [&](int64_t bytes) {
    std::byte* part = packed == nullptr ? nullptr : packed + at;
    at += round_up(bytes, 64);
    return part;
  };
  parts.row_starts = reinterpret_cast<uint32_t*>(
      take((shape.blocks() * shape.stretches() * shape.block() + 1) * 4));
  parts.depths = reinterpret_cast<uint8_t*>(take(counts.entries));
  parts.row_weights = take(counts.entries * weight_bytes);
  if (counts.columns) {
    const int64_t padded = counts.groups * kSparseGroup;
    parts.column_starts =
        reinterpret_cast<uint32_t*>(take((shape.column_blocks() * shape.k + 1) * 4));
    parts.outputs = reinterpret_cast<uint16_t*>(take(padded * 2));
    parts.column_weights = take(padded * weight_bytes);
  }
  parts.bytes = at;
  return parts;
}

SparseCounts sparse_count(const GemmWeights& w, const SparsePacking& how) {
  return w.type == DType::kInt8 ? count_weights<int8_t>(w, how) : count_weights<float>(w, how);
}

void sparse_pack(const GemmWeights& w, const SparsePacking& how, const SparseCounts& counts,
                 std::byte* packed) {
  if (w.type == DType::kInt8) {
    pack_as<int8_t>(w, how, counts, packed);
  } else {
    pack_as<float>(w, how, counts, packed);
  }
}

}  // namespace pare

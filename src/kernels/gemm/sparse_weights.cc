#include "kernels/gemm/sparse_weights.h"

#include <cstring>
#include <numeric>
#include <type_traits>
#include <vector>

#include "kernels/gemm/sparse_slots.h"

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

// visit(b, s, tile) for all blocks and their stretches.
template <typename T, typename Visit>
void for_each_tile(const GemmWeights& w, const SparseShape& shape, Visit&& visit) {
  std::vector<T> tile(static_cast<size_t>(kSparseBlock * kSparseStretch));
  for (int64_t b = 0; b < shape.blocks(); ++b) {
    for (int64_t s = 0; s < shape.stretches(); ++s) {
      read_tile(w, b * shape.block(), shape.outputs(b), s, tile.data());
      visit(b, s, tile.data());
    }
  }
}

// How many weights of each output are not zero.
template <typename T>
std::vector<int64_t> count_outputs(const GemmWeights& w, const SparseShape& shape) {
  std::vector<int64_t> counts(static_cast<size_t>(shape.blocks() * shape.block()), 0);
  for_each_tile<T>(w, shape, [&](int64_t b, int64_t s, const T* tile) {
    for (int64_t n = 0; n < shape.outputs(b); ++n) {
      const T* row = tile + n * kSparseStretch;
      counts[static_cast<size_t>(b * shape.block() + n)] +=
          shape.depth(s) - std::count(row, row + shape.depth(s), T{});
    }
  });
  return counts;
}

// The outputs of each block, those with most weights first.
std::vector<uint8_t> order_outputs(const std::vector<int64_t>& counts, const SparseShape& shape) {
  std::vector<uint8_t> order(counts.size());
  for (int64_t b = 0; b < shape.blocks(); ++b) {
    const auto first = order.begin() + b * shape.block();
    std::iota(first, first + shape.block(), uint8_t{0});
    const int64_t* its = counts.data() + b * shape.block();
    std::stable_sort(first, first + shape.block(),
                     [&](uint8_t x, uint8_t y) { return its[x] > its[y]; });
  }
  return order;
}

// The slices of a row, each of the outputs at kSparseSlice places from `slice` on.
struct Slices {
  const GemmWeights& weights;
  SparseShape shape;
  const std::vector<int64_t>& counts;  // of each output
  const std::vector<uint8_t>& order;

  int64_t count() const { return static_cast<int64_t>(order.size()) / kSparseSlice; }
  // The output at place j of a slice; those from n on have no weights.
  int64_t output(int64_t slice, int64_t j) const {
    const int64_t at = slice * kSparseSlice + j;
    return at / shape.block() * shape.block() + order[static_cast<size_t>(at)];
  }
  // visit(j, k, weight) for the weights of a slice that are not zero, k ascending.
  template <typename T, typename Visit>
  void for_each_weight(int64_t slice, Visit&& visit) const {
    const auto* src = static_cast<const T*>(weights.data);
    const int64_t n_stride = weights.k_major ? 1 : weights.k;
    const int64_t k_stride = weights.k_major ? weights.n : 1;
    const T* from[kSparseSlice];
    int outputs = 0;
    for (; outputs < kSparseSlice && output(slice, outputs) < weights.n; ++outputs) {
      from[outputs] = src + output(slice, outputs) * n_stride;
    }
    for (int64_t k = 0; k < weights.k; ++k) {
      for (int j = 0; j < outputs; ++j) {
        const T value = from[j][k * k_stride];
        if (value != T{}) visit(j, k, value);
      }
    }
  }
  // Floats: as many as the slice's first output, the fullest, has weights.
  int64_t list_steps(int64_t slice) const { return counts[static_cast<size_t>(output(slice, 0))]; }
  void slot_steps(int64_t slice, std::vector<SlotStep>& steps) const {
    std::vector<SlotWeights> its(kSparseSlice);
    for_each_weight<int8_t>(slice, [&](int64_t j, int64_t k, int8_t weight) {
      its[static_cast<size_t>(j)].depths.push_back(static_cast<uint16_t>(k));
      its[static_cast<size_t>(j)].weights.push_back(weight);
    });
    steps.clear();
    fill_slots(std::span<SlotWeights, kSparseSlice>(its), steps);
  }
};

// Of all slices.
template <typename T>
int64_t count_steps(const Slices& slices) {
  int64_t all = 0;
  std::vector<SlotStep> steps;
  for (int64_t i = 0; i < slices.count(); ++i) {
    if constexpr (std::is_same_v<T, int8_t>) {
      slices.slot_steps(i, steps);
      all += static_cast<int64_t>(steps.size());
    } else {
      all += slices.list_steps(i);
    }
  }
  return all;
}

template <typename T>
SparseCounts count_weights(const GemmWeights& w, const SparsePacking& how) {
  const SparseShape shape{w.n, w.k, how.convolution};
  SparseCounts counts;
  for_each_tile<T>(w, shape, [&](int64_t b, int64_t s, const T* tile) {
    for (int64_t n = 0; n < shape.outputs(b); ++n) {
      const T* row = tile + n * kSparseStretch;
      counts.entries +=
          round_up(shape.depth(s) - std::count(row, row + shape.depth(s), T{}), how.tiles->pairs);
    }
  });
  const auto outputs = count_outputs<T>(w, shape);
  const auto weights = std::accumulate(outputs.begin(), outputs.end(), int64_t{0});
  counts.slices =
      w.k <= int64_t{1} << 16 &&
      static_cast<double>(weights) <= how.most_for_slices * static_cast<double>(w.n * w.k);
  if (!counts.slices) return counts;
  const auto order = order_outputs(outputs, shape);
  counts.steps = count_steps<T>({w, shape, outputs, order});
  return counts;
}

template <typename T>
void pack_rows(const GemmWeights& w, const SparsePacking& how, const SparseParts& parts) {
  const SparseShape shape{w.n, w.k, how.convolution};
  auto* weights = reinterpret_cast<T*>(parts.row_weights);
  uint32_t* starts = parts.row_starts;
  int64_t entries = 0;
  for_each_tile<T>(w, shape, [&](int64_t b, int64_t s, const T* tile) {
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
      for (; (entries - first) % how.tiles->pairs != 0; ++entries) {
        parts.depths[entries] = parts.depths[entries - 1];
        weights[entries] = T{};
      }
    }
  });
  *starts = static_cast<uint32_t>(entries);
}

// Slice i from `step` on; returns the step after its last. Places beyond an output's last weight
// repeat that one's k, with a weight of zero.
int64_t pack_lists(const Slices& slices, int64_t i, int64_t step, const SparseParts& parts) {
  auto* weights = reinterpret_cast<float*>(parts.slice_weights);
  const int64_t end = step + slices.list_steps(i);
  int64_t next[kSparseSlice];
  uint16_t last[kSparseSlice] = {};
  std::fill_n(next, kSparseSlice, step);
  slices.for_each_weight<float>(i, [&](int64_t j, int64_t k, float weight) {
    const int64_t to = next[j]++ * kSparseSlice + j;
    parts.slice_depths[to] = last[j] = static_cast<uint16_t>(k);
    weights[to] = weight;
  });
  for (int64_t j = 0; j < kSparseSlice; ++j) {
    for (; next[j] < end; ++next[j]) {
      parts.slice_depths[next[j] * kSparseSlice + j] = last[j];
      weights[next[j] * kSparseSlice + j] = 0.0F;
    }
  }
  return end;
}

int64_t pack_slots(const Slices& slices, int64_t i, int64_t step, const SparseParts& parts) {
  std::vector<SlotStep> steps;
  slices.slot_steps(i, steps);
  for (const SlotStep& s : steps) {
    parts.slice_depths[step] = s.window;
    std::copy_n(s.places, kSlotBytes, parts.slice_places + step * kSlotBytes);
    std::memcpy(parts.slice_weights + step * kSlotBytes, s.weights, kSlotBytes);
    ++step;
  }
  return step;
}

template <typename T>
void pack_slices(const GemmWeights& w, const SparseParts& parts) {
  const SparseShape shape{w.n, w.k};
  const auto counts = count_outputs<T>(w, shape);
  const auto order = order_outputs(counts, shape);
  std::copy(order.begin(), order.end(), parts.order);
  const Slices slices{w, shape, counts, order};
  int64_t step = 0;
  for (int64_t i = 0; i < slices.count(); ++i) {
    parts.slice_starts[i] = static_cast<uint32_t>(step);
    step = std::is_same_v<T, int8_t> ? pack_slots(slices, i, step, parts)
                                     : pack_lists(slices, i, step, parts);
  }
  parts.slice_starts[slices.count()] = static_cast<uint32_t>(step);
}

template <typename T>
void pack_as(const GemmWeights& w, const SparsePacking& how, const SparseCounts& counts,
             std::byte* packed) {
  std::memcpy(packed, &counts, sizeof(counts));
  const SparseParts parts =
      sparse_parts({w.n, w.k, how.convolution}, counts, *how.tiles, sizeof(T), packed);
  pack_rows<T>(w, how, parts);
  if (counts.slices) pack_slices<T>(w, parts);
}

}  // namespace

SparseParts sparse_parts(const SparseShape& shape, const SparseCounts& counts,
                         const SparseTiles& tiles, int64_t weight_bytes, std::byte* packed) {
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
  if (counts.slices) {
    const int64_t outputs = shape.blocks() * shape.block();
    const bool slots = tiles.src_bytes == 2;
    parts.slice_starts = reinterpret_cast<uint32_t*>(take((outputs / kSparseSlice + 1) * 4));
    parts.order = reinterpret_cast<uint8_t*>(take(outputs));
    const int64_t depths = counts.steps * (slots ? 1 : kSparseSlice);
    parts.slice_depths = reinterpret_cast<uint16_t*>(take(depths * 2));
    if (slots) parts.slice_places = reinterpret_cast<uint8_t*>(take(counts.steps * kSlotBytes));
    parts.slice_weights = take(counts.steps * (slots ? kSlotBytes : kSparseSlice * 4));
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

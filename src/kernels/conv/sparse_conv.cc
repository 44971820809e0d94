// Convolutions whose weights are mostly zeros, as products of output pixels (gemm/sparse_rows.h).
//
// The source is read in place, or where it has borders or must be widened copied with them first. A
// tap is a row of the kernel where its pixels lie side by side (no horizontal dilation), else one
// element of it; so k is i, j, c in turn. Some pixels at a time are transposed and multiplied.
#include <cstring>
#include <vector>

#include "kernels/conv/variants.h"
#include "kernels/gemm/panels.h"
#include "kernels/gemm/sparse_rows.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

// The share of weights that are not zero below which leaving the others out pays
// (docs/decisions.md), for outputs of as many pixels at least.
constexpr double kMostWeights = 0.3;
constexpr int64_t kLeastPixels = 16;

// Pixels that are transposed and multiplied at a time.
constexpr int64_t kChunkPixels = 128;

const SparseTiles& tiles_of(const ConvKernel& kernel) {
  return *static_cast<const SparseTiles*>(kernel.tiles);
}

const char* refuse(const ConvProblem& p) {
  if (p.weight_density > kMostWeights) return "more than 30 % of the weights are not zero";
  if (p.groups != 1) return "more than one group";
  if (p.out_h * p.out_w < kLeastPixels) return "fewer than 16 pixels";
  const int64_t k = p.kernel_h * p.kernel_w * p.in_c;
  // Places in the packed weights are 32 bits.
  return p.out_c > 0 && k > (int64_t{1} << 30) / p.out_c ? "more than 2^30 weights" : nullptr;
}

const char* refuse_f32(const ConvProblem& p) {
  return p.weights_type == DType::kFloat32 ? refuse(p) : "weights are not float32";
}
const char* refuse_u8s8(const ConvProblem& p) {
  return p.weights_type == DType::kInt8 ? refuse(p) : "weights are not int8";
}

SparseShape shape_of(const ConvProblem& p) {
  return {p.out_c, p.kernel_h * p.kernel_w * p.in_c, true};
}

SparsePacking packing_of(const ConvKernel& kernel) {
  return {.tiles = &tiles_of(kernel), .convolution = true, .most_for_slices = -1.0};
}

// ONNX's [out_c, in_c, kernel_h, kernel_w] as [out_c, kernel_h, kernel_w, in_c].
template <typename T>
std::vector<T> in_order(const ConvProblem& p, const void* weights) {
  const auto* src = static_cast<const T*>(weights);
  const int64_t taps = p.kernel_h * p.kernel_w;
  std::vector<T> dst(static_cast<size_t>(p.out_c * taps * p.in_c));
  for (int64_t o = 0; o < p.out_c; ++o) {
    for (int64_t c = 0; c < p.in_c; ++c) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        dst[static_cast<size_t>((o * taps + tap) * p.in_c + c)] = *src++;
      }
    }
  }
  return dst;
}

template <typename F>
auto with_weights(const ConvProblem& p, const void* weights, F&& f) {
  const SparseShape shape = shape_of(p);
  if (p.weights_type == DType::kInt8) {
    const auto values = in_order<int8_t>(p, weights);
    return f(GemmWeights{shape.n, shape.k, DType::kInt8, values.data()});
  }
  const auto values = in_order<float>(p, weights);
  return f(GemmWeights{shape.n, shape.k, DType::kFloat32, values.data()});
}

int64_t packed_bytes(const ConvKernel& kernel, const ConvProblem& p, const void* weights) {
  return with_weights(p, weights, [&](const GemmWeights& w) {
    const SparseCounts counts = sparse_count(w, packing_of(kernel));
    return sparse_parts(shape_of(p), counts, tiles_of(kernel), dtype_bytes(p.weights_type), nullptr)
        .bytes;
  });
}

void pack(const ConvKernel& kernel, const ConvProblem& p, const void* weights, std::byte* packed) {
  with_weights(p, weights, [&](const GemmWeights& w) {
    const SparsePacking how = packing_of(kernel);
    sparse_pack(w, how, sparse_count(w, how), packed);
  });
}

// Where the source lies: as it is or copied with its borders.
struct Borders {
  bool copied = false;
  int64_t height = 0;  // of an image, in pixels
  int64_t width = 0;
  int64_t pixel_bytes = 0;

  int64_t row_bytes() const { return width * pixel_bytes; }
  int64_t image_bytes() const { return height * row_bytes(); }
};

Borders borders_of(const ConvProblem& p) {
  Borders b;
  const int64_t element_bytes = p.weights_type == DType::kInt8 ? 1 : 4;
  const bool padded = p.pad_top + p.pad_left + p.pad_bottom + p.pad_right > 0;
  b.copied = padded || dtype_bytes(p.src_type) != element_bytes;
  b.height = p.pad_top + p.in_h + p.pad_bottom;
  b.width = p.pad_left + p.in_w + p.pad_right;
  b.pixel_bytes = p.in_c * element_bytes;
  return b;
}

// Scratch: the copied source, the taps' offsets, a chunk's row pointers, and what
// multiply_sparse_rows() needs.
struct Scratch {
  int64_t source = 0;
  int64_t offsets = 0;
  int64_t pointers = 0;
};

Scratch scratch_of(const ConvProblem& p, const Borders& borders) {
  Scratch s;
  if (borders.copied) s.source = round_up_64(p.batch * borders.image_bytes());
  s.offsets = round_up_64(p.kernel_h * p.kernel_w * 8);
  s.pointers = kChunkPixels * 8;
  return s;
}

int64_t scratch_bytes(const ConvKernel& kernel, const ConvProblem& p, int threads) {
  const Scratch s = scratch_of(p, borders_of(p));
  const int64_t pixels = std::min(kChunkPixels, p.batch * p.out_h * p.out_w);
  return s.source + s.offsets + s.pointers +
         sparse_rows_scratch(tiles_of(kernel), shape_of(p), pixels, threads);
}

// One row of an image of the copied source, `y` counted from the upper border.
void copy_row(const ConvKernel& kernel, const ConvProblem& p, const ConvArgs& args, int64_t image,
              int64_t y, std::byte* dst) {
  const int64_t row = y - p.pad_top;
  const bool inside = row >= 0 && row < p.in_h;
  const int64_t before =
      inside ? p.pad_left * p.in_c : (p.pad_left + p.in_w + p.pad_right) * p.in_c;
  const int64_t count = inside ? p.in_w * p.in_c : 0;
  const int64_t after = inside ? p.pad_right * p.in_c : 0;
  const int64_t src_bytes = dtype_bytes(p.src_type);
  const std::byte* src = static_cast<const std::byte*>(args.src) +
                         (inside ? (image * p.in_h + row) * p.in_w * p.in_c * src_bytes : 0);
  const uint8_t pad = p.src_type == DType::kUInt8 ? p.pad_value : 0;
  if (p.weights_type == DType::kInt8) {
    std::memset(dst, pad, static_cast<size_t>(before));
    std::memcpy(dst + before, src, static_cast<size_t>(count));
    std::memset(dst + before + count, pad, static_cast<size_t>(after));
    return;
  }
  auto* to = reinterpret_cast<float*>(dst);
  std::fill_n(to, before, static_cast<float>(pad));
  if (p.src_type == DType::kFloat32) {
    std::memcpy(to + before, src, static_cast<size_t>(count * 4));
  } else {
    tiles_of(kernel).dense->widen(stored_type(p.src_type), src, to + before, count);
  }
  std::fill_n(to + before + count, after, static_cast<float>(pad));
}

void run(const ConvKernel& kernel, const ConvProblem& p, const ConvArgs& args, ThreadPool& pool) {
  const int64_t pixels = p.batch * p.out_h * p.out_w;
  if (pixels == 0 || p.out_c == 0) return;
  const Borders borders = borders_of(p);
  const Scratch scratch = scratch_of(p, borders);
  const auto* src = static_cast<const std::byte*>(args.src);
  if (borders.copied) {
    std::byte* copy = args.scratch.data();
    pool.run(p.batch * borders.height, [&](int64_t row, int) {
      copy_row(kernel, p, args, row / borders.height, row % borders.height,
               copy + row * borders.row_bytes());
    });
    src = copy;
  }
  auto* offsets = reinterpret_cast<int64_t*>(args.scratch.data() + scratch.source);
  auto** rows =
      reinterpret_cast<const void**>(args.scratch.data() + scratch.source + scratch.offsets);
  std::byte* rest = args.scratch.data() + scratch.source + scratch.offsets + scratch.pointers;
  const bool whole_rows = p.dilation_w == 1;
  for (int64_t i = 0, tap = 0; i < p.kernel_h; ++i) {
    for (int64_t j = 0; j < (whole_rows ? 1 : p.kernel_w); ++j) {
      offsets[tap++] =
          i * p.dilation_h * borders.row_bytes() + j * p.dilation_w * borders.pixel_bytes;
    }
  }
  SparseCounts counts;
  std::memcpy(&counts, args.packed, sizeof(counts));
  SparseProduct product{&tiles_of(kernel), shape_of(p), {}, {}};
  // Only read from here on.
  product.parts = sparse_parts(product.shape, counts, tiles_of(kernel), dtype_bytes(p.weights_type),
                               const_cast<std::byte*>(args.packed));
  product.finish.epilogue = &args.epilogue;
  product.finish.dst_type = stored_type(p.dst_type);
  product.finish.dst = args.dst;
  product.finish.dst_stride = p.out_c;
  const int64_t chunks = (pixels + kChunkPixels - 1) / kChunkPixels;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t first = pixels * chunk / chunks;
    const int64_t count = pixels * (chunk + 1) / chunks - first;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t pixel = first + r;
      const int64_t x = pixel % p.out_w;
      const int64_t y = pixel / p.out_w % p.out_h;
      const int64_t image = pixel / p.out_w / p.out_h;
      rows[r] = src + image * borders.image_bytes() + y * p.stride_h * borders.row_bytes() +
                x * p.stride_w * borders.pixel_bytes;
    }
    product.finish.first_row = first;
    multiply_sparse_rows(product, {rows, count, offsets, whole_rows ? p.kernel_w * p.in_c : p.in_c},
                         rest, pool);
  }
}

}  // namespace

#define PARE_SPARSE_CONV(types, isa, needs, packing)                              \
  const ConvKernel conv_##types##_sparse_##isa = {"conv_" #types "_sparse_" #isa, \
                                                  needs,                          \
                                                  packing,                        \
                                                  refuse_##types,                 \
                                                  packed_bytes,                   \
                                                  pack,                           \
                                                  scratch_bytes,                  \
                                                  run,                            \
                                                  &sparse_##types##_##isa};

PARE_SPARSE_CONV(f32, avx512, kIsaAvx512, "rows")
PARE_SPARSE_CONV(u8s8, avx512, kIsaAvx512, "row pairs")
PARE_SPARSE_CONV(f32, avx2, kIsaAvx2, "rows")
PARE_SPARSE_CONV(u8s8, avx2, kIsaAvx2, "row pairs")

#undef PARE_SPARSE_CONV

}  // namespace pare

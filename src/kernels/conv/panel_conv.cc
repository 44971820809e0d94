// Convolutions on the tiles of gemm/tile.h: implicit products whose rows are output pixels.
//
// A tap is one row of the kernel where pixels of a row lie side by side (no horizontal dilation,
// one group): kernel_w * in_c elements in one piece; else it is one element of the kernel.
//
// A task computes a strip, some output rows of one image or some whole small images, for a block of
// panels. Where there is padding, or the source must be widened (to float32, or bytes to sixteen
// bits for TileSet::wide) or bounded (TileSet::bounded), the strip's input is first copied with its
// borders into the worker's scratch, a small part of the work; else it is read in place.
#include <cstring>
#include <vector>

#include "kernels/conv/variants.h"
#include "kernels/gemm/panels.h"
#include "kernels/gemm/tilesets.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

const TileSet& tiles_of(const ConvKernel& kernel) {
  return *static_cast<const TileSet*>(kernel.tiles);
}

bool rows_are_taps(const ConvProblem& p) { return p.dilation_w == 1 && p.groups == 1; }

// The packed weights of one group.
PanelLayout layout_of(const TileSet& tiles, const ConvProblem& p) {
  const int64_t columns = p.out_c / p.groups;
  const int64_t c = p.in_c / p.groups;
  if (rows_are_taps(p)) return {&tiles, columns, p.kernel_h, p.kernel_w * c};
  return {&tiles, columns, p.kernel_h * p.kernel_w, c};
}

int64_t group_bytes(const PanelLayout& layout) { return round_up_64(layout.bytes()); }

int64_t packed_bytes(const ConvKernel& kernel, const ConvProblem& p, const void*) {
  return p.groups * group_bytes(layout_of(tiles_of(kernel), p));
}

template <typename T>
void pack_as(const PanelLayout& layout, const ConvProblem& p, const void* weights,
             std::byte* packed) {
  const int64_t channels = p.in_c / p.groups;
  const int64_t taps = p.kernel_h * p.kernel_w;
  // Where element k of a tap stands among the weights of an output; looked up, since dividing took
  // most of the time.
  std::vector<int64_t> places;
  const bool rows = rows_are_taps(p);
  for (int64_t tap = 0; tap < layout.taps; ++tap) {
    for (int64_t k = 0; k < layout.k; ++k) {
      const int64_t element = rows ? tap * p.kernel_w + k / channels : tap;
      places.push_back((rows ? k % channels : k) * taps + element);
    }
  }
  for (int64_t g = 0; g < p.groups; ++g) {
    const auto* src = static_cast<const T*>(weights) + g * layout.columns * channels * taps;
    pack_panels<T>(
        layout, packed + g * group_bytes(layout), [&](int64_t o, int64_t tap, int64_t k) {
          return src[o * channels * taps + places[static_cast<size_t>(tap * layout.k + k)]];
        });
  }
}

void pack(const ConvKernel& kernel, const ConvProblem& p, const void* weights, std::byte* packed) {
  const PanelLayout layout = layout_of(tiles_of(kernel), p);
  switch (dtype_bytes(p.weights_type)) {
    case 1:
      pack_as<int8_t>(layout, p, weights, packed);
      return;
    case 2:
      pack_as<uint16_t>(layout, p, weights, packed);
      return;
    default:
      pack_as<float>(layout, p, weights, packed);
      return;
  }
}

// How the output is cut: strips of `rows` output rows of one image, or of `images` whole images.
struct ConvGrid {
  int64_t images = 1;
  int64_t row_blocks = 1;    // of an image
  int64_t image_blocks = 0;  // of the batch
  int64_t panel_blocks = 1;  // of groups * panels
  int64_t all_panels = 0;

  int64_t strips() const { return image_blocks * row_blocks; }
  int64_t tasks() const { return strips() * panel_blocks; }
  int64_t most_rows(int64_t out_h) const { return (out_h + row_blocks - 1) / row_blocks; }
};

ConvGrid cut_strips(const ConvProblem& p, const PanelLayout& layout) {
  constexpr int64_t kEnoughTasks = 12;
  ConvGrid grid;
  grid.all_panels = layout.panels() * p.groups;
  const int64_t pixels = p.out_h * p.out_w;
  if (p.batch == 0 || pixels == 0 || grid.all_panels == 0) return grid;
  const int64_t macs = p.batch * pixels * p.out_c * std::max<int64_t>(1, layout.taps * layout.k);
  const int64_t want = std::clamp<int64_t>(macs / layout.tiles->task_macs, 1, kEnoughTasks);
  if (pixels >= kMaxBlockRows) {
    const int64_t rows = std::max<int64_t>(1, kMaxBlockRows / p.out_w);
    grid.row_blocks = (p.out_h + rows - 1) / rows;
    grid.image_blocks = p.batch;
  } else {
    grid.images = std::min(p.batch, std::max<int64_t>(1, kMaxBlockRows / pixels));
    grid.image_blocks = (p.batch + grid.images - 1) / grid.images;
  }
  // Splitting by panels repeats the copying of the strip, splitting by rows that of its border.
  while (grid.tasks() < want && grid.panel_blocks < grid.all_panels) ++grid.panel_blocks;
  while (grid.tasks() < want && grid.images == 1 && grid.row_blocks < p.out_h) ++grid.row_blocks;
  return grid;
}

// Rows of a strip's input in one image, borders included.
int64_t input_rows(const ConvProblem& p, int64_t rows) {
  return (rows - 1) * p.stride_h + (p.kernel_h - 1) * p.dilation_h + 1;
}

// Where the rows of a strip's input lie: in the source itself or copied with borders.
struct StripShape {
  bool copied = false;
  bool wide = false;  // elements of sixteen bits
  bool bounded = false;
  int64_t in_rows = 0;  // of the largest strip, borders included
  int64_t width = 0;    // pixels
  int64_t element_bytes = 0;
  int64_t pixel_bytes = 0;
  int64_t row_bytes = 0;
  int64_t image_bytes = 0;
};

// Zero is 0 behind a ReLU: then few bytes exceed the bound. Else about half may.
bool can_be_bounded(const ConvProblem& p, const PanelLayout& layout) {
  return layout.tiles->bounded != nullptr && layout.k % 4 == 0 && p.pad_value == 0;
}

StripShape strip_shape(const ConvProblem& p, const PanelLayout& layout, const ConvGrid& grid) {
  StripShape s;
  const TileSet& tiles = *layout.tiles;
  const bool padded = p.pad_top + p.pad_left + p.pad_bottom + p.pad_right > 0;
  const bool widened = tiles.src_bytes != dtype_bytes(p.src_type);
  const int64_t rows = grid.most_rows(p.out_h);
  s.bounded = can_be_bounded(p, layout);
  s.wide =
      !s.bounded && tiles.wide != nullptr && grid.images * rows * p.out_w >= tiles.wide->least_rows;
  s.copied = padded || widened || s.wide || s.bounded;
  s.element_bytes = s.wide ? 2 : tiles.src_bytes;
  s.pixel_bytes = p.in_c * s.element_bytes;
  s.in_rows = s.copied ? input_rows(p, rows) : p.in_h;
  s.width = s.copied ? (p.out_w - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1 : p.in_w;
  s.row_bytes = s.width * s.pixel_bytes;
  s.image_bytes = s.in_rows * s.row_bytes;
  return s;
}

// Scratch: the taps' offsets, then for each worker the copied strip, the row pointers, the sums,
// and where bytes are bounded the strip's excess and each row's marks.
struct Scratch {
  int64_t offsets_bytes = 0;
  int64_t strip_bytes = 0;
  int64_t pointers_bytes = 0;
  int64_t sums_bytes = 0;
  int64_t excess_bytes = 0;
  int64_t marks_bytes = 0;

  int64_t worker_bytes() const {
    return strip_bytes + pointers_bytes + sums_bytes + excess_bytes + marks_bytes;
  }
};

Scratch lay_scratch(const ConvProblem& p, const PanelLayout& layout, const ConvGrid& grid,
                    const StripShape& shape) {
  Scratch s;
  const int64_t pixels = grid.images * grid.most_rows(p.out_h) * p.out_w;
  s.offsets_bytes = round_up_64(layout.taps * 8);
  // The last tap's elements are read up to a whole group.
  constexpr int64_t kBeyond = 8;
  s.strip_bytes = shape.copied ? round_up_64(grid.images * shape.image_bytes + kBeyond) : 0;
  s.pointers_bytes = round_up_64(pixels * 8);
  s.sums_bytes = pixels * layout.width() * 4;
  if (shape.bounded) {
    s.excess_bytes = s.strip_bytes;
    s.marks_bytes = round_up_64(pixels * layout.taps * excess_words(layout.k) * 8);
  }
  return s;
}

int64_t scratch_bytes(const ConvKernel& kernel, const ConvProblem& p, int threads) {
  const PanelLayout layout = layout_of(tiles_of(kernel), p);
  const ConvGrid grid = cut_strips(p, layout);
  if (grid.tasks() == 0) return 0;
  const Scratch s = lay_scratch(p, layout, grid, strip_shape(p, layout, grid));
  return s.offsets_bytes + threads * s.worker_bytes();
}

// What the tasks of one run share.
struct Run {
  const ConvProblem& p;
  const ConvArgs& args;
  PanelLayout layout;
  ConvGrid grid;
  StripShape shape;
  Scratch scratch;
  int64_t* tap_offsets;
};

struct Strip {
  int64_t first_image, images, first_y, rows;
};

void fill_pixels(const Run& run, std::byte* dst, int64_t pixels) {
  const int64_t bytes = pixels * run.shape.pixel_bytes;
  if (bytes <= 0) return;
  const uint8_t value = run.p.src_type == DType::kUInt8 ? run.p.pad_value : 0;
  if (run.shape.wide) {
    std::fill_n(reinterpret_cast<int16_t*>(dst), bytes / 2, int16_t{value});
  } else if (run.p.src_type == DType::kUInt8 && run.layout.tiles->src_bytes == 4) {
    std::fill_n(reinterpret_cast<float*>(dst), bytes / 4, static_cast<float>(value));
  } else {
    std::memset(dst, value, static_cast<size_t>(bytes));
  }
}

void copy_pixels(const Run& run, std::byte* dst, int64_t first_pixel, int64_t pixels) {
  if (pixels <= 0) return;
  const int64_t count = pixels * run.p.in_c;
  const int64_t src_bytes = dtype_bytes(run.p.src_type);
  const auto* src = static_cast<const std::byte*>(run.args.src);
  src += first_pixel * run.p.in_c * src_bytes;
  if (run.shape.wide) {
    run.layout.tiles->wide->widen(reinterpret_cast<const uint8_t*>(src),
                                  reinterpret_cast<int16_t*>(dst), count);
  } else if (src_bytes == run.layout.tiles->src_bytes) {
    std::memcpy(dst, src, static_cast<size_t>(count * src_bytes));
  } else {
    run.layout.tiles->widen(stored_type(run.p.src_type), src, reinterpret_cast<float*>(dst), count);
  }
}

// The input of a strip with its borders.
void copy_strip(const Run& run, const Strip& strip, std::byte* dst) {
  const ConvProblem& p = run.p;
  const int64_t width = run.shape.width;
  const int64_t in_rows = input_rows(p, strip.rows);
  const int64_t left = std::min(p.pad_left, width);
  const int64_t inside = std::clamp<int64_t>(width - left, 0, p.in_w);
  for (int64_t i = 0; i < strip.images; ++i) {
    for (int64_t r = 0; r < in_rows; ++r) {
      std::byte* row = dst + i * run.shape.image_bytes + r * run.shape.row_bytes;
      const int64_t y = strip.first_y * p.stride_h - p.pad_top + r;
      if (y < 0 || y >= p.in_h) {
        fill_pixels(run, row, width);
        continue;
      }
      fill_pixels(run, row, left);
      copy_pixels(run, row + left * run.shape.pixel_bytes,
                  ((strip.first_image + i) * p.in_h + y) * p.in_w, inside);
      fill_pixels(run, row + (left + inside) * run.shape.pixel_bytes, width - left - inside);
    }
  }
}

void point_at_pixels(const Run& run, const Strip& strip, const std::byte* base,
                     const void** pointers) {
  const ConvProblem& p = run.p;
  for (int64_t i = 0; i < strip.images; ++i) {
    for (int64_t y = 0; y < strip.rows; ++y) {
      const std::byte* row =
          base + i * run.shape.image_bytes + y * p.stride_h * run.shape.row_bytes;
      for (int64_t x = 0; x < p.out_w; ++x) {
        *pointers++ = row + x * p.stride_w * run.shape.pixel_bytes;
      }
    }
  }
}

Strip strip_of(const Run& run, int64_t index) {
  const ConvGrid& grid = run.grid;
  const int64_t image_block = index / grid.row_blocks;
  const int64_t row_block = index % grid.row_blocks;
  Strip s;
  s.first_image = run.p.batch * image_block / grid.image_blocks;
  s.images = run.p.batch * (image_block + 1) / grid.image_blocks - s.first_image;
  s.first_y = run.p.out_h * row_block / grid.row_blocks;
  s.rows = run.p.out_h * (row_block + 1) / grid.row_blocks - s.first_y;
  return s;
}

// What bounding a strip has left over; of one group of channels.
struct Excess {
  const Run& run;
  int64_t distance;  // bytes from an element to its excess
  uint64_t* marks;   // [pixels][taps][excess_words]

  ExcessRow row(const void* pixel) const {
    const PanelLayout& layout = run.layout;
    return {static_cast<const char*>(pixel) + distance, run.tap_offsets, layout.taps, layout.k};
  }
  uint64_t* marks_of(int64_t pixel) const {
    return marks + pixel * run.layout.taps * excess_words(run.layout.k);
  }
  void mark(const void* const* pointers, int64_t pixels) const {
    for (int64_t i = 0; i < pixels; ++i) {
      run.layout.tiles->bounded->mark(row(pointers[i]), marks_of(i));
    }
  }
  void add(const void* const* pointers, int64_t pixels, const std::byte* packed, int64_t panel,
           std::byte* sums) const {
    const PanelLayout& layout = run.layout;
    const auto add_row = layout.tiles->bounded->add[layout.panel_vectors(panel) - 1];
    for (int64_t i = 0; i < pixels; ++i) {
      add_row(row(pointers[i]), marks_of(i), packed + layout.panel_offset(panel),
              sums + i * layout.width() * 4);
    }
  }
};

void run_task(const Run& run, int64_t task, int worker) {
  const ConvProblem& p = run.p;
  const PanelLayout& layout = run.layout;
  std::byte* own =
      run.args.scratch.data() + run.scratch.offsets_bytes + worker * run.scratch.worker_bytes();
  auto** pointers = reinterpret_cast<const void**>(own + run.scratch.strip_bytes);
  std::byte* sums = own + run.scratch.strip_bytes + run.scratch.pointers_bytes;
  std::byte* excess_bytes = sums + run.scratch.sums_bytes;
  const Excess excess{run, excess_bytes - own,
                      reinterpret_cast<uint64_t*>(excess_bytes + run.scratch.excess_bytes)};
  bool any_excess = false;
  const Strip strip = strip_of(run, task % run.grid.strips());
  const int64_t panel_block = task / run.grid.strips();
  const int64_t pixels = strip.images * strip.rows * p.out_w;
  const std::byte* base = own;
  if (run.shape.copied) {
    copy_strip(run, strip, own);
    if (run.shape.bounded) {
      const int64_t last = input_rows(p, strip.rows) * run.shape.row_bytes;
      any_excess = layout.tiles->bounded->split(reinterpret_cast<uint8_t*>(own),
                                                reinterpret_cast<uint8_t*>(excess_bytes),
                                                (strip.images - 1) * run.shape.image_bytes + last);
    }
  } else {
    base = static_cast<const std::byte*>(run.args.src) + strip.first_image * run.shape.image_bytes +
           strip.first_y * p.stride_h * run.shape.row_bytes;
  }
  FinishArgs finish;
  finish.sums = sums;
  finish.sums_stride = layout.width();
  finish.rows = pixels;
  finish.epilogue = &run.args.epilogue;
  finish.first_row = (strip.first_image * p.out_h + strip.first_y) * p.out_w;
  finish.dst_type = stored_type(p.dst_type);
  finish.dst = run.args.dst;
  finish.dst_stride = p.out_c;
  int64_t pointed_group = -1;
  const int64_t first = run.grid.all_panels * panel_block / run.grid.panel_blocks;
  const int64_t last = run.grid.all_panels * (panel_block + 1) / run.grid.panel_blocks;
  for (int64_t i = first; i < last; ++i) {
    const int64_t group = i / layout.panels();
    const int64_t panel = i % layout.panels();
    if (group != pointed_group) {
      const int64_t c = group * (p.in_c / p.groups);
      point_at_pixels(run, strip, base + c * run.shape.element_bytes, pointers);
      if (any_excess) excess.mark(pointers, pixels);
      pointed_group = group;
    }
    const std::byte* packed = run.args.packed + group * group_bytes(layout);
    const PanelRows rows{pointers, pixels, run.tap_offsets, run.shape.wide, run.shape.bounded};
    multiply_panel(layout, packed, panel, rows, sums, layout.width());
    if (any_excess) excess.add(pointers, pixels, packed, panel, sums);
    finish.columns = layout.panel_columns(panel);
    finish.first_column = group * layout.columns + panel * layout.width();
    layout.tiles->finish(finish);
  }
}

void run(const ConvKernel& kernel, const ConvProblem& p, const ConvArgs& args, ThreadPool& pool) {
  const PanelLayout layout = layout_of(tiles_of(kernel), p);
  const ConvGrid grid = cut_strips(p, layout);
  if (grid.tasks() == 0) return;
  const StripShape shape = strip_shape(p, layout, grid);
  Run r{p,
        args,
        layout,
        grid,
        shape,
        lay_scratch(p, layout, grid, shape),
        reinterpret_cast<int64_t*>(args.scratch.data())};
  for (int64_t tap = 0; tap < layout.taps; ++tap) {
    const int64_t i = rows_are_taps(p) ? tap : tap / p.kernel_w;
    const int64_t j = rows_are_taps(p) ? 0 : tap % p.kernel_w;
    r.tap_offsets[tap] = i * p.dilation_h * shape.row_bytes + j * p.dilation_w * shape.pixel_bytes;
  }
  pool.run(grid.tasks(), [&](int64_t task, int worker) { run_task(r, task, worker); });
}

const char* refuse_f32(const ConvProblem& p) {
  return p.weights_type == DType::kFloat32 ? nullptr : "weights are not float32";
}
const char* refuse_bf16(const ConvProblem& p) {
  return p.weights_type == DType::kBFloat16 ? nullptr : "weights are not bfloat16";
}
const char* refuse_f16(const ConvProblem& p) {
  return p.weights_type == DType::kFloat16 ? nullptr : "weights are not float16";
}
const char* refuse_u8s8(const ConvProblem& p) {
  return p.weights_type == DType::kInt8 ? nullptr : "weights are not int8";
}
[[maybe_unused]] const char* refuse_bf16dot(const ConvProblem& p) {
  if (p.weights_type != DType::kBFloat16) return "weights are not bfloat16";
  return p.src_type == DType::kBFloat16 ? nullptr : "source is not bfloat16";
}

}  // namespace

#define PARE_PANEL_CONV(types, tile, isa, needs, packing)                              \
  const ConvKernel conv_##types##_##tile##_##isa = {"conv_" #types "_" #tile "_" #isa, \
                                                    needs,                             \
                                                    packing,                           \
                                                    refuse_##types,                    \
                                                    packed_bytes,                      \
                                                    pack,                              \
                                                    scratch_bytes,                     \
                                                    run,                               \
                                                    &tiles_##types##_##tile##_##isa};

#if PARE_X86
PARE_PANEL_CONV(f32, 6x64, avx512, kIsaAvx512, "panels64")
PARE_PANEL_CONV(bf16, 6x64, avx512, kIsaAvx512, "panels64")
PARE_PANEL_CONV(f16, 6x64, avx512, kIsaAvx512, "panels64")
PARE_PANEL_CONV(bf16dot, 6x64, avx512_bf16, kIsaAvx512 | kIsaAvx512Bf16, "pairs64")
PARE_PANEL_CONV(u8s8, 6x64, avx512_vnni, kIsaAvx512 | kIsaAvx512Vnni, "quads64")
PARE_PANEL_CONV(u8s8, 4x64, avx512, kIsaAvx512, "quads64")
PARE_PANEL_CONV(f32, 6x16, avx2, kIsaAvx2, "panels16")
PARE_PANEL_CONV(bf16, 6x16, avx2, kIsaAvx2, "panels16")
PARE_PANEL_CONV(f16, 6x16, avx2, kIsaAvx2, "panels16")
PARE_PANEL_CONV(u8s8, 4x16, avx2, kIsaAvx2, "quads16")
#elif PARE_NEON
PARE_PANEL_CONV(f32, 6x16, neon, kIsaBaseline, "panels16")
PARE_PANEL_CONV(bf16, 6x16, neon, kIsaBaseline, "panels16")
PARE_PANEL_CONV(f16, 6x16, neon, kIsaBaseline, "panels16")
PARE_PANEL_CONV(u8s8, 4x16, neon, kIsaBaseline, "quads16")
#endif

#undef PARE_PANEL_CONV

}  // namespace pare

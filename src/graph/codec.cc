#include "graph/codec.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

namespace pare {
namespace {

using Bytes = std::vector<std::byte>;
using View = std::span<const std::byte>;

enum Layout : uint8_t { kWhole, kPlanes, kMask, kGaps };
enum Method : uint8_t { kRaw, kConstant, kRans, kZstd };

// zstd's own default: higher levels cost far more time for less than 0.1 % of weights' bytes.
constexpr int kZstdLevel = 3;
// Below this share of zeros the positions cost more than they save in every case we can meet: one
// zero in 16 saves at most half a bit an element, its position costs a third of one.
constexpr int64_t kSparseFrom = 16;

void put_u32(Bytes& out, uint32_t value) {
  const size_t at = out.size();
  out.resize(at + 4);
  std::memcpy(out.data() + at, &value, 4);
}

void append(Bytes& out, View bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

Bytes zstd_encode(View bytes) {
  Bytes out(ZSTD_compressBound(bytes.size()));
  const size_t n = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), kZstdLevel);
  // The bound makes failure impossible but for lack of memory; then the block stays raw.
  if (ZSTD_isError(n) != 0) return {};
  out.resize(n);
  return out;
}

void append_block(Bytes& out, View bytes) {
  Method method = kRaw;
  Bytes coded;
  const bool constant =
      !bytes.empty() && std::ranges::all_of(bytes, [&](std::byte b) { return b == bytes[0]; });
  if (constant) {
    method = kConstant;
    coded = {bytes[0]};
  } else if (!bytes.empty()) {
    if (Bytes rans = rans_encode(bytes); rans.size() < bytes.size()) {
      method = kRans;
      coded = std::move(rans);
    }
    const size_t best = method == kRaw ? bytes.size() : coded.size();
    if (Bytes packed = zstd_encode(bytes); !packed.empty() && packed.size() < best) {
      method = kZstd;
      coded = std::move(packed);
    }
  }
  const View payload = method == kRaw ? bytes : View(coded);
  out.push_back(static_cast<std::byte>(method));
  put_u32(out, static_cast<uint32_t>(payload.size()));
  append(out, payload);
}

void append_planes(Bytes& out, View bytes, int element_bytes) {
  const auto width = static_cast<size_t>(element_bytes);
  Bytes plane(bytes.size() / width);
  for (size_t p = 0; p < width; ++p) {
    for (size_t i = 0; i < plane.size(); ++i) plane[i] = bytes[i * width + p];
    append_block(out, plane);
  }
}

struct Sparse {
  uint32_t nonzero = 0;
  Bytes mask;
  Bytes gaps;
  Bytes values;  // the nonzero elements, whole
};

Sparse split_sparse(View bytes, int element_bytes) {
  const auto width = static_cast<size_t>(element_bytes);
  const size_t n = bytes.size() / width;
  Sparse s;
  s.mask.resize((n + 7) / 8);
  size_t gap = 0;
  for (size_t i = 0; i < n; ++i) {
    const View element = bytes.subspan(i * width, width);
    if (std::ranges::all_of(element, [](std::byte b) { return b == std::byte{0}; })) {
      ++gap;
      continue;
    }
    ++s.nonzero;
    s.mask[i / 8] |= static_cast<std::byte>(1U << (i % 8));
    for (; gap >= 255; gap -= 255) s.gaps.push_back(std::byte{255});
    s.gaps.push_back(static_cast<std::byte>(gap));
    gap = 0;
    append(s.values, element);
  }
  return s;
}

// ---- reading ----

struct Reader {
  View rest;

  bool take(size_t bytes, View& out) {
    if (bytes > rest.size()) return false;
    out = rest.first(bytes);
    rest = rest.subspan(bytes);
    return true;
  }
  bool take_u32(uint32_t& value) {
    View v;
    if (!take(4, v)) return false;
    std::memcpy(&value, v.data(), 4);
    return true;
  }
};

Status cut_off() { return corrupt("weight chunk: cut off"); }

Status read_block(Reader& in, std::span<std::byte> out) {
  View method;
  View payload;
  uint32_t stored = 0;
  if (!in.take(1, method) || !in.take_u32(stored) || !in.take(stored, payload)) return cut_off();
  switch (static_cast<Method>(method[0])) {
    case kRaw:
      if (payload.size() != out.size()) break;
      std::ranges::copy(payload, out.begin());
      return ok_status();
    case kConstant:
      if (payload.size() != 1) break;
      std::ranges::fill(out, payload[0]);
      return ok_status();
    case kRans:
      return rans_decode(payload, out);
    case kZstd:
      if (ZSTD_decompress(out.data(), out.size(), payload.data(), payload.size()) != out.size()) {
        return corrupt("weight chunk: a zstd block that is damaged or of the wrong size");
      }
      return ok_status();
    default:
      return corrupt(
          fmt::format("weight chunk: unknown coding method {}", static_cast<int>(method[0])));
  }
  return corrupt(fmt::format("weight chunk: a block of {} bytes where {} are expected",
                             payload.size(), out.size()));
}

// Writes byte p of every element for each plane p.
Status read_planes(Reader& in, int element_bytes, std::span<std::byte> out) {
  const auto width = static_cast<size_t>(element_bytes);
  if (width == 1) return read_block(in, out);
  Bytes plane(out.size() / width);
  for (size_t p = 0; p < width; ++p) {
    PARE_RETURN_IF_ERROR(read_block(in, plane));
    for (size_t i = 0; i < plane.size(); ++i) out[i * width + p] = plane[i];
  }
  return ok_status();
}

void place(std::span<std::byte> out, size_t width, size_t i, const Bytes& values, size_t k) {
  std::memcpy(out.data() + i * width, values.data() + k * width, width);
}

Status read_mask(Reader& in, int element_bytes, std::span<std::byte> out) {
  const auto width = static_cast<size_t>(element_bytes);
  const size_t n = out.size() / width;
  uint32_t nonzero = 0;
  if (!in.take_u32(nonzero)) return cut_off();
  if (nonzero > n) return corrupt("weight chunk: more nonzero elements than elements");
  Bytes mask((n + 7) / 8);
  PARE_RETURN_IF_ERROR(read_block(in, mask));
  size_t set = 0;
  for (const std::byte b : mask) set += static_cast<size_t>(std::popcount(static_cast<uint8_t>(b)));
  const bool stray = n % 8 != 0 && (static_cast<uint32_t>(mask.back()) >> (n % 8)) != 0;
  if (set != nonzero || stray) {
    return corrupt(fmt::format("weight chunk: a mask of {} nonzero elements where {} are expected",
                               set, nonzero));
  }
  Bytes values(nonzero * width);
  PARE_RETURN_IF_ERROR(read_planes(in, element_bytes, values));
  std::ranges::fill(out, std::byte{0});
  size_t k = 0;
  for (size_t b = 0; b < mask.size(); ++b) {
    for (auto bits = static_cast<uint32_t>(mask[b]); bits != 0; bits &= bits - 1) {
      place(out, width, b * 8 + static_cast<size_t>(std::countr_zero(bits)), values, k++);
    }
  }
  return ok_status();
}

Status read_gaps(Reader& in, int element_bytes, std::span<std::byte> out) {
  const auto width = static_cast<size_t>(element_bytes);
  const size_t n = out.size() / width;
  uint32_t nonzero = 0;
  uint32_t gap_bytes = 0;
  if (!in.take_u32(nonzero) || !in.take_u32(gap_bytes)) return cut_off();
  // A gap byte of 255 without an element stands for 255 zeros, so there cannot be more than this.
  if (nonzero > n || gap_bytes < nonzero || gap_bytes - nonzero > n / 255) {
    return corrupt("weight chunk: more gaps than its elements have room for");
  }
  Bytes gaps(gap_bytes);
  PARE_RETURN_IF_ERROR(read_block(in, gaps));
  Bytes values(nonzero * width);
  PARE_RETURN_IF_ERROR(read_planes(in, element_bytes, values));
  std::ranges::fill(out, std::byte{0});
  size_t i = 0;
  size_t k = 0;
  for (const std::byte gap : gaps) {
    i += static_cast<size_t>(gap);
    if (gap == std::byte{255}) continue;
    if (i >= n || k == nonzero) return corrupt("weight chunk: gaps that lead past its end");
    place(out, width, i++, values, k++);
  }
  if (k != nonzero) return corrupt("weight chunk: fewer gaps than nonzero elements");
  return ok_status();
}

}  // namespace

Bytes encode_chunk(View bytes, int element_bytes) {
  assert(bytes.size() % static_cast<size_t>(element_bytes) == 0);
  const auto n = static_cast<int64_t>(bytes.size()) / element_bytes;
  Bytes best = {static_cast<std::byte>(kWhole)};
  append_block(best, bytes);
  const auto keep_smaller = [&best](Bytes candidate) {
    if (candidate.size() < best.size()) best = std::move(candidate);
  };
  if (element_bytes > 1) {
    Bytes planes = {static_cast<std::byte>(kPlanes)};
    append_planes(planes, bytes, element_bytes);
    keep_smaller(std::move(planes));
  }
  const Sparse sparse = split_sparse(bytes, element_bytes);
  if ((n - sparse.nonzero) * kSparseFrom >= n && n > 0) {
    Bytes values;
    append_planes(values, sparse.values, element_bytes);
    Bytes mask = {static_cast<std::byte>(kMask)};
    put_u32(mask, sparse.nonzero);
    append_block(mask, sparse.mask);
    append(mask, values);
    keep_smaller(std::move(mask));
    Bytes gaps = {static_cast<std::byte>(kGaps)};
    put_u32(gaps, sparse.nonzero);
    put_u32(gaps, static_cast<uint32_t>(sparse.gaps.size()));
    append_block(gaps, sparse.gaps);
    append(gaps, values);
    keep_smaller(std::move(gaps));
  }
  return best;
}

Status decode_chunk(View coded, int element_bytes, std::span<std::byte> out) {
  Reader in{coded};
  View layout;
  if (!in.take(1, layout)) return cut_off();
  Status status;
  switch (static_cast<Layout>(layout[0])) {
    case kWhole:
      status = read_block(in, out);
      break;
    case kPlanes:
      status = read_planes(in, element_bytes, out);
      break;
    case kMask:
      status = read_mask(in, element_bytes, out);
      break;
    case kGaps:
      status = read_gaps(in, element_bytes, out);
      break;
    default:
      return corrupt(fmt::format("weight chunk: unknown layout {}", static_cast<int>(layout[0])));
  }
  if (status.ok() && !in.rest.empty()) return corrupt("weight chunk: bytes left over at its end");
  return status;
}

}  // namespace pare

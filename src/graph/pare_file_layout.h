// The fixed parts of a .pare file, shared by its writer and reader; pare_file.h explains them.
#ifndef PARE_GRAPH_PARE_FILE_LAYOUT_H_
#define PARE_GRAPH_PARE_FILE_LAYOUT_H_

#include <xxhash.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/dtype.h"

namespace pare {

static_assert(std::endian::native == std::endian::little, "files are little-endian, as memory is");

inline constexpr size_t kPareHeaderBytes = 64;
inline constexpr uint64_t kPareAlignment = 64;
inline constexpr unsigned char kPareMagic[8] = {0x89, 'P', 'A', 'R', 'E', 0x0d, 0x0a, 0x1a};
inline constexpr unsigned char kPareEnd[8] = {'P', 'A', 'R', 'E', 'E', 'N', 'D', 0x0a};
// The largest of our networks needs half a megabyte. A hostile manifest can make us take about 30
// times its own size, for empty nodes.
inline constexpr uint64_t kMaxManifestBytes = uint64_t{1} << 24;

struct PareFooter {
  uint64_t manifest_offset = 0;
  uint64_t manifest_stored = 0;
  uint64_t manifest_bytes = 0;
  uint64_t manifest_hash = 0;
  uint64_t hash = 0;  // of the header and the fields above
  unsigned char end[8] = {'P', 'A', 'R', 'E', 'E', 'N', 'D', 0x0a};
};
static_assert(sizeof(PareFooter) == 48);

inline uint64_t footer_hash(std::span<const std::byte> header, const PareFooter& footer) {
  std::byte covered[kPareHeaderBytes + 32];
  std::memcpy(covered, header.data(), kPareHeaderBytes);
  std::memcpy(covered + kPareHeaderBytes, &footer, 32);
  return XXH3_64bits(covered, sizeof(covered));
}

inline uint64_t align_up(uint64_t offset) {
  return (offset + kPareAlignment - 1) / kPareAlignment * kPareAlignment;
}

// Elements as the codec sees them; two packed 4-bit ones count as one.
inline int coded_element_bytes(DType type) {
  return dtype_bits(type) < 8 ? 1 : dtype_bits(type) / 8;
}

}  // namespace pare

#endif  // PARE_GRAPH_PARE_FILE_LAYOUT_H_

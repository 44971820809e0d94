// .pare: the packed deployable. A whole Graph, lossless, its weights in compressed form.
//
//   header    64 bytes: magic 89 'P' 'A' 'R' 'E' 0d 0a 1a, version u32, the rest zero
//   sections  one a tensor, in the manifest's order, each from the next multiple of 64 bytes on,
//             zeros between: so a raw one can be used where it lies in a mapped file
//   manifest  from the next multiple of 64: the graph and the list of tensors (pare_manifest.h),
//             compressed with zstd when that is smaller
//   footer    48 bytes: manifest offset u64, stored bytes u64, bytes u64, XXH3-64 of its stored
//             bytes u64; XXH3-64 of the header and those 32 bytes u64; 'P' 'A' 'R' 'E' 'E' 'N' 'D'
//             0a
//
// A section is raw (the tensor's bytes), coded: for every chunk of kCodecChunkElements elements its
// size u32, then the chunks (codec.h); scaled: axis u32 (0 first, 1 last), channels u32, a scale
// f32 for each, then the whole numbers of pare_scaled.h as a coded section of int8; or with a
// palette: count u32, that many elements, then the indices of pare_palette.h as a coded section of
// uint8. Tensors of at most kInlineBytes stand in the manifest. Each section has its XXH3-64 there.
// Numbers are little-endian. What a file was written from, it gives back bit for bit; writing the
// same graph twice gives the same file.
//
// Version 1 is open until the first release; palettes came last.
//
// A reader trusts nothing: everything is checked before it is used, and memory for decoded tensors
// is taken only up to PareReadOptions::max_decoded_bytes. Files of every released version stay
// readable (tests/fixtures/pare).
#ifndef PARE_GRAPH_PARE_FILE_H_
#define PARE_GRAPH_PARE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

inline constexpr uint32_t kPareVersion = 1;

struct PareWriteOptions {
  // Every section raw: loading maps the file and copies no weight.
  bool uncoded = false;
  int threads = 0;  // 0: all cores
};

struct PareReadOptions {
  int threads = 0;  // decoding; 0: all cores
  // Most that coded tensors may take once decoded; 0: half of the machine's memory.
  int64_t max_decoded_bytes = 0;
};

Status write_pare(const Graph& graph, const std::string& path,
                  const PareWriteOptions& options = {});
Result<Graph> read_pare(const std::string& path, const PareReadOptions& options = {});
// The same from memory, which raw tensors go on resting on. `data` must be 64-byte aligned;
// messages call the file `name`.
Result<Graph> parse_pare(const std::shared_ptr<const std::byte>& data, size_t size,
                         const std::string& name, const PareReadOptions& options = {});

}  // namespace pare

#endif  // PARE_GRAPH_PARE_FILE_H_

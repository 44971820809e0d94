#include <fmt/format.h>
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/thread_pool.h"
#include "graph/codec.h"
#include "graph/pare_file.h"
#include "graph/pare_file_layout.h"
#include "graph/pare_manifest.h"
#include "graph/pare_palette.h"
#include "graph/pare_scaled.h"

namespace pare {
namespace {

using Bytes = std::vector<std::byte>;
using View = std::span<const std::byte>;

// The manifest is small: a higher level costs milliseconds.
constexpr int kManifestZstdLevel = 19;

View tensor_bytes(const Tensor& t) { return {t.data(), static_cast<size_t>(t.byte_count())}; }

// Chunk sizes, then chunks; every chunk by itself, so they are coded in parallel.
Bytes encode_section(const Tensor& tensor, ThreadPool& pool) {
  const int width = coded_element_bytes(tensor.type());
  const View bytes = tensor_bytes(tensor);
  const auto chunk_bytes = static_cast<size_t>(kCodecChunkElements * width);
  std::vector<Bytes> chunks((bytes.size() + chunk_bytes - 1) / chunk_bytes);
  pool.run(static_cast<int64_t>(chunks.size()), [&](int64_t i, int) {
    const size_t at = static_cast<size_t>(i) * chunk_bytes;
    chunks[static_cast<size_t>(i)] =
        encode_chunk(bytes.subspan(at, std::min(chunk_bytes, bytes.size() - at)), width);
  });
  Bytes section(chunks.size() * 4);
  for (size_t i = 0; i < chunks.size(); ++i) {
    const auto size = static_cast<uint32_t>(chunks[i].size());
    std::memcpy(section.data() + i * 4, &size, 4);
  }
  for (const Bytes& chunk : chunks) section.insert(section.end(), chunk.begin(), chunk.end());
  return section;
}

// The scales, then the whole numbers; empty for a tensor that is not of that kind.
Bytes encode_scaled(const Tensor& tensor, ThreadPool& pool) {
  const std::optional<ScaledTensor> scaled = find_scaled(tensor);
  if (!scaled.has_value()) return {};
  const uint32_t head[2] = {scaled->last_axis ? 1U : 0U,
                            static_cast<uint32_t>(scaled->scales.size())};
  const View scales = std::as_bytes(std::span(scaled->scales));
  Bytes section(sizeof(head));
  std::memcpy(section.data(), head, sizeof(head));
  section.insert(section.end(), scales.begin(), scales.end());
  const Bytes values = encode_section(scaled->values, pool);
  section.insert(section.end(), values.begin(), values.end());
  return section;
}

// The values, then the indices; empty for a tensor of too many values.
Bytes encode_palette(const Tensor& tensor, ThreadPool& pool) {
  const std::optional<PaletteTensor> palette = find_palette(tensor);
  if (!palette.has_value()) return {};
  const auto count = static_cast<uint32_t>(palette->values.size() /
                                           static_cast<size_t>(coded_element_bytes(tensor.type())));
  Bytes section(sizeof(count));
  std::memcpy(section.data(), &count, sizeof(count));
  section.insert(section.end(), palette->values.begin(), palette->values.end());
  const Bytes indices = encode_section(palette->indices, pool);
  section.insert(section.end(), indices.begin(), indices.end());
  return section;
}

class PareWriter {
 public:
  PareWriter(AtomicFile file, const PareWriteOptions& options)
      : file_(std::move(file)),
        options_(options),
        pool_(options.threads > 0 ? options.threads : available_cores()) {}

  Status write(const Graph& graph) {
    for (const Node& node : graph.nodes) {
      // Operators of the runtime's own stand in no file.
      if (node.domain == "pare") {
        return unsupported(fmt::format("node '{}': the internal operator {} cannot be stored",
                                       node.name, node.op));
      }
    }
    std::array<std::byte, kPareHeaderBytes> header{};
    std::memcpy(header.data(), kPareMagic, sizeof(kPareMagic));
    std::memcpy(header.data() + 8, &kPareVersion, 4);
    PARE_RETURN_IF_ERROR(put(header));
    std::vector<PareTensor> tensors;
    for (const auto& [name, tensor] : graph.initializers) {
      PareTensor entry = {.name = name, .type = tensor.type(), .shape = tensor.shape()};
      PARE_RETURN_IF_ERROR(write_tensor(tensor, entry));
      tensors.push_back(std::move(entry));
    }
    PARE_RETURN_IF_ERROR(write_end(graph, tensors, header));
    return file_.commit();
  }

 private:
  Status put(View bytes) {
    at_ += bytes.size();
    return file_.write(bytes);
  }

  Status align() {
    static constexpr std::array<std::byte, kPareAlignment> kZeros{};
    return put(View(kZeros).first(align_up(at_) - at_));
  }

  Status write_tensor(const Tensor& tensor, PareTensor& entry) {
    if (tensor.byte_count() <= kInlineBytes) {
      entry.inline_value = tensor;
      return ok_status();
    }
    Bytes coded;
    View section = tensor_bytes(tensor);
    entry.storage = PareStorage::kRaw;
    const auto keep_smaller = [&](Bytes candidate, PareStorage storage) {
      if (candidate.empty() || candidate.size() >= section.size()) return;
      coded = std::move(candidate);
      section = coded;
      entry.storage = storage;
    };
    if (!options_.uncoded) {
      keep_smaller(encode_section(tensor, pool_), PareStorage::kCoded);
      keep_smaller(encode_scaled(tensor, pool_), PareStorage::kScaled);
      keep_smaller(encode_palette(tensor, pool_), PareStorage::kPalette);
    }
    PARE_RETURN_IF_ERROR(align());
    entry.offset = at_;
    entry.stored_bytes = section.size();
    entry.hash = XXH3_64bits(section.data(), section.size());
    return put(section);
  }

  Status write_end(const Graph& graph, const std::vector<PareTensor>& tensors, View header) {
    const Bytes manifest = write_manifest(graph, tensors);
    if (manifest.size() > kMaxManifestBytes) {
      return unsupported(fmt::format("a graph whose description takes {} bytes: at most {}",
                                     manifest.size(), kMaxManifestBytes));
    }
    Bytes packed(ZSTD_compressBound(manifest.size()));
    const size_t n = ZSTD_compress(packed.data(), packed.size(), manifest.data(), manifest.size(),
                                   kManifestZstdLevel);
    const bool smaller = ZSTD_isError(n) == 0 && n < manifest.size();
    packed.resize(smaller ? n : 0);
    const View stored = smaller ? View(packed) : View(manifest);
    PARE_RETURN_IF_ERROR(align());
    PareFooter footer;
    footer.manifest_offset = at_;
    footer.manifest_stored = stored.size();
    footer.manifest_bytes = manifest.size();
    footer.manifest_hash = XXH3_64bits(stored.data(), stored.size());
    footer.hash = footer_hash(header, footer);
    PARE_RETURN_IF_ERROR(put(stored));
    return put(std::as_bytes(std::span(&footer, 1)));
  }

  AtomicFile file_;
  PareWriteOptions options_;
  ThreadPool pool_;
  uint64_t at_ = 0;
};

}  // namespace

Status write_pare(const Graph& graph, const std::string& path, const PareWriteOptions& options) {
  PARE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  return PareWriter(std::move(file), options).write(graph);
}

}  // namespace pare

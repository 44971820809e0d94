#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
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

using View = std::span<const std::byte>;

int64_t half_of_memory() {
  const int64_t pages = ::sysconf(_SC_PHYS_PAGES);
  const int64_t page_bytes = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && page_bytes > 0 ? pages / 2 * page_bytes : int64_t{1} << 32;
}

Result<PareFooter> read_footer(View file) {
  if (file.size() < sizeof(kPareMagic) ||
      std::memcmp(file.data(), kPareMagic, sizeof(kPareMagic)) != 0) {
    return corrupt("not a .pare file (its first bytes are others)");
  }
  if (file.size() < kPareHeaderBytes + sizeof(PareFooter)) {
    return corrupt(fmt::format("cut off after {} bytes", file.size()));
  }
  uint32_t version = 0;
  std::memcpy(&version, file.data() + 8, 4);
  if (version > kPareVersion) {
    return unsupported(
        fmt::format("format version {}: this Pare reads up to version {}", version, kPareVersion));
  }
  PareFooter footer;
  std::memcpy(&footer, file.data() + file.size() - sizeof(footer), sizeof(footer));
  if (std::memcmp(footer.end, kPareEnd, sizeof(kPareEnd)) != 0) {
    return corrupt("cut off: its last bytes are not a .pare file's");
  }
  if (footer.hash != footer_hash(file.first(kPareHeaderBytes), footer)) {
    return corrupt("damaged: the checksum of its header and footer is wrong");
  }
  const uint64_t end = file.size() - sizeof(footer);
  if (footer.manifest_stored > end || footer.manifest_offset != end - footer.manifest_stored) {
    return corrupt(fmt::format("a manifest of {} bytes at {} does not fit a file of {}",
                               footer.manifest_stored, footer.manifest_offset, file.size()));
  }
  return footer;
}

Result<PareManifest> unpack_manifest(View file, const PareFooter& footer) {
  const View stored = file.subspan(footer.manifest_offset, footer.manifest_stored);
  if (XXH3_64bits(stored.data(), stored.size()) != footer.manifest_hash) {
    return corrupt("damaged: the checksum of its manifest is wrong");
  }
  if (footer.manifest_bytes == footer.manifest_stored) return read_manifest(stored);
  if (footer.manifest_bytes > kMaxManifestBytes) {
    return corrupt(fmt::format("a manifest of {} bytes: expected at most {}", footer.manifest_bytes,
                               kMaxManifestBytes));
  }
  std::vector<std::byte> manifest(footer.manifest_bytes);
  if (ZSTD_decompress(manifest.data(), manifest.size(), stored.data(), stored.size()) !=
      manifest.size()) {
    return corrupt("its manifest does not unpack to the size that the footer gives");
  }
  return read_manifest(manifest);
}

// One chunk to decode, elements `first` … of a tensor of `size`. Of a scaled tensor it holds whole
// numbers, of one with a palette indices: a byte for each element.
struct ChunkJob {
  size_t tensor = 0;
  View coded;
  int element_bytes = 1;
  std::span<std::byte> out;
  std::span<const float> scales;
  bool last_axis = false;
  View palette;
  int64_t first = 0;
  int64_t size = 0;
};

Status run_job(const ChunkJob& job) {
  if (job.scales.empty() && job.palette.empty())
    return decode_chunk(job.coded, job.element_bytes, job.out);
  std::vector<std::byte> values(job.out.size() / static_cast<size_t>(job.element_bytes));
  PARE_RETURN_IF_ERROR(decode_chunk(job.coded, 1, values));
  if (!job.palette.empty()) return restore_palette(values, job.palette, job.element_bytes, job.out);
  restore_scaled(values, job.last_axis, job.scales, job.first, job.size,
                 {reinterpret_cast<float*>(job.out.data()), values.size()});
  return ok_status();
}

class PareReader {
 public:
  PareReader(const std::shared_ptr<const std::byte>& data, View file,
             const PareReadOptions& options)
      : data_(data),
        file_(file),
        max_decoded_(options.max_decoded_bytes > 0 ? options.max_decoded_bytes : half_of_memory()),
        pool_(options.threads > 0 ? options.threads : available_cores()) {}

  Result<Graph> read() {
    PARE_ASSIGN_OR_RETURN(const PareFooter footer, read_footer(file_));
    PARE_ASSIGN_OR_RETURN(manifest_, unpack_manifest(file_, footer));
    PARE_RETURN_IF_ERROR(check_sections(footer.manifest_offset));
    PARE_RETURN_IF_ERROR(check_hashes());
    for (size_t i = 0; i < manifest_.tensors.size(); ++i) {
      if (Status status = load(i); !status.ok()) return about(i, status);
    }
    PARE_RETURN_IF_ERROR(decode());
    PARE_RETURN_IF_ERROR(check_elements());
    PARE_RETURN_IF_ERROR(check_graph(manifest_.graph));
    return std::move(manifest_.graph);
  }

 private:
  Status about(size_t tensor, const Status& status) const {
    return status.with_context(fmt::format("tensor '{}'", manifest_.tensors[tensor].name));
  }

  // Sections stand one behind the other, zeros between, so none overlaps and no byte is unchecked.
  Status check_sections(uint64_t manifest_offset) {
    uint64_t at = kPareHeaderBytes;
    const auto padded = [&](uint64_t offset) {
      if (offset != align_up(at) || offset > manifest_offset) return false;
      const View between = file_.subspan(at, offset - at);
      return std::ranges::all_of(between, [](std::byte b) { return b == std::byte{0}; });
    };
    for (size_t i = 0; i < manifest_.tensors.size(); ++i) {
      const PareTensor& t = manifest_.tensors[i];
      if (t.storage == PareStorage::kInline) continue;
      if (!padded(t.offset) || t.stored_bytes > manifest_offset - t.offset) {
        return about(i,
                     corrupt(fmt::format("a section of {} bytes at {}: expected it at {}, and "
                                         "to end before {}",
                                         t.stored_bytes, t.offset, align_up(at), manifest_offset)));
      }
      at = t.offset + t.stored_bytes;
    }
    return padded(manifest_offset) ? ok_status()
                                   : corrupt("bytes that belong to no section before its manifest");
  }

  View section(const PareTensor& t) const { return file_.subspan(t.offset, t.stored_bytes); }

  Status check_hashes() {
    std::vector<uint8_t> sound(manifest_.tensors.size(), 1);
    pool_.run(static_cast<int64_t>(sound.size()), [&](int64_t i, int) {
      const PareTensor& t = manifest_.tensors[static_cast<size_t>(i)];
      if (t.storage == PareStorage::kInline) return;
      const View bytes = section(t);
      sound[static_cast<size_t>(i)] = XXH3_64bits(bytes.data(), bytes.size()) == t.hash ? 1 : 0;
    });
    for (size_t i = 0; i < sound.size(); ++i) {
      if (sound[i] == 0) return about(i, corrupt("damaged: the checksum of its section is wrong"));
    }
    return ok_status();
  }

  Status load(size_t index) {
    PareTensor& t = manifest_.tensors[index];
    Tensor tensor;
    if (t.storage == PareStorage::kInline) {
      tensor = std::move(t.inline_value);
    } else if (t.storage == PareStorage::kRaw) {
      PARE_ASSIGN_OR_RETURN(const int64_t bytes, stored_tensor_bytes(t.type, t.shape));
      if (t.stored_bytes != static_cast<uint64_t>(bytes)) {
        return corrupt(fmt::format("{} of {} takes {} bytes, its section has {}",
                                   dtype_name(t.type), shape_string(t.shape), bytes,
                                   t.stored_bytes));
      }
      tensor = Tensor::from_external(
          t.type, t.shape, std::shared_ptr<const std::byte>(data_, data_.get() + t.offset));
    } else {
      PARE_ASSIGN_OR_RETURN(tensor, plan_decoding(index));
    }
    if (!manifest_.graph.initializers.emplace(t.name, std::move(tensor)).second) {
      return corrupt("is there twice");
    }
    return ok_status();
  }

  // Takes the memory and notes a job for every chunk. The memory is left as it is: each chunk's job
  // writes its part, in parallel.
  Result<Tensor> plan_decoding(size_t index) {
    const PareTensor& t = manifest_.tensors[index];
    PARE_ASSIGN_OR_RETURN(const int64_t total, stored_tensor_bytes(t.type, t.shape));
    View rest = section(t);
    ChunkJob job = {.tensor = index, .element_bytes = coded_element_bytes(t.type)};
    if (t.storage == PareStorage::kScaled) PARE_RETURN_IF_ERROR(take_scales(t, rest, job));
    if (t.storage == PareStorage::kPalette) PARE_RETURN_IF_ERROR(take_palette(t, rest, job));
    // A chunk has as many elements whatever one takes in it: of scaled tensors and palettes a byte.
    const int64_t out_bytes = kCodecChunkElements * coded_element_bytes(t.type);
    const int64_t chunks = (total + out_bytes - 1) / out_bytes;
    if (static_cast<uint64_t>(chunks) > rest.size() / 4) {
      return corrupt(
          fmt::format("{} chunks do not fit a section of {} bytes", chunks, t.stored_bytes));
    }
    decoded_bytes_ += total;
    if (decoded_bytes_ > max_decoded_) {
      return out_of_memory(
          fmt::format("decoded tensors would take more than {} bytes", max_decoded_));
    }
    void* memory = std::aligned_alloc(kPareAlignment, align_up(static_cast<uint64_t>(total) + 1));
    if (memory == nullptr) return out_of_memory(fmt::format("no memory for {} bytes", total));
    const std::shared_ptr<std::byte> owner(static_cast<std::byte*>(memory), std::free);
    const View sizes = rest.first(static_cast<size_t>(chunks) * 4);
    rest = rest.subspan(sizes.size());
    for (int64_t c = 0; c < chunks; ++c) {
      uint32_t size = 0;
      std::memcpy(&size, sizes.data() + c * 4, 4);
      if (size > rest.size()) return corrupt(fmt::format("chunk {} is cut off", c));
      const int64_t at = c * out_bytes;
      job.coded = rest.first(size);
      job.out = {owner.get() + at, static_cast<size_t>(std::min(out_bytes, total - at))};
      job.first = c * kCodecChunkElements;
      jobs_.push_back(job);
      rest = rest.subspan(size);
    }
    if (!rest.empty()) return corrupt("bytes left over behind its chunks");
    return Tensor::from_external(t.type, t.shape, owner);
  }

  // Reads the head of a scaled section. Its scales are used where they lie.
  static Status take_scales(const PareTensor& t, View& rest, ChunkJob& job) {
    uint32_t head[2] = {};
    if (t.type != DType::kFloat32 || t.shape.size() < 2 || rest.size() < sizeof(head)) {
      return corrupt(fmt::format("scaled storage does not go with {} of {} in {} bytes",
                                 dtype_name(t.type), shape_string(t.shape), t.stored_bytes));
    }
    std::memcpy(head, rest.data(), sizeof(head));
    const int64_t channels = head[0] == 0 ? t.shape.front() : t.shape.back();
    if (head[0] > 1 || channels < 1 || channels != head[1] ||
        head[1] > (rest.size() - sizeof(head)) / sizeof(float)) {
      return corrupt(fmt::format("{} scales along axis {} do not fit {}", head[1], head[0],
                                 shape_string(t.shape)));
    }
    job.scales = {reinterpret_cast<const float*>(rest.data() + sizeof(head)), head[1]};
    job.last_axis = head[0] == 1;
    job.size = element_count(t.shape);
    rest = rest.subspan(sizeof(head) + job.scales.size_bytes());
    return ok_status();
  }

  // Reads the head of a section with a palette, whose values are used where they lie.
  static Status take_palette(const PareTensor& t, View& rest, ChunkJob& job) {
    uint32_t count = 0;
    if (!can_have_palette(t.type) || rest.size() < sizeof(count)) {
      return corrupt(fmt::format("a palette does not go with {} in {} bytes", dtype_name(t.type),
                                 t.stored_bytes));
    }
    std::memcpy(&count, rest.data(), sizeof(count));
    rest = rest.subspan(sizeof(count));
    const size_t bytes = size_t{count} * static_cast<size_t>(job.element_bytes);
    if (count < 1 || count > kMaxPaletteValues || bytes > rest.size()) {
      return corrupt(fmt::format("a palette of {} values in {} bytes: expected 1 to {} that fit",
                                 count, t.stored_bytes, kMaxPaletteValues));
    }
    job.palette = rest.first(bytes);
    rest = rest.subspan(bytes);
    return ok_status();
  }

  Status decode() {
    std::vector<Status> results(jobs_.size());
    pool_.run(static_cast<int64_t>(jobs_.size()), [&](int64_t i, int) {
      const ChunkJob& job = jobs_[static_cast<size_t>(i)];
      results[static_cast<size_t>(i)] = run_job(job);
    });
    for (size_t i = 0; i < results.size(); ++i) {
      if (!results[i].ok()) return about(jobs_[i].tensor, results[i]);
    }
    return ok_status();
  }

  Status check_elements() const {
    for (const auto& [name, tensor] : manifest_.graph.initializers) {
      if (!sound_elements(tensor.type(),
                          {tensor.data(), static_cast<size_t>(tensor.byte_count())})) {
        return corrupt(fmt::format("tensor '{}': a bool that is neither 0 nor 1", name));
      }
    }
    return ok_status();
  }

  std::shared_ptr<const std::byte> data_;
  View file_;
  int64_t max_decoded_ = 0;
  int64_t decoded_bytes_ = 0;
  ThreadPool pool_;
  PareManifest manifest_;
  std::vector<ChunkJob> jobs_;
};

}  // namespace

Result<Graph> parse_pare(const std::shared_ptr<const std::byte>& data, size_t size,
                         const std::string& name, const PareReadOptions& options) {
  Result<Graph> graph = PareReader(data, {data.get(), size}, options).read();
  if (!graph.ok()) return graph.status().with_context(name);
  return graph;
}

Result<Graph> read_pare(const std::string& path, const PareReadOptions& options) {
  PARE_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  return parse_pare(file.data(), file.bytes().size(), path, options);
}

}  // namespace pare

#include "train/checkpoint.h"

#include <fmt/format.h>

#include <cstring>
#include <span>

#include "base/file.h"

namespace pare {
namespace {

using nlohmann::json;

constexpr std::string_view kMagic = "PARECKPT";
constexpr size_t kHashDigits = 32;
constexpr size_t kFixedBytes = 8 + 8 + kHashDigits;
constexpr size_t kAlignment = 64;
constexpr uint64_t kMaxHeaderBytes = 256U << 20;

size_t aligned(size_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {tensor.data(), static_cast<size_t>(tensor.byte_count())};
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

Status pad_to(AtomicFile& file, size_t& written, size_t target) {
  const std::string zeros(target - written, '\0');
  written = target;
  return file.write(zeros);
}

std::string header_text(const Checkpoint& checkpoint) {
  json tensors = json::array();
  size_t offset = 0;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    tensors.push_back({{"name", name},
                       {"type", dtype_name(tensor.type())},
                       {"shape", tensor.shape()},
                       {"offset", offset},
                       {"hash", hash_bytes(bytes_of(tensor))}});
    offset = aligned(offset + static_cast<size_t>(tensor.byte_count()));
  }
  return json{{"state", checkpoint.state}, {"tensors", tensors}}.dump();
}

// Reads one entry of the header's list; `data` is everything behind the header.
class TensorReader {
 public:
  TensorReader(const MappedFile& file, std::span<const std::byte> data)
      : file_(file), data_(data) {}

  Result<Tensor> read(const json& entry) const {
    if (!entry.is_object() || !entry.contains("type") || !entry["type"].is_string() ||
        !entry.contains("offset") || !entry["offset"].is_number_unsigned() ||
        !entry.contains("hash") || !entry["hash"].is_string()) {
      return corrupt("type, offset or hash is missing");
    }
    const auto type = dtype_from_name(entry["type"].get<std::string>());
    if (!type) return corrupt("its type is unknown");
    PARE_ASSIGN_OR_RETURN(const Shape shape, read_shape(entry));
    PARE_ASSIGN_OR_RETURN(const int64_t count, checked_element_count(shape));
    const auto size = static_cast<uint64_t>((count * dtype_bits(*type) + 7) / 8);
    const auto offset = entry["offset"].get<uint64_t>();
    if (offset % kAlignment != 0 || offset > data_.size() || size > data_.size() - offset) {
      return corrupt(fmt::format("it should end at byte {} of the data, which has {}",
                                 offset + size, data_.size()));
    }
    const auto bytes = data_.subspan(offset, size);
    if (hash_bytes(bytes) != entry["hash"].get<std::string>()) {
      return corrupt("its checksum is wrong");
    }
    return Tensor::from_external(*type, shape, {file_.data(), bytes.data()});
  }

 private:
  static Result<Shape> read_shape(const json& entry) {
    Shape shape;
    if (!entry.contains("shape") || !entry["shape"].is_array()) return corrupt("it has no shape");
    for (const json& size : entry["shape"]) {
      if (!size.is_number_integer()) return corrupt("its shape is no list of whole numbers");
      shape.push_back(size.get<int64_t>());
    }
    return shape;
  }

  const MappedFile& file_;
  std::span<const std::byte> data_;
};

// The header and what follows it, checked.
struct Parts {
  json header;
  std::span<const std::byte> data;
};

Result<Parts> split_file(std::span<const std::byte> bytes) {
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  if (bytes.size() < kFixedBytes || std::memcmp(text, kMagic.data(), kMagic.size()) != 0) {
    return corrupt("not a checkpoint of pare");
  }
  uint64_t length = 0;
  std::memcpy(&length, text + 8, sizeof(length));
  if (length > kMaxHeaderBytes || length > bytes.size() - kFixedBytes) {
    return corrupt(
        fmt::format("cut short: a header of {} bytes in a file of {}", length, bytes.size()));
  }
  const auto header = bytes.subspan(kFixedBytes, length);
  if (hash_bytes(header) != std::string_view(text + 16, kHashDigits)) {
    return corrupt("the header's checksum is wrong");
  }
  Parts parts;
  const char* first = text + kFixedBytes;
  parts.header = json::parse(first, first + length, nullptr, /*allow_exceptions=*/false);
  if (!parts.header.is_object() || !parts.header.contains("state") ||
      !parts.header.contains("tensors") || !parts.header["tensors"].is_array()) {
    return corrupt("the header is not what a checkpoint has");
  }
  const size_t start = aligned(kFixedBytes + length);
  if (start <= bytes.size()) parts.data = bytes.subspan(start);
  return parts;
}

}  // namespace

Status write_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  const std::string header = header_text(checkpoint);
  PARE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  const auto length = static_cast<uint64_t>(header.size());
  PARE_RETURN_IF_ERROR(file.write(kMagic));
  PARE_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(&length, 1))));
  PARE_RETURN_IF_ERROR(file.write(hash_bytes(bytes_of(header))));
  PARE_RETURN_IF_ERROR(file.write(header));
  size_t written = kFixedBytes + header.size();
  for (const auto& [name, tensor] : checkpoint.tensors) {
    PARE_RETURN_IF_ERROR(pad_to(file, written, aligned(written)));
    PARE_RETURN_IF_ERROR(file.write(bytes_of(tensor)));
    written += static_cast<size_t>(tensor.byte_count());
  }
  PARE_RETURN_IF_ERROR(pad_to(file, written, aligned(written)));
  return file.commit();
}

Result<Checkpoint> read_checkpoint(const std::string& path) {
  PARE_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  auto parts = split_file(file.bytes());
  if (!parts.ok()) return parts.status().with_context(path);
  const TensorReader reader(file, parts->data);
  Checkpoint checkpoint;
  for (const json& entry : parts->header["tensors"]) {
    if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string()) {
      return corrupt(path + ": a tensor without a name");
    }
    const auto name = entry["name"].get<std::string>();
    auto tensor = reader.read(entry);
    if (!tensor.ok()) return tensor.status().with_context(path + ": tensor '" + name + "'");
    checkpoint.tensors[name] = std::move(tensor).value();
  }
  checkpoint.state = std::move(parts->header["state"]);
  return checkpoint;
}

}  // namespace pare

#include "graph/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace pare {
namespace {

using Json = nlohmann::json;

constexpr size_t kLengthBytes = 8;
// The largest published models have headers of a few megabytes; parsing takes some 30 times as
// much.
constexpr uint64_t kMaxHeaderBytes = 16 << 20;
constexpr size_t kMaxTensors = 1 << 18;
constexpr size_t kMaxTensorRank = 32;
// {"name": {"shape": [1]}}: no value of the format stands deeper.
constexpr int kMaxHeaderDepth = 3;

struct TypeName {
  const char* name;
  DType type;
};
constexpr TypeName kTypeNames[] = {
    {"F64", DType::kFloat64}, {"I64", DType::kInt64},   {"F32", DType::kFloat32},
    {"I32", DType::kInt32},   {"F16", DType::kFloat16}, {"BF16", DType::kBFloat16},
    {"I16", DType::kInt16},   {"U16", DType::kUInt16},  {"I8", DType::kInt8},
    {"U8", DType::kUInt8},    {"BOOL", DType::kBool},
};

std::optional<DType> type_from_name(std::string_view name) {
  for (const TypeName& entry : kTypeNames) {
    if (name == entry.name) return entry.type;
  }
  return std::nullopt;
}

const char* name_of_type(DType type) {
  for (const TypeName& entry : kTypeNames) {
    if (type == entry.type) return entry.name;
  }
  return nullptr;
}

struct TensorEntry {
  std::string name;
  DType type = DType::kFloat32;
  Shape shape;
  int64_t begin = 0;
  int64_t end = 0;
};

// A list of numbers from 0 to 2^62.
Result<std::vector<int64_t>> read_sizes(const Json& json, const char* key, size_t most) {
  const auto it = json.find(key);
  if (it == json.end() || !it->is_array() || it->size() > most) {
    return corrupt(fmt::format("'{}' is not a list of at most {} sizes", key, most));
  }
  std::vector<int64_t> sizes;
  for (const Json& item : *it) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > uint64_t{1} << 62) {
      return corrupt(fmt::format("'{}' holds something that is not a size", key));
    }
    sizes.push_back(item.get<int64_t>());
  }
  return sizes;
}

Result<TensorEntry> read_entry(const std::string& name, const Json& json, int64_t data_bytes) {
  if (!json.is_object() || !json.contains("dtype") || !json["dtype"].is_string()) {
    return corrupt("no element type");
  }
  const auto type = type_from_name(json["dtype"].get_ref<const std::string&>());
  if (!type) {
    return unsupported(
        fmt::format("Pare has no type for '{}'", json["dtype"].get_ref<const std::string&>()));
  }
  TensorEntry entry{name, *type, {}, 0, 0};
  PARE_ASSIGN_OR_RETURN(entry.shape, read_sizes(json, "shape", kMaxTensorRank));
  PARE_ASSIGN_OR_RETURN(const auto offsets, read_sizes(json, "data_offsets", 2));
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data_bytes) {
    return corrupt(
        fmt::format("data_offsets do not lie in the file's {} bytes of data", data_bytes));
  }
  entry.begin = offsets[0];
  entry.end = offsets[1];
  PARE_ASSIGN_OR_RETURN(const int64_t count, checked_element_count(entry.shape));
  const int64_t expected = count * (dtype_bits(entry.type) / 8);
  if (entry.end - entry.begin != expected) {
    return corrupt(fmt::format("{} bytes of data, {} of {} needs {}", entry.end - entry.begin,
                               dtype_name(entry.type), shape_string(entry.shape), expected));
  }
  return entry;
}

Status read_metadata(const Json& json, std::map<std::string, std::string>& metadata) {
  if (!json.is_object()) return corrupt("'__metadata__' is not an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) return corrupt("'__metadata__' holds something that is not text");
    metadata[key] = value.get<std::string>();
  }
  return ok_status();
}

Result<Json> parse_header(std::string_view text) {
  bool too_deep = false;
  const auto limit_depth = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxHeaderDepth;
    return !too_deep;
  };
  Json header = Json::parse(text, limit_depth, /*allow_exceptions=*/false);
  if (too_deep || !header.is_object() || header.size() > kMaxTensors) {
    return corrupt("the header is not a JSON object that describes tensors");
  }
  return header;
}

Status check_coverage(std::vector<TensorEntry> entries, int64_t data_bytes) {
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  int64_t end = 0;
  for (const TensorEntry& entry : entries) {
    if (entry.begin != end) {
      return corrupt(fmt::format("tensor '{}' begins at byte {}, expected {}: {}", entry.name,
                                 entry.begin, end,
                                 entry.begin < end ? "tensors overlap" : "there is a hole"));
    }
    end = entry.end;
  }
  if (end != data_bytes) {
    return corrupt(fmt::format("{} bytes of data, the tensors take {}", data_bytes, end));
  }
  return ok_status();
}

Result<Tensor> make_tensor(const TensorEntry& entry, const std::shared_ptr<const std::byte>& data) {
  const std::byte* begin = data.get() + entry.begin;
  const auto bytes = static_cast<size_t>(entry.end - entry.begin);
  if (entry.type == DType::kBool) {
    for (size_t i = 0; i < bytes; ++i) {
      if (static_cast<uint8_t>(begin[i]) > 1) {
        return corrupt(
            fmt::format("tensor '{}': a bool of {}", entry.name, static_cast<int>(begin[i])));
      }
    }
  }
  if (bytes > 0 && reinterpret_cast<uintptr_t>(begin) % 8 == 0) {
    return Tensor::from_external(entry.type, entry.shape,
                                 std::shared_ptr<const std::byte>(data, begin));
  }
  PARE_ASSIGN_OR_RETURN(Tensor tensor, Tensor::create(entry.type, entry.shape));
  if (bytes > 0) std::memcpy(tensor.mutable_data(), begin, bytes);
  return tensor;
}

Result<Safetensors> parse(const std::shared_ptr<const std::byte>& data, size_t size) {
  static_assert(std::endian::native == std::endian::little);
  if (size < kLengthBytes) {
    return corrupt(
        fmt::format("not a safetensors file: {} bytes, expected at least {}", size, kLengthBytes));
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, data.get(), kLengthBytes);
  if (header_bytes > kMaxHeaderBytes || header_bytes > size - kLengthBytes) {
    return corrupt(fmt::format(
        "not a safetensors file: a header of {} bytes, expected at most {} in a file of {}",
        header_bytes, kMaxHeaderBytes, size));
  }
  const std::string_view text(reinterpret_cast<const char*>(data.get()) + kLengthBytes,
                              static_cast<size_t>(header_bytes));
  PARE_ASSIGN_OR_RETURN(const Json header, parse_header(text));

  const size_t data_begin = kLengthBytes + static_cast<size_t>(header_bytes);
  const auto data_bytes = static_cast<int64_t>(size - data_begin);
  Safetensors content;
  std::vector<TensorEntry> entries;
  for (const auto& [name, json] : header.items()) {
    if (name == "__metadata__") {
      PARE_RETURN_IF_ERROR(read_metadata(json, content.metadata));
      continue;
    }
    auto entry = read_entry(name, json, data_bytes);
    if (!entry.ok()) return entry.status().with_context(fmt::format("tensor '{}'", name));
    entries.push_back(*std::move(entry));
  }
  PARE_RETURN_IF_ERROR(check_coverage(entries, data_bytes));
  const std::shared_ptr<const std::byte> values(data, data.get() + data_begin);
  for (const TensorEntry& entry : entries) {
    PARE_ASSIGN_OR_RETURN(content.tensors[entry.name], make_tensor(entry, values));
  }
  return content;
}

}  // namespace

Result<Safetensors> parse_safetensors(const std::shared_ptr<const std::byte>& data, size_t size) {
  try {
    return parse(data, size);
  } catch (const std::bad_alloc&) {
    return out_of_memory("no memory to read a safetensors file");
  }
}

Result<Safetensors> read_safetensors(const std::string& path) {
  PARE_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  auto content = parse_safetensors(file.data(), file.bytes().size());
  if (!content.ok()) return content.status().with_context(path);
  return content;
}

Status write_safetensors(const Safetensors& content, const std::string& path) {
  // The widest types first, so that every tensor begins at a multiple of its element's size.
  std::vector<std::pair<std::string, const Tensor*>> order;
  for (const auto& [name, tensor] : content.tensors) {
    if (name_of_type(tensor.type()) == nullptr) {
      return unsupported(fmt::format("{}: tensor '{}' is {}, which safetensors does not have", path,
                                     name, dtype_name(tensor.type())));
    }
    if (name == "__metadata__") {
      return invalid_argument(path + ": a tensor cannot be called '__metadata__'");
    }
    order.emplace_back(name, &tensor);
  }
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return dtype_bits(a.second->type()) > dtype_bits(b.second->type());
  });
  Json header = Json::object();
  if (!content.metadata.empty()) header["__metadata__"] = content.metadata;
  int64_t end = 0;
  for (const auto& [name, tensor] : order) {
    const int64_t begin = end;
    end += tensor->byte_count();
    header[name] = {{"dtype", name_of_type(tensor->type())},
                    {"shape", tensor->shape()},
                    {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');

  PARE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  const uint64_t header_bytes = text.size();
  PARE_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(&header_bytes, 1))));
  PARE_RETURN_IF_ERROR(file.write(text));
  for (const auto& [name, tensor] : order) {
    PARE_RETURN_IF_ERROR(
        file.write(std::span(tensor->data(), static_cast<size_t>(tensor->byte_count()))));
  }
  return file.commit();
}

}  // namespace pare

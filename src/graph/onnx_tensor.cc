#include "graph/onnx_tensor.h"

#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>

#include "graph/onnx_types.h"

namespace pare {
namespace {

constexpr size_t kMaxRank = 32;
constexpr int64_t kExternalLocation = 1;  // TensorProto.DataLocation.EXTERNAL

struct TensorFields {
  enum Tag : protozero::pbf_tag_type {
    kDims = 1,
    kDataType = 2,
    kSegment = 3,
    kFloatData = 4,
    kInt32Data = 5,
    kStringData = 6,
    kInt64Data = 7,
    kName = 8,
    kRawData = 9,
    kDoubleData = 10,
    kUint64Data = 11,
    kExternalData = 13,
    kDataLocation = 14,
  };
  std::string name;
  Shape dims;
  int64_t data_type = 0;
  int64_t data_location = 0;
  std::optional<protozero::data_view> raw;
  std::vector<int64_t> int32s;
  std::vector<int64_t> int64s;
  std::vector<float> floats;
  std::vector<double> doubles;
  std::map<std::string, std::string> external;
};

Status read_external_entry(protozero::pbf_reader entry, std::map<std::string, std::string>& out) {
  std::string key;
  std::string value;
  while (entry.next()) {
    if (entry.tag() == 1) {
      key = entry.get_string();
    } else if (entry.tag() == 2) {
      value = entry.get_string();
    } else {
      entry.skip();
    }
  }
  if (out.size() > 16) return corrupt("too many entries of external data");
  out[key] = value;
  return ok_status();
}

void read_doubles(protozero::pbf_reader& message, std::vector<double>& values) {
  if (message.wire_type() != protozero::pbf_wire_type::length_delimited) {
    values.push_back(message.get_double());
    return;
  }
  for (const double v : message.get_packed_double()) values.push_back(v);
}

Status read_fields(protozero::pbf_reader& message, TensorFields& fields) {
  while (message.next()) {
    switch (message.tag()) {
      case TensorFields::kDims:
        read_int64s(message, fields.dims);
        if (fields.dims.size() > kMaxRank) {
          return unsupported(fmt::format("more than {} dimensions", kMaxRank));
        }
        break;
      case TensorFields::kDataType:
        fields.data_type = message.get_int32();
        break;
      case TensorFields::kFloatData:
        read_floats(message, fields.floats);
        break;
      case TensorFields::kInt32Data:
        read_int64s(message, fields.int32s);
        break;
      case TensorFields::kInt64Data:
        read_int64s(message, fields.int64s);
        break;
      case TensorFields::kName:
        fields.name = message.get_string();
        break;
      case TensorFields::kRawData:
        fields.raw = message.get_view();
        break;
      case TensorFields::kDoubleData:
        read_doubles(message, fields.doubles);
        break;
      case TensorFields::kExternalData:
        PARE_RETURN_IF_ERROR(read_external_entry(message.get_message(), fields.external));
        break;
      case TensorFields::kDataLocation:
        fields.data_location = message.get_int32();
        break;
      case TensorFields::kSegment:
        return unsupported("a tensor in segments");
      case TensorFields::kStringData:
        return unsupported("a tensor of strings");
      default:
        message.skip();
    }
  }
  return ok_status();
}

// Bytes that `count` elements take, packed where the type is 4 bits wide.
int64_t bytes_of(DType type, int64_t count) { return (count * dtype_bits(type) + 7) / 8; }

template <typename To, typename From>
void copy_values(const std::vector<From>& from, Tensor& to) {
  auto* dst = reinterpret_cast<To*>(to.mutable_data());
  for (size_t i = 0; i < from.size(); ++i) dst[i] = static_cast<To>(from[i]);
}

Status expect_count(size_t found, int64_t expected) {
  if (static_cast<int64_t>(found) == expected) return ok_status();
  return corrupt(fmt::format("{} values, expected {}", found, expected));
}

template <typename To, typename From>
Result<Tensor> typed(DType type, const Shape& shape, const std::vector<From>& values,
                     int64_t expected) {
  PARE_RETURN_IF_ERROR(expect_count(values.size(), expected));
  PARE_ASSIGN_OR_RETURN(Tensor tensor, Tensor::create(type, shape));
  copy_values<To>(values, tensor);
  return tensor;
}

// ONNX keeps the smaller types in int32_data: integers as values, 16-bit floats as their bits,
// 4-bit ones packed, a byte in each.
Result<Tensor> from_typed_fields(const TensorFields& f, DType type, int64_t count) {
  switch (type) {
    case DType::kFloat32:
      return typed<float>(type, f.dims, f.floats, count);
    case DType::kFloat64:
      return typed<double>(type, f.dims, f.doubles, count);
    case DType::kInt64:
      return typed<int64_t>(type, f.dims, f.int64s, count);
    case DType::kInt32:
      return typed<int32_t>(type, f.dims, f.int32s, count);
    case DType::kInt16:
    case DType::kUInt16:
    case DType::kFloat16:
    case DType::kBFloat16:
      return typed<uint16_t>(type, f.dims, f.int32s, count);
    case DType::kInt4:
    case DType::kUInt4:
    case DType::kInt8:
    case DType::kUInt8:
    case DType::kBool:
      break;
  }
  return typed<uint8_t>(type, f.dims, f.int32s, bytes_of(type, count));
}

Result<Tensor> from_raw(const TensorFields& f, DType type, int64_t count) {
  const int64_t expected = bytes_of(type, count);
  if (static_cast<int64_t>(f.raw->size()) != expected) {
    return corrupt(fmt::format("{} bytes of data, {} of {} needs {}", f.raw->size(),
                               dtype_name(type), shape_string(f.dims), expected));
  }
  PARE_ASSIGN_OR_RETURN(Tensor tensor, Tensor::create(type, f.dims));
  if (expected > 0) {
    std::memcpy(tensor.mutable_data(), f.raw->data(), static_cast<size_t>(expected));
  }
  return tensor;
}

Result<int64_t> external_number(const TensorFields& f, const char* key, int64_t fallback) {
  const auto it = f.external.find(key);
  if (it == f.external.end()) return fallback;
  const std::string& text = it->second;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    return corrupt(fmt::format("external data: {} is '{}', expected a number", key, text));
  }
  return value;
}

Result<Tensor> from_external(const TensorFields& f, DType type, int64_t count,
                             ExternalFiles& files) {
  const auto location = f.external.find("location");
  if (location == f.external.end()) return corrupt("external data without a location");
  const int64_t expected = bytes_of(type, count);
  PARE_ASSIGN_OR_RETURN(const int64_t offset, external_number(f, "offset", 0));
  PARE_ASSIGN_OR_RETURN(const int64_t length, external_number(f, "length", expected));
  if (length != expected) {
    return corrupt(fmt::format("external data of {} bytes, {} of {} needs {}", length,
                               dtype_name(type), shape_string(f.dims), expected));
  }
  PARE_ASSIGN_OR_RETURN(auto data, files.open(location->second, offset, length));
  // Tensors want 8-byte alignment; writers that do not give it cost a copy.
  if (expected > 0 && reinterpret_cast<uintptr_t>(data.get()) % 8 == 0) {
    return Tensor::from_external(type, f.dims, std::move(data));
  }
  PARE_ASSIGN_OR_RETURN(Tensor tensor, Tensor::create(type, f.dims));
  if (expected > 0) std::memcpy(tensor.mutable_data(), data.get(), static_cast<size_t>(expected));
  return tensor;
}

// A byte that is neither 0 nor 1 in a bool tensor would be undefined behaviour to read.
Status check_bools(const Tensor& tensor) {
  if (tensor.type() != DType::kBool) return ok_status();
  for (int64_t i = 0; i < tensor.size(); ++i) {
    if (static_cast<uint8_t>(tensor.data()[i]) > 1) {
      return corrupt(fmt::format("a bool of {}", static_cast<int>(tensor.data()[i])));
    }
  }
  return ok_status();
}

Result<Tensor> build_tensor(const TensorFields& fields, ExternalFiles& files) {
  const auto type = dtype_from_onnx(fields.data_type);
  if (!type) {
    return unsupported(
        fmt::format("Pare has no type for ONNX's element type {}", fields.data_type));
  }
  PARE_ASSIGN_OR_RETURN(const int64_t count, checked_element_count(fields.dims));
  if (fields.data_location == kExternalLocation) {
    return from_external(fields, *type, count, files);
  }
  return fields.raw ? from_raw(fields, *type, count) : from_typed_fields(fields, *type, count);
}

}  // namespace

Result<MappedFile*> ExternalFiles::map(const std::string& location) {
  if (const auto it = files_.find(location); it != files_.end()) return &it->second;
  namespace fs = std::filesystem;
  const fs::path relative(location);
  bool climbs = location.empty() || relative.is_absolute() ||
                location.find('\\') != std::string::npos ||
                location.find('\0') != std::string::npos;
  for (const fs::path& part : relative) climbs = climbs || part == "..";
  if (folder_.empty()) return unsupported("external data, but the model has no folder");
  std::error_code error;
  const fs::path base = fs::weakly_canonical(folder_, error);
  const fs::path full = climbs ? fs::path() : fs::weakly_canonical(base / relative, error);
  const auto [end, rest] = std::mismatch(base.begin(), base.end(), full.begin(), full.end());
  if (climbs || error || end != base.end()) {
    return corrupt(
        fmt::format("external data at '{}', expected a file beside the model", location));
  }
  PARE_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(full.string()));
  return &files_.emplace(location, std::move(file)).first->second;
}

Result<std::shared_ptr<const std::byte>> ExternalFiles::open(const std::string& location,
                                                             int64_t offset, int64_t length) {
  PARE_ASSIGN_OR_RETURN(MappedFile * file, map(location));
  const auto size = static_cast<int64_t>(file->bytes().size());
  if (offset > size || length > size - offset) {
    return corrupt(fmt::format("external data of {} bytes at {}, but '{}' has {}", length, offset,
                               location, size));
  }
  return std::shared_ptr<const std::byte>(file->data(), file->data().get() + offset);
}

Result<NamedTensor> read_onnx_tensor(protozero::pbf_reader message, ExternalFiles& files) {
  TensorFields fields;
  Status status = read_fields(message, fields);
  if (status.ok()) {
    auto tensor = build_tensor(fields, files);
    status = tensor.ok() ? check_bools(*tensor) : tensor.status();
    if (status.ok()) return NamedTensor{std::move(fields.name), *std::move(tensor)};
  }
  return status.with_context(fmt::format("tensor '{}'", fields.name));
}

void write_onnx_tensor(protozero::pbf_writer& writer, const std::string& name, const Tensor& tensor,
                       const ExternalPlace* external) {
  for (int64_t d : tensor.shape()) writer.add_int64(TensorFields::kDims, d);
  writer.add_int32(TensorFields::kDataType, static_cast<int32_t>(onnx_from_dtype(tensor.type())));
  if (!name.empty()) writer.add_string(TensorFields::kName, name);
  const auto bytes = static_cast<size_t>(tensor.byte_count());
  if (external == nullptr) {
    writer.add_bytes(TensorFields::kRawData, reinterpret_cast<const char*>(tensor.data()), bytes);
    return;
  }
  const auto entry = [&](const std::string& key, const std::string& value) {
    protozero::pbf_writer pair(writer, TensorFields::kExternalData);
    pair.add_string(1, key);
    pair.add_string(2, value);
  };
  entry("location", external->location);
  entry("offset", std::to_string(external->offset));
  entry("length", std::to_string(bytes));
  writer.add_int32(TensorFields::kDataLocation, kExternalLocation);
}

}  // namespace pare

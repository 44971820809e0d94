#include "graph/pare_manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "graph/contract.h"
#include "graph/onnx_types.h"

namespace pare {
namespace {

constexpr size_t kMaxManifestRank = 64;

class Writer {
 public:
  std::vector<std::byte> bytes;

  void u8(uint8_t value) { bytes.push_back(static_cast<std::byte>(value)); }
  void u64(uint64_t value) { raw(&value, sizeof(value)); }
  void f32(float value) { raw(&value, sizeof(value)); }
  void count(uint64_t value) {
    for (; value >= 0x80; value >>= 7) u8(static_cast<uint8_t>(value | 0x80));
    u8(static_cast<uint8_t>(value));
  }
  void integer(int64_t value) {
    count((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
  }
  void string(const std::string& s) {
    count(s.size());
    raw(s.data(), s.size());
  }
  void raw(const void* data, size_t size) {
    const auto* p = static_cast<const std::byte*>(data);
    bytes.insert(bytes.end(), p, p + size);
  }
  template <typename Container, typename F>
  void list(const Container& items, F&& item) {
    count(items.size());
    for (const auto& i : items) item(i);
  }
  void strings(const std::vector<std::string>& items) {
    list(items, [this](const std::string& s) { string(s); });
  }
  void integers(const std::vector<int64_t>& items) {
    list(items, [this](int64_t i) { integer(i); });
  }
};

// Reads what Writer wrote. The first failure sticks: from then on everything reads as empty, so
// that callers check status() once at the end.
class ManifestReader {
 public:
  explicit ManifestReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  const Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }
  bool at_end() const { return rest_.empty(); }
  void fail(const std::string& what) {
    if (status_.ok()) status_ = corrupt("manifest: " + what);
    rest_ = {};
  }
  std::span<const std::byte> take(uint64_t size) {
    if (size > rest_.size()) {
      fail("cut off");
      return {};
    }
    const auto taken = rest_.first(static_cast<size_t>(size));
    rest_ = rest_.subspan(static_cast<size_t>(size));
    return taken;
  }
  template <typename T>
  T fixed() {
    T value{};
    const auto taken = take(sizeof(T));
    if (taken.size() == sizeof(T)) std::memcpy(&value, taken.data(), sizeof(T));
    return value;
  }
  uint8_t u8() { return fixed<uint8_t>(); }
  uint64_t count() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = u8();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    fail("a number of more than 64 bits");
    return 0;
  }
  int64_t integer() {
    const uint64_t value = count();
    return static_cast<int64_t>((value >> 1) ^ (0 - (value & 1)));
  }
  std::string string() {
    const auto taken = take(count());
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  // Calls item() as often as the count says. Every item takes a byte at least, so a count beyond
  // what is left is refused before anything is done.
  template <typename F>
  void list(F&& item) {
    const uint64_t n = count();
    if (n > rest_.size()) return fail("a list longer than the file");
    for (uint64_t i = 0; i < n && ok(); ++i) item();
  }
  std::vector<std::string> strings() {
    std::vector<std::string> items;
    list([&] { items.push_back(string()); });
    return items;
  }
  std::vector<int64_t> integers() {
    std::vector<int64_t> items;
    list([&] { items.push_back(integer()); });
    return items;
  }

 private:
  std::span<const std::byte> rest_;
  Status status_;
};

// ---- types, shapes, tensors ----

void write_type(Writer& w, DType type) { w.integer(onnx_from_dtype(type)); }

DType read_type(ManifestReader& r) {
  const int64_t number = r.integer();
  const std::optional<DType> type = dtype_from_onnx(number);
  if (!type.has_value()) r.fail(fmt::format("unknown element type {}", number));
  return type.value_or(DType::kFloat32);
}

void write_tensor(Writer& w, const Tensor& tensor) {
  write_type(w, tensor.type());
  w.integers(tensor.shape());
  w.raw(tensor.data(), static_cast<size_t>(tensor.byte_count()));
}

Tensor read_tensor_bytes(ManifestReader& r, DType type, Shape shape) {
  const Result<int64_t> bytes = stored_tensor_bytes(type, shape);
  if (!bytes.ok()) {
    r.fail(bytes.status().message());
    return {};
  }
  const auto taken = r.take(static_cast<uint64_t>(*bytes));
  if (r.ok() && !sound_elements(type, taken)) r.fail("a bool that is neither 0 nor 1");
  if (!r.ok()) return {};
  Tensor tensor(type, std::move(shape));
  if (!taken.empty()) std::memcpy(tensor.mutable_data(), taken.data(), taken.size());
  return tensor;
}

void write_value(Writer& w, const ValueInfo& value) {
  w.string(value.name);
  write_type(w, value.type);
  w.integers(value.shape);
}

ValueInfo read_value(ManifestReader& r) {
  ValueInfo value;
  value.name = r.string();
  value.type = read_type(r);
  value.shape = r.integers();
  return value;
}

// ---- attributes ----

void write_attribute(Writer& w, const std::string& name, const Attribute& attribute) {
  w.string(name);
  w.u8(static_cast<uint8_t>(attribute.index()));
  std::visit(
      [&w](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, int64_t>) {
          w.integer(value);
        } else if constexpr (std::is_same_v<T, float>) {
          w.f32(value);
        } else if constexpr (std::is_same_v<T, std::string>) {
          w.string(value);
        } else if constexpr (std::is_same_v<T, Tensor>) {
          write_tensor(w, value);
        } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
          w.integers(value);
        } else if constexpr (std::is_same_v<T, std::vector<float>>) {
          w.list(value, [&w](float f) { w.f32(f); });
        } else {
          w.strings(value);
        }
      },
      attribute);
}

Attribute read_attribute(ManifestReader& r) {
  switch (const uint8_t kind = r.u8(); kind) {
    case 0:
      return r.integer();
    case 1:
      return r.fixed<float>();
    case 2:
      return r.string();
    case 3: {
      const DType type = read_type(r);
      return read_tensor_bytes(r, type, r.integers());
    }
    case 4:
      return r.integers();
    case 5: {
      std::vector<float> values;
      r.list([&] { values.push_back(r.fixed<float>()); });
      return values;
    }
    case 6:
      return r.strings();
    default:
      r.fail(fmt::format("unknown kind of attribute {}", kind));
      return int64_t{0};
  }
}
static_assert(
    std::is_same_v<std::variant_alternative_t<3, Attribute>, Tensor> &&
        std::is_same_v<std::variant_alternative_t<6, Attribute>, std::vector<std::string>>,
    "the file's kinds are the variant's indices");

void write_attributes(Writer& w, const std::map<std::string, Attribute>& attributes) {
  w.list(attributes, [&w](const auto& a) { write_attribute(w, a.first, a.second); });
}

std::map<std::string, Attribute> read_attributes(ManifestReader& r) {
  std::map<std::string, Attribute> attributes;
  r.list([&] {
    std::string name = r.string();
    Attribute value = read_attribute(r);
    if (!attributes.emplace(name, std::move(value)).second) {
      r.fail(fmt::format("attribute '{}' twice", name));
    }
  });
  return attributes;
}

void write_node(Writer& w, const Node& node) {
  w.string(node.op);
  w.string(node.domain);
  w.string(node.name);
  w.strings(node.inputs);
  w.strings(node.outputs);
  write_attributes(w, node.attributes);
}

Node read_node(ManifestReader& r) {
  Node node;
  node.op = r.string();
  node.domain = r.string();
  node.name = r.string();
  node.inputs = r.strings();
  node.outputs = r.strings();
  node.drop_empty_ends();
  node.attributes = read_attributes(r);
  return node;
}

// ---- contract ----

std::map<std::string, Attribute> contract_attributes(const InputContract& c) {
  return {{"channels", c.channels},
          {"height", c.height},
          {"width", c.width},
          {"channels_last", int64_t{c.channels_last}},
          {"bgr", int64_t{c.bgr}},
          {"resize", c.resize},
          {"float_input", int64_t{c.float_input}},
          {"scale", c.scale},
          {"mean", c.mean},
          {"std", c.std},
          {"outputs_probabilities", int64_t{c.outputs_probabilities}},
          {"classes", c.classes}};
}

template <typename T>
void take_field(ManifestReader& r, std::map<std::string, Attribute>& fields, const char* name,
                T& out) {
  const auto it = fields.find(name);
  if (it == fields.end()) return;
  using Stored = std::conditional_t<std::is_same_v<T, bool>, int64_t, T>;
  if (const auto* value = std::get_if<Stored>(&it->second); value != nullptr) {
    out = static_cast<T>(*value);
  } else {
    r.fail(fmt::format("contract field '{}' of the wrong kind", name));
  }
  fields.erase(it);
}

InputContract read_contract(ManifestReader& r) {
  std::map<std::string, Attribute> fields = read_attributes(r);
  InputContract c;
  take_field(r, fields, "channels", c.channels);
  take_field(r, fields, "height", c.height);
  take_field(r, fields, "width", c.width);
  take_field(r, fields, "channels_last", c.channels_last);
  take_field(r, fields, "bgr", c.bgr);
  take_field(r, fields, "resize", c.resize);
  take_field(r, fields, "float_input", c.float_input);
  take_field(r, fields, "scale", c.scale);
  take_field(r, fields, "mean", c.mean);
  take_field(r, fields, "std", c.std);
  take_field(r, fields, "outputs_probabilities", c.outputs_probabilities);
  take_field(r, fields, "classes", c.classes);
  // Ignoring one could feed the model wrongly.
  if (!fields.empty()) {
    r.fail(fmt::format("unknown contract field '{}'; the file may be from a newer Pare",
                       fields.begin()->first));
  }
  if (const Status sound = check_contract(c); !sound.ok()) r.fail(sound.message());
  return c;
}

// ---- the list of tensors ----

void write_entry(Writer& w, const PareTensor& t) {
  w.string(t.name);
  write_type(w, t.type);
  w.integers(t.shape);
  w.u8(static_cast<uint8_t>(t.storage));
  if (t.storage == PareStorage::kInline) {
    w.raw(t.inline_value.data(), static_cast<size_t>(t.inline_value.byte_count()));
  } else {
    w.u64(t.offset);
    w.u64(t.stored_bytes);
    w.u64(t.hash);
  }
}

PareTensor read_entry(ManifestReader& r) {
  PareTensor t;
  t.name = r.string();
  t.type = read_type(r);
  t.shape = r.integers();
  const uint8_t storage = r.u8();
  if (storage > static_cast<uint8_t>(PareStorage::kPalette)) {
    r.fail(fmt::format("tensor '{}': unknown storage {}", t.name, storage));
    return t;
  }
  t.storage = static_cast<PareStorage>(storage);
  if (t.storage == PareStorage::kInline) {
    t.inline_value = read_tensor_bytes(r, t.type, t.shape);
  } else {
    t.offset = r.fixed<uint64_t>();
    t.stored_bytes = r.fixed<uint64_t>();
    t.hash = r.fixed<uint64_t>();
    if (const auto bytes = stored_tensor_bytes(t.type, t.shape); !bytes.ok()) {
      r.fail(fmt::format("tensor '{}': {}", t.name, bytes.status().message()));
    }
  }
  return t;
}

}  // namespace

Result<int64_t> stored_tensor_bytes(DType type, const Shape& shape) {
  if (shape.size() > kMaxManifestRank) {
    return corrupt(
        fmt::format("{} dimensions: expected at most {}", shape.size(), kMaxManifestRank));
  }
  PARE_ASSIGN_OR_RETURN(const int64_t n, checked_element_count(shape));
  return (n * dtype_bits(type) + 7) / 8;
}

bool sound_elements(DType type, std::span<const std::byte> bytes) {
  return type != DType::kBool ||
         std::ranges::all_of(bytes, [](std::byte b) { return b <= std::byte{1}; });
}

std::vector<std::byte> write_manifest(const Graph& graph, const std::vector<PareTensor>& tensors) {
  Writer w;
  w.string(graph.name);
  w.integer(graph.opset);
  w.list(graph.inputs, [&w](const ValueInfo& v) { write_value(w, v); });
  w.list(graph.outputs, [&w](const ValueInfo& v) { write_value(w, v); });
  w.list(graph.nodes, [&w](const Node& n) { write_node(w, n); });
  write_attributes(w, contract_attributes(graph.contract));
  w.list(graph.metadata, [&w](const auto& m) {
    w.string(m.first);
    w.string(m.second);
  });
  w.list(tensors, [&w](const PareTensor& t) { write_entry(w, t); });
  return std::move(w.bytes);
}

Result<PareManifest> read_manifest(std::span<const std::byte> bytes) {
  ManifestReader r(bytes);
  PareManifest m;
  m.graph.name = r.string();
  m.graph.opset = r.integer();
  r.list([&] { m.graph.inputs.push_back(read_value(r)); });
  r.list([&] { m.graph.outputs.push_back(read_value(r)); });
  r.list([&] { m.graph.nodes.push_back(read_node(r)); });
  m.graph.contract = read_contract(r);
  r.list([&] {
    std::string key = r.string();
    m.graph.metadata[std::move(key)] = r.string();
  });
  r.list([&] { m.tensors.push_back(read_entry(r)); });
  PARE_RETURN_IF_ERROR(r.status());
  if (!r.at_end()) return corrupt("manifest: bytes left over at its end");
  return m;
}

}  // namespace pare

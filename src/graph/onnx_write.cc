// Writing ModelProto.
#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "graph/contract.h"
#include "graph/onnx.h"
#include "graph/onnx_fields.h"
#include "graph/onnx_tensor.h"
#include "graph/onnx_types.h"
#include "graph/protobuf.h"
#include "graph/weight_signs.h"

namespace pare {
namespace {

using protozero::pbf_writer;

// Protobuf holds at most 2 GiB - 1 in a message; the structure around the weights gets 64 MiB.
constexpr int64_t kMaxInlineBytes = (int64_t{1} << 31) - (int64_t{64} << 20);
// Smaller tensors stay in the model file, where shape inference of other programs looks for them.
constexpr int64_t kMinExternalBytes = 1024;
// docs/ExternalData.md asks for page boundaries, so that readers can map the file.
constexpr int64_t kExternalAlignment = 4096;

using ExternalPlaces = std::map<std::string, ExternalPlace>;

// The first IR version of the ONNX release that brought the opset (docs/Versioning.md).
int64_t ir_version(int64_t opset) { return opset <= 18 ? 8 : opset <= 20 ? 9 : 10; }

void write_value_info(pbf_writer& parent, uint32_t field, const ValueInfo& info) {
  pbf_writer value(parent, field);
  value.add_string(1, info.name);
  pbf_writer type(value, 2);
  pbf_writer tensor(type, 1);
  tensor.add_int32(1, static_cast<int32_t>(onnx_from_dtype(info.type)));
  pbf_writer shape(tensor, 2);
  for (int64_t d : info.shape) {
    pbf_writer dimension(shape, 1);
    if (d == kDynamic) {
      dimension.add_string(2, "N");
    } else {
      dimension.add_int64(1, d);
    }
  }
}

struct AttributeWriter {
  pbf_writer& out;

  void operator()(int64_t v) const {
    out.add_int64(AttributeField::kI, v);
    out.add_int32(AttributeField::kType, AttributeType::kInt);
  }
  void operator()(float v) const {
    out.add_float(AttributeField::kF, v);
    out.add_int32(AttributeField::kType, AttributeType::kFloat);
  }
  void operator()(const std::string& v) const {
    out.add_string(AttributeField::kS, v);
    out.add_int32(AttributeField::kType, AttributeType::kString);
  }
  void operator()(const Tensor& v) const {
    {
      pbf_writer tensor(out, AttributeField::kT);
      write_onnx_tensor(tensor, "", v, nullptr);
    }
    out.add_int32(AttributeField::kType, AttributeType::kTensor);
  }
  void operator()(const std::vector<int64_t>& v) const {
    for (int64_t i : v) out.add_int64(AttributeField::kInts, i);
    out.add_int32(AttributeField::kType, AttributeType::kInts);
  }
  void operator()(const std::vector<float>& v) const {
    for (float f : v) out.add_float(AttributeField::kFloats, f);
    out.add_int32(AttributeField::kType, AttributeType::kFloats);
  }
  void operator()(const std::vector<std::string>& v) const {
    for (const std::string& s : v) out.add_string(AttributeField::kStrings, s);
    out.add_int32(AttributeField::kType, AttributeType::kStrings);
  }
};

void write_node(pbf_writer& parent, const Node& node) {
  pbf_writer out(parent, GraphField::kNode);
  for (const std::string& value : node.inputs) out.add_string(NodeField::kInput, value);
  for (const std::string& value : node.outputs) out.add_string(NodeField::kOutput, value);
  out.add_string(NodeField::kName, node.name);
  out.add_string(NodeField::kOpType, node.op);
  if (!node.domain.empty()) out.add_string(NodeField::kDomain, node.domain);
  for (const auto& [key, value] : node.attributes) {
    pbf_writer attribute(out, NodeField::kAttribute);
    attribute.add_string(AttributeField::kName, key);
    std::visit(AttributeWriter{attribute}, value);
  }
}

void write_pair(pbf_writer& parent, uint32_t field, const std::string& key,
                const std::string& value) {
  pbf_writer pair(parent, field);
  pair.add_string(1, key);
  pair.add_string(2, value);
}

std::string model_bytes(const Graph& graph, const ExternalPlaces& external) {
  std::string bytes;
  pbf_writer model(bytes);
  model.add_int64(ModelField::kIrVersion, ir_version(graph.opset));
  model.add_string(ModelField::kProducerName, "pare");
  {
    pbf_writer out(model, ModelField::kGraph);
    for (const Node& node : graph.nodes) write_node(out, node);
    out.add_string(GraphField::kName, graph.name.empty() ? "model" : graph.name);
    for (const auto& [name, tensor] : graph.initializers) {
      const auto place = external.find(name);
      pbf_writer initializer(out, GraphField::kInitializer);
      write_onnx_tensor(initializer, name, tensor,
                        place == external.end() ? nullptr : &place->second);
    }
    for (const ValueInfo& v : graph.inputs) write_value_info(out, GraphField::kInput, v);
    for (const ValueInfo& v : graph.outputs) write_value_info(out, GraphField::kOutput, v);
  }
  {
    pbf_writer opset(model, ModelField::kOpsetImport);
    opset.add_string(1, "");
    opset.add_int64(2, graph.opset);
  }
  for (const auto& [key, value] : graph.metadata) {
    write_pair(model, ModelField::kMetadataProps, key, value);
  }
  // A contract that says nothing is left out, so that a file read and written stays the same.
  if (graph.contract != contract_from_input(graph)) {
    write_pair(model, ModelField::kMetadataProps, kContractKey, contract_to_json(graph.contract));
  }
  return bytes;
}

Status check_writable(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    if (node.domain.empty()) continue;
    return internal_error(
        fmt::format("node '{}' ({}.{}) exists only inside Pare and cannot be "
                    "written",
                    node.name, node.domain, node.op));
  }
  return check_graph(graph);
}

int64_t weight_bytes(const Graph& graph) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : graph.initializers) bytes += tensor.byte_count();
  return bytes;
}

constexpr const char* kDataEnding = ".data";

// The files beside the model that hold, or held, its weights: "<file name>.<hash>.data".
std::vector<std::filesystem::path> data_files(const std::filesystem::path& model) {
  const std::string start = model.filename().string() + ".";
  const size_t length = start.size() + hash_bytes({}).size() + std::strlen(kDataEnding);
  std::vector<std::filesystem::path> found;
  std::error_code ignored;
  const auto folder = model.has_parent_path() ? model.parent_path() : std::filesystem::path(".");
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.size() != length || !name.starts_with(start) || !name.ends_with(kDataEnding)) continue;
    if (name.find_first_not_of("0123456789abcdef", start.size()) !=
        length - std::strlen(kDataEnding)) {
      continue;
    }
    found.push_back(entry.path());
  }
  return found;
}

// Of these, the ones that the model which stands there now names: when it is replaced they belong
// to nothing. Others may be those of a model that was given another name.
std::vector<std::filesystem::path> data_files_in_use(const std::string& model) {
  std::vector<std::filesystem::path> files = data_files(model);
  if (files.empty()) return files;
  const Result<std::string> bytes = read_text_file(model);
  std::erase_if(files, [&bytes](const std::filesystem::path& path) {
    return !bytes.ok() || bytes->find(path.filename().string()) == std::string::npos;
  });
  return files;
}

// `kept` is the name of the new model's data file, empty if it has none.
void remove_stale_data(const std::vector<std::filesystem::path>& files, const std::string& kept) {
  for (const std::filesystem::path& path : files) {
    std::error_code ignored;
    if (path.filename() != kept) std::filesystem::remove(path, ignored);
  }
}

// Where each tensor lies in the data file, whose name is made of what it holds.
ExternalPlaces plan_external(const Graph& graph, const std::string& model) {
  ExternalPlaces places;
  std::string content;
  int64_t end = 0;
  for (const auto& [name, tensor] : graph.initializers) {
    if (tensor.byte_count() < kMinExternalBytes) continue;
    const int64_t offset = (end + kExternalAlignment - 1) / kExternalAlignment * kExternalAlignment;
    places[name] = {"", offset};
    end = offset + tensor.byte_count();
    content += fmt::format("{} {} {}\n", offset, end,
                           hash_bytes({tensor.data(), static_cast<size_t>(tensor.byte_count())}));
  }
  const std::string location =
      fmt::format("{}.{}{}", std::filesystem::path(model).filename().string(),
                  hash_bytes(std::as_bytes(std::span(content))), kDataEnding);
  for (auto& [name, place] : places) place.location = location;
  return places;
}

Status write_external(AtomicFile& file, const Graph& graph, const ExternalPlaces& places) {
  const std::string zeros(static_cast<size_t>(kExternalAlignment), '\0');
  int64_t written = 0;
  for (const auto& [name, place] : places) {
    const Tensor& tensor = graph.initializers.at(name);
    const auto bytes = static_cast<size_t>(tensor.byte_count());
    PARE_RETURN_IF_ERROR(
        file.write(std::string_view(zeros).substr(0, static_cast<size_t>(place.offset - written))));
    PARE_RETURN_IF_ERROR(file.write(std::span(tensor.data(), bytes)));
    written = place.offset + tensor.byte_count();
  }
  return ok_status();
}

}  // namespace

Result<std::string> serialise_onnx(const Graph& graph) {
  PARE_RETURN_IF_ERROR(check_writable(graph));
  if (weight_bytes(graph) > kMaxInlineBytes) {
    return unsupported("more than 2 GiB of weights do not fit one ONNX file");
  }
  return model_bytes(with_unsigned_weights(graph), {});
}

Status write_onnx(const Graph& original, const std::string& path, const OnnxWriteOptions& options) {
  PARE_RETURN_IF_ERROR(check_writable(original).with_context(path));
  const Graph graph = options.signed_weights ? original : with_unsigned_weights(original);
  const std::vector<std::filesystem::path> replaced = data_files_in_use(path);
  ExternalPlaces places;
  if (options.external_data || weight_bytes(graph) > kMaxInlineBytes) {
    places = plan_external(graph, path);
  }
  if (places.empty()) {
    PARE_RETURN_IF_ERROR(write_file(path, model_bytes(graph, {})));
    remove_stale_data(replaced, "");
    return ok_status();
  }
  const std::string& location = places.begin()->second.location;
  const std::filesystem::path data_path = std::filesystem::path(path).parent_path() / location;
  PARE_ASSIGN_OR_RETURN(AtomicFile data, AtomicFile::create(data_path.string()));
  PARE_ASSIGN_OR_RETURN(AtomicFile model, AtomicFile::create(path));
  PARE_RETURN_IF_ERROR(write_external(data, graph, places));
  PARE_RETURN_IF_ERROR(model.write(model_bytes(graph, places)));
  PARE_RETURN_IF_ERROR(data.commit());
  PARE_RETURN_IF_ERROR(model.commit());
  remove_stale_data(replaced, location);
  return ok_status();
}

}  // namespace pare

// Reading ModelProto: structure here, tensors in onnx_tensor.cc.
#include <filesystem>
#include <optional>
#include <unordered_set>

#include "graph/contract.h"
#include "graph/onnx.h"
#include "graph/onnx_fields.h"
#include "graph/onnx_tensor.h"
#include "graph/onnx_types.h"
#include "graph/opset.h"
#include "graph/protobuf.h"
#include "graph/shapes.h"
#include "graph/weight_signs.h"

namespace pare {
namespace {

using protozero::pbf_reader;

// The largest networks in use have some ten thousand nodes. A file can hold an empty one in two
// bytes, so the number is bounded to bound the memory.
constexpr size_t kMaxItems = 1 << 16;

// From here on older files have the forms of opset 17 for every operator Pare knows.
constexpr int64_t kOldestOpset = 13;

class OnnxReader {
 public:
  explicit OnnxReader(const std::string& folder) : files_(folder) {}

  Result<Graph> read_model(std::span<const std::byte> bytes);

 private:
  Status read_metadata(pbf_reader entry);
  Status read_opset(pbf_reader entry);
  Status read_graph(pbf_reader message);
  Status read_node(pbf_reader message);
  Status read_attribute(pbf_reader message, Node& node);
  Status read_initializer(pbf_reader message);
  Result<ValueInfo> read_value_info(pbf_reader message);
  Status count_item();

  Status finish();
  Status lift_constants();
  void name_nodes();

  ExternalFiles files_;
  Graph graph_;
  std::optional<int64_t> opset_;
  bool has_graph_ = false;
  size_t items_ = 0;
};

Status OnnxReader::count_item() {
  if (++items_ <= kMaxItems) return ok_status();
  return unsupported(fmt::format("more than {} nodes, tensors and inputs", kMaxItems));
}

Result<Graph> OnnxReader::read_model(std::span<const std::byte> bytes) {
  pbf_reader model(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (model.next()) {
    switch (model.tag()) {
      case ModelField::kOpsetImport:
        PARE_RETURN_IF_ERROR(read_opset(model.get_message()));
        break;
      case ModelField::kMetadataProps:
        PARE_RETURN_IF_ERROR(read_metadata(model.get_message()));
        break;
      case ModelField::kGraph:
        if (has_graph_) return corrupt("two graphs in one model");
        has_graph_ = true;
        PARE_RETURN_IF_ERROR(read_graph(model.get_message()));
        break;
      default:
        model.skip();
    }
  }
  PARE_RETURN_IF_ERROR(finish());
  return std::move(graph_);
}

Status OnnxReader::read_opset(pbf_reader entry) {
  std::string domain;
  int64_t version = 0;
  while (entry.next()) {
    if (entry.tag() == 1) {
      domain = entry.get_string();
    } else if (entry.tag() == 2) {
      version = entry.get_int64();
    } else {
      entry.skip();
    }
  }
  // Other domains may be imported without being used; a node of theirs is refused by name.
  if (domain.empty() || domain == "ai.onnx") opset_ = version;
  return ok_status();
}

Status OnnxReader::read_metadata(pbf_reader entry) {
  PARE_RETURN_IF_ERROR(count_item());
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
  graph_.metadata[key] = std::move(value);
  return ok_status();
}

Status OnnxReader::read_graph(pbf_reader message) {
  while (message.next()) {
    switch (message.tag()) {
      case GraphField::kName:
        graph_.name = message.get_string();
        break;
      case GraphField::kNode:
        PARE_RETURN_IF_ERROR(count_item());
        PARE_RETURN_IF_ERROR(read_node(message.get_message()));
        break;
      case GraphField::kInitializer:
        PARE_RETURN_IF_ERROR(count_item());
        PARE_RETURN_IF_ERROR(read_initializer(message.get_message()));
        break;
      case GraphField::kInput:
      case GraphField::kOutput: {
        PARE_RETURN_IF_ERROR(count_item());
        const bool is_input = message.tag() == GraphField::kInput;
        PARE_ASSIGN_OR_RETURN(ValueInfo info, read_value_info(message.get_message()));
        (is_input ? graph_.inputs : graph_.outputs).push_back(std::move(info));
        break;
      }
      case GraphField::kSparseInitializer:
        return unsupported("sparse initializers");
      default:
        message.skip();
    }
  }
  return ok_status();
}

Status OnnxReader::read_initializer(pbf_reader message) {
  PARE_ASSIGN_OR_RETURN(NamedTensor named, read_onnx_tensor(message, files_));
  if (named.name.empty()) return corrupt("an initializer without a name");
  if (!graph_.initializers.emplace(named.name, std::move(named.tensor)).second) {
    return corrupt(fmt::format("two initializers are called '{}'", named.name));
  }
  return ok_status();
}

Status read_dimension(pbf_reader message, Shape& shape) {
  int64_t size = kDynamic;  // also when it is a symbol
  while (message.next()) {
    if (message.tag() == 1) {
      size = message.get_int64();
      if (size < 0) return corrupt(fmt::format("a dimension of {}", size));
    } else {
      message.skip();
    }
  }
  if (shape.size() >= 32) return unsupported("more than 32 dimensions");
  shape.push_back(size);
  return ok_status();
}

Status read_tensor_type(pbf_reader message, ValueInfo& info) {
  int64_t number = 0;
  while (message.next()) {
    if (message.tag() == 1) {
      number = message.get_int32();
    } else if (message.tag() == 2) {
      pbf_reader shape = message.get_message();
      while (shape.next()) {
        if (shape.tag() != 1) {
          shape.skip();
          continue;
        }
        PARE_RETURN_IF_ERROR(read_dimension(shape.get_message(), info.shape));
      }
    } else {
      message.skip();
    }
  }
  const auto type = dtype_from_onnx(number);
  if (!type) return unsupported(fmt::format("Pare has no type for ONNX's element type {}", number));
  info.type = *type;
  return ok_status();
}

Result<ValueInfo> OnnxReader::read_value_info(pbf_reader message) {
  ValueInfo info;
  bool is_tensor = false;
  Status status;
  while (message.next()) {
    if (message.tag() == 1) {
      info.name = message.get_string();
    } else if (message.tag() == 2) {
      pbf_reader type = message.get_message();
      while (type.next()) {
        if (type.tag() != 1) {
          type.skip();
          continue;
        }
        is_tensor = true;
        info.shape.clear();
        status = read_tensor_type(type.get_message(), info);
      }
    } else {
      message.skip();
    }
  }
  if (status.ok() && !is_tensor) status = unsupported("it is not a tensor");
  PARE_RETURN_IF_ERROR(status.with_context(fmt::format("input or output '{}'", info.name)));
  return info;
}

Status OnnxReader::read_node(pbf_reader message) {
  Node node;
  std::vector<pbf_reader> attributes;
  while (message.next()) {
    switch (message.tag()) {
      case NodeField::kInput:
        node.inputs.push_back(message.get_string());
        break;
      case NodeField::kOutput:
        node.outputs.push_back(message.get_string());
        break;
      case NodeField::kName:
        node.name = message.get_string();
        break;
      case NodeField::kOpType:
        node.op = message.get_string();
        break;
      case NodeField::kDomain:
        node.domain = message.get_string();
        break;
      case NodeField::kAttribute:
        attributes.push_back(message.get_message());
        break;
      default:
        message.skip();
    }
  }
  if (node.domain == "ai.onnx") node.domain.clear();
  // Read last, so that messages can name the node whatever the order of the fields.
  for (pbf_reader attribute : attributes) {
    PARE_RETURN_IF_ERROR(read_attribute(attribute, node)
                             .with_context(fmt::format("node '{}' ({})", node.name, node.op)));
  }
  node.drop_empty_ends();
  graph_.nodes.push_back(std::move(node));
  return ok_status();
}

struct AttributeFields {
  std::string name;
  int64_t type = 0;
  float f = 0.0F;
  int64_t i = 0;
  std::string s;
  std::optional<pbf_reader> tensor;
  std::vector<float> floats;
  std::vector<int64_t> ints;
  std::vector<std::string> strings;
};

Status read_attribute_fields(pbf_reader message, AttributeFields& a) {
  while (message.next()) {
    switch (message.tag()) {
      case AttributeField::kName:
        a.name = message.get_string();
        break;
      case AttributeField::kType:
        a.type = message.get_int32();
        break;
      case AttributeField::kF:
        a.f = message.get_float();
        break;
      case AttributeField::kI:
        a.i = message.get_int64();
        break;
      case AttributeField::kS:
        a.s = message.get_string();
        break;
      case AttributeField::kT:
        a.tensor = message.get_message();
        break;
      case AttributeField::kFloats:
        read_floats(message, a.floats);
        break;
      case AttributeField::kInts:
        read_int64s(message, a.ints);
        break;
      case AttributeField::kStrings:
        a.strings.push_back(message.get_string());
        break;
      default:
        message.skip();
    }
  }
  return ok_status();
}

Status OnnxReader::read_attribute(pbf_reader message, Node& node) {
  AttributeFields a;
  PARE_RETURN_IF_ERROR(read_attribute_fields(message, a));
  Attribute value;
  switch (a.type) {
    case AttributeType::kFloat:
      value = a.f;
      break;
    case AttributeType::kInt:
      value = a.i;
      break;
    case AttributeType::kString:
      value = std::move(a.s);
      break;
    case AttributeType::kTensor: {
      if (!a.tensor) return corrupt(fmt::format("attribute '{}' has no tensor", a.name));
      auto named = read_onnx_tensor(*a.tensor, files_);
      PARE_RETURN_IF_ERROR(named.status().with_context(fmt::format("attribute '{}'", a.name)));
      value = std::move(named->tensor);
      break;
    }
    case AttributeType::kFloats:
      value = std::move(a.floats);
      break;
    case AttributeType::kInts:
      value = std::move(a.ints);
      break;
    case AttributeType::kStrings:
      value = std::move(a.strings);
      break;
    default:
      return unsupported(
          fmt::format("attribute '{}' is of ONNX's kind {} (graphs, sparse tensors and types are "
                      "not supported)",
                      a.name, a.type));
  }
  if (!node.attributes.emplace(a.name, std::move(value)).second) {
    return corrupt(fmt::format("attribute '{}' stands twice", a.name));
  }
  return ok_status();
}

// The value of a Constant node, whichever attribute holds it.
Result<Tensor> constant_value(const Node& node) {
  if (node.attributes.size() == 1) {
    const auto& [key, value] = *node.attributes.begin();
    if (const auto* tensor = std::get_if<Tensor>(&value); tensor != nullptr && key == "value") {
      return *tensor;
    }
    if (const auto* i = std::get_if<int64_t>(&value)) return Tensor::scalar<int64_t>(*i);
    if (const auto* f = std::get_if<float>(&value)) return Tensor::scalar<float>(*f);
    if (const auto* ints = std::get_if<std::vector<int64_t>>(&value)) {
      return Tensor::from_values<int64_t>({static_cast<int64_t>(ints->size())}, *ints);
    }
    if (const auto* floats = std::get_if<std::vector<float>>(&value)) {
      return Tensor::from_values<float>({static_cast<int64_t>(floats->size())}, *floats);
    }
  }
  return unsupported(
      fmt::format("node '{}' (Constant): a constant that is not numbers", node.name));
}

Status OnnxReader::lift_constants() {
  std::vector<Node> kept;
  for (Node& node : graph_.nodes) {
    if (node.op != "Constant" || !node.domain.empty()) {
      kept.push_back(std::move(node));
      continue;
    }
    if (node.outputs.size() != 1 || !node.inputs.empty()) {
      return corrupt(
          fmt::format("node '{}' (Constant): expected no input and one output", node.name));
    }
    PARE_ASSIGN_OR_RETURN(Tensor tensor, constant_value(node));
    if (!graph_.initializers.emplace(node.outputs[0], std::move(tensor)).second) {
      return corrupt(fmt::format("'{}' is written twice", node.outputs[0]));
    }
  }
  graph_.nodes = std::move(kept);
  return ok_status();
}

// Exporters leave names out or use them twice.
void OnnxReader::name_nodes() {
  std::unordered_set<std::string> taken;
  for (const Node& node : graph_.nodes) taken.insert(node.name);
  std::unordered_set<std::string> given;
  size_t number = 0;
  for (Node& node : graph_.nodes) {
    if (!node.name.empty() && given.insert(node.name).second) continue;
    const std::string stem = node.name.empty() ? node.op : node.name;
    do {
      node.name = fmt::format("{}_{}", stem, number++);
    } while (taken.contains(node.name) || !given.insert(node.name).second);
  }
}

Status OnnxReader::finish() {
  if (!has_graph_) return corrupt("holds no graph: empty, or another kind of file");
  if (!opset_ || *opset_ < kOldestOpset || *opset_ > kMaxOpset) {
    return unsupported(fmt::format("opset {}, Pare reads {} to {}",
                                   opset_ ? std::to_string(*opset_) : "not stated", kOldestOpset,
                                   kMaxOpset));
  }
  graph_.opset = std::max(*opset_, kMinOpset);
  // Before ONNX's IR 4 every initializer stood among the inputs too.
  std::erase_if(graph_.inputs,
                [&](const ValueInfo& input) { return graph_.initializers.contains(input.name); });
  PARE_RETURN_IF_ERROR(lift_constants());
  name_nodes();
  remove_unused(graph_);
  PARE_RETURN_IF_ERROR(sort_nodes(graph_));
  const auto contract = graph_.metadata.extract(kContractKey);
  if (contract.empty()) {
    graph_.contract = contract_from_input(graph_);
  } else {
    PARE_ASSIGN_OR_RETURN(graph_.contract, contract_from_json(contract.mapped()));
  }
  PARE_RETURN_IF_ERROR(set_output_shapes(graph_));
  PARE_RETURN_IF_ERROR(check_graph(graph_));
  graph_ = with_signed_weights(std::move(graph_));
  return ok_status();
}

}  // namespace

Result<Graph> parse_onnx(std::span<const std::byte> bytes, const std::string& folder) {
  return read_protobuf("ONNX model", [&] { return OnnxReader(folder).read_model(bytes); });
}

Result<Graph> read_onnx(const std::string& path) {
  auto file = MappedFile::open(path);
  if (!file.ok()) return file.status();
  const std::string folder = std::filesystem::path(path).parent_path().string();
  auto graph = parse_onnx(file->bytes(), folder.empty() ? "." : folder);
  if (!graph.ok()) return graph.status().with_context(path);
  return graph;
}

}  // namespace pare

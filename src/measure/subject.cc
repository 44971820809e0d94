#include "measure/subject.h"

#include <map>

#include "base/dtype.h"
#include "base/file.h"
#include "graph/cost.h"

namespace pare {
namespace {

// Bits aside, an unsigned type is the signed one moved by its zero point.
std::string family_name(DType type) {
  switch (type) {
    case DType::kUInt8:
      return dtype_name(DType::kInt8);
    case DType::kUInt4:
      return dtype_name(DType::kInt4);
    default:
      return dtype_name(type);
  }
}

}  // namespace

std::string precision_of(const Graph& graph, const std::string& session_precision) {
  std::map<std::string, int64_t> elements;
  for (const std::string& name : weight_initializers(graph)) {
    const Tensor* tensor = graph.find_initializer(name);
    if (tensor != nullptr) elements[family_name(tensor->type())] += tensor->size();
  }
  std::string most = "float32";
  int64_t count = 0;
  for (const auto& [name, n] : elements) {
    if (n <= count) continue;
    most = name;
    count = n;
  }
  return most == "float32" ? session_precision : most;
}

Result<ModelIdentity> identify_model(const std::string& path, const Graph& graph) {
  ModelIdentity id;
  id.model = path;
  PARE_ASSIGN_OR_RETURN(id.model_hash, hash_file(path));
  const auto trained_on = graph.metadata.find("trained_on");
  if (trained_on != graph.metadata.end()) id.trained_on = trained_on->second;
  return id;
}

}  // namespace pare

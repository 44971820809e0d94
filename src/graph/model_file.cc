#include "graph/model_file.h"

#include <filesystem>

#include "graph/onnx.h"
#include "graph/pare_file.h"

namespace pare {
namespace {

Status unknown_ending(const std::string& path) {
  return invalid_argument(path + ": expected a model file ending in .onnx or .pare");
}

}  // namespace

Result<Graph> load_model(const std::string& path) {
  const std::string ending = std::filesystem::path(path).extension().string();
  if (ending == ".onnx") return read_onnx(path);
  if (ending == ".pare") return read_pare(path);
  return unknown_ending(path);
}

Status save_model(const Graph& graph, const std::string& path) {
  const std::string ending = std::filesystem::path(path).extension().string();
  if (ending == ".onnx") return write_onnx(graph, path);
  if (ending == ".pare") return write_pare(graph, path);
  return unknown_ending(path);
}

}  // namespace pare

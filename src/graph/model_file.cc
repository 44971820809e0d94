#include "graph/model_file.h"

#include <filesystem>

#include "base/file.h"
#include "graph/onnx.h"
#include "graph/pare_file.h"

namespace pare {
namespace {

Status unknown_ending(const std::string& path) {
  return invalid_argument(path + ": expected a model file ending in .onnx or .pare");
}

}  // namespace

Status check_model_file(const std::string& path) {
  if (is_directory(path)) {
    return io_error(path + ": expected a model file ending in .onnx or .pare, found a folder");
  }
  const std::string ending = std::filesystem::path(path).extension().string();
  if (ending != ".onnx" && ending != ".pare") return unknown_ending(path);
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) return ok_status();
  return not_found(path + ": no such file");
}

Result<Graph> load_model(const std::string& path) {
  PARE_RETURN_IF_ERROR(check_model_file(path));
  const std::string ending = std::filesystem::path(path).extension().string();
  return ending == ".onnx" ? read_onnx(path) : read_pare(path);
}

Status save_model(const Graph& graph, const std::string& path) {
  const std::string ending = std::filesystem::path(path).extension().string();
  if (ending == ".onnx") return write_onnx(graph, path);
  if (ending == ".pare") return write_pare(graph, path);
  return unknown_ending(path);
}

}  // namespace pare

// Model files, whatever their format: the one door every command goes through. The ending decides,
// .onnx or .pare.
#ifndef PARE_GRAPH_MODEL_FILE_H_
#define PARE_GRAPH_MODEL_FILE_H_

#include <string>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

// Before work that another model's loading is part of: whether there is a file of that ending.
Status check_model_file(const std::string& path);
Result<Graph> load_model(const std::string& path);
Status save_model(const Graph& graph, const std::string& path);

}  // namespace pare

#endif  // PARE_GRAPH_MODEL_FILE_H_

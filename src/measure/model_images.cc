#include "measure/model_images.h"

#include <fmt/format.h>

#include "runtime/input_adapter.h"

namespace pare {

Result<DatasetOptions> dataset_options_for(const Graph& graph) {
  if (graph.inputs.size() != 1) {
    return unsupported(
        fmt::format("a classifier has one input, an image; found {}", graph.inputs.size()));
  }
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph, 1));
  PARE_ASSIGN_OR_RETURN(const InputAdapter adapter,
                        InputAdapter::create(graph, infos.at(graph.inputs[0].name)));
  if (adapter.height() != adapter.width()) {
    return unsupported(fmt::format("the model takes images of {}x{}: expected equal sides",
                                   adapter.height(), adapter.width()));
  }
  DatasetOptions options;
  options.image_size = adapter.height();
  options.resize = graph.contract.resize;
  options.stretch = graph.contract.height != 0 && graph.contract.resize == 0;
  return options;
}

}  // namespace pare

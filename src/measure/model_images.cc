#include "measure/model_images.h"

#include <fmt/format.h>

#include "runtime/input_adapter.h"

namespace pare {

void fit_to_contract(const InputContract& contract, DatasetOptions& options) {
  options.image_size = contract.height;
  options.resize = contract.resize;
  options.stretch = contract.resize == 0;
}

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
  InputContract contract = graph.contract;
  contract.height = adapter.height();
  fit_to_contract(contract, options);
  return options;
}

}  // namespace pare

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "compress/calibrate.h"
#include "runtime/executor.h"
#include "runtime/input_adapter.h"

namespace pare {
namespace {

Result<InputAdapter> adapter_for(const Graph& graph) {
  if (graph.inputs.size() != 1 || graph.outputs.empty()) {
    return unsupported(fmt::format("a classifier has one input and an output, found {} and {}",
                                   graph.inputs.size(), graph.outputs.size()));
  }
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph, 1));
  return InputAdapter::create(graph, infos.at(graph.inputs[0].name));
}

// Reads images [from, from + count) as the model's input.
Result<Tensor> read_batch(const Dataset& images, int64_t from, int64_t count,
                          const InputAdapter& adapter, const ValueInfo& input) {
  std::vector<uint8_t> pixels(static_cast<size_t>(count * images.image_shape().size()));
  PARE_RETURN_IF_ERROR(read_images(images, from, pixels));
  const ImageShape shape{adapter.channels(), adapter.height(), adapter.width()};
  Shape dims = {count, shape.channels, shape.height, shape.width};
  if (input.shape.size() == 4 && input.shape[1] != shape.channels) {
    dims = {count, shape.height, shape.width, shape.channels};
  }
  Tensor tensor(input.type, dims);
  adapter.convert(pixels, count, tensor.mutable_data());
  return tensor;
}

Status check_fits(const Dataset& images, const InputAdapter& adapter) {
  const ImageShape found = images.image_shape();
  if (found == ImageShape{adapter.channels(), adapter.height(), adapter.width()}) {
    return ok_status();
  }
  return invalid_argument(
      fmt::format("the model takes images of {}x{}x{}, those of '{}' are {}x{}x{}",
                  adapter.channels(), adapter.height(), adapter.width(), images.description(),
                  found.channels, found.height, found.width));
}

// Appends the rows of `output` to `rows`.
Status append_rows(const Tensor& output, int64_t count, std::vector<float>& rows) {
  if (output.rank() < 1 || output.dim(0) != count || !is_floating(output.type())) {
    return unsupported(fmt::format(
        "the model's first output must be floating numbers, a row for each of {} images; found {} "
        "of {}",
        count, dtype_name(output.type()), shape_string(output.shape())));
  }
  const std::vector<float> values = to_float_vector(output);
  rows.insert(rows.end(), values.begin(), values.end());
  return ok_status();
}

}  // namespace

Result<Tensor> forward(const Graph& graph, const Dataset& images, const ForwardOptions& options) {
  PARE_ASSIGN_OR_RETURN(const InputAdapter adapter, adapter_for(graph));
  PARE_RETURN_IF_ERROR(check_fits(images, adapter));
  std::vector<float> rows;
  std::optional<Executor> executor;
  int64_t made_for = -1;
  for (int64_t from = 0; from < images.size(); from += options.batch_size) {
    const int64_t count = std::min(options.batch_size, images.size() - from);
    if (made_for != count) {
      ExecutorOptions executor_options;
      executor_options.batch = count;
      executor_options.threads = options.threads;
      executor_options.keep = options.keep;
      PARE_ASSIGN_OR_RETURN(executor, Executor::create(graph, executor_options));
      made_for = count;
    }
    PARE_ASSIGN_OR_RETURN(const Tensor input,
                          read_batch(images, from, count, adapter, graph.inputs[0]));
    PARE_ASSIGN_OR_RETURN(const std::vector<Tensor> outputs,
                          executor->run({&input, 1}, options.show));
    PARE_RETURN_IF_ERROR(append_rows(outputs[0], count, rows));
    if (options.progress) options.progress(from + count, images.size());
  }
  if (images.size() == 0) return invalid_argument("no images to run the model on");
  const auto columns = static_cast<int64_t>(rows.size()) / images.size();
  return Tensor::from_values<float>({images.size(), columns}, rows);
}

}  // namespace pare

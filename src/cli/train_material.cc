#include "cli/train_material.h"

#include <filesystem>

#include "cli/model_argument.h"
#include "graph/model_file.h"
#include "measure/model_images.h"
#include "models/models.h"

namespace pare {
namespace {

Result<DatasetPair> open_data(const TrainRecipe& recipe, const Graph* imported, bool strict) {
  DatasetOptions options;
  options.path = recipe.data.path;
  options.train_fraction = recipe.data.train_fraction;
  options.seed = static_cast<uint64_t>(recipe.train.seed);
  options.image_size = recipe.data.image_size;
  options.strict = strict;
  if (imported != nullptr && options.image_size == 0) {
    PARE_ASSIGN_OR_RETURN(const DatasetOptions wanted, dataset_options_for(*imported));
    options.image_size = wanted.image_size;
    options.resize = wanted.resize;
    options.stretch = wanted.stretch;
  }
  return open_dataset(options);
}

// One of `pare models`; of a name that is none but stands for something on the disk, what that is.
Result<Graph> build_named(const std::string& model, const ModelOptions& options) {
  Result<Graph> graph = build_model(model, options);
  std::error_code ignored;
  if (!graph.ok() && std::filesystem::exists(model, ignored)) {
    PARE_RETURN_IF_ERROR(check_model_file(model));
  }
  return graph;
}

// The size a built-in model is made for.
Result<int64_t> own_image_size(const std::string& model) {
  PARE_ASSIGN_OR_RETURN(const Graph graph, build_named(model, {.zero_weights = true}));
  return graph.contract.height;
}

}  // namespace

bool is_model_file(const std::string& name) {
  return name.ends_with(".onnx") || name.ends_with(".pare");
}

Result<TrainMaterial> load_train_material(TrainRecipe& recipe, bool strict) {
  TrainMaterial m;
  PARE_RETURN_IF_ERROR(check_dataset_path(recipe.data.path));
  if (is_model_file(recipe.model.name)) {
    PARE_ASSIGN_OR_RETURN(m.graph, load_model(recipe.model.name));
    PARE_ASSIGN_OR_RETURN(m.data, open_data(recipe, &m.graph, strict));
    return m;
  }
  if (recipe.data.image_size == 0) {
    PARE_ASSIGN_OR_RETURN(recipe.data.image_size, own_image_size(recipe.model.name));
  }
  PARE_ASSIGN_OR_RETURN(m.data, open_data(recipe, nullptr, strict));
  PARE_ASSIGN_OR_RETURN(m.graph, initial_graph(recipe, m.data));
  return m;
}

Result<Graph> initial_graph(const TrainRecipe& recipe, const DatasetPair& data) {
  if (is_model_file(recipe.model.name)) return load_model(recipe.model.name);
  ModelOptions options;
  options.classes = static_cast<int64_t>(data.train->classes().size());
  options.image_size = data.train->image_shape().height;
  options.seed = static_cast<uint64_t>(recipe.train.seed);
  options.training_form = recipe.model.batch_norm;
  return build_named(recipe.model.name, options);
}

Result<Graph> load_train_teacher(const std::string& name) {
  if (is_model_file(name)) return load_model(name);
  PARE_ASSIGN_OR_RETURN(const std::string path, model_path(name));
  return load_model(path);
}

}  // namespace pare

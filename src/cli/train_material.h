// What a training recipe speaks of, brought into memory: its model, its images, its teacher.
#ifndef PARE_CLI_TRAIN_MATERIAL_H_
#define PARE_CLI_TRAIN_MATERIAL_H_

#include <string>

#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"
#include "train/recipe.h"

namespace pare {

// Whether a recipe's model is a file, not one of `pare models`.
bool is_model_file(const std::string& name);

struct TrainMaterial {
  Graph graph;  // with its initial weights
  DatasetPair data;
};
// Fills in the recipe's image size where it leaves that to the model. `strict`: a broken image is
// an error.
Result<TrainMaterial> load_train_material(TrainRecipe& recipe, bool strict);

// The recipe's model, one of `pare models` or a file, with its initial weights and as many classes
// as the images have.
Result<Graph> initial_graph(const TrainRecipe& recipe, const DatasetPair& data);

// A model file, or one of the zoo by name; not one that is trained first (train_teacher.h).
Result<Graph> load_train_teacher(const std::string& name);

}  // namespace pare

#endif  // PARE_CLI_TRAIN_MATERIAL_H_

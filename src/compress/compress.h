// compress(): a model and a recipe in, a smaller model and what each step did out.
#ifndef PARE_COMPRESS_COMPRESS_H_
#define PARE_COMPRESS_COMPRESS_H_

#include <vector>

#include "pare/status.h"

#include "compress/method.h"
#include "compress/recipe.h"
#include "graph/graph.h"

namespace pare {

struct Compressed {
  Graph graph;
  std::vector<RecipeStepReport> steps;
};

// Checks the recipe against the model and the context before any work, prepares the model (see
// prepare_for_compression) and applies the steps. The result's metadata "compression" holds the
// recipe. Errors name the step.
Result<Compressed> compress(const Graph& graph, const Recipe& recipe, CompressContext context);

// Brings a model into the form that methods work on: dropout gone, batch norm folded into the
// layer before it, constants folded, normalisation folded into the first layer where that is exact.
Result<Graph> prepare_for_compression(const Graph& graph);

}  // namespace pare

#endif  // PARE_COMPRESS_COMPRESS_H_

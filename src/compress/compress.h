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

// What can be known before images are looked for: kInvalidArgument for a model that is quantised
// already, kNumeric for one whose weights are not finite.
Status check_compressible(const Graph& graph, const Recipe& recipe);

// Checks the recipe against the model and the context before any work, prepares the model (see
// prepare_for_compression) and applies the steps. The result's metadata "compression" holds the
// recipe. Errors name the step.
Result<Compressed> compress(const Graph& graph, const Recipe& recipe, CompressContext context);

// Brings a model into the form that methods work on: dropout gone, batch norm folded into the
// layer before it, constants folded, weights that were stored in 16 bits float32 again. The
// image's normalisation stays where it is: folded into the first layer it would make that layer's
// weights some sixty times smaller than their neighbours', which magnitude pruning and training
// both take at face value.
Result<Graph> prepare_for_compression(const Graph& graph);

}  // namespace pare

#endif  // PARE_COMPRESS_COMPRESS_H_

// Trial: what a recipe makes of a model, in the time of a few images: the same layers, types and
// zeros, so the same kernels and the same speed, but not weights or ranges that answer well. For
// predicting what a recipe will give before hours go into it.
#ifndef PARE_COMPRESS_TRIAL_H_
#define PARE_COMPRESS_TRIAL_H_

#include <optional>
#include <string>

#include "pare/status.h"

#include "compress/compress.h"

namespace pare {

struct Trial {
  Recipe recipe;     // as it was tried
  std::string than;  // what was done otherwise than the recipe says, for people; empty: nothing
};

// Training is left out; what sensitivity would share out is shared evenly, since measuring it takes
// most of a recipe's time; ranges are measured on a few images. nullopt: nothing is left, a recipe
// that only trains changes no speed.
std::optional<Trial> trial_of(const Recipe& recipe);

// `context` as for compress(); its calibration images are cut to those few, and nothing is said.
Result<Graph> run_trial(const Graph& graph, const Trial& trial, CompressContext context);

}  // namespace pare

#endif  // PARE_COMPRESS_TRIAL_H_

// A teacher that is trained first, in the same process: distil.teacher = "recipe:NAME".
//
// It sees the student's images (and what is set aside of them) with the student's seed, and its run
// is a run like any other, in <folder of the run>/teacher: stopped, it goes on with the student's
// `pare train --resume`; finished, its model is read and nothing is trained again.
#ifndef PARE_CLI_TRAIN_TEACHER_H_
#define PARE_CLI_TRAIN_TEACHER_H_

#include <optional>
#include <string>

#include "pare/status.h"

#include "graph/graph.h"
#include "train/recipe.h"
#include "train/train.h"

namespace pare {

// Whether the recipe's teacher is one that is trained first.
bool has_trained_teacher(const TrainRecipe& student);

// Whether the run in `folder` ended while its teacher was still trained, and so has no checkpoint
// of its own yet.
bool stopped_at_teacher(const std::string& folder);

// The teacher's resolved recipe. Errors: no such recipe; one whose own teacher is trained first.
Result<TrainRecipe> teacher_recipe(const TrainRecipe& student);

// The teacher of the run `student`: none, read, or trained with the run's data, device and events.
// Before it is trained the student's recipe is left in its folder, for --resume.
Result<std::optional<Graph>> find_teacher(const TrainRun& student);

}  // namespace pare

#endif  // PARE_CLI_TRAIN_TEACHER_H_

// Learning-rate schedules, as a factor of the recipe's rate.
//
//   warm-up     (t + 1) / W for the first W steps, whatever follows; at most half of the run
//   cosine      f + (1 - f) (1 + cos(pi u)) / 2      u the share of the remaining steps done,
//                                                    f the final share (Loshchilov, Hutter 2017)
//   one-cycle   from s up to 1 at `peak` of the run, down to f at its end, both by cosines
//               (Smith, Topin 2018)
//   step        step_factor^k after k of the listed epochs have passed
//   constant    1
#ifndef PARE_TRAIN_SCHEDULE_H_
#define PARE_TRAIN_SCHEDULE_H_

#include <cstdint>

#include "train/recipe.h"

namespace pare {

struct ScheduleLength {
  int64_t steps_per_epoch = 1;
  int64_t total_steps = 1;
};

double schedule_factor(const TrainRecipe::Schedule& schedule, const ScheduleLength& length,
                       int64_t step);

}  // namespace pare

#endif  // PARE_TRAIN_SCHEDULE_H_

// Optimisers: SGD with (Nesterov) momentum and AdamW, by LibTorch's fused kernels.
//
//   SGD     g += decay·w;  m = momentum·m + g;  w -= lr·(g + momentum·m)   (Nesterov; else lr·m)
//           (Sutskever et al. 2013, in the form that applies the rate outside m)
//   AdamW   w -= lr·decay·w;  m, v running means of g and g²;
//           w -= lr·m̂ / (√v̂ + epsilon)                                   (Loshchilov, Hutter 2019)
//
// Decay is for weights that multiply (TorchExecutor::Named::decay), never for biases and scales.
#ifndef PARE_TRAIN_OPTIMISER_H_
#define PARE_TRAIN_OPTIMISER_H_

#include <map>
#include <string>
#include <vector>

#include "train/cuda/gpu_tools.h"
#include "train/executor.h"
#include "train/recipe.h"
#include "train/torch.h"

namespace pare {

class Optimiser {
 public:
  // `parameters` are updated in place and must outlive the optimiser.
  Optimiser(const std::vector<TorchExecutor::Named>& parameters,
            const TrainRecipe::Optimiser& settings);

  // One step with the parameters' gradients, which it then drops. A parameter without a gradient
  // stays as it is.
  void step(double lr);
  // Scales all gradients so that their common norm is at most `limit`; returns the norm before.
  double clip(double limit);

  // For who takes the step elsewhere (train/gpu_step.h): the rule, and what belongs to weight i,
  // undefined where the rule has no such thing.
  UpdateRule rule() const;
  struct Moments {
    at::Tensor first, second, step;
    double weight_decay = 0;
  };
  Moments moments(size_t i) const;
  // AdamW: counts a step.
  void count_step();

  // What must be kept to go on later: name -> tensor, sharing memory with the optimiser.
  std::map<std::string, at::Tensor> state() const;
  // Copies `saved`, as state() gave it, into the optimiser. Names or shapes that do not fit fail.
  Status load_state(const std::map<std::string, at::Tensor>& saved);

 private:
  struct Group {
    std::vector<size_t> members;
    double weight_decay = 0;
  };
  void step_group(const Group& group, double lr);

  const std::vector<TorchExecutor::Named>& parameters_;
  TrainRecipe::Optimiser settings_;
  std::vector<Group> groups_;
  std::vector<at::Tensor> first_;   // momentum, or the mean gradient
  std::vector<at::Tensor> second_;  // adamw: the mean squared gradient
  std::vector<at::Tensor> steps_;   // adamw: how many steps were taken, as LibTorch wants it
};

// Running average of weights: e += (1 - d)·(w - e), d = min(decay, (1 + t) / (10 + t)) after t
// steps, so that early steps do not hold on to the start.
class WeightAverage {
 public:
  WeightAverage(const TorchExecutor& source, TorchExecutor& average, double decay)
      : source_(source), average_(average), decay_(decay) {}
  void update(int64_t step);
  // d.
  static double decay_at(double decay, int64_t step);

 private:
  const TorchExecutor& source_;
  TorchExecutor& average_;
  double decay_;
};

}  // namespace pare

#endif  // PARE_TRAIN_OPTIMISER_H_

// Optimisers: SGD with (Nesterov) momentum and AdamW, by LibTorch's fused kernels, and Muon
// (muon.h) for the weights it is for, with one of the two for the rest.
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
#include <memory>
#include <string>
#include <vector>

#include "train/cuda/gpu_tools.h"
#include "train/executor.h"
#include "train/muon.h"
#include "train/recipe.h"
#include "train/torch.h"

namespace pare {

class Optimiser {
 public:
  // `parameters` are updated in place and must outlive the optimiser.
  Optimiser(const std::vector<TorchExecutor::Named>& parameters,
            const TrainRecipe::Optimiser& settings);

  // One step with the parameters' gradients, which it then drops. A parameter without a gradient
  // stays as it is. `lr` is optimiser.lr times the schedule's factor; rates of their own
  // (muon_lr, bias_lr) follow in proportion.
  void step(double lr);
  // Scales all gradients so that their common norm is at most `limit`; returns the norm before.
  double clip(double limit);

  // For who takes the step elsewhere (train/gpu_step.h): the rule, and what belongs to weight i,
  // undefined where the rule has no such thing.
  UpdateRule rule() const;
  struct Moments {
    at::Tensor first, second, step;
    double weight_decay = 0;
    double rate_share = 1;           // of the step's rate
    bool stepped_elsewhere = false;  // by step_matrices()
  };
  Moments moments(size_t i) const;
  // AdamW: counts a step.
  void count_step();
  // Muon's part of the step, for whoever takes the rest elsewhere. `lr` as for step(), a single
  // float32 on the weights' device; `gradient_scale` likewise, or undefined: the gradients are
  // multiplied by it. Waits for nothing.
  void step_matrices(const at::Tensor& lr, const at::Tensor& gradient_scale);

  // What must be kept to go on later: name -> tensor, sharing memory with the optimiser.
  std::map<std::string, at::Tensor> state() const;
  // Copies `saved`, as state() gave it, into the optimiser. Names or shapes that do not fit fail.
  Status load_state(const std::map<std::string, at::Tensor>& saved);

 private:
  struct Group {
    std::vector<size_t> members;
    double weight_decay = 0;
    double rate_share = 1;  // of the rate given to step()
  };
  void step_group(const Group& group, double lr);

  const std::vector<TorchExecutor::Named>& parameters_;
  TrainRecipe::Optimiser settings_;
  bool adamw_ = false;  // what the groups follow; else sgd
  std::vector<Group> groups_;
  std::unique_ptr<Muon> muon_;      // null unless it is asked for and has weights
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

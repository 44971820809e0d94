// Muon: momentum, made orthogonal, for weights that are matrices (Jordan et al. 2024, "Muon: an
// optimizer for hidden layers in neural networks").
//
//   M = momentum·M + G;  U = G + momentum·M
//   X = U / |U|;  steps times:  A = X Xᵀ;  X = a X + (b A + c A²) X        (Newton-Schulz)
//   W -= rate · scale · X
//
// With (a, b, c) = (3.4445, -4.7750, 2.0315) each step drives the singular values of X towards a
// band about 1, the quicker for not converging to it: three to five steps give an update that moves
// all directions of a weight alike. A convolution's weight counts as a matrix of output channels by
// everything else; X is computed with its shorter side first, in bfloat16 on a GPU and float32
// elsewhere, matrices of equal shape together.
//
// Two ways to keep weights in bounds:
//   normalise  each step begins by W *= √rows / |W|, and scale is 1 (Jordan's airbench): for
//              convolutions that batch norm follows
//   otherwise  W *= 1 - rate·decay, and scale is 0.2·√(longer side), so that an update is about as
//              large as AdamW's and takes its rates (Liu et al. 2025, "Muon is scalable for LLM
//              training")
//
// Nothing here waits for the device or decides by a tensor's values, so a step can be recorded in a
// CUDA graph; the rate is then read from where the tensor given to step() lies.
#ifndef PARE_TRAIN_MUON_H_
#define PARE_TRAIN_MUON_H_

#include <string>
#include <utility>
#include <vector>

#include "train/executor.h"
#include "train/recipe.h"
#include "train/torch.h"

namespace pare {

// Which of `parameters` Muon is for: weights that are multiplied and have two dimensions or more,
// but for the last of them, the layer of the scores, and those whose shorter side is longer than
// optimiser.muon_largest_side.
std::vector<size_t> muon_members(const std::vector<TorchExecutor::Named>& parameters,
                                 const TrainRecipe::Optimiser& settings);

// [n, rows, columns] with rows <= columns -> of the same shape, each matrix about orthogonal: its
// singular values between about 0.7 and 1.2 after five steps.
at::Tensor orthogonalise(const at::Tensor& matrices, int64_t steps);

class Muon {
 public:
  // `parameters` are updated in place and must outlive it; `members` are positions in them.
  Muon(const std::vector<TorchExecutor::Named>& parameters, const std::vector<size_t>& members,
       const TrainRecipe::Optimiser& settings);

  // One step with the parameters' gradients; one that is missing counts as zero. `rate` is a single
  // float32 on the weights' device; so is `gradient_scale`, by which the gradients are multiplied
  // unless it is undefined. Copies of the weights (TorchExecutor::Named) change with them.
  void step(const at::Tensor& rate, const at::Tensor& gradient_scale = {});

  // Momentum by the parameter's name, sharing memory, as [rows, columns] with rows <= columns.
  std::vector<std::pair<std::string, at::Tensor>> state() const;

 private:
  // Weights of one shape.
  struct Group {
    std::vector<size_t> members;
    at::Tensor momentum;  // [n, rows, columns]
    double scale = 1;
  };
  void step_group(Group& group, const at::Tensor& rate, const at::Tensor& gradient_scale);

  const std::vector<TorchExecutor::Named>& parameters_;
  TrainRecipe::Optimiser settings_;
  std::vector<Group> groups_;
};

}  // namespace pare

#endif  // PARE_TRAIN_MUON_H_

// Batch norm by the statistics of the whole batch, of which each rank has a share.
//
//   mean = Σ_r n_r m_r / N,  var = Σ_r n_r (v_r + m_r²) / N - mean²     n_r values a channel on
//   rank r,
//                                                                        N = Σ n_r
//   dx = γ/σ · (dy - Σdy / N - x̂ · Σ(dy x̂) / N)                        sums over all ranks
//
// (Ioffe, Szegedy 2015). One sum over the ranks each way, of 2 C numbers in float64; the
// rest is LibTorch's own kernels with the statistics given to them.
#ifndef PARE_TRAIN_RANK_NORM_H_
#define PARE_TRAIN_RANK_NORM_H_

#include "train/ranks.h"
#include "train/torch.h"

namespace pare {

struct RankNormCall {
  at::Tensor x;                               // [N, C, ...]
  at::Tensor gamma, beta;                     // float32 [C]
  at::Tensor running_mean, running_variance;  // float32 [C]; are moved along
  double batch_share = 1;                     // of the batch's images, that this rank has
  double momentum = 0.1;                      // share of the batch in the running statistics
  double epsilon = 1e-5;
};
// Differentiable: gradients of gamma and beta are this rank's part. Throws what a broken connection
// says.
at::Tensor rank_batch_norm(Ranks& ranks, const RankNormCall& call);

}  // namespace pare

#endif  // PARE_TRAIN_RANK_NORM_H_

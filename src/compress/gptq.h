// GPTQ: rounding a layer's weights so that its outputs change least, not each weight by itself.
//
// Column after column is rounded to the grid that the scales give, and those behind it are changed
// to make up for the error (column_solver.h). The grid stays as it was: only which integer a weight
// becomes is chosen. (Frantar, Ashkboos, Hoefler and Alistarh 2022, "GPTQ: Accurate Post-Training
// Quantization for Generative Pre-trained Transformers", section 3 and algorithm 1.)
//
// A weight that is zero stays zero, so that pruning masks survive; its neighbours make up for that
// too.
#ifndef PARE_COMPRESS_GPTQ_H_
#define PARE_COMPRESS_GPTQ_H_

#include <cstdint>
#include <span>
#include <vector>

#include "pare/status.h"

#include "base/thread_pool.h"
#include "compress/column_solver.h"
#include "compress/gram.h"
#include "compress/quantise_weights.h"

namespace pare {

struct GptqOptions {
  int32_t lowest = -127;  // the integers that a weight may become, both included
  int32_t highest = 127;
  int64_t scale_group = 0;  // neighbouring inputs that share a scale; 0: all of an output's
  double damping = kDamping;
  // Inputs of large squares first, while there is still much to make up with (the paper's
  // "act-order"); else in the weight's order.
  bool by_activity = true;
};

struct GptqRounded {
  std::vector<int8_t> values;  // rows × k
  // tr((W-V) H (W-V)^T) with V what the integers stand for and H the damped Gram matrix.
  double cost = 0;
};

// `weights`: rows × k. `gram`: k × k, upper triangle. `scales`: rows × ceil(k / scale_group), all
// positive. kInvalidArgument when the sizes do not fit each other; kNumeric from invert_gram().
Result<GptqRounded> gptq_round(std::span<const float> weights, int64_t rows, int64_t k,
                               std::span<const double> gram, std::span<const float> scales,
                               const GptqOptions& options, ThreadPool& pool);

// The same for a whole layer with the statistics of its inputs, group by group of a grouped
// convolution. `weights`: outputs × k in the weight's own order of inputs; `scales` likewise for
// all outputs.
Result<GptqRounded> gptq_round_layer(std::span<const float> weights, const InputStatistics& inputs,
                                     std::span<const float> scales, const GptqOptions& options,
                                     ThreadPool& pool);

// How write_qdq() (qdq.h) rounds by this method: each layer with the statistics of what it reads in
// the source's graph, in float32. Both must outlive the function, which is asked for layers in the
// source's order.
RoundWeights gptq_rounding(InputSource& inputs, ThreadPool& pool);

}  // namespace pare

#endif  // PARE_COMPRESS_GPTQ_H_

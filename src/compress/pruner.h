// Pruner: which weights of a layer go, by which score and in which pattern, and what the others
// become.
//
//   magnitude  |w|, over the whole layer (Han et al. 2015)
//   taylor     |w·g|, the root of its mean square over batches (taylor.h), over the whole layer
//   wanda      |w| · ‖x‖₂ with ‖x‖₂ over the calibration images the norm of the input that w
//              multiplies; compared within an output, each of which loses the same number (Sun et
//              al. 2023, "A Simple and Effective Pruning Approach for Large Language Models")
//   sparsegpt  w² / [H^-1]_jj as things stand in blocks of 128 inputs, over all outputs of the
//              block, each block losing the same share; what is left is changed to make up for what
//              went (Frantar and Alistarh 2023, "SparseGPT"; column_solver.h)
//
// Statistics are those of the graph given as it is when a layer's turn comes: whole, or, where the
// caller writes what prune() returns into it, behind the layers that were pruned before.
#ifndef PARE_COMPRESS_PRUNER_H_
#define PARE_COMPRESS_PRUNER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "compress/column_solver.h"
#include "compress/gram.h"
#include "compress/layers.h"
#include "compress/method.h"
#include "compress/pattern.h"
#include "graph/graph.h"

namespace pare {

enum class PruneScore { kMagnitude, kTaylor, kWanda, kSparseGpt };
// "magnitude", "taylor", "wanda", "sparsegpt".
PruneScore prune_score_from_word(const std::string& word);
// Whether it looks at what layers read, which pruning the layers before changes.
bool reads_inputs(PruneScore score);

struct PrunedWeight {
  Tensor weight;
  Tensor mask;  // uint8, 1 keeps
};

class Pruner {
 public:
  // `layers`: of the weights that prune() will be asked for, in the order it will be, each weight
  // once. Draws the calibration images where the score needs them; `graph` and `context` must
  // outlive the pruner. `one_by_one`: statistics are gathered for each layer when its turn comes, a
  // pass over the images for each; else for as many at a time as memory allows.
  static Result<std::unique_ptr<Pruner>> create(const Graph& graph, std::vector<WeightLayer> layers,
                                                PruneScore score, const Pattern& pattern,
                                                const CompressContext& context,
                                                bool one_by_one = false);

  // The weight with `count` elements gone; the pattern may round the number (pattern.h).
  Result<PrunedWeight> prune(const std::string& weight, int64_t count);
  // Whether the layer saw nothing but zeros, or no gradient, so that its weights went by magnitude.
  Result<bool> saw_nothing(const std::string& weight);
  // The numbers whose magnitudes the score begins with: the Taylor importance, where any is above
  // zero; else the weight itself. Of kMagnitude and kTaylor they decide alone, and compare over
  // layers.
  const Tensor& scored_numbers(const std::string& weight) const;
  // A text for what prune() depends on beside graph and count.
  const std::string& key() const { return key_; }

 private:
  Pruner(const Graph& graph, PruneScore score, const Pattern& pattern,
         const CompressContext& context);

  Result<PrunedWeight> prune_by_score(const WeightLayer& layer, int64_t count);
  Result<PrunedWeight> prune_by_solver(const WeightLayer& layer, int64_t count);
  Status factorise(const WeightLayer& layer, const std::vector<int64_t>& order);

  const Graph& graph_;
  PruneScore score_;
  Pattern pattern_;
  ThreadPool pool_;
  std::string key_;
  std::map<std::string, WeightLayer> layers_;
  std::map<std::string, Tensor> importance_;  // for kTaylor
  std::optional<InputSource> inputs_;         // where the score reads inputs
  std::string factorised_;                    // the weight that factors_ are of
  std::vector<InverseFactor> factors_;        // one a group
};

}  // namespace pare

#endif  // PARE_COMPRESS_PRUNER_H_

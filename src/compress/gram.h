// Gram matrices: how the inputs of each weight layer go together, over calibration images.
//
// A weight's outputs are W x for inputs x of k numbers: a row of what a dense layer reads, or what
// lies under a convolution's window at one position (the im2col row, in the weight's own order:
// channel, then place in the window). Over all images and all positions
//   G = sum of x x^T          k × k: the loss of replacing W by V is tr((W-V) G (W-V)^T)
//   squares = diag(G)         all that Wanda needs
// A grouped convolution has a G for each group. A weight that several layers read has the sum over
// all of them.
//
// Every position of every calibration image counts, none are subsampled: AlexNet on 512 images is
// 220 GMAC. Up to kChunkRows rows are added up in float32, their sums in double. The order of
// additions is fixed: the same bits for any number of threads.
//
// Memory: the matrices of several weights are gathered in one pass over the images as long as they
// stay within kMaxGramBytes together (or one is alone); beside them a batch's activations, one
// chunk of rows and one strip of a product a thread.
#ifndef PARE_COMPRESS_GRAM_H_
#define PARE_COMPRESS_GRAM_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pare/status.h"

#include "compress/layers.h"
#include "compress/method.h"
#include "compress/weight_matrix.h"
#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

constexpr int64_t kMaxGramBytes = int64_t{256} << 20;
// A matrix of more inputs is not gathered: at this size it takes 0.5 GB, and inverting it 1.6.
constexpr int64_t kMaxGramInputs = 8192;

struct InputStatistics {
  WeightMatrix shape;
  int64_t rows = 0;             // x's of each group
  std::vector<double> squares;  // groups × k
  // One matrix a group, k × k, row-major; the lower triangle is zero. Empty with Kind::kSquares.
  std::vector<std::vector<double>> gram;
};

// ok, or kUnsupported with the layer's name and why its Gram matrices are not gathered.
Status check_gram(const Graph& graph, const WeightLayer& layer);

// Statistics on demand: asking for a weight that is not there drops those that are and gathers it
// together with as many that follow it as the memory allows. Ask in the order given.
class InputSource {
 public:
  enum class Kind { kSquares, kGram };

  // `graph` and `context` must outlive the source. The graph may change between calls: what is
  // gathered next is what its layers read then.
  InputSource(const Graph& graph, std::vector<std::string> weights,
              std::shared_ptr<const Dataset> images, const CompressContext& context, Kind kind,
              int64_t max_bytes = kMaxGramBytes);

  // Valid until the next call. Errors: kUnsupported, naming the layer, for what is no matrix
  // product of its input (transA, convolutions that are not two-dimensional, a weight that two
  // layers read in different layouts) or is larger than kMaxGramInputs; kNumeric, naming the value,
  // for NaN or infinite inputs.
  Result<const InputStatistics*> at(const std::string& weight);
  int64_t passes() const { return passes_; }  // over the images so far

 private:
  const Graph& graph_;
  std::vector<std::string> weights_;
  std::shared_ptr<const Dataset> images_;
  const CompressContext& context_;
  Kind kind_;
  int64_t max_bytes_;
  int64_t passes_ = 0;
  std::map<std::string, InputStatistics> held_;
};

}  // namespace pare

#endif  // PARE_COMPRESS_GRAM_H_

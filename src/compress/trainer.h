// Trainer: what a compression method may ask of the training room, without knowing Torch.
#ifndef PARE_COMPRESS_TRAINER_H_
#define PARE_COMPRESS_TRAINER_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "pare/status.h"

#include "base/tensor.h"
#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

struct FinetuneOptions {
  double epochs = 1;
  double learning_rate = 0.01;
  int64_t batch_size = 256;
  uint64_t seed = 0;
  int threads = 0;                 // 0: all cores
  const Graph* teacher = nullptr;  // distil from it; nullptr: labels only
  double distill_weight = 0.9;     // share of the loss that is the teacher's
  double distill_temperature = 4.0;
  // Called before each step with the progress in 0 … 1; may return new masks (initializer name ->
  // uint8 tensor of the weight's shape, 1 keeps) which hold from then on. Gradual pruning lives
  // here.
  std::function<Result<std::map<std::string, Tensor>>(double progress, const Graph& current)> masks;
  int mask_every_steps = 16;
  // Initializer name -> uint8 tensor of the weight's shape: those of the same number are trained as
  // one value, those of 0 stay zero (Han, Mao and Dally 2016, "Deep Compression", section 3.3).
  std::map<std::string, Tensor> shared;
  // One line of progress for people; may be empty.
  std::function<void(const std::string& line)> progress;
};

struct GradientOptions {
  int64_t batch_size = 16;
  uint64_t seed = 0;  // of the order of the images
  int threads = 0;    // 0: all cores
};
// Of one batch, by initializer; they live during the call.
using TakeGradients = std::function<Status(const std::map<std::string, Tensor>& gradients)>;

class Trainer {
 public:
  virtual ~Trainer() = default;
  // Trains all floating weights of the graph further. The result has the same nodes and names.
  // Errors: kNumeric when the loss becomes NaN, kCancelled when the user stops.
  virtual Result<Graph> finetune(const Graph& graph, const Dataset& train,
                                 const FinetuneOptions& options) = 0;
  // The gradients of each batch's mean cross entropy with its labels, of all weights that
  // finetune() would train; zero where the answer does not depend on one. The network as it
  // answers, without dropout and with its running statistics. Each image is in one batch, drawn
  // with the seed; a last batch that would be smaller is left out. Errors as finetune(), and those
  // of `take`.
  virtual Status gradients(const Graph& graph, const Dataset& images,
                           const GradientOptions& options, const TakeGradients& take) = 0;
};

}  // namespace pare

#endif  // PARE_COMPRESS_TRAINER_H_

// From a batch to a model's scores and the loss.
//
//   labels   L = Σ_i [(1 - w_i) CE(s_i, a_i) + w_i CE(s_i, b_i)] / N for mixed batches (labels a,
//   b,
//            weight w of b), CE(s, y) = -(1 - ε) log p_y - ε/K Σ_k log p_k      (label smoothing)
//   teacher  D = T² · Σ_i KL(softmax(t_i / T) ‖ softmax(s_i / T)) / N   (Hinton, Vinyals, Dean
//   2015) loss     (1 - α) L + α D
//
// All in float32, whatever the model computed in.
#ifndef PARE_TRAIN_LOSSES_H_
#define PARE_TRAIN_LOSSES_H_

#include "pare/status.h"

#include "data/dataset.h"
#include "data/loader.h"
#include "graph/graph.h"
#include "train/torch.h"

namespace pare {

struct TorchBatch {
  at::Tensor pixels;         // uint8 [N, C, H, W]
  at::Tensor labels;         // int64 [N]
  at::Tensor mixed_labels;   // undefined when nothing is mixed
  at::Tensor mixed_weights;  // float32 [N]
};
// Rests on the batch's memory (on the CPU), so it must not outlive it.
TorchBatch to_torch_batch(Batch& batch, const ImageShape& shape, at::Device device);

// Pixels as the model's contract wants them: scaled and normalised for float inputs, channel order
// and layout, resized bilinearly when the model's images have another size.
at::Tensor model_input(const at::Tensor& pixels, const Graph& graph);
// The model's output as scores whose softmax are its probabilities, [N, classes].
at::Tensor model_scores(const at::Tensor& output, const InputContract& contract);

// Whether they have a column for each of the data's classes.
Status check_classes(const at::Tensor& scores, const Dataset& data);

at::Tensor label_loss(const at::Tensor& scores, const TorchBatch& batch, double smoothing);
at::Tensor teacher_loss(const at::Tensor& scores, const at::Tensor& teacher_scores,
                        double temperature);

}  // namespace pare

#endif  // PARE_TRAIN_LOSSES_H_

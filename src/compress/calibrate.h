// Calibration: training images through the graph, and what is learnt from the values they cause.
#ifndef PARE_COMPRESS_CALIBRATE_H_
#define PARE_COMPRESS_CALIBRATE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"
#include "compress/histogram.h"
#include "compress/method.h"
#include "compress/quantise.h"
#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

// Two sets of training images, drawn with the context's seed, evenly over the classes, with none in
// common unless the training set is too small for both.
struct DrawnImages {
  std::shared_ptr<const Dataset> calibration;
  std::shared_ptr<const Dataset> sensitivity;
};
Result<DrawnImages> draw_images(const CompressContext& context);

struct ForwardOptions {
  int64_t batch_size = 64;
  int threads = 0;
  std::vector<std::string> keep;  // values handed to `show`
  // Called for each kept value of each batch; the tensor lives during the call only.
  std::function<Status(const std::string& name, const Tensor& value)> show;
  // Images done so far, of how many; may be empty.
  std::function<void(int64_t done, int64_t total)> progress;
};

// Runs all images through the graph, in order, and returns its first output, images × classes, as
// float32. Errors: images that are not what the model takes; whatever the executor refuses.
Result<Tensor> forward(const Graph& graph, const Dataset& images, const ForwardOptions& options);

// The distribution of each named value over the images; also its range averaged over batches, where
// `moving` is given. kNumeric, naming the value, when one is NaN or infinite.
Result<std::map<std::string, Histogram>> collect_histograms(
    const Graph& graph, const Dataset& images, const std::vector<std::string>& values,
    const CompressContext& context, std::map<std::string, MovingRange>* moving = nullptr);

// Mean over the images of the divergence KL(softmax(reference) || softmax(logits)), in nats: what
// one model's answers lose against another's, without labels. Both images × classes.
double mean_divergence(const Tensor& reference, const Tensor& logits);

}  // namespace pare

#endif  // PARE_COMPRESS_CALIBRATE_H_

// Test-time augmentation: the scores of a few views of each image, averaged.
//
//   2  the image and its mirror image
//   6  both, and both shifted by a pixel up and left and down and right (edges mirrored): the
//      unshifted ones count half, the others a quarter each (Jordan 2024)
//
// It costs as many times the answer and is no property of the model: whoever prints it says so, and
// prints the plain accuracy beside it.
#ifndef PARE_TRAIN_TEST_VIEWS_H_
#define PARE_TRAIN_TEST_VIEWS_H_

#include <atomic>
#include <memory>

#include "pare/status.h"

#include "data/dataset.h"
#include "train/executor.h"
#include "train/ranks.h"
#include "train/torch.h"

namespace pare {

struct TestViewsOptions {
  int64_t views = 2;  // 1, 2 or 6
  int64_t batch_size = 256;
  at::Device device = at::kCPU;
  bool autocast = false;
  const std::atomic<bool>* stop = nullptr;  // once it is set: kCancelled; may be null
  Ranks* ranks = nullptr;                   // each looks at its share; all get the whole's
};

// Percent of the images whose averaged scores are highest for their label.
Result<double> top1_of_views(TorchExecutor& executor, const std::shared_ptr<const Dataset>& data,
                             const TestViewsOptions& options);

}  // namespace pare

#endif  // PARE_TRAIN_TEST_VIEWS_H_

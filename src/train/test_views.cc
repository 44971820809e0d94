#include "train/test_views.h"

#include <array>
#include <utility>
#include <vector>

#include "data/loader.h"
#include "train/losses.h"
#include "train/stepper.h"

namespace pare {
namespace {

// uint8 pixels shifted by (dy, dx), what comes in from outside mirrored at the edge.
at::Tensor shifted(const at::Tensor& pixels, int64_t dy, int64_t dx) {
  const at::Tensor padded = at::reflection_pad2d(pixels.to(at::kFloat), {1, 1, 1, 1}).to(at::kByte);
  return padded.slice(2, 1 + dy, 1 + dy + pixels.size(2)).slice(3, 1 + dx, 1 + dx + pixels.size(3));
}

struct View {
  at::Tensor pixels;
  double weight;
};

std::vector<View> views_of(const at::Tensor& pixels, int64_t count) {
  if (count == 1) return {{pixels, 1.0}};
  std::vector<View> views;
  for (const at::Tensor& side : {pixels, at::flip(pixels, {3})}) {
    views.push_back({side, 0.5});
    if (count < 6) continue;
    views.back().weight = 0.25;
    views.push_back({shifted(side, -1, -1), 0.125});
    views.push_back({shifted(side, 1, 1), 0.125});
  }
  return views;
}

Result<at::Tensor> averaged_scores(TorchExecutor& executor, const at::Tensor& pixels,
                                   const TestViewsOptions& options) {
  at::Tensor sum;
  for (const View& view : views_of(pixels, options.views)) {
    PARE_ASSIGN_OR_RETURN(const at::Tensor output,
                          executor.forward(model_input(view.pixels, executor.source()),
                                           {.autocast = options.autocast}));
    const at::Tensor scores = model_scores(output, executor.source().contract) * view.weight;
    sum = sum.defined() ? sum + scores : scores;
  }
  return sum;
}

}  // namespace

Result<double> top1_of_views(TorchExecutor& executor, const std::shared_ptr<const Dataset>& data,
                             const TestViewsOptions& options) {
  const at::NoGradGuard no_grad;
  PARE_ASSIGN_OR_RETURN(
      const auto loader,
      Loader::create(data, {.batch_size = options.batch_size,
                            .shuffle = false,
                            .drop_last = false,
                            .threads = loader_threads(options.device, options.ranks),
                            .share = share_of(options.ranks)}));
  at::Tensor right = at::zeros({}, at::TensorOptions(options.device).dtype(at::kLong));
  bool stopped = false;
  Batch batch;
  for (int64_t i = 0; i < loader->batches_per_epoch(); ++i) {
    stopped = options.stop != nullptr && options.stop->load();
    if (stopped) break;
    PARE_RETURN_IF_ERROR(loader->next(batch));
    if (batch.count == 0) continue;
    try {
      const TorchBatch images = to_torch_batch(batch, data->image_shape(), options.device);
      PARE_ASSIGN_OR_RETURN(const at::Tensor scores,
                            averaged_scores(executor, images.pixels, options));
      right += scores.argmax(1).eq(images.labels).sum();
    } catch (const std::exception& error) {
      return internal_error("test views: " + torch_error_line(error));
    }
  }
  const at::Tensor sums = at::tensor({right.item().toLong(), stopped ? int64_t{1} : int64_t{0}},
                                     at::TensorOptions(at::kLong));
  if (options.ranks != nullptr) PARE_RETURN_IF_ERROR(options.ranks->sum(sums));
  if (sums[1].item().toLong() > 0) return cancelled("test views stopped");
  return 100.0 * sums[0].item().toDouble() / static_cast<double>(data->size());
}

}  // namespace pare

#include "compress/calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "base/rng.h"

namespace pare {
namespace {

double log_sum_exp(std::span<const float> values) {
  const double largest = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (const float v : values) sum += std::exp(v - largest);
  return largest + std::log(sum);
}

// All positions, each class in an order of its own that the seed decides, the classes giving one
// image in turn: any stretch of it is as even over the classes as they allow.
std::vector<int64_t> deal_by_class(const Dataset& images, uint64_t seed) {
  std::vector<std::vector<int64_t>> of_class(images.classes().size());
  for (int64_t i = 0; i < images.size(); ++i)
    of_class[static_cast<size_t>(images.label(i))].push_back(i);
  size_t longest = 0;
  for (size_t c = 0; c < of_class.size(); ++c) {
    std::vector<int64_t>& members = of_class[c];
    std::vector<int64_t> shuffled;
    Rng rng(seed, RngPurpose::kCalibration, c);
    for (const int64_t k : rng.permutation(static_cast<int64_t>(members.size())))
      shuffled.push_back(members[static_cast<size_t>(k)]);
    members = std::move(shuffled);
    longest = std::max(longest, members.size());
  }
  std::vector<int64_t> order;
  for (size_t round = 0; round < longest; ++round)
    for (const auto& members : of_class)
      if (round < members.size()) order.push_back(members[round]);
  return order;
}

}  // namespace

Result<DrawnImages> draw_images(const CompressContext& context) {
  const auto& train = context.train;
  if (train == nullptr || train->size() == 0)
    return invalid_argument("this recipe looks at training images, and there are none");
  const std::vector<int64_t> order = deal_by_class(*train, context.seed);
  const auto size = static_cast<int64_t>(order.size());
  const auto part = [&](int64_t from, int64_t to, const char* what) {
    std::vector<int64_t> indices(order.begin() + from, order.begin() + to);
    std::sort(indices.begin(), indices.end());
    return subset(train, std::move(indices),
                  fmt::format("{} images drawn for {} (seed {}) from: {}", to - from, what,
                              context.seed, train->description()));
  };
  const int64_t calibration = std::min(context.calibration_images, size);
  const int64_t sensitivity = std::min(context.sensitivity_images, size);
  // Behind the others where there are enough for both.
  const int64_t from = std::min(calibration, size - sensitivity);
  DrawnImages images;
  images.calibration = part(0, calibration, "calibration");
  images.sensitivity = part(from, from + sensitivity, "sensitivity");
  return images;
}

double mean_divergence(const Tensor& reference, const Tensor& logits) {
  const int64_t images = reference.dim(0);
  const auto classes = static_cast<size_t>(images > 0 ? reference.size() / images : 0);
  double sum = 0;
  for (int64_t i = 0; i < images; ++i) {
    const auto at = static_cast<size_t>(i) * classes;
    const auto p = reference.values<float>().subspan(at, classes);
    const auto q = logits.values<float>().subspan(at, classes);
    const double p_total = log_sum_exp(p);
    const double q_total = log_sum_exp(q);
    for (size_t c = 0; c < classes; ++c) {
      const double log_p = p[c] - p_total;
      sum += std::exp(log_p) * (log_p - (q[c] - q_total));
    }
  }
  return images > 0 ? sum / static_cast<double>(images) : 0;
}

Result<std::map<std::string, Histogram>> collect_histograms(
    const Graph& graph, const Dataset& images, const std::vector<std::string>& values,
    const CompressContext& context, std::map<std::string, MovingRange>* moving) {
  std::map<std::string, Histogram> histograms;
  for (const std::string& value : values) histograms[value];
  ForwardOptions options;
  options.batch_size = context.batch_size;
  options.threads = context.threads;
  options.keep = values;
  options.show = [&histograms, moving](const std::string& name, const Tensor& value) -> Status {
    if (value.type() != DType::kFloat32)
      return internal_error(
          fmt::format("value '{}' is {}, expected float32", name, dtype_name(value.type())));
    if (moving != nullptr) (*moving)[name].add(value.values<float>());
    const int64_t bad = histograms[name].add(value.values<float>());
    if (bad == 0) return ok_status();
    return numeric_error(fmt::format(
        "value '{}' holds {} NaN or infinite elements (of {}) on the calibration images", name, bad,
        value.size()));
  };
  PARE_ASSIGN_OR_RETURN(const Tensor logits, forward(graph, images, options));
  for (const float logit : logits.values<float>())
    if (!std::isfinite(logit))
      return numeric_error(
          "the model's output holds NaN or infinite elements on the calibration "
          "images");
  return histograms;
}

}  // namespace pare

#include "compress/calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

namespace pare {
namespace {

double log_sum_exp(std::span<const float> values) {
  const double largest = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (const float v : values) sum += std::exp(v - largest);
  return largest + std::log(sum);
}

}  // namespace

Result<DrawnImages> draw_images(const CompressContext& context) {
  const auto& train = context.train;
  if (train == nullptr || train->size() == 0)
    return invalid_argument("this recipe looks at training images, and there are none");
  const int64_t calibration = std::min(context.calibration_images, train->size());
  const int64_t both = std::min(calibration + context.sensitivity_images, train->size());
  PARE_ASSIGN_OR_RETURN(const auto drawn,
                        balanced_subset(train, both, context.seed, "for calibration"));
  const auto part = [&drawn](int64_t from, int64_t to, const char* what) {
    std::vector<int64_t> indices;
    for (int64_t i = from; i < to; ++i) indices.push_back(i);
    return subset(drawn, std::move(indices),
                  fmt::format("{} images of {} for {}", to - from, drawn->description(), what));
  };
  DrawnImages images;
  images.calibration = part(0, std::min(calibration, drawn->size()), "calibration");
  const int64_t from =
      std::clamp<int64_t>(drawn->size() - context.sensitivity_images, 0, drawn->size() - 1);
  images.sensitivity = part(from, drawn->size(), "sensitivity");
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

Result<std::map<std::string, Histogram>> collect_histograms(const Graph& graph,
                                                            const Dataset& images,
                                                            const std::vector<std::string>& values,
                                                            const CompressContext& context) {
  std::map<std::string, Histogram> histograms;
  for (const std::string& value : values) histograms[value];
  ForwardOptions options;
  options.batch_size = context.batch_size;
  options.threads = context.threads;
  options.keep = values;
  options.show = [&histograms](const std::string& name, const Tensor& value) -> Status {
    if (value.type() != DType::kFloat32)
      return internal_error(
          fmt::format("value '{}' is {}, expected float32", name, dtype_name(value.type())));
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

#include "compress/layer_sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "compress/calibrate.h"
#include "compress/compress.h"

namespace pare {
namespace {

Status check_step(const Method& method, const RecipeStep& step) {
  const bool skips = std::any_of(method.options.begin(), method.options.end(),
                                 [](const OptionSpec& option) { return option.name == "skip"; });
  const auto weights = step.options.find("weights");
  if (weights != step.options.end() && std::get<std::string>(weights->second) == "auto")
    return invalid_argument(
        "weights=auto chooses by these sensitivities itself; measure them with weights=4");
  if (method.stage == Stage::kQuantise && skips) return ok_status();
  return invalid_argument(fmt::format(
      "'{}' quantises no layers that it could skip; sensitivity is measured of one that does, such "
      "as int8 or int4",
      method.name));
}

std::vector<int64_t> top1_of(const Tensor& logits) {
  const auto classes = static_cast<size_t>(logits.dim(1));
  const auto values = logits.values<float>();
  std::vector<int64_t> answers;
  for (size_t at = 0; at + classes <= values.size(); at += classes) {
    const auto row = values.subspan(at, classes);
    answers.push_back(std::max_element(row.begin(), row.end()) - row.begin());
  }
  return answers;
}

// Measures models against the float32 one on the same images.
class LossMeter {
 public:
  static Result<LossMeter> create(const Graph& graph, std::shared_ptr<const Dataset> images,
                                  const CompressContext& context) {
    LossMeter meter;
    meter.images_ = std::move(images);
    meter.options_.batch_size = context.batch_size;
    meter.options_.threads = context.threads;
    PARE_ASSIGN_OR_RETURN(meter.logits_, forward(graph, *meter.images_, meter.options_));
    meter.answers_ = top1_of(meter.logits_);
    return meter;
  }

  int64_t right() const {
    int64_t count = 0;
    for (size_t i = 0; i < answers_.size(); ++i) count += is_right(answers_, i) ? 1 : 0;
    return count;
  }

  Result<QuantisationLoss> measure(const Graph& quantised) const {
    PARE_ASSIGN_OR_RETURN(const Tensor logits, forward(quantised, *images_, options_));
    const std::vector<int64_t> answers = top1_of(logits);
    QuantisationLoss loss;
    int64_t both = 0;
    int64_t only_first = 0;
    int64_t only_second = 0;
    for (size_t i = 0; i < answers.size(); ++i) {
      const bool first = is_right(answers_, i);
      const bool second = is_right(answers, i);
      both += first && second ? 1 : 0;
      only_first += first && !second ? 1 : 0;
      only_second += !first && second ? 1 : 0;
      loss.flips += answers[i] != answers_[i] ? 1 : 0;
    }
    const auto count = static_cast<int64_t>(answers.size());
    loss.drop = static_cast<double>(only_first - only_second) / static_cast<double>(count);
    const Interval gain = paired_difference_interval(both, only_first, only_second,
                                                     count - both - only_first - only_second);
    loss.drop_interval = {-gain.high, -gain.low};
    loss.divergence = mean_divergence(logits_, logits);
    return loss;
  }

 private:
  bool is_right(const std::vector<int64_t>& answers, size_t i) const {
    return answers[i] == images_->label(static_cast<int64_t>(i));
  }

  std::shared_ptr<const Dataset> images_;
  ForwardOptions options_;
  Tensor logits_;
  std::vector<int64_t> answers_;
};

std::vector<std::string> reported_layers(const RecipeStepReport& report) {
  std::vector<std::string> names;
  for (const auto& layer : report.layers) names.push_back(layer.at("layer").get<std::string>());
  return names;
}

}  // namespace

Result<LayerSensitivities> measure_layer_sensitivities(const Graph& graph, const RecipeStep& step,
                                                       const CompressContext& context) {
  const Method* method = find_method(step.method);
  if (method == nullptr) return invalid_argument("there is no method '" + step.method + "'");
  PARE_RETURN_IF_ERROR(check_step(*method, step));
  PARE_RETURN_IF_ERROR(check_compressible(graph, Recipe{{step}}));
  PARE_ASSIGN_OR_RETURN(const DrawnImages images, draw_images(context));
  PARE_ASSIGN_OR_RETURN(const Graph prepared, prepare_for_compression(graph));
  PARE_ASSIGN_OR_RETURN(const LossMeter meter,
                        LossMeter::create(prepared, images.sensitivity, context));
  CompressContext own = context;
  own.original = prepared;
  own.progress = {};

  RecipeStepReport whole;
  own.report = &whole;
  PARE_ASSIGN_OR_RETURN(const Graph quantised, method->apply(prepared, step, own));
  LayerSensitivities result;
  result.images = images.sensitivity->size();
  result.data = images.sensitivity->description();
  result.top1 = static_cast<double>(meter.right()) / static_cast<double>(result.images);
  PARE_ASSIGN_OR_RETURN(result.all, meter.measure(quantised));

  const std::vector<std::string> names = reported_layers(whole);
  for (const std::string& name : names) {
    RecipeStep alone = step;
    std::vector<std::string> skipped = step.names("skip");
    std::copy_if(names.begin(), names.end(), std::back_inserter(skipped),
                 [&name](const std::string& other) { return other != name; });
    alone.options["skip"] = skipped;
    RecipeStepReport report;
    own.report = &report;
    PARE_ASSIGN_OR_RETURN(const Graph one, method->apply(prepared, alone, own));
    PARE_ASSIGN_OR_RETURN(QuantisationLoss loss, meter.measure(one));
    const auto& facts = report.layers.front();
    loss.layer = name;
    loss.operation = facts.at("operation").get<std::string>();
    loss.weights = facts.at("weights").get<int64_t>();
    result.all.weights += loss.weights;
    if (facts.contains("output_snr_db"))
      loss.output_snr_db = facts.at("output_snr_db").get<double>();
    context.say(fmt::format("sensitivity {}/{}: {} loses {:.2f} points", result.layers.size() + 1,
                            names.size(), name, 100 * loss.drop));
    result.layers.push_back(std::move(loss));
  }
  return result;
}

}  // namespace pare

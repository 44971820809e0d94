#include "study/study.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/assets.h"
#include "base/cpu_features.h"
#include "base/file.h"
#include "compress/recipe.h"
#include "study/steps.h"
#include "study/work.h"

namespace pare {
namespace {

using Inputs = std::map<std::string, std::string>;

// Lists the steps of a study, each with everything that its result depends on.
class StudyPlan {
 public:
  StudyPlan(const StudyConfig& config, const StudyOptions& options, StudyWork& work)
      : config_(config), options_(options), work_(work) {}

  Status add(const StudyNet& net);
  std::vector<StudyStep> take() { return std::move(steps_); }

 private:
  Status add_training(const StudyNet& net);
  Status add_variant(const StudyVariant& variant, const std::string& source);
  Status add_measurements(const StudyVariant& variant);
  void add_latency(const StudyNet& net, const std::vector<StudyVariant>& variants);
  void add_changed(const StudyNet& net, const std::vector<StudyVariant>& variants);
  Result<Inputs> compression_inputs(const std::string& variant);
  Inputs program() const { return {{"the program", options_.program}}; }
  Inputs program_and_machine() const;

  const StudyConfig& config_;
  const StudyOptions& options_;
  StudyWork& work_;
  std::vector<StudyStep> steps_;
  std::string net_;       // of the net being added: the architecture's name
  std::string training_;  // its training step; empty: there is none
};

// Floating sums depend on the instruction set, times on everything.
Inputs StudyPlan::program_and_machine() const {
  const CpuInfo cpu = detect_cpu();
  Inputs inputs = program();
  inputs["the machine"] =
      fmt::format("{}, {} cores, {}", cpu.model, cpu.cores, features_string(cpu.features));
  inputs["the number of threads"] = std::to_string(options_.threads);
  return inputs;
}

Status StudyPlan::add_training(const StudyNet& net) {
  StudyStep step;
  step.name = net.name + ": training";
  training_ = step.name;
  if (options_.trainer == nullptr) {
    step.left_out = "built without training";
    steps_.push_back(std::move(step));
    return ok_status();
  }
  auto outline =
      options_.trainer->outline({net.train, net.settings, config_.data, options_.threads});
  if (!outline.ok()) return outline.status().with_context("net '" + net.name + "'");
  net_ = outline->net;
  // Minutes long, and the same whatever measures the result: the program is not among them.
  step.inputs = {{"the recipe", outline->recipe}, {"the training images", outline->data_hash}};
  step.shared = true;
  step.run = [&work = work_, &net](const StudyStepContext& c) { return work.train_net(net, c); };
  steps_.push_back(std::move(step));
  return ok_status();
}

// The number of threads and the instruction set decide a trained net's last bits, fine-tuned ones'
// too, but any of these nets is as good a result: hours of training are not done again for them.
Result<Inputs> StudyPlan::compression_inputs(const std::string& variant) {
  Inputs inputs = program();
  if (variant == kUnchangedVariant) return inputs;
  PARE_ASSIGN_OR_RETURN(const Recipe recipe, load_recipe(variant));
  inputs["the recipe"] = recipe_string(recipe);
  if (!needs_images(recipe)) return inputs;
  PARE_ASSIGN_OR_RETURN(inputs["the training images"], work_.train_hash());
  inputs["the settings of [compress]"] =
      fmt::format("{} {} {}", config_.calibration_images, config_.sensitivity_images, config_.seed);
  return inputs;
}

Status StudyPlan::add_variant(const StudyVariant& variant, const std::string& source) {
  StudyStep step;
  step.name = variant.model_step();
  PARE_ASSIGN_OR_RETURN(step.inputs, compression_inputs(variant.variant));
  if (!variant.trained_on.empty()) step.inputs["what it was trained on"] = variant.trained_on;
  if (training_.empty()) {
    PARE_ASSIGN_OR_RETURN(step.inputs["the net"], hash_file(source));
  } else {
    step.needs.push_back({training_, "the trained net"});
  }
  if (variant.variant != kUnchangedVariant && options_.trainer == nullptr) {
    PARE_ASSIGN_OR_RETURN(const Recipe recipe, load_recipe(variant.variant));
    if (needs_trainer(recipe))
      step.left_out = "it needs the trainer, and this was built without training";
  }
  step.run = [&work = work_, variant, source, training = training_](const StudyStepContext& c) {
    const std::string from = training.empty() ? source : c.results.path(training, kTrainedFile);
    return work.make_variant(variant, from, c);
  };
  steps_.push_back(std::move(step));
  return ok_status();
}

Status StudyPlan::add_measurements(const StudyVariant& variant) {
  StudyStep accuracy;
  accuracy.name = variant.accuracy_step();
  accuracy.needs = {{variant.model_step(), "the model"}};
  accuracy.inputs = program_and_machine();
  PARE_ASSIGN_OR_RETURN(accuracy.inputs["the test images"], work_.test_hash());
  accuracy.inputs["the number of test images"] = std::to_string(config_.test_images);
  accuracy.run = [&work = work_, variant](const StudyStepContext& c) {
    return work.measure_accuracy(variant, c);
  };
  StudyStep layers;
  layers.name = variant.layers_step();
  layers.needs = {{variant.model_step(), "the model"}};
  layers.inputs = program_and_machine();
  layers.inputs["the settings of [latency]"] = fmt::format("{}", config_.seconds);
  layers.run = [&work = work_, variant](const StudyStepContext& c) {
    return work.measure_layers(variant, c);
  };
  steps_.push_back(std::move(accuracy));
  steps_.push_back(std::move(layers));
  return ok_status();
}

void StudyPlan::add_latency(const StudyNet& net, const std::vector<StudyVariant>& variants) {
  StudyStep step;
  step.name = net.name + ": latency";
  step.inputs = program_and_machine();
  step.inputs["the settings of [latency]"] = fmt::format(
      "{} {} {}", fmt::join(config_.batches, ","), config_.seconds, config_.latency_images);
  for (const StudyVariant& v : variants) {
    step.needs.push_back({v.model_step(), "variant " + v.variant, true});
    // A model whose answers cannot be had is not timed; which they are does not matter here.
    step.needs.push_back({v.accuracy_step(), "answers of " + v.variant, true, false});
  }
  step.run = [&work = work_, variants](const StudyStepContext& c) {
    return work.measure_net_latency(variants, c);
  };
  steps_.push_back(std::move(step));
}

void StudyPlan::add_changed(const StudyNet& net, const std::vector<StudyVariant>& variants) {
  StudyStep step;
  step.name = net.name + ": changed images";
  step.inputs = program();
  step.inputs["the number of images shown"] = std::to_string(config_.changed_images);
  for (const StudyVariant& v : variants) {
    step.needs.push_back({v.accuracy_step(), "answers of " + v.variant, true});
  }
  step.run = [&work = work_, variants](const StudyStepContext& c) {
    return work.show_changed_images(variants, c);
  };
  steps_.push_back(std::move(step));
}

Status StudyPlan::add(const StudyNet& net) {
  std::string source;
  training_.clear();
  net_ = net.name;
  if (!net.zoo.empty()) {
    net_ = net.zoo;
    PARE_ASSIGN_OR_RETURN(source, find_asset("zoo/" + net.zoo + ".pare"));
  } else if (!net.model.empty()) {
    source = net.model;
  } else {
    PARE_RETURN_IF_ERROR(add_training(net));
  }
  std::vector<StudyVariant> variants;
  for (const std::string& name : net.variants) {
    variants.push_back({net.name, net_, name, net.trained_on});
    PARE_RETURN_IF_ERROR(add_variant(variants.back(), source));
  }
  for (const StudyVariant& variant : variants) PARE_RETURN_IF_ERROR(add_measurements(variant));
  add_latency(net, variants);
  if (config_.changed_images > 0 && variants.size() > 1) add_changed(net, variants);
  return ok_status();
}

}  // namespace

Result<StudyResult> run_study(const StudyConfig& config, const StudyOptions& options) {
  StudyWork work(config, options);
  StudyPlan plan(config, options, work);
  for (const StudyNet& net : config.nets) PARE_RETURN_IF_ERROR(plan.add(net));
  return run_steps(config.name, plan.take(), options);
}

}  // namespace pare

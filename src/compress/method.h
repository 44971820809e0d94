// Method: what a step of a recipe is, and what it may use.
//
// A method is a function Graph -> Graph in one file, methods/<name>.cc, with one line in
// methods.inc. It declares its options (so that the recipe reader can refuse a wrong one before any
// work) and its stage (so that steps which cannot follow each other are refused too). What it needs
// beyond the graph (images, a trainer, what earlier steps left for later ones) stands in the
// CompressContext. Methods report facts a layer; they never print.
#ifndef PARE_COMPRESS_METHOD_H_
#define PARE_COMPRESS_METHOD_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"
#include "compress/prune.h"
#include "compress/trainer.h"
#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

// What a step does to the model, in the only order that makes sense: weights are chosen and trained
// in float32, then made integers, then whatever is left in float32 is stored smaller.
enum class Stage {
  kFloat,     // works on float32 weights: pruning, equalisation, fine-tuning; any number of steps
  kQuantise,  // makes integers; at most one
  kStore,     // changes how the remaining float32 weights are stored; at most one, the last
};

struct OptionSpec {
  enum class Kind { kNumber, kInteger, kChoice, kNames };
  std::string name;
  Kind kind = Kind::kNumber;
  std::string fallback;  // as it would be written in a recipe; empty: must be given
  double low = 0;        // numbers: inclusive bounds
  double high = 0;
  std::vector<std::string> choices;  // kChoice
  std::string help;                  // one line
};

// One step of a recipe with every option's value, given or by default.
struct RecipeStep {
  std::string method;
  // Numbers for kNumber and kInteger, a word for kChoice, several for kNames.
  using Value = std::variant<double, std::string, std::vector<std::string>>;
  std::map<std::string, Value> options;
  std::string shown;  // what messages call it; empty: step_string() of it

  double number(const std::string& option) const { return std::get<double>(options.at(option)); }
  const std::string& word(const std::string& option) const {
    return std::get<std::string>(options.at(option));
  }
  const std::vector<std::string>& names(const std::string& option) const {
    return std::get<std::vector<std::string>>(options.at(option));
  }
};

// What a step did, for people and for records.
struct RecipeStepReport {
  std::string step;     // "prune:0.9"
  std::string summary;  // one sentence with the figures that matter
  std::vector<std::string> warnings;
  // One object a layer, all with "layer" and the method's own facts in reading order.
  std::vector<nlohmann::ordered_json> layers;
  double seconds = 0;
};

struct CompressContext {
  // Training images: calibration, sensitivity and fine-tuning draw from here, never from a test
  // set. Null where the recipe needs none.
  std::shared_ptr<const Dataset> train;
  int64_t calibration_images = 512;
  int64_t sensitivity_images = 256;  // others than the calibration's where there are enough
  int64_t batch_size = 64;           // images at a time while calibrating
  Trainer* trainer = nullptr;
  int threads = 0;  // 0: all cores
  uint64_t seed = 0;
  // One line of progress for people; may be empty.
  std::function<void(const std::string& line)> progress;
  // Set from a signal handler: leave where nothing is half done. May be null.
  const std::atomic<bool>* stop = nullptr;

  // Measured sensitivities by what they depend on, for callers that run several recipes on one
  // model; may be null.
  std::shared_ptr<std::map<std::string, std::vector<DamageCurve>>> damage_cache;

  // What steps leave for those that follow; compress() sets the first before the first step.
  Graph original;  // prepared, before any step: the teacher
  // Before the last pruning step, but for what it gave a fixed mask; no nodes: none yet, or one
  // that was trained since.
  Graph unpruned;
  std::map<std::string, Tensor> masks;  // weight name -> uint8, 1 keeps
  // Weights of `masks` that were not chosen by magnitude alone: training keeps these masks.
  std::set<std::string> fixed_masks;
  // Weight name -> uint8, which of its layer's shared values a weight has; 0: zero, which it stays.
  // Training keeps them equal; any other step that changes weights ends it.
  std::map<std::string, Tensor> shared;
  RecipeStepReport* report = nullptr;  // of the step at work

  void say(const std::string& line) const {
    if (progress) progress(line);
  }

  // kCancelled once `stop` is set; asked between steps and between layers.
  Status check_stop() const {
    return stop != nullptr && stop->load() ? cancelled("stopped, and nothing was written")
                                           : ok_status();
  }

  // For a step that changed weights: training starts from them, with every mask, and not from the
  // weights before pruning.
  void train_from_here() {
    for (const auto& [name, mask] : masks) fixed_masks.insert(name);
    unpruned = Graph();
  }
};

struct Method {
  std::string name;
  std::string summary;  // one line for help
  std::string source;   // the paper, or "" for common knowledge
  Stage stage = Stage::kFloat;
  std::string argument;  // the option that "name:value" sets; empty: takes none
  std::vector<OptionSpec> options;
  bool keeps_shared = false;  // CompressContext::shared holds after it
  bool decides_speed = true;  // false: a trial of the recipe's speed leaves it out
  // Whether this step, with its options, looks at training images.
  bool (*needs_images)(const RecipeStep& step) = [](const RecipeStep&) { return false; };
  // Whether it trains, or asks the trainer for gradients.
  bool (*needs_trainer)(const RecipeStep& step) = [](const RecipeStep&) { return false; };
  // Whether options that are right by themselves go together; the recipe reader names the place.
  Status (*check)(const RecipeStep& step) = [](const RecipeStep&) { return ok_status(); };
  Result<Graph> (*apply)(const Graph& graph, const RecipeStep& step,
                         CompressContext& context) = nullptr;
};

// All methods, in methods.inc's order.
const std::vector<Method>& methods();
const Method* find_method(const std::string& name);

}  // namespace pare

#endif  // PARE_COMPRESS_METHOD_H_

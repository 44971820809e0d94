// Tuning: from a wish ("lose at most 0.3 points, be as fast as possible") to a model.
//
// Some of the training images are held out: they say what a recipe loses, and no recipe calibrates
// or trains on them. The others are all that recipes see. The test images are touched once, at the
// end, for the answer alone. Times are measured on this machine, each model in turns with the one
// that it was made from.
//
// The folder keeps what was tried (tries.jsonl), the models of the front and the best one; a search
// that was stopped goes on with what it knows. Which recipes are tried: tune_search.h.
#ifndef PARE_STUDY_TUNE_H_
#define PARE_STUDY_TUNE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "pare/status.h"

#include "compress/trainer.h"
#include "data/dataset.h"
#include "graph/graph.h"
#include "measure/paired.h"
#include "study/tune_search.h"

namespace pare {

struct TuningEvents {
  std::function<void(const std::string& line)> progress;  // renews itself
  std::function<void(const TuningTry& one, const TuningOutcome& so_far)> tried;
};

struct TuningOptions {
  TuningGoal goal;
  std::string folder;
  int64_t batch = 1;               // that is timed
  int64_t held_out_images = 5000;  // at most a quarter of the training images
  int64_t calibration_images = 512;
  int64_t sensitivity_images = 256;
  double seconds = 1;  // timed, a model; 0: nothing is timed, for kSize
  int threads = 0;     // 0: all cores
  uint64_t seed = 0;
  Trainer* trainer = nullptr;  // for goal.finetune_epochs above 0
  // Tries of another program are not taken over.
  std::string program;
  const std::atomic<bool>* stop = nullptr;  // set from a signal handler: leave after the try
  TuningEvents events;
};

// Of the best model on the test images.
struct TuningTest {
  std::string data;
  double top1_before = 0;  // percent
  double top1 = 0;
  PairedComparison comparison;  // the model as it came, then the best
};

struct TuningResult {
  TuningOutcome outcome;
  int64_t known = 0;               // tries taken over from an earlier search
  std::string held_out;            // what the images are that guided the search
  double top1_held_out = 0;        // percent, of the model as it came
  int64_t pare_bytes = 0;          // its size as .pare
  std::string best_path;           // empty: none
  std::optional<TuningTest> test;  // of the best
};

// `model` in float32; `source_hash` identifies it. `test` may be null: then there is no test.
// Tries that the folder knows of the same model, images, program and machine are taken over,
// whatever their goal was. Errors: kCancelled after a stop; a model that is quantised already; too
// few training images to hold any out.
Result<TuningResult> tune_model(const Graph& model, const std::string& source_hash,
                                const std::shared_ptr<const Dataset>& train,
                                const std::shared_ptr<const Dataset>& test,
                                const TuningOptions& options);

}  // namespace pare

#endif  // PARE_STUDY_TUNE_H_

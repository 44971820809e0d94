// Study: a whole experiment as one resumable command.
//
// A config (TOML, docs/study.md) names nets, where they come from (the zoo, a file, a training
// recipe) and the variants to make of each. run_study() makes every variant and measures it:
//
//   NET: training         only nets that are trained here
//   NET VARIANT: model    the recipe applied, the .pare file written, sizes
//   NET VARIANT: accuracy every test image
//   NET VARIANT: layers   how each layer runs, and how long it takes
//   NET: latency          all variants taking turns, every batch size
//   NET: changed images   those that some variant answers differently, to be shown
//
// Each is a step with a folder of its own (steps.h). A step whose inputs are the same as when it
// last ran is not run again; a killed study goes on where it was. A step that fails does not stop
// those that don't need it. What was found is written to records.jsonl, which `pare report` reads.
#ifndef PARE_STUDY_STUDY_H_
#define PARE_STUDY_STUDY_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "pare/status.h"

#include "compress/trainer.h"
#include "records/record.h"
#include "records/schema.h"

namespace pare {

// The variant that is the net as it is.
inline constexpr const char* kUnchangedVariant = "fp32";

struct StudyNet {
  std::string name;  // unique; by default the zoo's name, the recipe's, or the file's stem
  // Exactly one of these three.
  std::string zoo;                    // "alexnet"
  std::string model;                  // path to .onnx or .pare
  std::string train;                  // a training recipe: built in, or a .toml file
  std::vector<std::string> settings;  // of the training recipe: "train.epochs=3"
  std::string trained_on;             // of a model file that does not say so itself
  // "fp32" is the net as it is; all others are recipes of `pare compress`. The first is what the
  // others are compared with, unless one is "fp32".
  std::vector<std::string> variants;
};

struct StudyConfig {
  std::string name;
  std::string data;         // as `--data`; empty: the built-in images
  int64_t test_images = 0;  // the first so many; 0: all
  int64_t calibration_images = 512;
  int64_t sensitivity_images = 256;
  uint64_t seed = 0;
  std::vector<int64_t> batches = {1, 64};
  double seconds = 1.0;          // timed, a variant and batch size
  int64_t latency_images = 256;  // different ones in rotation
  int64_t changed_images = 24;   // shown, a net
  std::vector<StudyNet> nets;
};

// `source` is the file's name for messages. Every key is known and every value in range, else the
// message names line and key, and for a key that there is not the nearest one.
Result<StudyConfig> parse_study_config(const std::string& toml, const std::string& source);
// A path ending in .toml, or one of builtin_study_names().
Result<StudyConfig> load_study_config(const std::string& name_or_path);
std::vector<std::string> builtin_study_names();

// Does it train a net, or fine-tune one?
bool needs_trainer(const StudyConfig& config);

// What a training would be, before it is run.
struct TrainingRequest {
  std::string recipe;
  std::vector<std::string> settings;
  std::string data;  // empty: as the recipe says
  int threads = 0;
};
struct TrainingOutline {
  std::string net;        // "alexnet"
  std::string recipe;     // every field, resolved
  std::string data_hash;  // of the training images
};

// The training room's part, which this room does not know: the command line hands it in.
class StudyTrainer {
 public:
  virtual ~StudyTrainer() = default;
  virtual Result<TrainingOutline> outline(const TrainingRequest& request) = 0;
  // Trains in `folder`, or goes on with what a killed run left there. Writes its epoch records to
  // `folder`/records.jsonl and the net to `folder`/model.onnx. `progress`: one line for people.
  virtual Status train(const TrainingRequest& request, const std::string& folder,
                       const std::function<void(const std::string&)>& progress) = 0;
  // For recipes that fine-tune.
  virtual Trainer* finetuner() = 0;
};

struct StudyEvents {
  // Step `number` (from 1) of `count` begins to run.
  std::function<void(const std::string& step, int number, int count)> begins;
  std::function<void(const std::string& line)> progress;  // within a step; renews itself
  std::function<void(const std::string& line)> note;      // worth keeping: a warning
  std::function<void(const StepRecord& step, int number, int count)> ends;
};

struct StudyOptions {
  std::string folder;
  StudyTrainer* trainer = nullptr;  // null: built without training
  // Which program this is: results of another one are not taken over (but trained nets are).
  std::string program;
  int threads = 0;                          // 0: all cores
  int training_threads = 0;                 // of one training among several at once; 0: `threads`
  bool dry_run = false;                     // say what would be done
  bool only_shared = false;                 // run trainings that nobody runs, then leave
  const std::atomic<bool>* stop = nullptr;  // set from a signal handler: leave after the step
  StudyEvents events;
};

struct StudyResult {
  // False where another program does the rest; then there are no records.
  bool finished = true;
  // Each step's outcome, in order. Of a dry run: "cached", "to run" or "left out".
  std::vector<StepRecord> steps;
  std::vector<Record> records;  // of every step that ran or was cached, and the steps themselves
  std::string records_path;     // empty after a dry run
  int failed = 0;
};

// Several programs may run one study in one folder at once: the trainings are dealt out among them
// (steps.h). Errors: kCancelled after a stop; a folder that cannot be written; a net that is not
// there. A step's failure is no error but stands in the result.
Result<StudyResult> run_study(const StudyConfig& config, const StudyOptions& options);

}  // namespace pare

#endif  // PARE_STUDY_STUDY_H_

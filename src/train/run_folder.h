// The folder of a training run: its recipe, its logs, its checkpoint. What stands in it is listed
// in train.h. With an empty path everything here does nothing.
#ifndef PARE_TRAIN_RUN_FOLDER_H_
#define PARE_TRAIN_RUN_FOLDER_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "pare/status.h"

#include "train/checkpoint.h"
#include "train/event_file.h"
#include "train/recipe.h"
#include "train/train.h"

namespace pare {

// How far a run is; all that a checkpoint holds besides tensors.
struct RunPosition {
  int64_t step = 0;             // done
  int64_t reported_epochs = 0;  // validated and written to the logs
  double epoch_loss = 0;        // sum over the batches of the epoch so far
  int64_t epoch_batches = 0;
  double epoch_seconds = 0;
  double seconds = 0;  // of training in all
};

class RunFolder {
 public:
  // Before anything is loaded: whether begin() could make the folder, or reopen() (`resume`) find a
  // run in it.
  static Status check(const std::string& path, bool resume);
  // A fresh run in an empty or new folder; one that holds a run already is refused.
  static Result<RunFolder> begin(const std::string& path, const TrainRecipe& recipe);
  // The folder of a run to go on with.
  static Result<RunFolder> reopen(const std::string& path);

  std::string checkpoint_path() const { return path_ + "/checkpoint.pare-train"; }
  std::string model_path() const { return path_.empty() ? "" : path_ + "/model.onnx"; }
  bool keeps() const { return !path_.empty(); }

  // Drops what the logs say beyond `position`: it will be written again.
  Status rewind_logs(const RunPosition& position);
  Status log(const nlohmann::json& event);
  Status log_step(const StepReport& report);
  Status log_epoch(const TrainRun& run, const EpochReport& report);

 private:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}
  Status rewind_file(const std::string& file, int64_t last_step, int64_t last_epoch) const;
  Status open_events();

  std::string path_;
  std::optional<EventFile> events_;
};

// `identity` names the run that a checkpoint belongs to (recipe, data, network); going on with
// another is refused.
struct RunIdentity {
  std::string recipe;   // recipe_toml()
  std::string data;     // Dataset::hash()
  std::string network;  // names and shapes of the weights, hashed
  std::string device;   // "cpu", "cuda"
  int threads = 0;
  int ranks = 1;
};
nlohmann::json position_to_json(const RunPosition& position, const RunIdentity& identity);
Result<RunPosition> position_from_json(const nlohmann::json& state, const RunIdentity& identity);

}  // namespace pare

#endif  // PARE_TRAIN_RUN_FOLDER_H_

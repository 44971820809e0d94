// What `pare train` shows while it works: one line that renews itself on a terminal, as wide as the
// terminal allows; plain lines now and then elsewhere.
#ifndef PARE_CLI_TRAIN_PROGRESS_H_
#define PARE_CLI_TRAIN_PROGRESS_H_

#include <optional>
#include <string>

#include "cli/progress_line.h"
#include "train/train.h"

namespace pare {

class TrainProgress {
 public:
  // `terminal`: whether stderr is one.
  explicit TrainProgress(bool terminal) : line_(terminal, ProgressLine::Elsewhere::kPlainLines) {}

  void step(const StepReport& report);
  void epoch(const EpochReport& report);
  void note(const std::string& line);
  // Wipes the bar: something else is to be written.
  void wipe();

 private:
  ProgressLine line_;
  std::optional<double> validation_top1_;  // of the last epoch that was validated
};

// "epoch 3/30 [#####-----]  52 %  loss 1.2345  top-1 61.20 %  812 images/s  12:03 left", or as much
// of it as fits into so many columns.
std::string progress_text(const StepReport& report, std::optional<double> validation_top1,
                          size_t columns);

}  // namespace pare

#endif  // PARE_CLI_TRAIN_PROGRESS_H_

// Where training is. LibTorch takes 0.3 s to load, so `pare` is not linked with it: a program
// beside it, pare-train, is. Both are made of the same sources and read the same command line;
// `pare` does all that needs no training and hands the rest over.
//
// hand_over.cc is `pare`'s half of this header, trainer.cc pare-train's.
#ifndef PARE_CLI_TRAINER_H_
#define PARE_CLI_TRAINER_H_

#include <atomic>
#include <memory>
#include <string>

#include "pare/status.h"

#include "compress/trainer.h"
#include "study/study.h"

namespace pare {

inline constexpr const char* kTrainCommand = "train";
inline constexpr const char* kTrainSummary = "Train a model by a recipe";

// False where there is no pare-train: in a build without training.
bool can_train();

// For a command that turns out to train, before it does anything else. `pare` becomes pare-train,
// which begins the same command line anew, and does not return but with an error: kUnsupported
// where !can_train(). Nothing happens in pare-train.
Status hand_over_training();

// Null in `pare`. `stop`: set from a signal handler; training then saves and leaves.
std::unique_ptr<Trainer> make_trainer(const std::string& device, const std::atomic<bool>* stop);
// Resolves and runs recipes as `pare train` does.
std::unique_ptr<StudyTrainer> make_study_trainer(const std::atomic<bool>* stop);

}  // namespace pare

#endif  // PARE_CLI_TRAINER_H_

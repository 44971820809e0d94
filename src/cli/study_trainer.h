// The trainer that a study is handed: recipes resolved and run as `pare train` does.
#ifndef PARE_CLI_STUDY_TRAINER_H_
#define PARE_CLI_STUDY_TRAINER_H_

#include <atomic>
#include <memory>

#include "study/study.h"

namespace pare {

// `stop`: set from a signal handler; training then saves and leaves.
std::unique_ptr<StudyTrainer> make_study_trainer(const std::atomic<bool>* stop);

}  // namespace pare

#endif  // PARE_CLI_STUDY_TRAINER_H_

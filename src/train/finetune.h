// The Trainer that compression methods ask for, on LibTorch.
#ifndef PARE_TRAIN_FINETUNE_H_
#define PARE_TRAIN_FINETUNE_H_

#include <atomic>
#include <memory>
#include <string>

#include "compress/trainer.h"

namespace pare {

struct TorchTrainerOptions {
  std::string device = "auto";              // a GPU where there is one; "cpu", "cuda"
  const std::atomic<bool>* stop = nullptr;  // set from a signal handler: leave after the step
};

std::unique_ptr<Trainer> make_torch_trainer(const TorchTrainerOptions& options = {});

}  // namespace pare

#endif  // PARE_TRAIN_FINETUNE_H_

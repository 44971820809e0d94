#include "cli/trainer.h"

#include "train/finetune.h"

namespace pare {

bool can_train() { return true; }

Status hand_over_training() { return ok_status(); }

std::unique_ptr<Trainer> make_trainer(const std::string& device, const std::atomic<bool>* stop) {
  return make_torch_trainer({.device = device, .stop = stop});
}

}  // namespace pare

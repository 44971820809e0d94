// Trains the tests' tiny network: tiny_run FOLDER [resume] [plain]. Prints the hash of its
// weights. The test of resumption kills this program again and again; started by a launcher it is
// one of several ranks. `plain`: without dropout, whose numbers are each rank's own.

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "train/rank_place.h"
#include "train/ranks.h"
#include "train/tiny_run.h"

namespace pare {
namespace {

int tell(const Status& status) {
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return 1;
}

Status train_tiny(TrainRun& run, Ranks* ranks) {
  run.ranks = ranks;
  const auto result = train(run);
  if (!result.ok()) return result.status();
  if (ranks == nullptr || ranks->leads()) std::printf("%s\n", result->weights_hash.c_str());
  return ok_status();
}

int run_tiny(int argc, char** argv) {
  TrainRun run = tiny_run(argv[1]);
  run.recipe.checkpoint.minutes = 1e-4;  // about every step: 6 ms
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    run.resume = run.resume || word == "resume";
    if (word == "plain") run.recipe.model.dropout = 0;
  }
  const auto place = find_rank_place(process_environment());
  if (!place.ok()) return tell(place.status());
  if (!place->has_value()) {
    const Status alone = train_tiny(run, nullptr);
    return alone.ok() ? 0 : tell(alone);
  }
  const auto ranks = Ranks::join(**place);
  if (!ranks.ok()) return tell(ranks.status());
  const Status end = (*ranks)->close(train_tiny(run, ranks->get()));
  return end.ok() ? 0 : tell(end);
}

}  // namespace
}  // namespace pare

int main(int argc, char** argv) { return argc < 2 ? 2 : pare::run_tiny(argc, argv); }

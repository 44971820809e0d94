// Trains the tests' tiny network: tiny_run FOLDER [resume]. Prints the hash of its weights. The
// test of resumption kills this program again and again.

#include <cstdio>
#include <cstring>

#include "train/tiny_run.h"

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  pare::TrainRun run = pare::tiny_run(argv[1]);
  run.resume = argc > 2 && std::strcmp(argv[2], "resume") == 0;
  run.recipe.checkpoint.minutes = 1e-4;  // about every step: 6 ms
  const auto result = pare::train(run);
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().message().c_str());
    return 1;
  }
  std::printf("%s\n", result->weights_hash.c_str());
  return 0;
}

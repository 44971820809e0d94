// What an imported model's images must become before they reach it.
//
// Normally the answer goes into the graph itself: new first nodes turn uint8 images [N, C, H, W] in
// RGB order into what the model expects, as in our own models, so that nothing downstream can feed
// it wrongly:
//   pixel -> Gather (RGB to BGR) -> Cast -> · scale / std -> - mean / std -> Transpose (to NHWC)
// With keep_input the graph stays as it is and its contract says the same.
#ifndef PARE_MODELS_CONTRACT_H_
#define PARE_MODELS_CONTRACT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"
#include "models/import.h"

namespace pare {

struct ContractOptions {
  bool channels_last = false;  // the model's input is [N, H, W, C]
  bool bgr = false;            // its channels are blue, green, red
  bool keep_input = false;     // state the contract, change no node
  // (pixel · scale - mean) / std; mean and std one number or one a channel. For a model with
  // floating input at least one of the three must be given: nothing is guessed.
  std::optional<float> scale;  // 1/255 when mean or std are given alone
  std::vector<float> mean;
  std::vector<float> std;
  int64_t resize = 0;  // shorter side before the centre crop; 0: straight to height × width
  int64_t height = 0;  // 0: the input's; must be given when the file leaves it open
  int64_t width = 0;
  std::string output;                // which output holds the classes, when there are several
  std::vector<std::string> classes;  // names; empty: those the model has already
};

// Errors: kInvalidArgument for what contradicts the model, kUnsupported for a model that is not a
// classifier of images (one image input of rank 4, one output [N, classes]).
Result<ImportedModel> attach_contract(Graph graph, const ContractOptions& options);

}  // namespace pare

#endif  // PARE_MODELS_CONTRACT_H_

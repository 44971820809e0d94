// How much a model loses by each layer alone being quantised: which layers to keep in more bits.
#ifndef PARE_COMPRESS_LAYER_SENSITIVITY_H_
#define PARE_COMPRESS_LAYER_SENSITIVITY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/stats.h"
#include "compress/method.h"
#include "graph/graph.h"

namespace pare {

// What quantising one layer, or all, costs on images that no range was measured on.
struct QuantisationLoss {
  std::string layer;      // empty: all layers
  std::string operation;  // "Conv", "Gemm", "MatMul"; empty for all
  int64_t weights = 0;
  double drop = 0;         // top-1, share of the images
  Interval drop_interval;  // 95 %, paired (base/stats.h)
  int64_t flips = 0;       // images whose top-1 answer changed
  double divergence = 0;   // mean KL(float || quantised), nats
  // Of the layer's outputs, in dB; none where the method does not report it, or for all layers.
  std::optional<double> output_snr_db;
};

struct LayerSensitivities {
  int64_t images = 0;
  std::string data;  // what they are
  double top1 = 0;   // of the float32 model on them, a share
  QuantisationLoss all;
  std::vector<QuantisationLoss> layers;  // in the model's order
};

// `step`: one that makes integers and can skip layers (int8, int4, int8-dynamic), applied to the
// prepared model with all layers but one skipped, for each in turn. Images: the context's
// sensitivity_images, other training images than those of the calibration where there are enough.
// Errors: kInvalidArgument for another kind of step or a model that is quantised already; what the
// step refuses.
Result<LayerSensitivities> measure_layer_sensitivities(const Graph& graph, const RecipeStep& step,
                                                       const CompressContext& context);

}  // namespace pare

#endif  // PARE_COMPRESS_LAYER_SENSITIVITY_H_

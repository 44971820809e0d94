// pare compress: what a recipe will give in speed, before time goes into it.
#ifndef PARE_CLI_COMPRESS_PREDICTION_H_
#define PARE_CLI_COMPRESS_PREDICTION_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pare/status.h"

#include "compress/trial.h"
#include "graph/graph.h"
#include "measure/gain.h"

namespace pare {

struct Prediction {
  double before_us = 0;  // of one image, the model and its trial taking turns
  double after_us = 0;
  int threads = 1;
  std::string than;  // Trial's
  PlanGain gain;

  double times() const { return before_us / after_us; }
  // "predicted: 1.6 times as fast, batch 1 on 2 threads: …"
  std::string text() const;
  // Where there will be no gain: of the whole model, and of layers that take a tenth of the time or
  // more.
  std::vector<std::string> warnings() const;
  nlohmann::ordered_json json() const;
};

// Times one image through the model and through `tried`, what run_trial() made of it, in turns;
// takes a second or two for small nets. `context` as for compress().
Result<Prediction> predict_gain(const Graph& graph, const Graph& tried, const Trial& trial,
                                const CompressContext& context);

}  // namespace pare

#endif  // PARE_CLI_COMPRESS_PREDICTION_H_

// Latency: how long one batch takes, of several models compared in one run.
//
// The models take turns, a few batches each, round after round, so that whatever else the machine
// does meets all of them alike. Every run takes the next images of a rotation.
#ifndef PARE_MEASURE_LATENCY_H_
#define PARE_MEASURE_LATENCY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "data/dataset.h"
#include "records/schema.h"

namespace pare {

struct LatencySubject {
  ModelIdentity id;
  std::string precision;
  Session* session = nullptr;
  int threads = 1;  // that the session was made with
  std::string cpu_level;
};

struct LatencyOptions {
  int64_t batch = 1;
  double seconds = 1.0;   // timed, a model
  int64_t min_runs = 20;  // even if that takes longer
  int64_t images = 256;   // different ones in rotation, at least
  bool keep_samples = false;
};

// One record a subject, in their order: times of single batches after warm-up, their quantiles,
// images a second from the median, and the plan's memory.
Result<std::vector<LatencyRecord>> measure_latency(const std::vector<LatencySubject>& subjects,
                                                   const Dataset& images,
                                                   const LatencyOptions& options);

}  // namespace pare

#endif  // PARE_MEASURE_LATENCY_H_

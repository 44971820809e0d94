// Latency: how long one batch takes, of several models compared in one run.
//
// The models take turns, round after round, so that whatever else the machine does meets all of
// them alike. A turn begins with one run that is not timed: the model's weights have to come back
// into the caches that the others used. Every run takes the next images of a rotation.
#ifndef PARE_MEASURE_LATENCY_H_
#define PARE_MEASURE_LATENCY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "data/dataset.h"
#include "records/schema.h"

namespace pare {

struct Peer;

// A session, or a peer that was opened with the same model and images (peers.h).
struct LatencySubject {
  ModelIdentity id;
  std::string precision;
  Session* session = nullptr;
  Peer* peer = nullptr;
  int threads = 1;  // that the session was made with
  std::string cpu_level;
  std::string device;  // "cuda"; empty: the processor
  // Images of this model's own size; nullptr: those given to measure_latency().
  const Dataset* images = nullptr;
};

struct LatencyOptions {
  int64_t batch = 1;
  double seconds = 1.0;   // timed, a model
  int64_t min_runs = 20;  // even if that takes longer
  int64_t images = 256;   // different ones in rotation, at least; all there are if fewer
  bool keep_samples = false;
  // Rounds done so far, of how many; may be empty.
  std::function<void(int64_t done, int64_t total)> progress;
};

// One record a subject, in their order: times of single batches after warm-up, their quantiles,
// images a second from the median, and the plan's memory. A peer measures itself, batch by batch,
// and is idle between its turns. On a device of its own a session is also timed by the device's
// clock, and then run for a second more for its clocks and its energy.
Result<std::vector<LatencyRecord>> measure_latency(const std::vector<LatencySubject>& subjects,
                                                   const Dataset& images,
                                                   const LatencyOptions& options);

// Microseconds of each step of session.plan(batch), the median of ten rounds' means, over at least
// `seconds` of runs after warm-up, with images in rotation as above. Timing the steps costs a
// little time itself.
Result<std::vector<double>> measure_steps(Session& session, const Dataset& images, int64_t batch,
                                          double seconds);
// The same of several, taking turns; each with the images of its own size.
struct StepSubject {
  Session* session = nullptr;
  const Dataset* images = nullptr;
};
Result<std::vector<std::vector<double>>> measure_steps(const std::vector<StepSubject>& subjects,
                                                       int64_t batch, double seconds);

}  // namespace pare

#endif  // PARE_MEASURE_LATENCY_H_

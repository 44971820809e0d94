// Bounds of a session and what it keeps when steps are timed.
#ifndef PARE_RUNTIME_SESSION_INTERNAL_H_
#define PARE_RUNTIME_SESSION_INTERNAL_H_

#include <cstdint>
#include <map>
#include <vector>

namespace pare {

inline constexpr int kMaxThreads = 1024;
inline constexpr int64_t kMaxBatch = 1 << 16;

struct StepTimes {
  bool enabled = false;
  std::map<int64_t, std::vector<double>> microseconds;  // by batch: sums for each step
  std::map<int64_t, int64_t> runs;
};

}  // namespace pare

#endif  // PARE_RUNTIME_SESSION_INTERNAL_H_

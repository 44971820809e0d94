// Random numbers that depend on what they are for, not on who draws them first.
//
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a counter
// and a key go in, four 32-bit numbers come out. Every use makes its own generator from (seed,
// purpose, a, b), for instance (seed, kAugment, epoch, image index): so the numbers are the same
// for any number of threads and a resumed run needs no saved state beyond those four.
#ifndef PARE_BASE_RNG_H_
#define PARE_BASE_RNG_H_

#include <array>
#include <cstdint>
#include <vector>

namespace pare {

enum class RngPurpose : uint32_t {
  kInit = 1,
  kShuffle,
  kAugment,
  kMix,
  kSplit,
  kCalibration,
  kDropout,
  kTest,
  kTiming,
};

class Rng {
 public:
  Rng(uint64_t seed, RngPurpose purpose, uint64_t a = 0, uint32_t b = 0);

  uint32_t next_u32();
  uint64_t next_u64();
  // Uniform in [0, 1), 24 bits.
  float uniform();
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  // Uniform in 0 … n-1 without bias (rejection). n must be positive.
  uint64_t below(uint64_t n);
  // Standard normal (Box-Muller).
  float normal();
  bool bernoulli(float probability) { return uniform() < probability; }
  // Beta(alpha, beta) by two gamma draws (Marsaglia and Tsang 2000).
  float beta(float alpha, float beta);
  // A permutation of 0 … n-1 (Fisher-Yates).
  std::vector<int64_t> permutation(int64_t n);

 private:
  float gamma(float shape);
  void refill();

  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

}  // namespace pare

#endif  // PARE_BASE_RNG_H_

#include "base/rng.h"

#include <cmath>
#include <numbers>
#include <utility>

namespace pare {
namespace {

// Multipliers and Weyl increments of the paper, section 3.3.
constexpr uint32_t kMul0 = 0xD2511F53U;
constexpr uint32_t kMul1 = 0xCD9E8D57U;
constexpr uint32_t kWeyl0 = 0x9E3779B9U;
constexpr uint32_t kWeyl1 = 0xBB67AE85U;

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kMul0) * c[0];
    const uint64_t p1 = static_cast<uint64_t>(kMul1) * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += kWeyl0;
    k[1] += kWeyl1;
  }
  return c;
}

}  // namespace

// The key is the seed; the counter's upper three words say what for, its lowest word counts blocks.
// `b` and the purpose share a word: 24 bits of b are enough for an epoch or a layer.
Rng::Rng(uint64_t seed, RngPurpose purpose, uint64_t a, uint32_t b)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
      counter_{0, static_cast<uint32_t>(a), static_cast<uint32_t>(a >> 32),
               (static_cast<uint32_t>(purpose) << 24) ^ b} {}

void Rng::refill() {
  block_ = philox(counter_, key_);
  ++counter_[0];
  used_ = 0;
}

uint32_t Rng::next_u32() {
  if (used_ == 4) refill();
  return block_[static_cast<size_t>(used_++)];
}

uint64_t Rng::next_u64() {
  const uint64_t low = next_u32();
  return low | (static_cast<uint64_t>(next_u32()) << 32);
}

float Rng::uniform() { return static_cast<float>(next_u32() >> 8) * 0x1p-24F; }

uint64_t Rng::below(uint64_t n) {
  const uint64_t threshold =
      (0 - n) % n;  // 2^64 mod n: values under it would be drawn once too often
  while (true) {
    const uint64_t x = next_u64();
    if (x >= threshold) return x % n;
  }
}

float Rng::normal() {
  const float u = 1.0F - uniform();
  const float v = uniform();
  return std::sqrt(-2.0F * std::log(u)) * std::cos(2.0F * std::numbers::pi_v<float> * v);
}

float Rng::gamma(float shape) {
  if (shape < 1.0F) {
    const float u = 1.0F - uniform();
    return gamma(shape + 1.0F) * std::pow(u, 1.0F / shape);
  }
  const float d = shape - 1.0F / 3.0F;
  const float c = 1.0F / std::sqrt(9.0F * d);
  while (true) {
    const float x = normal();
    const float t = 1.0F + c * x;
    if (t <= 0.0F) continue;
    const float v = t * t * t;
    const float u = 1.0F - uniform();
    if (std::log(u) < 0.5F * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

float Rng::beta(float alpha, float beta) {
  const float x = gamma(alpha);
  const float y = gamma(beta);
  return x + y > 0.0F ? x / (x + y) : 0.5F;
}

std::vector<int64_t> Rng::permutation(int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i;
  for (int64_t i = n - 1; i > 0; --i) {
    const auto j = below(static_cast<uint64_t>(i) + 1);
    std::swap(order[static_cast<size_t>(i)], order[j]);
  }
  return order;
}

}  // namespace pare

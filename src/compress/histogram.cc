#include "compress/histogram.h"

#include <algorithm>
#include <cmath>

namespace pare {
namespace {

// Below this width (2^-140, among the subnormals of float32) no float32 needs finer bins.
constexpr int kSmallestExponent = -140;

// Floor division by two, for merging bins pairwise around zero.
int half_down(int k) { return k >= 0 ? k / 2 : -((1 - k) / 2); }

// Smallest e with |x| < kSide * 2^e.
int needed_exponent(float x) {
  if (x == 0.0F) return kSmallestExponent;
  int e = 0;
  std::frexp(x, &e);  // |x| = m * 2^e with 0.5 <= m < 1, so |x| < 2^e
  constexpr int kSideLog2 = 13;
  static_assert(Histogram::kSide == 1 << kSideLog2);
  return std::max(e - kSideLog2, kSmallestExponent);
}

}  // namespace

Histogram::Histogram() : exponent_(kSmallestExponent), bins_(2 * kSide, 0) {}

double Histogram::bin_width() const { return std::ldexp(1.0, exponent_); }

void Histogram::grow(int exponent) {
  for (; exponent_ < exponent; ++exponent_) {
    if (count_ == zeros_) {
      exponent_ = exponent;
      return;
    }
    std::vector<int64_t> merged(2 * kSide, 0);
    for (int k = -kSide; k < kSide; ++k)
      merged[static_cast<size_t>(int64_t{half_down(k)} + kSide)] += bin(k);
    bins_ = std::move(merged);
  }
}

int64_t Histogram::add(std::span<const float> values) {
  float low = 0;
  float high = 0;
  bool any = count_ > 0;
  int64_t rejected = 0;
  for (const float x : values) {
    if (!std::isfinite(x)) {
      ++rejected;
      continue;
    }
    if (!any && count_ == 0) {
      min_ = max_ = x;
      any = true;
    }
    low = std::min(low, x);
    high = std::max(high, x);
    min_ = std::min(min_, x);
    max_ = std::max(max_, x);
  }
  grow(std::max(needed_exponent(low), needed_exponent(high)));
  const double inverse = std::ldexp(1.0, -exponent_);
  int64_t counted = 0;
  int64_t zeros = 0;
  int64_t* middle = bins_.data() + kSide;
  for (const float x : values) {
    if (!std::isfinite(x)) continue;
    ++counted;
    if (x == 0.0F) {
      ++zeros;
      continue;
    }
    // -kSide * 2^e itself belongs to the lowest bin, so the floor stays within the sides.
    ++middle[static_cast<int>(std::floor(x * inverse))];
  }
  count_ += counted;
  zeros_ += zeros;
  return rejected;
}

void Histogram::merge(const Histogram& other) {
  if (other.count_ == 0) return;
  if (count_ == 0) {
    min_ = other.min_;
    max_ = other.max_;
  }
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  Histogram theirs = other;
  const int exponent = std::max(exponent_, other.exponent_);
  grow(exponent);
  theirs.grow(exponent);
  for (size_t i = 0; i < bins_.size(); ++i) bins_[i] += theirs.bins_[i];
  count_ += other.count_;
  zeros_ += other.zeros_;
}

int Histogram::first() const {
  for (int k = -kSide; k < kSide; ++k)
    if (bin(k) > 0) return k;
  return 0;
}

int Histogram::last() const {
  for (int k = kSide - 1; k >= -kSide; --k)
    if (bin(k) > 0) return k + 1;
  return 0;
}

double Histogram::quantile(double q) const {
  const double wanted = std::clamp(q, 0.0, 1.0) * static_cast<double>(count_);
  double below = 0;
  double value = max_;
  for (int k = -kSide; k < kSide; ++k) {
    if (k == 0) {  // the zeros stand between the sides
      below += static_cast<double>(zeros_);
      if (zeros_ > 0 && below >= wanted) {
        value = 0;
        break;
      }
    }
    const auto here = static_cast<double>(bin(k));
    if (here > 0 && below + here >= wanted) {
      value = (k + (wanted - below) / here) * bin_width();
      break;
    }
    below += here;
  }
  return std::clamp(value, static_cast<double>(min_), static_cast<double>(max_));
}

}  // namespace pare

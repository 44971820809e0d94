// Random operands for kernels under test, in guarded memory, and the tally of variants that ran.
#ifndef PARE_TESTING_OPERANDS_H_
#define PARE_TESTING_OPERANDS_H_

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/scalar.h"
#include "testing/guarded_buffer.h"

namespace pare::testing_operands {

using testing_memory::GuardedBuffer;

// `count` elements: floats uniform in [-1, 1), about a quarter of them zero with `sparse`; uint8
// and int8 uniform over their whole range, extremes more often than chance has them. Beyond a
// million elements they repeat.
inline GuardedBuffer random_operand(Rng& rng, DType type, int64_t count, bool sparse = false) {
  GuardedBuffer buffer(count * dtype_bytes(type));
  constexpr int64_t kPeriod = 1000003;
  const int64_t drawn = std::min(count, kPeriod);
  for (int64_t i = 0; i < drawn; ++i) {
    const bool zero = sparse && rng.bernoulli(0.25F);
    const bool extreme = rng.bernoulli(0.02F);
    if (type == DType::kUInt8) {
      const uint64_t value = extreme ? 255 : rng.below(256);
      buffer.as<uint8_t>()[i] = static_cast<uint8_t>(zero ? 0 : value);
    } else if (type == DType::kInt8) {
      const int64_t value = extreme ? -128 : static_cast<int64_t>(rng.below(256)) - 128;
      buffer.as<int8_t>()[i] = static_cast<int8_t>(zero ? 0 : value);
    } else {
      store_from_float(type, buffer.data(), i, zero ? 0.0F : rng.uniform(-1.0F, 1.0F), {});
    }
  }
  const int64_t bytes = dtype_bytes(type);
  for (int64_t i = drawn; i < count; i += kPeriod) {
    const int64_t n = std::min(kPeriod, count - i);
    std::memcpy(buffer.data() + i * bytes, buffer.data(), static_cast<size_t>(n * bytes));
  }
  return buffer;
}

inline std::vector<float> random_floats(Rng& rng, int64_t count, float low, float high) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = rng.uniform(low, high);
  return values;
}

inline std::vector<int32_t> random_ints(Rng& rng, int64_t count, int32_t bound) {
  std::vector<int32_t> values(static_cast<size_t>(count));
  const uint64_t span = 2 * static_cast<uint64_t>(bound) + 1;
  for (int32_t& v : values) v = static_cast<int32_t>(rng.below(span)) - bound;
  return values;
}

inline std::vector<float> as_floats(DType type, GuardedBuffer& buffer) {
  std::vector<float> values(static_cast<size_t>(buffer.size_bytes() / dtype_bytes(type)));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = load_as_float(type, buffer.data(), static_cast<int64_t>(i));
  }
  return values;
}

// Which variants a test ran how often, and which it could not and why; printed at the end.
class VariantTally {
 public:
  explicit VariantTally(std::string family) : family_(std::move(family)) {}
  ~VariantTally() {
    for (const auto& [name, count] : ran_) {
      std::printf("[  variant ] %s: %s ran %d cases\n", family_.c_str(), name.c_str(), count);
    }
    for (const auto& [name, why] : skipped_) {
      std::printf("[  skipped ] %s: %s: %s\n", family_.c_str(), name.c_str(), why.c_str());
    }
  }
  VariantTally(const VariantTally&) = delete;
  VariantTally& operator=(const VariantTally&) = delete;

  void ran(const std::string& name) { ++ran_[name]; }
  // This processor lacks something.
  void skipped(const std::string& name, const std::string& why) { skipped_[name] = why; }
  bool has_run(const std::string& name) const { return ran_.count(name) > 0; }
  bool was_skipped(const std::string& name) const { return skipped_.count(name) > 0; }

 private:
  std::string family_;
  std::map<std::string, int> ran_;
  std::map<std::string, std::string> skipped_;
};

}  // namespace pare::testing_operands

#endif  // PARE_TESTING_OPERANDS_H_

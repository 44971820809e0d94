// Images for nets that were never trained, and how far two answers are apart.
#ifndef PARE_TESTS_COMPRESS_STRIPES_H_
#define PARE_TESTS_COMPRESS_STRIPES_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "base/tensor.h"
#include "data/memory_dataset.h"

namespace pare {

// Pictures of soft stripes with some noise: neighbouring pixels alike, as in photographs.
inline std::shared_ptr<const Dataset> stripes(int64_t count, int64_t size, uint64_t seed) {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < count; ++i) {
    Rng rng(seed, RngPurpose::kTest, static_cast<uint64_t>(i));
    labels.push_back(static_cast<int32_t>(i % 10));
    for (int c = 0; c < 3; ++c) {
      const float mean = rng.uniform(60.0F, 190.0F);
      const float depth = rng.uniform(10.0F, 70.0F);
      const float along_x = rng.uniform(-0.9F, 0.9F);
      const float along_y = rng.uniform(-0.9F, 0.9F);
      for (int64_t k = 0; k < size * size; ++k) {
        const float phase =
            along_x * static_cast<float>(k % size) + along_y * static_cast<float>(k / size);
        const float value = mean + depth * std::sin(phase) + 6.0F * rng.normal();
        pixels.push_back(static_cast<uint8_t>(std::fmin(255.0F, std::fmax(0.0F, value))));
      }
    }
  }
  std::vector<std::string> classes;
  for (int c = 0; c < 10; ++c) classes.push_back(std::to_string(c));
  return *MemoryDataset::create({3, size, size}, std::move(pixels), std::move(labels),
                                std::move(classes), "stripes");
}

inline double snr_db(const Tensor& want, const Tensor& got) {
  double signal = 0;
  double noise = 1e-30;
  const auto w = want.values<float>();
  const auto g = got.values<float>();
  for (size_t i = 0; i < w.size(); ++i) {
    signal += static_cast<double>(w[i]) * w[i];
    noise += std::pow(static_cast<double>(w[i]) - g[i], 2);
  }
  return 10 * std::log10(signal / noise);
}

}  // namespace pare

#endif  // PARE_TESTS_COMPRESS_STRIPES_H_

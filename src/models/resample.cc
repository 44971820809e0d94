// Bicubic resampling with antialiasing, as PyTorch's interpolate(mode="bicubic", antialias=True)
// and Pillow: Keys 1981 with a = -0.5; when the grid shrinks the kernel is widened by the same
// factor.
#include <algorithm>
#include <cmath>

#include "models/import.h"

namespace pare {
namespace {

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

struct Taps {
  int64_t first = 0;
  std::vector<double> weights;
};

Taps taps_for(int64_t i, int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);
  const double support = 2 * stretch;
  const double centre = scale * (static_cast<double>(i) + 0.5);
  Taps taps;
  taps.first = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
  const int64_t end = std::min<int64_t>(static_cast<int64_t>(centre + support + 0.5), from);
  double sum = 0;
  for (int64_t j = taps.first; j < end; ++j) {
    taps.weights.push_back(cubic((static_cast<double>(j) + 0.5 - centre) / stretch));
    sum += taps.weights.back();
  }
  for (double& w : taps.weights) w /= sum;
  return taps;
}

// Resamples the middle one of three dimensions [outer, from, inner].
std::vector<float> resample_axis(const std::vector<float>& in, int64_t outer, int64_t from,
                                 int64_t inner, int64_t to) {
  std::vector<float> out(static_cast<size_t>(outer * to * inner));
  for (int64_t i = 0; i < to; ++i) {
    const Taps taps = taps_for(i, from, to);
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t c = 0; c < inner; ++c) {
        double sum = 0;
        for (size_t t = 0; t < taps.weights.size(); ++t) {
          const int64_t j = taps.first + static_cast<int64_t>(t);
          sum += taps.weights[t] *
                 static_cast<double>(in[static_cast<size_t>((o * from + j) * inner + c)]);
        }
        out[static_cast<size_t>((o * to + i) * inner + c)] = static_cast<float>(sum);
      }
    }
  }
  return out;
}

}  // namespace

std::vector<float> resample_grid(const std::vector<float>& grid, int64_t rows, int64_t columns,
                                 int64_t channels, int64_t new_rows, int64_t new_columns) {
  const std::vector<float> wide = resample_axis(grid, rows, columns, channels, new_columns);
  return resample_axis(wide, 1, rows, new_columns * channels, new_rows);
}

}  // namespace pare

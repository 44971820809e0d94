// k-means of numbers on a line, for weight sharing (Han, Mao and Dally 2016, "Deep Compression",
// section 3.1).
#ifndef PARE_COMPRESS_CLUSTERS_H_
#define PARE_COMPRESS_CLUSTERS_H_

#include <cstdint>
#include <span>
#include <vector>

namespace pare {

struct Clusters {
  std::vector<float> centres;  // ascending, all different
  std::vector<uint8_t> of;     // each value's centre
};

// At most `count` (1 … 256) centres with little importance · (value - centre)² in all: each value
// has the centre that is nearest (of two, the lower), and each centre is its values' mean, after
// 300 of Lloyd's steps at the most. They start from the best partition of a histogram, found by
// dynamic programming (Wang and Song 2011, "Ckmeans.1d.dp"), since Lloyd's steps do not leave a
// region that was given too few centres. `importance`: one for each value, not negative, or empty:
// all alike. Clusters that no value of any importance joins are left out, so there may be fewer.
// Values must be finite; none give no centres.
Clusters find_clusters(std::span<const float> values, std::span<const double> importance,
                       int count);

}  // namespace pare

#endif  // PARE_COMPRESS_CLUSTERS_H_

// Two models on the same images: what changed from the first to the second.
#ifndef PARE_MEASURE_PAIRED_H_
#define PARE_MEASURE_PAIRED_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/stats.h"
#include "measure/accuracy.h"
#include "records/schema.h"

namespace pare {

struct PairedComparison {
  int64_t images = 0;
  int64_t flips = 0;  // images whose top-1 class differs, right or wrong
  int64_t both = 0;   // right in both
  int64_t only_first = 0;
  int64_t only_second = 0;
  int64_t neither = 0;
  double flips_percent = 0;
  double mcnemar_p = 1;  // exact, two-sided
  // Second minus first, percentage points of top-1, with Newcombe's 95 % interval.
  double difference = 0;
  double difference_low = 0;
  double difference_high = 0;
  // The class that lost most: its position, and the points it lost (0 or less: none lost).
  int64_t worst_class = -1;
  double worst_loss = 0;
};

// Fails unless both answered the same images (number and labels); `classes` bounds the labels.
Result<PairedComparison> compare_paired(const Evaluation& first, const Evaluation& second,
                                        int64_t classes);

// Puts the comparison into the second's record; `against`: the first as shown.
void add_comparison(const PairedComparison& comparison, const std::string& against,
                    AccuracyRecord& record);

}  // namespace pare

#endif  // PARE_MEASURE_PAIRED_H_

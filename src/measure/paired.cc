#include "measure/paired.h"

#include <fmt/format.h>

#include <algorithm>

namespace pare {
namespace {

struct ClassCounts {
  int64_t images = 0;
  int64_t first = 0;
  int64_t second = 0;
};

void find_worst_class(const std::vector<ClassCounts>& classes, PairedComparison& to) {
  for (size_t c = 0; c < classes.size(); ++c) {
    if (classes[c].images == 0) continue;
    const double loss = 100.0 * static_cast<double>(classes[c].first - classes[c].second) /
                        static_cast<double>(classes[c].images);
    if (to.worst_class >= 0 && loss <= to.worst_loss) continue;
    to.worst_class = static_cast<int64_t>(c);
    to.worst_loss = loss;
  }
}

}  // namespace

Result<PairedComparison> compare_paired(const Evaluation& first, const Evaluation& second,
                                        int64_t classes) {
  if (first.labels != second.labels) {
    return invalid_argument(
        fmt::format("answers for {} and for {} images: a comparison needs the same images in both",
                    first.labels.size(), second.labels.size()));
  }
  if (std::ranges::any_of(first.labels, [&](int64_t l) { return l < 0 || l >= classes; })) {
    return invalid_argument(fmt::format("a label is not below the {} classes", classes));
  }
  PairedComparison r;
  r.images = static_cast<int64_t>(first.labels.size());
  std::vector<ClassCounts> counts(static_cast<size_t>(classes));
  for (size_t i = 0; i < first.labels.size(); ++i) {
    const int64_t label = first.labels[i];
    const bool a = first.predicted[i] == label;
    const bool b = second.predicted[i] == label;
    r.flips += first.predicted[i] != second.predicted[i];
    r.both += a && b;
    r.only_first += a && !b;
    r.only_second += !a && b;
    r.neither += !a && !b;
    ClassCounts& c = counts[static_cast<size_t>(label)];
    ++c.images;
    c.first += a;
    c.second += b;
  }
  if (r.images == 0) return r;
  const auto images = static_cast<double>(r.images);
  const Interval interval =
      paired_difference_interval(r.both, r.only_first, r.only_second, r.neither);
  r.flips_percent = 100 * static_cast<double>(r.flips) / images;
  r.mcnemar_p = mcnemar_exact(r.only_first, r.only_second);
  r.difference = 100 * static_cast<double>(r.only_second - r.only_first) / images;
  r.difference_low = 100 * interval.low;
  r.difference_high = 100 * interval.high;
  find_worst_class(counts, r);
  return r;
}

void add_comparison(const PairedComparison& comparison, const std::string& against,
                    AccuracyRecord& record) {
  record.against = against;
  record.flips = comparison.flips_percent;
  record.mcnemar_p = comparison.mcnemar_p;
}

}  // namespace pare

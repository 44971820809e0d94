#include "compress/pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace pare {
namespace {

constexpr int64_t kBalancedGroup = 64;

// Calls clear(position) for the `count` smallest of scores[0 … n), ties by position. `sorted`:
// scratch.
template <typename Clear>
void clear_smallest(const float* scores, int64_t n, int64_t count, std::vector<float>& sorted,
                    Clear&& clear) {
  if (count <= 0) return;
  sorted.assign(scores, scores + n);
  const auto last = sorted.begin() + (std::min(count, n) - 1);
  std::nth_element(sorted.begin(), last, sorted.end());
  const float threshold = *last;
  int64_t ties = count - std::count_if(sorted.begin(), sorted.end(),
                                       [threshold](float s) { return s < threshold; });
  for (int64_t i = 0; i < n; ++i)
    if (scores[i] < threshold || (scores[i] == threshold && ties-- > 0)) clear(i);
}

// Part `i` of `parts` of a total, such that all parts add up to it.
int64_t part_of(int64_t total, int64_t i, int64_t parts) {
  return total * (i + 1) / parts - total * i / parts;
}

void keep_by_group(std::span<const float> scores, int64_t rows, int64_t columns,
                   const Removal& removal, std::vector<uint8_t>& keep) {
  const Pattern& pattern = removal.pattern;
  std::vector<float> sorted;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t first = 0; first < columns; first += pattern.group) {
      const int64_t n = std::min(pattern.group, columns - first);
      const int64_t count = pattern.kind == Pattern::Kind::kFixed
                                ? n - pattern.kept
                                : std::llround(removal.share * static_cast<double>(n));
      uint8_t* flags = keep.data() + r * columns + first;
      clear_smallest(scores.data() + r * columns + first, n, count, sorted,
                     [flags](int64_t at) { flags[at] = 0; });
    }
}

// Blocks of B × 1; B = 1 is no pattern at all.
void keep_by_block(std::span<const float> scores, int64_t rows, int64_t columns,
                   const Removal& removal, std::vector<uint8_t>& keep) {
  const int64_t b = removal.pattern.block;
  const int64_t strips = rows / b;
  std::vector<float> sums;
  if (b > 1) {
    sums.assign(static_cast<size_t>(strips * columns), 0.0F);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c) {
        const float s = scores[static_cast<size_t>(r * columns + c)];
        sums[static_cast<size_t>(r / b * columns + c)] += s * s;
      }
    scores = sums;
  }
  const auto total = static_cast<int64_t>(
      std::llround(static_cast<double>(removal.count) / static_cast<double>(b)));
  const int64_t parts = removal.within_output ? strips : 1;
  const int64_t n = strips * columns / parts;
  std::vector<float> sorted;
  for (int64_t p = 0; p < parts; ++p)
    clear_smallest(scores.data() + p * n, n, part_of(total, p, parts), sorted, [&](int64_t at) {
      const int64_t strip = (p * n + at) / columns;
      const int64_t column = (p * n + at) % columns;
      for (int64_t r = strip * b; r < (strip + 1) * b; ++r)
        keep[static_cast<size_t>(r * columns + column)] = 0;
    });
}

}  // namespace

const std::vector<std::string>& pattern_words() {
  static const std::vector<std::string> words = {"none", "2:4", "1:4", "1:2",  "4:8",
                                                 "2:8",  "1:8", "4x1", "16x1", "k:64"};
  return words;
}

Pattern pattern_from_word(const std::string& word) {
  Pattern pattern;
  const size_t at = word.find_first_of(":x");
  if (at == std::string::npos) return pattern;
  if (word[at] == 'x') {
    pattern.kind = Pattern::Kind::kBlocks;
    pattern.block = std::stoll(word.substr(0, at));
  } else if (word[0] == 'k') {
    pattern.kind = Pattern::Kind::kBalanced;
    pattern.group = kBalancedGroup;
  } else {
    pattern.kind = Pattern::Kind::kFixed;
    pattern.kept = std::stoll(word.substr(0, at));
    pattern.group = std::stoll(word.substr(at + 1));
  }
  return pattern;
}

std::string pattern_misfit(const Pattern& pattern, const WeightMatrix& shape) {
  if (pattern.kind == Pattern::Kind::kFixed && shape.channels() % pattern.group != 0)
    return fmt::format("has {} input channels, not a multiple of {}", shape.channels(),
                       pattern.group);
  if (pattern.kind == Pattern::Kind::kBlocks && shape.outputs_of_group() % pattern.block != 0)
    return fmt::format("has {} outputs{}, not a multiple of {}", shape.outputs_of_group(),
                       shape.groups > 1 ? " a group" : "", pattern.block);
  return "";
}

int64_t pattern_count(const Pattern& pattern, int64_t size, int64_t wanted) {
  if (pattern.kind != Pattern::Kind::kFixed) return wanted;
  return size / pattern.group * (pattern.group - pattern.kept);
}

std::vector<uint8_t> keep_mask(std::span<const float> scores, int64_t rows, int64_t columns,
                               const Removal& removal) {
  std::vector<uint8_t> keep(scores.size(), 1);
  const Pattern::Kind kind = removal.pattern.kind;
  if (kind == Pattern::Kind::kFixed || kind == Pattern::Kind::kBalanced) {
    keep_by_group(scores, rows, columns, removal, keep);
  } else {
    keep_by_block(scores, rows, columns, removal, keep);
  }
  return keep;
}

}  // namespace pare

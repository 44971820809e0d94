#include "compress/pruner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "compress/calibrate.h"
#include "compress/prune.h"
#include "compress/taylor.h"
#include "compress/weight_matrix.h"

namespace pare {
namespace {

// Of one group of a matrix: rows × k scores.
std::vector<float> magnitudes(std::span<const float> weights) {
  std::vector<float> scores(weights.size());
  std::transform(weights.begin(), weights.end(), scores.begin(),
                 [](float w) { return std::fabs(w); });
  return scores;
}

// What goes of group `g` when `count` of the whole matrix go.
Removal removal_of(const Pattern& pattern, const WeightMatrix& shape, int64_t count, int64_t g) {
  Removal removal;
  removal.pattern = pattern;
  removal.count = count * (g + 1) / shape.groups - count * g / shape.groups;
  removal.share = static_cast<double>(count) / static_cast<double>(shape.outputs * shape.k);
  return removal;
}

// SparseGPT on one group: settles `weights` (rows × k) and fills `keep`.
void settle_pruned(std::span<float> weights, int64_t rows, const InverseFactor& factor,
                   const Removal& whole, std::span<uint8_t> keep, ThreadPool& pool) {
  const int64_t k = factor.k;
  const Pattern& pattern = whole.pattern;
  ColumnRule rule;
  rule.block = std::max(kBlockColumns / pattern.group, int64_t{1}) * pattern.group;
  const int64_t blocks_to_go =
      std::llround(static_cast<double>(whole.count) / static_cast<double>(pattern.block));
  rule.begin_block = [&](std::span<const float> now, int64_t first, int64_t last) {
    const int64_t width = last - first;
    std::vector<float> scores(static_cast<size_t>(rows * width));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < width; ++c)
        scores[static_cast<size_t>(r * width + c)] =
            std::fabs(now[static_cast<size_t>(r * k + first + c)]) / factor.diagonal(first + c);
    Removal removal = whole;
    removal.count = (blocks_to_go * last / k - blocks_to_go * first / k) * pattern.block;
    const std::vector<uint8_t> mine = keep_mask(scores, rows, width, removal);
    for (int64_t r = 0; r < rows; ++r)
      std::copy_n(mine.begin() + r * width, width, keep.begin() + r * k + first);
  };
  rule.settle = [&](int64_t row, int64_t column, float w) {
    return keep[static_cast<size_t>(row * k + column)] != 0 ? w : 0.0F;
  };
  settle_columns(weights, rows, factor, rule, pool);
}

}  // namespace

PruneScore prune_score_from_word(const std::string& word) {
  if (word == "taylor") return PruneScore::kTaylor;
  if (word == "wanda") return PruneScore::kWanda;
  return word == "sparsegpt" ? PruneScore::kSparseGpt : PruneScore::kMagnitude;
}

bool reads_inputs(PruneScore score) {
  return score == PruneScore::kWanda || score == PruneScore::kSparseGpt;
}

Pruner::Pruner(const Graph& graph, PruneScore score, const Pattern& pattern,
               const CompressContext& context)
    : graph_(graph),
      score_(score),
      pattern_(pattern),
      pool_(context.threads > 0 ? context.threads : available_cores()) {}

Result<std::unique_ptr<Pruner>> Pruner::create(const Graph& graph, std::vector<WeightLayer> layers,
                                               PruneScore score, const Pattern& pattern,
                                               const CompressContext& context, bool one_by_one) {
  std::unique_ptr<Pruner> pruner(new Pruner(graph, score, pattern, context));
  std::vector<std::string> weights;
  for (WeightLayer& layer : layers) {
    weights.push_back(layer.weight);
    pruner->layers_.emplace(layer.weight, std::move(layer));
  }
  pruner->key_ =
      fmt::format("{} {} {} {} {}", static_cast<int>(score), static_cast<int>(pattern.kind),
                  pattern.kept, pattern.group, pattern.block);
  if (score == PruneScore::kMagnitude) return pruner;
  PARE_ASSIGN_OR_RETURN(const DrawnImages images, draw_images(context));
  pruner->key_ += " " + images.calibration->hash();
  if (score == PruneScore::kTaylor) {
    PARE_ASSIGN_OR_RETURN(pruner->importance_,
                          weight_importance(graph, weights, *images.calibration, context));
    return pruner;
  }
  const auto kind =
      score == PruneScore::kSparseGpt ? InputSource::Kind::kGram : InputSource::Kind::kSquares;
  pruner->inputs_.emplace(graph, weights, images.calibration, context, kind,
                          one_by_one ? 0 : kMaxGramBytes);
  return pruner;
}

Result<PrunedWeight> Pruner::prune(const std::string& weight, int64_t count) {
  const WeightLayer& layer = layers_.at(weight);
  return score_ == PruneScore::kSparseGpt ? prune_by_solver(layer, count)
                                          : prune_by_score(layer, count);
}

Result<bool> Pruner::saw_nothing(const std::string& weight) {
  if (score_ == PruneScore::kTaylor) {
    const Tensor& importance = importance_.at(weight);
    return count_zeros(importance) == importance.size();
  }
  if (score_ == PruneScore::kMagnitude) return false;
  PARE_ASSIGN_OR_RETURN(const InputStatistics* seen, inputs_->at(weight));
  return std::all_of(seen->squares.begin(), seen->squares.end(), [](double s) { return s == 0; });
}

const Tensor& Pruner::scored_numbers(const std::string& weight) const {
  const auto found = importance_.find(weight);
  const bool any = found != importance_.end() && count_zeros(found->second) < found->second.size();
  return any ? found->second : *graph_.find_initializer(weight);
}

Result<PrunedWeight> Pruner::prune_by_score(const WeightLayer& layer, int64_t count) {
  const Tensor& weight = *graph_.find_initializer(layer.weight);
  const Tensor& own_scores = scored_numbers(layer.weight);
  if (!reads_inputs(score_) && pattern_.kind == Pattern::Kind::kNone) {
    Tensor mask = magnitude_mask(own_scores, count);
    return PrunedWeight{apply_mask(weight, mask), mask};
  }
  const WeightMatrix shape = weight_matrix(graph_, layer);
  const std::vector<int64_t> order = channels_innermost(shape);
  std::vector<float> scores = magnitudes(read_rows(own_scores, shape, order));
  std::vector<uint8_t> keep;
  const int64_t of_group = shape.outputs_of_group();
  const auto size = static_cast<size_t>(of_group * shape.k);
  if (score_ == PruneScore::kWanda) {
    PARE_ASSIGN_OR_RETURN(const bool nothing, saw_nothing(layer.weight));
    PARE_ASSIGN_OR_RETURN(const InputStatistics* seen, inputs_->at(layer.weight));
    for (int64_t o = 0; o < shape.outputs && !nothing; ++o)
      for (int64_t c = 0; c < shape.k; ++c) {
        const int64_t input = o / of_group * shape.k + order[static_cast<size_t>(c)];
        scores[static_cast<size_t>(o * shape.k + c)] *=
            static_cast<float>(std::sqrt(seen->squares[static_cast<size_t>(input)]));
      }
    for (int64_t g = 0; g < shape.groups; ++g) {
      Removal removal = removal_of(pattern_, shape, count, g);
      removal.within_output = true;
      const auto mine = keep_mask(std::span(scores).subspan(static_cast<size_t>(g) * size, size),
                                  of_group, shape.k, removal);
      keep.insert(keep.end(), mine.begin(), mine.end());
    }
  } else {
    // These are compared over the whole layer, its groups too.
    Removal removal = removal_of(pattern_, shape, count, 0);
    removal.count = count;
    keep = keep_mask(scores, shape.outputs, shape.k, removal);
  }
  PrunedWeight pruned;
  pruned.mask = write_rows<uint8_t>(keep, weight, shape, order);
  pruned.weight = apply_mask(weight, pruned.mask);
  return pruned;
}

Status Pruner::factorise(const WeightLayer& layer, const std::vector<int64_t>& order) {
  if (factorised_ == layer.weight) return ok_status();
  factorised_.clear();
  factors_.clear();
  PARE_ASSIGN_OR_RETURN(const InputStatistics* seen, inputs_->at(layer.weight));
  for (const std::vector<double>& gram : seen->gram) {
    Result<InverseFactor> factor = invert_gram(gram, seen->shape.k, order, kDamping, pool_);
    if (!factor.ok()) return factor.status().with_context(fmt::format("layer '{}'", layer.name));
    factors_.push_back(*std::move(factor));
  }
  factorised_ = layer.weight;
  return ok_status();
}

Result<PrunedWeight> Pruner::prune_by_solver(const WeightLayer& layer, int64_t count) {
  const Tensor& weight = *graph_.find_initializer(layer.weight);
  const WeightMatrix shape = weight_matrix(graph_, layer);
  const std::vector<int64_t> order = channels_innermost(shape);
  PARE_RETURN_IF_ERROR(factorise(layer, order));
  std::vector<float> rows = read_rows(weight, shape, order);
  std::vector<uint8_t> keep(rows.size(), 1);
  const int64_t of_group = shape.outputs_of_group();
  const auto size = static_cast<size_t>(of_group * shape.k);
  for (int64_t g = 0; g < shape.groups; ++g) {
    const size_t at = static_cast<size_t>(g) * size;
    settle_pruned(std::span(rows).subspan(at, size), of_group, factors_[static_cast<size_t>(g)],
                  removal_of(pattern_, shape, count, g), std::span(keep).subspan(at, size), pool_);
  }
  for (const float w : rows)
    if (!std::isfinite(w))
      return numeric_error(fmt::format(
          "layer '{}': making up for pruned weights gave a NaN or an infinity", layer.name));
  return PrunedWeight{write_rows<float>(rows, weight, shape, order),
                      write_rows<uint8_t>(keep, weight, shape, order)};
}

}  // namespace pare

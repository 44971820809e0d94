#include "measure/answer_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/numerals.h"
#include "graph/cost.h"
#include "measure/accuracy.h"
#include "measure/rotation.h"
#include "measure/subject.h"

namespace pare {
namespace {

// What the reference kernels are given: about a second's work, never more than a minute's.
constexpr int64_t kReferenceMacs = 2'000'000'000;
constexpr int64_t kMostReferenceMacs = 20'000'000'000;
constexpr int64_t kMostReferenceImages = 8;

double storage_error(const std::string& precision) {
  if (precision == "float32") return 0x1p-24;
  return precision == "float16" || precision == "tf32" ? 0x1p-11 : 0x1p-8;
}

// Largest difference between two rows of scores, relative to the largest of them.
struct Difference {
  double relative = 0;
  size_t at = 0;
};

Difference difference(std::span<const float> a, std::span<const float> b) {
  double largest = 0;
  Difference d;
  for (size_t c = 0; c < a.size(); ++c) {
    largest = std::max({largest, std::abs(double{a[c]}), std::abs(double{b[c]})});
  }
  for (size_t c = 0; c < a.size(); ++c) {
    if (a[c] == b[c]) continue;
    const double apart = std::abs(double{a[c]} - double{b[c]}) / largest;
    // Written so that a NaN counts as the largest difference there is.
    if (!(apart <= d.relative)) d = {std::isnan(apart) ? HUGE_VAL : apart, c};
  }
  return d;
}

// Scores of `count` images, one by one or together.
Result<std::vector<float>> scores_of(Session& session, std::span<const uint8_t> pixels,
                                     int64_t count, int64_t batch) {
  const auto classes = static_cast<size_t>(session.info().class_count);
  const size_t image = pixels.size() / static_cast<size_t>(count);
  std::vector<float> scores(static_cast<size_t>(count) * classes);
  for (int64_t i = 0; i < count; i += batch) {
    const auto at = static_cast<size_t>(i);
    const auto n = static_cast<size_t>(batch);
    PARE_RETURN_IF_ERROR(session.run(pixels.subspan(at * image, n * image), batch,
                                     std::span(scores).subspan(at * classes, n * classes)));
  }
  return scores;
}

struct Compared {
  int64_t images = 0;
  int64_t classes = 0;
  double allowed = 0;
  const char* with = "";
};

Result<double> compare(std::span<const float> scores, std::span<const float> expected,
                       const Compared& what) {
  const auto classes = static_cast<size_t>(what.classes);
  double largest = 0;
  for (int64_t i = 0; i < what.images; ++i) {
    const size_t at = static_cast<size_t>(i) * classes;
    const Difference d = difference(scores.subspan(at, classes), expected.subspan(at, classes));
    if (d.relative > what.allowed) {
      return numeric_error(fmt::format(
          "image {}, class {}: {} is expected by {}, found {} ({:.2g} of the largest score apart, "
          "allowed {:.2g})",
          i, d.at, expected[at + d.at], what.with, scores[at + d.at], d.relative, what.allowed));
    }
    largest = std::max(largest, d.relative);
  }
  return largest;
}

Result<int64_t> graph_macs(const Graph& graph) {
  PARE_ASSIGN_OR_RETURN(const std::vector<NodeCost> costs, node_costs(graph));
  int64_t macs = 0;
  for (const NodeCost& cost : costs) macs = saturating_sum(macs, cost.macs);
  return macs;
}

}  // namespace

std::string AnswerCheck::text() const {
  std::string text;
  if (batch_images > 0) {
    text = fmt::format("{} images in batches against one by one: {:.1e} apart; ", batch_images,
                       batch_difference);
  }
  if (reference_images > 0) {
    text += fmt::format("{} {} against the reference kernels: {:.1e} apart; ", reference_images,
                        reference_images == 1 ? "image" : "images", reference_difference);
  } else {
    text += "too large for the reference kernels; ";
  }
  return text + fmt::format("allowed {:.1e} of the largest score", allowed);
}

Result<double> allowed_difference(const Graph& graph, const std::string& precision) {
  PARE_ASSIGN_OR_RETURN(const std::vector<NodeCost> costs, node_costs(graph));
  const double stored = 2 * storage_error(precision);
  double squares = 0;
  for (const NodeCost& cost : costs) {
    if (cost.macs == 0) continue;
    double outputs = 1;
    for (const int64_t d : cost.output_shape) {
      outputs *= d == kDynamic ? 1.0 : static_cast<double>(std::max<int64_t>(1, d));
    }
    const double product = 2 * 0x1p-23 * static_cast<double>(cost.macs) / outputs;
    squares += product * product + stored * stored;
  }
  return std::sqrt(std::max(squares, stored * stored));
}

Result<AnswerCheck> check_answers(Session& session, const Graph& graph,
                                  const SessionOptions& options, const Dataset& images,
                                  int64_t batch) {
  const std::string precision = precision_of(graph, options.precision);
  AnswerCheck check;
  PARE_ASSIGN_OR_RETURN(check.allowed, allowed_difference(graph, precision));
  PARE_ASSIGN_OR_RETURN(const int64_t macs, graph_macs(graph));
  if (macs <= kMostReferenceMacs) {
    const int64_t fit = kReferenceMacs / std::max<int64_t>(1, macs);
    check.reference_images = std::clamp<int64_t>(fit, 1, kMostReferenceImages);
  }
  // Whole batches: one, or as many as give the reference kernels their images.
  const int64_t count = (std::max<int64_t>(1, check.reference_images) + batch - 1) / batch * batch;
  PARE_ASSIGN_OR_RETURN(Rotation rotation, Rotation::create(images, count, count));
  const std::span<const uint8_t> pixels = rotation.next();
  PARE_ASSIGN_OR_RETURN(const std::vector<float> scores, scores_of(session, pixels, count, batch));
  const int64_t classes = session.info().class_count;
  if (batch > 1) {
    check.batch_images = count;
    PARE_ASSIGN_OR_RETURN(const std::vector<float> single, scores_of(session, pixels, count, 1));
    PARE_ASSIGN_OR_RETURN(
        check.batch_difference,
        compare(scores, single, {count, classes, check.allowed, "the same session, one by one"}));
  }
  if (check.reference_images == 0) return check;
  SessionOptions slow = options;
  slow.reference_kernels = true;
  slow.cpu_level.clear();
  slow.device = "cpu";
  if (slow.precision == "tf32") slow.precision = "float32";
  PARE_ASSIGN_OR_RETURN(Session reference, Session::from_graph(graph, slow));
  const size_t image = pixels.size() / static_cast<size_t>(count);
  PARE_ASSIGN_OR_RETURN(
      const std::vector<float> expected,
      scores_of(reference, pixels.first(image * static_cast<size_t>(check.reference_images)),
                check.reference_images, 1));
  PARE_ASSIGN_OR_RETURN(
      check.reference_difference,
      compare(scores, expected,
              {check.reference_images, classes, check.allowed, "the reference kernels"}));
  return check;
}

}  // namespace pare

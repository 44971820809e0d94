// Answers checked before times are taken: a fast wrong kernel is worth nothing.
//
// Two things must agree: one batch of n with the same images one by one, and the chosen kernels
// with the reference kernels. How far scores may differ follows from the operations: a product of
// depth k errs by 2 k eps relative to the sum of its largest terms (testing/compare.h, the house's
// rule), storing a result by two units of its type; layer on layer such errors are independent, so
// their squares add:
//   allowed² = Σ over products ((2 k 2^-23)² + (2 u)²),   u = 2^-24, 2^-11 (float16, TF32),
//   2^-8 (bfloat16; and int8, where a float sum next to a rounding edge may move by one step of
//   256)
// relative to the largest score of the image.
#ifndef PARE_MEASURE_ANSWER_CHECK_H_
#define PARE_MEASURE_ANSWER_CHECK_H_

#include <cstdint>
#include <string>

#include "pare/session.h"
#include "pare/status.h"

#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

struct AnswerCheck {
  int64_t batch_images = 0;  // in batches, compared with the same one by one; 0 for batches of one
  double batch_difference = 0;
  int64_t reference_images = 0;  // 0: the model is too large for the reference kernels
  double reference_difference = 0;
  double allowed = 0;

  // "64 images in batches against one by one: 0.0e+00 apart; 8 images against the reference …"
  std::string text() const;
};

// Largest relative difference allowed between two ways of computing the graph's scores.
Result<double> allowed_difference(const Graph& graph, const std::string& precision);

// `session` was made from `graph` with `options`. kNumeric when answers differ by more than is
// allowed, naming the image and both scores.
Result<AnswerCheck> check_answers(Session& session, const Graph& graph,
                                  const SessionOptions& options, const Dataset& images,
                                  int64_t batch);

}  // namespace pare

#endif  // PARE_MEASURE_ANSWER_CHECK_H_

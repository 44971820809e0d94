// Accuracy: what a model answers for every image of a set, and what that says.
#ifndef PARE_MEASURE_ACCURACY_H_
#define PARE_MEASURE_ACCURACY_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "data/dataset.h"
#include "records/schema.h"

namespace pare {

struct EvaluationOptions {
  // 0: as many images as make about 1 MB of pixels, 16 to 256. The answers do not depend on it.
  int64_t batch_size = 0;
  int64_t images = 0;  // the first so many; 0: all
  // Images done so far, of how many; may be empty.
  std::function<void(int64_t done, int64_t total)> progress;
};

struct Evaluation {
  std::vector<int64_t> labels;
  std::vector<int64_t> predicted;  // top-1: the highest score, the lowest class among equals
  std::vector<bool> in_top5;       // the label is among the five highest scores
  double seconds = 0;
};

// Whether the images are what the model takes: their shape, the number of their classes and, where
// both name the classes, their order. The error names both sides.
Status check_fit(const ModelInfo& model, const Dataset& images);

// Runs the images through the session, in order; the next batch is read meanwhile. Errors: those of
// check_fit; an image that cannot be read; a score that is NaN (kNumeric, naming the image).
Result<Evaluation> evaluate(Session& session, const Dataset& images,
                            const EvaluationOptions& options = {});

// The place of `label` among the scores, from 0: how many stand before it, higher ones and equal
// ones of a lower class.
int64_t rank_of(std::span<const float> scores, int64_t label);
// The highest score's class, the lowest among equals.
int64_t best_class(std::span<const float> scores);

// What stands in the records beside the answers.
struct EvaluationSubject {
  ModelIdentity id;
  std::string engine = "pare";
  std::string precision;  // "float32", "bfloat16", "float16", "int8"
};
// Top-1 and top-5 with 95 % Wilson intervals, and each class's.
AccuracyRecord accuracy_record(const Evaluation& evaluation, const Dataset& images,
                               const EvaluationSubject& subject);
PredictionsRecord predictions_record(const Evaluation& evaluation, const Dataset& images,
                                     const EvaluationSubject& subject);

}  // namespace pare

#endif  // PARE_MEASURE_ACCURACY_H_

#include "measure/accuracy.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <future>
#include <utility>

#include "base/stats.h"

namespace pare {
namespace {

constexpr int64_t kTop = 5;

int64_t batch_size_for(const EvaluationOptions& options, const ImageShape& shape) {
  constexpr int64_t kPixelBytes = 1 << 20;
  if (options.batch_size > 0) return options.batch_size;
  return std::clamp<int64_t>(kPixelBytes / std::max<int64_t>(1, shape.size()), 16, 256);
}

// The images of a range, read by a thread of its own while the session works on the range before.
class ReadAhead {
 public:
  ReadAhead(const Dataset& images, int64_t total, int64_t batch)
      : images_(images), total_(total), batch_(batch), image_bytes_(images.image_shape().size()) {
    start(0);
  }

  // The batch that begins at `first`, which must follow the one before. Valid until the next call.
  Result<std::span<const uint8_t>> next(int64_t first) {
    PARE_RETURN_IF_ERROR(reading_.get());
    std::swap(ready_, filling_);
    if (first + batch_ < total_) start(first + batch_);
    return std::span<const uint8_t>(ready_);
  }

 private:
  void start(int64_t first) {
    filling_.resize(static_cast<size_t>(std::min(batch_, total_ - first) * image_bytes_));
    reading_ = std::async(std::launch::async,
                          [this, first] { return read_images(images_, first, filling_); });
  }

  const Dataset& images_;
  const int64_t total_;
  const int64_t batch_;
  const int64_t image_bytes_;
  std::vector<uint8_t> ready_;
  std::vector<uint8_t> filling_;
  std::future<Status> reading_;  // last: waits for the reader before the rest goes
};

// Takes in one image's scores.
Status add_answer(std::span<const float> scores, int64_t image, int64_t label, Evaluation& to) {
  for (size_t c = 0; c < scores.size(); ++c) {
    if (std::isnan(scores[c])) {
      return numeric_error(fmt::format("image {}: the score of class {} is NaN", image, c));
    }
  }
  to.labels.push_back(label);
  to.predicted.push_back(best_class(scores));
  to.in_top5.push_back(rank_of(scores, label) < kTop);
  return ok_status();
}

// The first images of a set are another set.
std::string data_name(const Evaluation& e, const Dataset& images) {
  const auto count = static_cast<int64_t>(e.labels.size());
  if (count == images.size()) return images.description();
  return fmt::format("the first {} of {}", count, images.description());
}

std::string data_hash(const Evaluation& e, const Dataset& images) {
  const auto count = static_cast<int64_t>(e.labels.size());
  if (count == images.size()) return images.hash();
  return fmt::format("{}:{}", images.hash(), count);
}

// What both records say of the model and the images.
template <class Fields>
Fields begin_record(const Evaluation& e, const Dataset& images, const EvaluationSubject& subject) {
  Fields r;
  r.id = subject.id;
  r.engine = subject.engine;
  r.precision = subject.precision;
  r.data = data_name(e, images);
  r.data_hash = data_hash(e, images);
  r.classes = images.classes();
  return r;
}

}  // namespace

int64_t best_class(std::span<const float> scores) {
  return std::max_element(scores.begin(), scores.end()) - scores.begin();
}

int64_t rank_of(std::span<const float> scores, int64_t label) {
  const float own = scores[static_cast<size_t>(label)];
  int64_t before = 0;
  for (int64_t c = 0; c < static_cast<int64_t>(scores.size()); ++c) {
    const float other = scores[static_cast<size_t>(c)];
    before += other > own || (other == own && c < label);
  }
  return before;
}

Status check_fit(const ModelInfo& model, const Dataset& images) {
  const ImageShape wanted{model.channels, model.height, model.width};
  const ImageShape found = images.image_shape();
  if (found != wanted) {
    return invalid_argument(
        fmt::format("the model takes images of {}x{}x{}, the data's are {}x{}x{}", wanted.channels,
                    wanted.height, wanted.width, found.channels, found.height, found.width));
  }
  const std::vector<std::string>& names = images.classes();
  const auto count = static_cast<int64_t>(names.size());
  if (count != model.class_count) {
    return invalid_argument(fmt::format("the model tells {} classes apart, the data has {} ({})",
                                        model.class_count, count, images.description()));
  }
  // The same names in another order: every label would mean something else.
  if (std::ranges::is_permutation(model.classes, names) && model.classes != names) {
    const auto at = std::ranges::mismatch(model.classes, names);
    return invalid_argument(fmt::format("class {} is '{}' in the model and '{}' in the data",
                                        at.in1 - model.classes.begin(), *at.in1, *at.in2));
  }
  return ok_status();
}

Result<Evaluation> evaluate(Session& session, const Dataset& images,
                            const EvaluationOptions& options) {
  PARE_RETURN_IF_ERROR(check_fit(session.info(), images));
  if (options.images < 0 || options.images > images.size() || images.size() == 0) {
    return invalid_argument(fmt::format("{} images: expected 0 (all) to {}, the number there are",
                                        options.images, images.size()));
  }
  const int64_t total = options.images == 0 ? images.size() : options.images;
  const int64_t batch = std::min(total, batch_size_for(options, images.image_shape()));
  const int64_t classes = session.info().class_count;
  const auto start = std::chrono::steady_clock::now();
  Evaluation result;
  ReadAhead reader(images, total, batch);
  std::vector<float> scores;
  for (int64_t first = 0; first < total; first += batch) {
    const int64_t count = std::min(batch, total - first);
    PARE_ASSIGN_OR_RETURN(const std::span<const uint8_t> pixels, reader.next(first));
    scores.resize(static_cast<size_t>(count * classes));
    PARE_RETURN_IF_ERROR(session.run(pixels, count, scores));
    for (int64_t i = 0; i < count; ++i) {
      const std::span<const float> row(scores.data() + i * classes, static_cast<size_t>(classes));
      PARE_RETURN_IF_ERROR(add_answer(row, first + i, images.label(first + i), result));
    }
    if (options.progress) options.progress(first + count, total);
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

AccuracyRecord accuracy_record(const Evaluation& e, const Dataset& images,
                               const EvaluationSubject& subject) {
  auto r = begin_record<AccuracyRecord>(e, images, subject);
  r.class_images.assign(r.classes.size(), 0);
  r.class_correct.assign(r.classes.size(), 0);
  int64_t right = 0;
  int64_t near = 0;
  for (size_t i = 0; i < e.labels.size(); ++i) {
    const auto label = static_cast<size_t>(e.labels[i]);
    const bool correct = e.predicted[i] == e.labels[i];
    ++r.class_images[label];
    r.class_correct[label] += correct;
    right += correct;
    near += e.in_top5[i];
  }
  r.images = static_cast<int64_t>(e.labels.size());
  const auto percent = [&r](int64_t count) {
    return 100.0 * static_cast<double>(count) / static_cast<double>(r.images);
  };
  const Interval top1 = wilson_interval(right, r.images);
  const Interval top5 = wilson_interval(near, r.images);
  r.top1 = percent(right);
  r.top1_low = 100 * top1.low;
  r.top1_high = 100 * top1.high;
  r.top5 = percent(near);
  r.top5_low = 100 * top5.low;
  r.top5_high = 100 * top5.high;
  return r;
}

PredictionsRecord predictions_record(const Evaluation& e, const Dataset& images,
                                     const EvaluationSubject& subject) {
  auto r = begin_record<PredictionsRecord>(e, images, subject);
  r.labels = e.labels;
  r.predicted = e.predicted;
  return r;
}

}  // namespace pare

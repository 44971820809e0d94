#include "measure/drift.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "measure/drift_pairs.h"

namespace pare {
namespace {

// One batch through both.
Status compare_batch(DriftRunner& first, DriftRunner& second, std::span<const uint8_t> pixels,
                     int64_t count, std::vector<DriftPair>& pairs) {
  std::map<std::string, std::vector<float>> values;
  const auto hold = [&](const std::string& name, const Tensor& value) {
    first.values().to_numbers(name, values[name] = to_float_vector(value));
    return ok_status();
  };
  PARE_RETURN_IF_ERROR(first.run(pixels, count, hold));
  const auto compare = [&](const std::string& name, const Tensor& value) -> Status {
    std::vector<float> theirs = to_float_vector(value);
    second.values().to_numbers(name, theirs);
    for (DriftPair& pair : pairs) {
      if (pair.second == name) {
        PARE_RETURN_IF_ERROR(add_difference(values[pair.first], theirs, pair));
      }
    }
    return ok_status();
  };
  return second.run(pixels, count, compare);
}

}  // namespace

double signal_to_noise_db(const DriftPoint& point) {
  return -20 * std::log10(point.relative_error);
}

Result<std::vector<DriftPoint>> measure_drift(const DriftSide& first, const DriftSide& second,
                                              const Dataset& data, int64_t images) {
  PARE_ASSIGN_OR_RETURN(DriftRunner a, DriftRunner::create(first));
  PARE_ASSIGN_OR_RETURN(DriftRunner b, DriftRunner::create(second));
  const ImageShape takes = a.takes();
  const ImageShape other = b.takes();
  if (takes != other || takes != data.image_shape()) {
    return invalid_argument(
        fmt::format("the models take images of {}x{}x{} and {}x{}x{}, those of '{}' are {}x{}x{}",
                    takes.channels, takes.height, takes.width, other.channels, other.height,
                    other.width, data.description(), data.image_shape().channels,
                    data.image_shape().height, data.image_shape().width));
  }
  PARE_ASSIGN_OR_RETURN(std::vector<DriftPair> pairs, pair_values(a.values(), b.values()));
  images = std::min(images, data.size());
  const std::vector<std::string> kept_first = names_of(pairs, &DriftPair::first);
  const std::vector<std::string> kept_second = names_of(pairs, &DriftPair::second);
  std::vector<uint8_t> pixels(static_cast<size_t>(kDriftBatch * takes.size()));
  int64_t planned_for = -1;
  for (int64_t done = 0; done < images;) {
    const int64_t count = std::min(kDriftBatch, images - done);
    if (count != planned_for) {
      PARE_RETURN_IF_ERROR(a.plan(kept_first, count));
      PARE_RETURN_IF_ERROR(b.plan(kept_second, count));
      planned_for = count;
    }
    const auto batch = std::span(pixels).first(static_cast<size_t>(count * takes.size()));
    PARE_RETURN_IF_ERROR(read_images(data, done, batch));
    PARE_RETURN_IF_ERROR(compare_batch(a, b, batch, count, pairs));
    done += count;
  }
  return finish(std::move(pairs));
}

}  // namespace pare

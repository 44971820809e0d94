// The test images whose answer changed, as PNG in records, so that the report can show them.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "data/image.h"
#include "study/work.h"

namespace pare {
namespace {

// Uint8 CHW -> RGB, one pixel after the other. Grey images get three equal channels.
Image to_image(const std::vector<uint8_t>& planes, const ImageShape& shape) {
  Image image{shape.height, shape.width, {}};
  const auto plane = static_cast<size_t>(shape.height * shape.width);
  image.pixels.resize(plane * 3);
  for (size_t i = 0; i < plane; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      image.pixels[i * 3 + c] = planes[(shape.channels == 3 ? c * plane : 0) + i];
    }
  }
  return image;
}

// `data_hash`: of the answers that the image belongs to.
Result<ImageRecord> image_record(const Dataset& images, const std::string& data_hash,
                                 int64_t index) {
  const ImageShape shape = images.image_shape();
  if (shape.channels != 1 && shape.channels != 3) {
    return unsupported(fmt::format("images of {} channels cannot be shown", shape.channels));
  }
  std::vector<uint8_t> planes(static_cast<size_t>(shape.size()));
  PARE_RETURN_IF_ERROR(images.read_image(index, planes));
  PARE_ASSIGN_OR_RETURN(const std::vector<std::byte> png, encode_png(to_image(planes, shape)));
  ImageRecord record;
  record.data_hash = data_hash;
  record.index = index;
  record.png_base64 = base64(png);
  return record;
}

// Puts the net as it is first, where there is one.
void put_baseline_first(std::vector<PredictionsRecord>& predictions) {
  const auto base =
      std::find_if(predictions.begin(), predictions.end(),
                   [](const PredictionsRecord& p) { return p.id.variant == kUnchangedVariant; });
  if (base != predictions.end()) std::rotate(predictions.begin(), base, base + 1);
}

}  // namespace

std::vector<int64_t> choose_changed_images(const std::vector<PredictionsRecord>& predictions,
                                           int64_t count) {
  std::vector<std::vector<int64_t>> changed;  // of each variant but the first
  for (size_t v = 1; v < predictions.size(); ++v) {
    const auto& base = predictions[0].predicted;
    const auto& answers = predictions[v].predicted;
    std::vector<int64_t> indices;
    for (size_t i = 0; i < std::min(base.size(), answers.size()); ++i) {
      if (base[i] != answers[i]) indices.push_back(static_cast<int64_t>(i));
    }
    if (!indices.empty()) changed.push_back(std::move(indices));
  }
  std::set<int64_t> chosen;
  // Round k takes each variant's image at the share k / rounds of its list.
  const auto variants = static_cast<int64_t>(changed.size());
  const int64_t rounds = variants == 0 ? 0 : (count + variants - 1) / variants;
  for (int64_t k = 0; k < rounds; ++k) {
    for (const std::vector<int64_t>& indices : changed) {
      if (static_cast<int64_t>(chosen.size()) == count) break;
      const auto size = static_cast<int64_t>(indices.size());
      chosen.insert(indices[static_cast<size_t>(k * size / rounds)]);
    }
  }
  return {chosen.begin(), chosen.end()};
}

std::string base64(const std::vector<std::byte>& bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  constexpr size_t kGroup = 3;
  constexpr uint32_t kLast = 63;
  std::string text;
  text.reserve((bytes.size() + 2) / kGroup * 4);
  for (size_t i = 0; i < bytes.size(); i += kGroup) {
    const size_t given = std::min(kGroup, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t k = 0; k < kGroup; ++k) {
      bits = bits << 8 | (k < given ? std::to_integer<uint32_t>(bytes[i + k]) : 0U);
    }
    for (size_t k = 0; k < 4; ++k) {
      text += k <= given ? kDigits[bits >> (18 - 6 * k) & kLast] : '=';
    }
  }
  return text;
}

Result<StudyStepOutput> StudyWork::show_changed_images(const std::vector<StudyVariant>& variants,
                                                       const StudyStepContext& context) {
  std::vector<PredictionsRecord> predictions;
  const StudyVariant* measured = nullptr;
  for (const StudyVariant& variant : variants) {
    if (!context.results.has(variant.accuracy_step())) continue;
    measured = &variant;
    for (const Record& record : context.results.records(variant.accuracy_step())) {
      if (record.kind != PredictionsRecord::kKind) continue;
      PARE_ASSIGN_OR_RETURN(predictions.emplace_back(), from_record<PredictionsRecord>(record));
    }
  }
  put_baseline_first(predictions);
  StudyStepOutput output;
  const std::vector<int64_t> chosen = choose_changed_images(predictions, config_.changed_images);
  if (chosen.empty()) return output;
  PARE_ASSIGN_OR_RETURN(const Loaded model, load(*measured, context));
  const Json now = current_context();
  for (const int64_t index : chosen) {
    PARE_ASSIGN_OR_RETURN(const ImageRecord image,
                          image_record(*model.data.test, predictions[0].data_hash, index));
    PARE_ASSIGN_OR_RETURN(Record record, to_record(image, now));
    output.records.push_back(std::move(record));
  }
  return output;
}

}  // namespace pare

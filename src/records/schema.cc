#include "records/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace pare {
namespace {

// The kinds; every function below goes through this list.
#define PARE_RECORD_KINDS(X) \
  X(AccuracyRecord)          \
  X(PredictionsRecord)       \
  X(LatencyRecord)           \
  X(SizeRecord)              \
  X(EpochRecord)             \
  X(LayerRecord)             \
  X(CeilingsRecord)          \
  X(StepRecord)              \
  X(ImageRecord)

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

template <class T>
const char* type_name() {
  if constexpr (std::is_same_v<T, std::string>) {
    return "a string";
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return "a whole number of at least 0";
  } else if constexpr (std::is_same_v<T, double>) {
    return "a finite number";
  } else {
    return "an array";
  }
}

bool valid(int64_t value) { return value >= 0; }
bool valid(double value) { return std::isfinite(value); }

// Reads one JSON value; false when it is of another type or out of range.
bool read(const Json& json, std::string& out) {
  if (!json.is_string()) return false;
  out = json.get<std::string>();
  return true;
}
bool read(const Json& json, int64_t& out) {
  if (!json.is_number_integer()) return false;
  if (json.is_number_unsigned() &&
      json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return false;
  }
  out = json.get<int64_t>();
  return valid(out);
}
bool read(const Json& json, double& out) {
  if (!json.is_number()) return false;
  out = json.get<double>();
  return valid(out);
}
template <class T>
bool read(const Json& json, std::vector<T>& out) {
  if (!json.is_array()) return false;
  out.resize(json.size());
  for (size_t i = 0; i < json.size(); ++i) {
    if (!read(json[i], out[i])) return false;
  }
  return true;
}

class FieldReader {
 public:
  explicit FieldReader(const Json& json) : json_(json) {}

  template <class T>
  void required(const char* name, T& value) {
    const auto found = json_.find(name);
    if (found == json_.end()) {
      fail(fmt::format("field '{}' is missing", name));
    } else if (!read(*found, value)) {
      fail(fmt::format("field '{}' must be {}, found {}", name, type_name<T>(),
                       found->dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 40)));
    }
    if constexpr (std::is_same_v<T, std::string> || IsVector<T>::value) {
      if (value.empty()) fail(fmt::format("field '{}' is empty", name));
    }
  }
  template <class T>
  void optional(const char* name, T& value) {
    const auto found = json_.find(name);
    if (found == json_.end() || found->is_null()) return;
    if constexpr (IsOptional<T>::value) {
      typename T::value_type inner{};
      read_optional(name, *found, inner);
      value = inner;
    } else {
      read_optional(name, *found, value);
    }
  }
  void percent(const char* name, double& value) {
    required(name, value);
    check_percent(name, value);
  }
  void percent(const char* name, std::optional<double>& value) {
    optional(name, value);
    if (value) check_percent(name, *value);
  }
  const Status& status() const { return status_; }

 private:
  template <class T>
  void read_optional(const char* name, const Json& json, T& value) {
    if (!read(json, value)) fail(fmt::format("field '{}' must be {}", name, type_name<T>()));
  }
  void check_percent(const char* name, double value) {
    if (!(value >= 0 && value <= 100)) {
      fail(fmt::format("field '{}' must be a percentage of 0 to 100, found {}", name, value));
    }
  }
  void fail(std::string message) {
    if (status_.ok()) status_ = corrupt(std::move(message));
  }

  const Json& json_;
  Status status_;
};

// Writes what is set; what is wrong shows when the result is read back.
class FieldWriter {
 public:
  template <class T>
  void required(const char* name, const T& value) {
    if constexpr (std::is_arithmetic_v<T>) {
      if (!valid(value)) return;
    }
    json_[name] = value;
  }
  template <class T>
  void optional(const char* name, const T& value) {
    if constexpr (IsOptional<T>::value) {
      if (value) json_[name] = *value;
    } else {
      if (!value.empty()) json_[name] = value;
    }
  }
  template <class T>
  void percent(const char* name, const T& value) {
    if constexpr (IsOptional<T>::value) {
      optional(name, value);
    } else {
      required(name, value);
    }
  }
  Json take() { return std::move(json_); }

 private:
  Json json_ = Json::object();
};

class FieldNames {
 public:
  template <class T>
  void required(const char* name, const T&) {
    names.emplace_back(name);
  }
  template <class T>
  void optional(const char* name, const T&) {
    names.emplace_back(name);
  }
  template <class T>
  void percent(const char* name, const T&) {
    names.emplace_back(name);
  }
  std::vector<std::string> names;
};

Status one_per_class(const std::vector<int64_t>& values, size_t classes, const char* name) {
  if (values.empty() || values.size() == classes) return ok_status();
  return corrupt(
      fmt::format("field '{}' has {} entries for {} classes", name, values.size(), classes));
}

Status positive(int64_t value, const char* name) {
  return value > 0 ? ok_status() : corrupt(fmt::format("field '{}' must be at least 1", name));
}

}  // namespace

Status AccuracyRecord::check() const {
  PARE_RETURN_IF_ERROR(positive(images, "images"));
  if (top1_low > top1 || top1 > top1_high) {
    return corrupt(
        fmt::format("top1 {} lies outside its interval {} … {}", top1, top1_low, top1_high));
  }
  PARE_RETURN_IF_ERROR(one_per_class(class_images, classes.size(), "class_images"));
  PARE_RETURN_IF_ERROR(one_per_class(class_correct, classes.size(), "class_correct"));
  if (class_images.size() != class_correct.size()) {
    return corrupt("fields 'class_images' and 'class_correct' go together");
  }
  for (size_t i = 0; i < class_images.size(); ++i) {
    if (class_correct[i] > class_images[i]) {
      return corrupt(
          fmt::format("class {}: {} correct of {} images", i, class_correct[i], class_images[i]));
    }
  }
  if (mcnemar_p && !(*mcnemar_p >= 0 && *mcnemar_p <= 1)) {
    return corrupt(fmt::format("field 'mcnemar_p' must be 0 to 1, found {}", *mcnemar_p));
  }
  return ok_status();
}

Status PredictionsRecord::check() const {
  if (labels.size() != predicted.size()) {
    return corrupt(fmt::format("{} labels but {} predictions", labels.size(), predicted.size()));
  }
  const auto limit = static_cast<int64_t>(classes.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= limit || predicted[i] >= limit) {
      return corrupt(fmt::format("image {}: label {} or prediction {} is beyond the {} classes", i,
                                 labels[i], predicted[i], limit));
    }
  }
  return ok_status();
}

Status LatencyRecord::check() const {
  PARE_RETURN_IF_ERROR(positive(batch, "batch"));
  PARE_RETURN_IF_ERROR(positive(threads, "threads"));
  PARE_RETURN_IF_ERROR(positive(runs, "runs"));
  if (latency_us_p50 <= 0 || latency_us_p50 > latency_us_p90 || latency_us_p90 > latency_us_p99) {
    return corrupt(fmt::format("latencies must be above 0 and p50 <= p90 <= p99, found {}, {}, {}",
                               latency_us_p50, latency_us_p90, latency_us_p99));
  }
  return ok_status();
}

Status SizeRecord::check() const {
  PARE_RETURN_IF_ERROR(positive(file_bytes, "file_bytes"));
  if (nonzero_parameters && *nonzero_parameters > parameters) {
    return corrupt(fmt::format("{} non-zero of {} parameters", *nonzero_parameters, parameters));
  }
  return ok_status();
}

Status EpochRecord::check() const {
  PARE_RETURN_IF_ERROR(positive(epoch, "epoch"));
  if (epoch > epochs) return corrupt(fmt::format("epoch {} of {}", epoch, epochs));
  return ok_status();
}

Status LayerRecord::check() const {
  if (weight_density && !(*weight_density >= 0 && *weight_density <= 1)) {
    return corrupt(fmt::format("field 'weight_density' must be 0 to 1, found {}", *weight_density));
  }
  if (!bound.empty() && bound != "memory" && bound != "compute" && bound != "overhead") {
    return corrupt(
        fmt::format("field 'bound' must be 'memory', 'compute' or 'overhead', found '{}'", bound));
  }
  return ok_status();
}

double CeilingsRecord::gmac_s(const std::string& arithmetic) const {
  if (arithmetic == "int8") return int8_gmac_s;
  if (arithmetic == "bfloat16") return bfloat16_gmac_s.value_or(float32_gmac_s);
  return float32_gmac_s;
}

Status CeilingsRecord::check() const {
  PARE_RETURN_IF_ERROR(positive(threads, "threads"));
  if (read_bytes.size() != read_gb_s.size()) {
    return corrupt(fmt::format("{} sizes in 'read_bytes' and {} rates in 'read_gb_s'",
                               read_bytes.size(), read_gb_s.size()));
  }
  if (!std::is_sorted(read_bytes.begin(), read_bytes.end()) || read_bytes[0] < 1) {
    return corrupt("field 'read_bytes' must be above 0 and ascend");
  }
  for (const auto& rate : {sparse_row_float32_gmac_s, sparse_rows_float32_gmac_s,
                           sparse_row_int8_gmac_s, sparse_rows_int8_gmac_s}) {
    if (rate.value_or(1) <= 0) return corrupt("rates of sparse weights must be above 0");
  }
  const bool fast = std::all_of(read_gb_s.begin(), read_gb_s.end(), [](double r) { return r > 0; });
  if (!fast || float32_gmac_s <= 0 || int8_gmac_s <= 0 || bfloat16_gmac_s.value_or(1) <= 0 ||
      barrier_us < 0 || step_us < 0) {
    return corrupt("rates must be above 0 and times at least 0");
  }
  return ok_status();
}

Status StepRecord::check() const {
  for (const char* known : {"ran", "cached", "left out", "failed"}) {
    if (status == known) return ok_status();
  }
  return corrupt(fmt::format(
      "field 'status' must be 'ran', 'cached', 'left out' or 'failed', found '{}'", status));
}

Status ImageRecord::check() const {
  const auto plain = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '=';
  };
  // "iVBORw0KGgo" is the base64 of a PNG file's eight first bytes.
  if (!png_base64.starts_with("iVBORw0KGgo") ||
      !std::all_of(png_base64.begin(), png_base64.end(), plain)) {
    return corrupt("field 'png_base64' is not a PNG file in base64");
  }
  return ok_status();
}

template <class Fields>
Result<Fields> from_record(const Record& record) {
  if (record.kind != Fields::kKind) {
    return invalid_argument(
        fmt::format("expected a record of kind '{}', found '{}'", Fields::kKind, record.kind));
  }
  const std::string where = fmt::format("{} record", record.kind);
  if (!record.fields.is_object()) return corrupt(where + ": fields must be an object");
  Fields fields;
  FieldReader reader(record.fields);
  Fields::for_each_field(fields, reader);
  PARE_RETURN_IF_ERROR(reader.status().with_context(where));
  PARE_RETURN_IF_ERROR(fields.check().with_context(where));
  return fields;
}

template <class Fields>
Result<Record> to_record(const Fields& fields, const Json& context) {
  FieldWriter writer;
  Fields::for_each_field(fields, writer);
  Record record{Fields::kKind, context, writer.take()};
  PARE_RETURN_IF_ERROR(check_record(record));
  return record;
}

#define PARE_INSTANTIATE(Fields)                                     \
  template Result<Fields> from_record<Fields>(const Record& record); \
  template Result<Record> to_record<Fields>(const Fields& fields, const Json& context);
PARE_RECORD_KINDS(PARE_INSTANTIATE)
#undef PARE_INSTANTIATE

const std::vector<std::string>& record_kinds() {
#define PARE_KIND(Fields) Fields::kKind,
  static const std::vector<std::string> kinds = {PARE_RECORD_KINDS(PARE_KIND)};
#undef PARE_KIND
  return kinds;
}

std::vector<std::string> field_names(const std::string& kind) {
  FieldNames visitor;
#define PARE_NAMES(Fields)                   \
  if (kind == Fields::kKind) {               \
    const Fields fields;                     \
    Fields::for_each_field(fields, visitor); \
  }
  PARE_RECORD_KINDS(PARE_NAMES)
#undef PARE_NAMES
  return visitor.names;
}

Status check_record(const Record& record) {
  if (!record.context.is_object()) return corrupt("field 'context' must be an object");
  for (const char* key : {"processor", "instruction_sets", "version", "commit", "date"}) {
    const auto found = record.context.find(key);
    if (found == record.context.end() || !found->is_string()) {
      return corrupt(fmt::format("context: field '{}' must be a string", key));
    }
  }
#define PARE_CHECK(Fields) \
  if (record.kind == Fields::kKind) return from_record<Fields>(record).status();
  PARE_RECORD_KINDS(PARE_CHECK)
#undef PARE_CHECK
  return corrupt(
      fmt::format("unknown kind '{}'; expected {}", record.kind, fmt::join(record_kinds(), ", ")));
}

}  // namespace pare

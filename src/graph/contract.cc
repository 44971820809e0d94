#include "graph/contract.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace pare {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxImageSide = 1 << 16;
constexpr size_t kMaxClasses = 1 << 16;
// Parsed JSON takes some 30 times the memory of its text.
constexpr size_t kMaxTextBytes = 4 << 20;

Status wrong(const char* key, const char* expected, const Json& found) {
  return corrupt(fmt::format("input contract: '{}' is {}, expected {}", key,
                             found.dump(-1, ' ', false, Json::error_handler_t::replace), expected));
}

Status read_int(const Json& json, const char* key, int64_t& value) {
  if (!json.contains(key)) return ok_status();
  if (!json[key].is_number_integer()) return wrong(key, "a whole number", json[key]);
  value = json[key].get<int64_t>();
  return ok_status();
}

Status read_bool(const Json& json, const char* key, bool& value) {
  if (!json.contains(key)) return ok_status();
  if (!json[key].is_boolean()) return wrong(key, "true or false", json[key]);
  value = json[key].get<bool>();
  return ok_status();
}

Status read_float(const Json& json, const char* key, float& value) {
  if (!json.contains(key)) return ok_status();
  if (!json[key].is_number()) return wrong(key, "a number", json[key]);
  value = json[key].get<float>();
  return ok_status();
}

Status read_float_list(const Json& json, const char* key, std::vector<float>& values) {
  if (!json.contains(key)) return ok_status();
  if (!json[key].is_array()) return wrong(key, "a list of numbers", json[key]);
  for (const Json& item : json[key]) {
    if (!item.is_number()) return wrong(key, "a list of numbers", item);
    values.push_back(item.get<float>());
  }
  return ok_status();
}

Status read_classes(const Json& json, std::vector<std::string>& classes) {
  if (!json.contains("classes")) return ok_status();
  if (!json["classes"].is_array()) return wrong("classes", "a list of names", json["classes"]);
  for (const Json& item : json["classes"]) {
    if (!item.is_string()) return wrong("classes", "a list of names", item);
    classes.push_back(item.get<std::string>());
  }
  return ok_status();
}

Status check_size(const char* key, int64_t found, int64_t least) {
  if (found >= least && found <= kMaxImageSide) return ok_status();
  return corrupt(fmt::format("input contract: '{}' is {}, expected {} to {}", key, found, least,
                             kMaxImageSide));
}

Status check_numbers(const char* key, const std::vector<float>& values, bool positive,
                     int64_t channels) {
  if (!values.empty() && static_cast<int64_t>(values.size()) != channels) {
    return corrupt(fmt::format("input contract: {} values of '{}' for {} channels", values.size(),
                               key, channels));
  }
  for (const float value : values) {
    if (std::isfinite(value) && (!positive || value > 0.0F)) continue;
    return corrupt(fmt::format("input contract: '{}' holds {}, expected {} numbers", key, value,
                               positive ? "positive" : "finite"));
  }
  return ok_status();
}

}  // namespace

std::string contract_to_json(const InputContract& c) {
  Json json = {{"channels", c.channels}, {"height", c.height}, {"width", c.width}};
  if (c.channels_last) json["channels_last"] = true;
  if (c.bgr) json["bgr"] = true;
  if (c.resize != 0) json["resize"] = c.resize;
  if (c.float_input) {
    json["float_input"] = true;
    json["scale"] = c.scale;
  }
  if (!c.mean.empty()) json["mean"] = c.mean;
  if (!c.std.empty()) json["std"] = c.std;
  if (c.outputs_probabilities) json["outputs_probabilities"] = true;
  if (!c.classes.empty()) json["classes"] = c.classes;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<InputContract> contract_from_json(const std::string& text) {
  if (text.size() > kMaxTextBytes) {
    return corrupt(
        fmt::format("input contract: {} bytes, expected at most {}", text.size(), kMaxTextBytes));
  }
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return corrupt("input contract: expected a JSON object");
  InputContract c;
  PARE_RETURN_IF_ERROR(read_int(json, "channels", c.channels));
  PARE_RETURN_IF_ERROR(read_int(json, "height", c.height));
  PARE_RETURN_IF_ERROR(read_int(json, "width", c.width));
  PARE_RETURN_IF_ERROR(read_bool(json, "channels_last", c.channels_last));
  PARE_RETURN_IF_ERROR(read_bool(json, "bgr", c.bgr));
  PARE_RETURN_IF_ERROR(read_int(json, "resize", c.resize));
  PARE_RETURN_IF_ERROR(read_bool(json, "float_input", c.float_input));
  PARE_RETURN_IF_ERROR(read_float(json, "scale", c.scale));
  PARE_RETURN_IF_ERROR(read_float_list(json, "mean", c.mean));
  PARE_RETURN_IF_ERROR(read_float_list(json, "std", c.std));
  PARE_RETURN_IF_ERROR(read_bool(json, "outputs_probabilities", c.outputs_probabilities));
  PARE_RETURN_IF_ERROR(read_classes(json, c.classes));
  PARE_RETURN_IF_ERROR(check_contract(c));
  return c;
}

Status check_contract(const InputContract& c) {
  PARE_RETURN_IF_ERROR(check_size("channels", c.channels, 1));
  PARE_RETURN_IF_ERROR(check_size("height", c.height, 0));
  PARE_RETURN_IF_ERROR(check_size("width", c.width, 0));
  PARE_RETURN_IF_ERROR(check_size("resize", c.resize, 0));
  if (!std::isfinite(c.scale) || c.scale <= 0.0F) {
    return corrupt(
        fmt::format("input contract: 'scale' is {}, expected a positive number", c.scale));
  }
  PARE_RETURN_IF_ERROR(check_numbers("mean", c.mean, /*positive=*/false, c.channels));
  PARE_RETURN_IF_ERROR(check_numbers("std", c.std, /*positive=*/true, c.channels));
  if (c.classes.size() > kMaxClasses) {
    return corrupt(fmt::format("input contract: {} classes, expected at most {}", c.classes.size(),
                               kMaxClasses));
  }
  return ok_status();
}

InputContract contract_from_input(const Graph& graph) {
  InputContract c;
  c.float_input = graph.inputs.empty() || graph.inputs[0].type != DType::kUInt8;
  if (c.float_input || graph.inputs[0].shape.size() != 4) return c;
  const Shape& shape = graph.inputs[0].shape;
  const auto is_colour = [](int64_t d) { return d == 1 || d == 3; };
  c.channels_last = is_colour(shape[3]) && !is_colour(shape[1]);
  c.channels = shape[c.channels_last ? 3 : 1];
  c.height = shape[c.channels_last ? 1 : 2];
  c.width = shape[c.channels_last ? 2 : 3];
  return c;
}

}  // namespace pare

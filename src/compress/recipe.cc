#include "compress/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "base/file.h"
#include "base/nearest.h"
#include "base/toml.h"

namespace pare {
namespace {

constexpr int64_t kMaxRecipeBytes = 1 << 20;

// One option as written, before it is known whether the method has it.
struct RawOption {
  std::string name;  // empty: the method's argument ("name:value")
  std::vector<std::string> values;
  std::string where;  // "recipe 'x', character 7" or "r.toml:3"
};

struct RawStep {
  std::string method;
  std::string where;
  std::vector<RawOption> options;
};

std::string did_you_mean(const std::string& word, const std::vector<std::string>& valid) {
  return valid.empty() ? std::string()
                       : fmt::format("; did you mean '{}'? (there are: {})",
                                     nearest_name(word, valid), fmt::join(valid, ", "));
}

constexpr char kEscape = '\\';

// The parts between separators that no backslash stands before; backslashes stay.
std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == separator) {
      parts.emplace_back();
      continue;
    }
    parts.back() += text[i];
    if (text[i] == kEscape && i + 1 < text.size()) parts.back() += text[++i];
  }
  return parts;
}

// The values of a;b;c, without their backslashes.
std::vector<std::string> split_values(std::string_view text) {
  std::vector<std::string> values = split(text, ';');
  for (std::string& value : values) {
    std::string plain;
    for (size_t i = 0; i < value.size(); ++i) {
      if (value[i] == kEscape && i + 1 < value.size()) ++i;
      plain += value[i];
    }
    value = std::move(plain);
  }
  return values;
}

// What split_values() reads as this one name.
std::string escaped(const std::string& name) {
  std::string text;
  for (const char c : name) {
    if (c == '+' || c == ',' || c == ';' || c == kEscape) text += kEscape;
    text += c;
  }
  return text;
}

// "recipe 'prune:0.9', character 3": of a long recipe its beginning is enough.
std::string place_in(const std::string& recipe, size_t at) {
  constexpr size_t kShown = 200;
  return fmt::format("recipe '{}{}', character {}", recipe.substr(0, kShown),
                     recipe.size() > kShown ? "…" : "", at + 1);
}

Result<RecipeStep::Value> read_number(const OptionSpec& spec, const std::string& text,
                                      const std::string& where) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  const bool integer = spec.kind == OptionSpec::Kind::kInteger;
  const std::string expected =
      fmt::format("{} takes {} from {} to {}", spec.name, integer ? "an integer" : "a number",
                  spec.low, spec.high);
  if (error != std::errc() || rest != end || !std::isfinite(value))
    return invalid_argument(fmt::format("{}: {}, found '{}'", where, expected, text));
  if (value < spec.low || value > spec.high || (integer && value != std::floor(value)))
    return invalid_argument(fmt::format("{}: {}, found {}", where, expected, text));
  return RecipeStep::Value(value);
}

Result<RecipeStep::Value> read_value(const OptionSpec& spec, const std::vector<std::string>& values,
                                     const std::string& where) {
  if (spec.kind == OptionSpec::Kind::kNames) {
    std::vector<std::string> names;
    for (const std::string& name : values)
      if (!name.empty()) names.push_back(name);
    return RecipeStep::Value(std::move(names));
  }
  if (values.size() != 1)
    return invalid_argument(
        fmt::format("{}: {} takes one value, found {}", where, spec.name, values.size()));
  if (spec.kind != OptionSpec::Kind::kChoice) return read_number(spec, values[0], where);
  if (std::find(spec.choices.begin(), spec.choices.end(), values[0]) == spec.choices.end())
    return invalid_argument(fmt::format("{}: {} cannot be '{}'{}", where, spec.name, values[0],
                                        did_you_mean(values[0], spec.choices)));
  return RecipeStep::Value(values[0]);
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const Method& method : methods()) names.push_back(method.name);
  return names;
}

Result<const OptionSpec*> find_option(const Method& method, const RawOption& raw) {
  if (raw.name.empty() && method.argument.empty())
    return invalid_argument(fmt::format("{}: '{}' takes no value after ':', found '{}'", raw.where,
                                        method.name, fmt::join(raw.values, ";")));
  const std::string& wanted = raw.name.empty() ? method.argument : raw.name;
  std::vector<std::string> names;
  for (const OptionSpec& spec : method.options) {
    if (spec.name == wanted) return &spec;
    names.push_back(spec.name);
  }
  return invalid_argument(fmt::format("{}: '{}' has no option '{}'{}", raw.where, method.name,
                                      wanted, did_you_mean(wanted, names)));
}

Result<RecipeStep> build_step(const RawStep& raw) {
  const Method* method = find_method(raw.method);
  if (method == nullptr)
    return invalid_argument(fmt::format("{}: there is no method '{}'{}", raw.where, raw.method,
                                        did_you_mean(raw.method, method_names())));
  RecipeStep step;
  step.method = method->name;
  for (const RawOption& option : raw.options) {
    PARE_ASSIGN_OR_RETURN(const OptionSpec* spec, find_option(*method, option));
    if (step.options.contains(spec->name))
      return invalid_argument(fmt::format("{}: {} is given twice", option.where, spec->name));
    PARE_ASSIGN_OR_RETURN(step.options[spec->name], read_value(*spec, option.values, option.where));
  }
  for (const OptionSpec& spec : method->options) {
    if (step.options.contains(spec.name)) continue;
    if (spec.fallback.empty() && spec.kind != OptionSpec::Kind::kNames)
      return invalid_argument(fmt::format(
          "{}: '{}' needs its {}: {}{} ({})", raw.where, method->name, spec.name, method->name,
          spec.name == method->argument ? fmt::format(":{}", spec.name)
                                        : fmt::format(",{}=…", spec.name),
          spec.help));
    PARE_ASSIGN_OR_RETURN(step.options[spec.name],
                          read_value(spec, split_values(spec.fallback), raw.where));
  }
  PARE_RETURN_IF_ERROR(method->check(step).with_context(raw.where));
  return step;
}

// Steps must not go back to an earlier stage, and only float steps may be repeated.
Status check_order(const std::vector<RecipeStep>& steps, const std::vector<RawStep>& raw) {
  for (size_t i = 1; i < steps.size(); ++i) {
    const Stage before = find_method(steps[i - 1].method)->stage;
    const Stage now = find_method(steps[i].method)->stage;
    if (now < before)
      return invalid_argument(fmt::format(
          "{}: '{}' works on {} and must stand before '{}'", raw[i].where, steps[i].method,
          now == Stage::kFloat ? "float32 weights" : "weights as trained", steps[i - 1].method));
    if (now == before && now != Stage::kFloat)
      return invalid_argument(fmt::format("{}: '{}' and '{}' exclude each other: keep one",
                                          raw[i].where, steps[i - 1].method, steps[i].method));
  }
  return ok_status();
}

Result<Recipe> build_recipe(const std::vector<RawStep>& raw) {
  Recipe recipe;
  for (const RawStep& step : raw) {
    PARE_ASSIGN_OR_RETURN(recipe.steps.emplace_back(), build_step(step));
  }
  PARE_RETURN_IF_ERROR(check_order(recipe.steps, raw));
  return recipe;
}

std::string value_string(const RecipeStep::Value& value) {
  if (const auto* number = std::get_if<double>(&value)) return fmt::format("{}", *number);
  if (const auto* word = std::get_if<std::string>(&value)) return *word;
  std::string text;
  for (const std::string& name : std::get<std::vector<std::string>>(value)) {
    text += (text.empty() ? "" : ";") + escaped(name);
  }
  return text;
}

// A value in a TOML file as the text that the short form would have.
Result<std::vector<std::string>> toml_values(std::string_view key, const toml::node& node,
                                             const std::string& where) {
  std::vector<std::string> values;
  const auto add = [&values](const toml::node& item) {
    if (const auto text = item.value_exact<std::string>()) {
      values.push_back(*text);
    } else if (const auto integer = item.value_exact<int64_t>()) {
      values.push_back(fmt::format("{}", *integer));
    } else if (const auto number = item.value_exact<double>()) {
      values.push_back(fmt::format("{}", *number));
    } else {
      return false;
    }
    return true;
  };
  if (const toml::array* list = node.as_array()) {
    for (const toml::node& item : *list)
      if (!add(item))
        return invalid_argument(fmt::format("{}: {} takes strings or numbers in its list, found {}",
                                            where, key, toml_text(item)));
    return values;
  }
  if (!add(node))
    return invalid_argument(
        fmt::format("{}: {} takes a string, a number or a list of them, found {}", where, key,
                    toml_text(node)));
  return values;
}

Result<RawStep> read_toml_step(const toml::table& table, const std::string& source) {
  const auto at = [&source](const toml::node& node) {
    return fmt::format("{}:{}", source, node.source().begin.line);
  };
  RawStep raw;
  raw.where = at(table);
  const auto method = table["method"].value<std::string>();
  if (!method) return invalid_argument(raw.where + ": a [[step]] needs method = \"…\"");
  raw.method = *method;
  for (const auto& [key, node] : table) {
    if (key.str() == "method") continue;
    PARE_ASSIGN_OR_RETURN(std::vector<std::string> values, toml_values(key.str(), node, at(node)));
    raw.options.push_back({std::string(key.str()), std::move(values), at(node)});
  }
  return raw;
}

}  // namespace

Result<Recipe> parse_recipe(const std::string& text) {
  if (text.size() > static_cast<size_t>(kMaxRecipeBytes))
    return invalid_argument("the recipe is longer than 1 MiB");
  std::vector<RawStep> raw;
  size_t position = 0;
  const auto where = [&text](size_t at) { return place_in(text, at); };
  for (const std::string& part : split(text, '+')) {
    const std::vector<std::string> pieces = split(part, ',');
    RawStep step;
    step.where = where(position);
    const size_t colon = pieces[0].find(':');
    step.method = pieces[0].substr(0, colon);
    if (step.method.empty())
      return invalid_argument(fmt::format("{}: expected a method, found nothing (methods: {})",
                                          step.where, fmt::join(method_names(), ", ")));
    if (colon != std::string::npos)
      step.options.push_back(
          {"", split_values(pieces[0].substr(colon + 1)), where(position + colon + 1)});
    size_t at = position + pieces[0].size() + 1;
    for (size_t i = 1; i < pieces.size(); ++i) {
      const size_t equals = pieces[i].find('=');
      if (equals == std::string::npos || equals == 0)
        return invalid_argument(
            fmt::format("{}: expected option=value, found '{}'", where(at), pieces[i]));
      step.options.push_back(
          {pieces[i].substr(0, equals), split_values(pieces[i].substr(equals + 1)), where(at)});
      at += pieces[i].size() + 1;
    }
    raw.push_back(std::move(step));
    position += part.size() + 1;
  }
  return build_recipe(raw);
}

Result<Recipe> parse_recipe_toml(const std::string& text, const std::string& source) {
  PARE_ASSIGN_OR_RETURN(const toml::table root, parse_toml(text, source));
  for (const auto& [key, node] : root)
    if (key.str() != "step")
      return invalid_argument(fmt::format("{}:{}: unknown key '{}'; expected [[step]] tables",
                                          source, node.source().begin.line, key.str()));
  const toml::array* steps = root["step"].as_array();
  if (steps == nullptr || steps->empty() || !steps->is_array_of_tables())
    return invalid_argument(source + ": expected at least one [[step]] table");
  std::vector<RawStep> raw;
  for (const toml::node& node : *steps) {
    PARE_ASSIGN_OR_RETURN(raw.emplace_back(), read_toml_step(*node.as_table(), source));
  }
  return build_recipe(raw);
}

Result<Recipe> load_recipe(const std::string& text_or_path) {
  if (!text_or_path.ends_with(".toml")) return parse_recipe(text_or_path);
  PARE_ASSIGN_OR_RETURN(const std::string text, read_text_file(text_or_path, kMaxRecipeBytes));
  return parse_recipe_toml(text, text_or_path);
}

std::string step_string(const RecipeStep& step) {
  const Method* method = find_method(step.method);
  std::string text = step.method;
  if (method == nullptr) return text;
  if (!method->argument.empty()) text += ":" + value_string(step.options.at(method->argument));
  for (const OptionSpec& spec : method->options) {
    const std::string value = value_string(step.options.at(spec.name));
    if (spec.name == method->argument || value == spec.fallback) continue;
    text += "," + spec.name + "=" + value;
  }
  return text;
}

std::string recipe_string(const Recipe& recipe) {
  std::vector<std::string> steps;
  for (const RecipeStep& step : recipe.steps) steps.push_back(step_string(step));
  return fmt::format("{}", fmt::join(steps, "+"));
}

bool needs_images(const Recipe& recipe) {
  return std::any_of(recipe.steps.begin(), recipe.steps.end(), [](const RecipeStep& step) {
    return find_method(step.method)->needs_images(step);
  });
}

bool needs_trainer(const Recipe& recipe) {
  return std::any_of(recipe.steps.begin(), recipe.steps.end(), [](const RecipeStep& step) {
    return find_method(step.method)->needs_trainer(step);
  });
}

std::string recipe_help() {
  std::string text;
  for (const Method& method : methods()) {
    text += fmt::format("  {}{}\n      {}\n", method.name,
                        method.argument.empty() ? "" : ":" + method.argument, method.summary);
    for (const OptionSpec& spec : method.options) {
      std::string values =
          spec.kind == OptionSpec::Kind::kChoice  ? fmt::format("{}", fmt::join(spec.choices, "|"))
          : spec.kind == OptionSpec::Kind::kNames ? "a;b;c"
                                                  : fmt::format("{} … {}", spec.low, spec.high);
      if (!spec.fallback.empty()) values += ", default " + spec.fallback;
      text += fmt::format("      {:<18} {} ({})\n", spec.name, spec.help, values);
    }
  }
  return text;
}

}  // namespace pare

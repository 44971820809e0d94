#include "train/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "base/embedded_text.h"
#include "base/file.h"
#include "base/nearest.h"
#include "base/toml.h"
#include "base/utf8.h"

namespace pare {

extern const std::span<const EmbeddedText> kBuiltinRecipes;  // the files of recipes/

namespace {

constexpr int64_t kMaxRecipeBytes = 1 << 20;
constexpr int kMaxBases = 8;  // more bases than this are a circle

// Where a message points: "r.toml:3", or the option as the user typed it.
struct Place {
  std::string source;
  uint32_t line = 0;  // 0: not a file

  std::string text() const { return line == 0 ? source : fmt::format("{}:{}", source, line); }
};

// "must be a whole number between 1 and 65536, found 'many'"
Status refused(const TrainRecipeField& field, const std::string& expected, const std::string& found,
               const Place& place) {
  return invalid_argument(
      fmt::format("{}: {} must be {}, found {}", place.text(), field.key, expected, found));
}

// `what`: "a number"
std::string in_range(const TrainRecipeField& field, const char* what) {
  return fmt::format("{} between {} and {}", what, field.low, field.high);
}

bool fits(const TrainRecipeField& field, double value) {
  return value >= field.low && value <= field.high;
}

Status assign_string(const TrainRecipeField& field, std::string* target, const std::string& value,
                     const Place& place) {
  const auto& choices = field.choices;
  if (!choices.empty() && std::find(choices.begin(), choices.end(), value) == choices.end()) {
    return refused(field, fmt::format("one of {}", fmt::join(choices, ", ")), "'" + value + "'",
                   place);
  }
  *target = value;
  return ok_status();
}

// -0 becomes 0: written as "-0", TOML would read it back as the whole number 0.
double plain_number(const toml::node& node) {
  return node.value<double>().value_or(std::nan("")) + 0.0;
}

// One value into one field.
struct Assign {
  const TrainRecipeField& field;
  const toml::node* node;    // nullptr: what was written is no TOML
  const std::string& found;  // the value as written
  const Place& place;

  Status refuse(const std::string& expected) const {
    return refused(field, expected, found, place);
  }

  Status operator()(std::string* target) const {
    const auto value = node ? node->value_exact<std::string>() : std::nullopt;
    if (!value) return refuse("a string");
    return assign_string(field, target, *value, place);
  }
  Status operator()(bool* target) const {
    const auto value = node ? node->value_exact<bool>() : std::nullopt;
    if (!value) return refuse("true or false");
    *target = *value;
    return ok_status();
  }
  Status operator()(int64_t* target) const {
    const auto value = node ? node->value_exact<int64_t>() : std::nullopt;
    if (!value || !fits(field, static_cast<double>(*value))) {
      return refuse(in_range(field, "a whole number"));
    }
    *target = *value;
    return ok_status();
  }
  Status operator()(double* target) const {
    if (!node || !node->is_number() || !fits(field, plain_number(*node))) {
      return refuse(in_range(field, "a number"));
    }
    *target = plain_number(*node);
    return ok_status();
  }
  Status operator()(float* target) const {
    double value = 0;
    PARE_RETURN_IF_ERROR((*this)(&value));
    *target = static_cast<float>(value);
    return ok_status();
  }
  Status operator()(std::vector<double>* target) const {
    const toml::array* array = node ? node->as_array() : nullptr;
    if (array == nullptr) return refuse(in_range(field, "a list of numbers"));
    std::vector<double> values;
    for (const toml::node& element : *array) {
      if (!element.is_number() || !fits(field, plain_number(element))) {
        return refuse(in_range(field, "a list of numbers"));
      }
      values.push_back(plain_number(element));
    }
    *target = std::move(values);
    return ok_status();
  }
};

Result<TrainRecipeField> find_field(TrainRecipe& recipe, const std::string& key,
                                    const Place& place) {
  std::vector<std::string> keys;
  for (TrainRecipeField& field : recipe_fields(recipe)) {
    if (field.key == key) return std::move(field);
    keys.push_back(std::move(field.key));
  }
  return invalid_argument(fmt::format(
      "{}: a recipe has no field '{}'; nearest is '{}' (`pare train --fields` lists all)",
      place.text(), key, nearest_name(key, keys)));
}

Status apply_table(TrainRecipe& recipe, const toml::table& table, const std::string& prefix,
                   const std::string& file) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    if (key == "base") continue;
    if (const toml::table* inner = node.as_table()) {
      PARE_RETURN_IF_ERROR(apply_table(recipe, *inner, key + ".", file));
      continue;
    }
    const Place place{file, node.source().begin.line};
    PARE_ASSIGN_OR_RETURN(const TrainRecipeField field, find_field(recipe, key, place));
    const std::string found = toml_text(node);
    PARE_RETURN_IF_ERROR(std::visit(Assign{field, &node, found, place}, field.value));
  }
  return ok_status();
}

// A base that is a file is looked for beside the recipe that names it.
std::string base_path(const std::string& base, const std::string& recipe) {
  if (!base.ends_with(".toml")) return base;
  return (std::filesystem::path(recipe).parent_path() / base).string();
}

Result<std::string> recipe_text(const std::string& name_or_path) {
  if (const char* builtin = find_embedded(kBuiltinRecipes, name_or_path)) {
    return std::string(builtin);
  }
  if (name_or_path.ends_with(".toml")) return read_text_file(name_or_path, kMaxRecipeBytes);
  return not_found(fmt::format("no recipe '{}': expected a .toml file or one of {}", name_or_path,
                               fmt::join(builtin_recipe_names(), ", ")));
}

// What `text`, of the file `source`, and its bases say. `depth`: how many recipes it is the base
// of.
Status apply_text(TrainRecipe& recipe, const std::string& text, const std::string& source,
                  int depth) {
  if (depth > kMaxBases) {
    return invalid_argument(
        fmt::format("{}: its bases go round in a circle, or are more than {}", source, kMaxBases));
  }
  PARE_ASSIGN_OR_RETURN(const toml::table table, parse_toml(text, source));
  if (const toml::node* base = table.get("base")) {
    const auto name = base->value_exact<std::string>();
    if (!name) {
      return invalid_argument(fmt::format("{}:{}: base must be a string, found {}", source,
                                          base->source().begin.line, toml_text(*base)));
    }
    const std::string path = base_path(*name, source);
    const Result<std::string> base_text = recipe_text(path);
    if (!base_text.ok()) return base_text.status().with_context(source);
    PARE_RETURN_IF_ERROR(apply_text(recipe, *base_text, path, depth + 1));
  }
  return apply_table(recipe, table, "", source);
}

struct WriteValue {
  std::string operator()(const std::string* v) const {
    std::string out = "\"";
    for (char c : *v) {
      if (c == '"' || c == '\\') out += '\\';
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {  // TOML takes no others bare
        out += fmt::format("\\u{:04X}", static_cast<int>(c));
      } else {
        out += c;
      }
    }
    return out + "\"";
  }
  std::string operator()(const bool* v) const { return *v ? "true" : "false"; }
  std::string operator()(const int64_t* v) const { return std::to_string(*v); }
  // Shortest text that reads back as the same number.
  std::string operator()(const double* v) const { return fmt::format("{}", *v); }
  std::string operator()(const float* v) const { return fmt::format("{}", *v); }
  std::string operator()(const std::vector<double>* v) const {
    return fmt::format("[{}]", fmt::join(*v, ", "));
  }
};

}  // namespace

std::vector<std::string> builtin_recipe_names() { return embedded_names(kBuiltinRecipes); }

Result<TrainRecipe> parse_train_recipe(const std::string& toml, const std::string& source) {
  TrainRecipe recipe;
  PARE_RETURN_IF_ERROR(apply_text(recipe, toml, source, 0));
  PARE_RETURN_IF_ERROR(check_train_recipe(recipe).with_context(source));
  return recipe;
}

Result<TrainRecipe> load_train_recipe(const std::string& name_or_path) {
  PARE_ASSIGN_OR_RETURN(const std::string text, recipe_text(name_or_path));
  return parse_train_recipe(text, name_or_path);
}

Status set_recipe_field(TrainRecipe& recipe, const std::string& assignment,
                        const std::string& option) {
  const Place place{.source = option};
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos) {
    return invalid_argument(fmt::format(
        "{}: expected FIELD=VALUE, for instance optimiser.lr=0.1, found '{}'", option, assignment));
  }
  const std::string key = assignment.substr(0, equals);
  const std::string text = assignment.substr(equals + 1);
  PARE_ASSIGN_OR_RETURN(const TrainRecipeField field, find_field(recipe, key, place));
  if (std::string* const* target = std::get_if<std::string*>(&field.value)) {
    return assign_string(field, *target, text, place);
  }
  // Anything but a string is written as in TOML.
  const auto table = parse_toml("value = " + text, option);
  const toml::node* node = table.ok() && table->size() == 1 ? table->get("value") : nullptr;
  const std::string found = "'" + text + "'";
  return std::visit(Assign{field, node, found, place}, field.value);
}

Status check_train_recipe(const TrainRecipe& recipe) {
  TrainRecipe copy = recipe;
  for (const TrainRecipeField& field : recipe_fields(copy)) {
    const auto* text = std::get_if<std::string*>(&field.value);
    if (text != nullptr && !is_utf8(**text)) {
      return invalid_argument(fmt::format(
          "{} must be UTF-8 text: the run's files hold no other, found '{}'", field.key, **text));
    }
  }
  if (!std::is_sorted(recipe.schedule.steps.begin(), recipe.schedule.steps.end())) {
    return invalid_argument(
        fmt::format("schedule.steps must rise, found {}", fmt::join(recipe.schedule.steps, ", ")));
  }
  const int64_t views = recipe.train.test_views;
  if (views != 1 && views != 2 && views != 6) {
    return invalid_argument(fmt::format("train.test_views must be 1, 2 or 6, found {}", views));
  }
  if (recipe.optimiser.kind == "muon" && recipe.optimiser.lr == 0) {
    return invalid_argument(
        "optimiser.kind muon needs an optimiser.lr above 0: its own rate follows");
  }
  if (recipe.optimiser.kind == "sgd" && recipe.optimiser.nesterov &&
      recipe.optimiser.momentum == 0) {
    return invalid_argument("optimiser.nesterov needs an optimiser.momentum above 0");
  }
  return ok_status();
}

std::string recipe_toml(const TrainRecipe& recipe) {
  TrainRecipe copy = recipe;
  std::string out;
  std::string table;
  for (const TrainRecipeField& field : recipe_fields(copy)) {
    const size_t dot = field.key.find('.');
    const std::string in = dot == std::string::npos ? "" : field.key.substr(0, dot);
    if (in != table) out += fmt::format("\n[{}]\n", in);
    table = in;
    const std::string key = dot == std::string::npos ? field.key : field.key.substr(dot + 1);
    out +=
        fmt::format("{} = {}  # {}\n", key, std::visit(WriteValue{}, field.value), field.meaning);
  }
  return out;
}

}  // namespace pare

// The config of a study: TOML, every key checked.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/embedded_text.h"
#include "base/file.h"
#include "base/nearest.h"
#include "base/toml.h"
#include "compress/recipe.h"
#include "study/study.h"

namespace pare {

extern const std::span<const EmbeddedText> kBuiltinStudies;  // the files of studies/

namespace {

constexpr int64_t kMaxConfigBytes = 1 << 20;
constexpr int64_t kMany = 1 << 30;

// Reads the keys of one table. The first thing that is wrong is kept, and every key that was asked
// for is remembered, so that finish() can name one that nobody asked for.
class TableReader {
 public:
  TableReader(const toml::table& table, std::string name, const std::string& source)
      : table_(table), name_(std::move(name)), source_(source) {}

  void read(const char* key, std::string& target) {
    const toml::node* node = get(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<std::string>();
    if (!value) return fail(*node, key, "must be a string");
    target = *value;
  }
  void read(const char* key, int64_t low, int64_t high, int64_t& target) {
    if (const toml::node* node = get(key)) read_integer(*node, key, low, high, target);
  }
  void read(const char* key, double low, double high, double& target) {
    const toml::node* node = get(key);
    if (node == nullptr) return;
    const auto value = node->is_number() ? node->value<double>() : std::nullopt;
    if (!value || !(*value >= low && *value <= high)) {
      return fail(*node, key, fmt::format("must be a number from {} to {}", low, high));
    }
    target = *value;
  }
  void read(const char* key, std::vector<std::string>& target) {
    const toml::node* node = get(key);
    if (node == nullptr) return;
    const toml::array* array = node->as_array();
    if (array == nullptr) return fail(*node, key, "must be a list of strings");
    target.clear();
    for (const toml::node& element : *array) {
      const auto value = element.value_exact<std::string>();
      if (!value) return fail(element, key, "must be a list of strings");
      target.push_back(*value);
    }
  }
  void read(const char* key, int64_t low, int64_t high, std::vector<int64_t>& target) {
    const toml::node* node = get(key);
    if (node == nullptr) return;
    const toml::array* array = node->as_array();
    if (array == nullptr) return fail(*node, key, "must be a list of whole numbers");
    target.clear();
    for (const toml::node& element : *array) {
      read_integer(element, key, low, high, target.emplace_back());
    }
  }
  const toml::table* table(const char* key) {
    const toml::node* node = get(key);
    if (node == nullptr) return nullptr;
    if (!node->is_table()) fail(*node, key, "must be a table");
    return node->as_table();
  }
  // The tables of [[key]].
  std::vector<const toml::table*> tables(const char* key) {
    std::vector<const toml::table*> found;
    const toml::node* node = get(key);
    const toml::array* array = node == nullptr ? nullptr : node->as_array();
    if (node != nullptr && array == nullptr) fail(*node, key, "must be tables: [[net]]");
    if (array == nullptr) return found;
    for (const toml::node& element : *array) {
      if (!element.is_table()) fail(element, key, "must be tables: [[net]]");
      if (element.is_table()) found.push_back(element.as_table());
    }
    return found;
  }

  Status finish() {
    PARE_RETURN_IF_ERROR(status_);
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
      return invalid_argument(
          fmt::format("{}:{}: {} has no key '{}'; nearest is '{}' (there are: {})", source_,
                      key.source().begin.line, name_, name, nearest_name(name, known_),
                      fmt::join(known_, ", ")));
    }
    return ok_status();
  }

 private:
  const toml::node* get(const char* key) {
    known_.emplace_back(key);
    return table_.get(key);
  }
  void read_integer(const toml::node& node, const char* key, int64_t low, int64_t high,
                    int64_t& target) {
    const auto value = node.value_exact<int64_t>();
    if (!value || *value < low || *value > high) {
      return fail(node, key, fmt::format("must be a whole number from {} to {}", low, high));
    }
    target = *value;
  }
  void fail(const toml::node& node, const char* key, const std::string& expected) {
    if (!status_.ok()) return;
    status_ = invalid_argument(fmt::format("{}:{}: {} of {} {}, found {}", source_,
                                           node.source().begin.line, key, name_, expected,
                                           toml_text(node)));
  }

  const toml::table& table_;
  std::string name_;
  const std::string& source_;
  std::vector<std::string> known_;
  Status status_;
};

// "runs/mine.onnx" -> "mine"
std::string stem(const std::string& path) { return std::filesystem::path(path).stem().string(); }

Status check_net(const StudyNet& net, const std::string& where) {
  const int sources =
      (net.zoo.empty() ? 0 : 1) + (net.model.empty() ? 0 : 1) + (net.train.empty() ? 0 : 1);
  if (sources != 1) {
    return invalid_argument(where + ": a net has one of zoo, model and train");
  }
  if (net.train.empty() && !net.settings.empty()) {
    return invalid_argument(where + ": set goes with train");
  }
  if (net.model.empty() && !net.trained_on.empty()) {
    return invalid_argument(where + ": trained_on goes with model: the others say it themselves");
  }
  if (net.variants.empty()) return invalid_argument(where + ": no variants are asked for");
  return ok_status();
}

// Recipes in their short form, so that two spellings of one are one.
Status settle_variants(StudyNet& net, const std::string& where) {
  std::set<std::string> seen;
  for (std::string& variant : net.variants) {
    if (variant != kUnchangedVariant) {
      const auto recipe = load_recipe(variant);
      if (!recipe.ok()) return recipe.status().with_context(where);
      if (!variant.ends_with(".toml")) variant = recipe_string(*recipe);
    }
    if (!seen.insert(variant).second) {
      return invalid_argument(fmt::format("{}: variant '{}' stands there twice", where, variant));
    }
  }
  return ok_status();
}

Result<StudyNet> read_net(const toml::table& table, const std::vector<std::string>& variants,
                          const std::string& source) {
  TableReader reader(table, "[[net]]", source);
  StudyNet net;
  net.variants = variants;
  reader.read("name", net.name);
  reader.read("zoo", net.zoo);
  reader.read("model", net.model);
  reader.read("train", net.train);
  reader.read("set", net.settings);
  reader.read("trained_on", net.trained_on);
  reader.read("variants", net.variants);
  PARE_RETURN_IF_ERROR(reader.finish());
  const std::string where = fmt::format("{}:{}", source, table.source().begin.line);
  PARE_RETURN_IF_ERROR(check_net(net, where));
  PARE_RETURN_IF_ERROR(settle_variants(net, where));
  if (net.name.empty()) {
    net.name = !net.zoo.empty() ? net.zoo : stem(net.model.empty() ? net.train : net.model);
  }
  return net;
}

Status read_nets(TableReader& reader, const std::vector<std::string>& variants,
                 const std::string& source, StudyConfig& config) {
  std::set<std::string> names;
  for (const toml::table* table : reader.tables("net")) {
    PARE_ASSIGN_OR_RETURN(StudyNet net, read_net(*table, variants, source));
    if (!names.insert(net.name).second) {
      return invalid_argument(fmt::format("{}:{}: there are two nets called '{}': give one a name",
                                          source, table->source().begin.line, net.name));
    }
    config.nets.push_back(std::move(net));
  }
  return ok_status();
}

Status read_latency(const toml::table* table, const std::string& source, StudyConfig& config) {
  if (table == nullptr) return ok_status();
  constexpr int64_t kMaxBatch = 65536;
  constexpr double kHour = 3600;
  TableReader reader(*table, "[latency]", source);
  reader.read("batches", 1, kMaxBatch, config.batches);
  reader.read("seconds", 0.0, kHour, config.seconds);
  reader.read("images", 1, kMany, config.latency_images);
  return reader.finish();
}

Status read_compress(const toml::table* table, const std::string& source, StudyConfig& config) {
  if (table == nullptr) return ok_status();
  TableReader reader(*table, "[compress]", source);
  reader.read("calibration_images", 1, kMany, config.calibration_images);
  reader.read("sensitivity_images", 1, kMany, config.sensitivity_images);
  auto seed = static_cast<int64_t>(config.seed);
  reader.read("seed", 0, kMany, seed);
  config.seed = static_cast<uint64_t>(seed);
  return reader.finish();
}

}  // namespace

Result<StudyConfig> parse_study_config(const std::string& toml_text, const std::string& source) {
  PARE_ASSIGN_OR_RETURN(const toml::table table, parse_toml(toml_text, source));
  StudyConfig config;
  config.name = stem(source);
  std::vector<std::string> variants;
  TableReader reader(table, "a study", source);
  reader.read("name", config.name);
  reader.read("data", config.data);
  reader.read("test_images", 0, kMany, config.test_images);
  reader.read("changed_images", 0, 1000, config.changed_images);
  reader.read("variants", variants);
  PARE_RETURN_IF_ERROR(read_latency(reader.table("latency"), source, config));
  PARE_RETURN_IF_ERROR(read_compress(reader.table("compress"), source, config));
  PARE_RETURN_IF_ERROR(read_nets(reader, variants, source, config));
  PARE_RETURN_IF_ERROR(reader.finish());
  if (config.nets.empty()) return invalid_argument(source + ": there is no [[net]] to study");
  if (config.batches.empty()) return invalid_argument(source + ": batches of [latency] is empty");
  return config;
}

Result<StudyConfig> load_study_config(const std::string& name_or_path) {
  if (name_or_path.ends_with(".toml")) {
    PARE_ASSIGN_OR_RETURN(const std::string text, read_text_file(name_or_path, kMaxConfigBytes));
    return parse_study_config(text, name_or_path);
  }
  if (const char* builtin = find_embedded(kBuiltinStudies, name_or_path)) {
    return parse_study_config(builtin, name_or_path + ".toml");
  }
  return not_found(fmt::format("no study '{}': expected a .toml file or one of {}", name_or_path,
                               fmt::join(builtin_study_names(), ", ")));
}

std::vector<std::string> builtin_study_names() { return embedded_names(kBuiltinStudies); }

bool needs_trainer(const StudyConfig& config) {
  const auto trains = [](const std::string& variant) {
    if (variant == kUnchangedVariant) return false;
    const auto recipe = load_recipe(variant);
    return recipe.ok() && needs_trainer(*recipe);
  };
  return std::ranges::any_of(config.nets, [&](const StudyNet& net) {
    return !net.train.empty() || std::ranges::any_of(net.variants, trains);
  });
}

}  // namespace pare

// Configs of studies. What is read must be what a study may rest on: nets of different names, each
// with one source, and variants in the one form that recipes have.
#include <set>

#include "compress/recipe.h"
#include "study/study.h"
#include "targets.h"

bool fuzz_study(std::span<const std::byte> bytes) {
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto config = pare::parse_study_config(text, "fuzz.toml");
  if (!config.ok()) return false;
  require(!config->nets.empty() && !config->batches.empty());
  std::set<std::string> names;
  for (const pare::StudyNet& net : config->nets) {
    require(names.insert(net.name).second && !net.variants.empty());
    const int sources =
        (net.zoo.empty() ? 0 : 1) + (net.model.empty() ? 0 : 1) + (net.train.empty() ? 0 : 1);
    require(sources == 1);
    for (const std::string& variant : net.variants) {
      if (variant == pare::kUnchangedVariant || variant.ends_with(".toml")) continue;
      const auto recipe = pare::parse_recipe(variant);
      require(recipe.ok() && pare::recipe_string(*recipe) == variant);
    }
  }
  return true;
}

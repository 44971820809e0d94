// Training recipes, as a file and as the command line's FIELD=VALUE. What is read must be written
// as a file that means the same.
#include "targets.h"
#include "train/recipe.h"

namespace {

void check(const pare::TrainRecipe& recipe) {
  const std::string toml = pare::recipe_toml(recipe);
  const auto again = pare::parse_train_recipe(toml, "again.toml");
  require(again.ok() && pare::recipe_toml(*again) == toml);
}

}  // namespace

bool fuzz_train_recipe(std::span<const std::byte> bytes) {
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  pare::TrainRecipe set;
  const bool assigned =
      pare::set_recipe_field(set, text).ok() && pare::check_train_recipe(set).ok();
  if (assigned) check(set);
  const auto recipe = pare::parse_train_recipe(text, "fuzz.toml");
  if (recipe.ok()) check(*recipe);
  return recipe.ok() || assigned;
}

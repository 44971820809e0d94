// Compression recipes, in both forms. What is read must be written as a line that means the same.
#include "compress/recipe.h"
#include "targets.h"

namespace {

bool check(const pare::Result<pare::Recipe>& recipe) {
  if (!recipe.ok()) return false;
  const std::string line = pare::recipe_string(*recipe);
  const auto again = pare::parse_recipe(line);
  require(again.ok() && pare::recipe_string(*again) == line);
  return true;
}

}  // namespace

bool fuzz_recipe(std::span<const std::byte> bytes) {
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const bool line = check(pare::parse_recipe(text));
  return check(pare::parse_recipe_toml(text, "fuzz.toml")) || line;
}

// Recipe: what shall be done to a model, as one short line or a TOML file.
//
//   recipe = step { "+" step }
//   step   = method [ ":" value ] { "," option "=" value }
//
//   int8    fp16    prune:0.9    prune:0.9+finetune:5+int8 prune:0.9,share=uniform+int8,range=mse
//
// The same in TOML, where every option may stand:
//
//   [[step]]
//   method = "prune"
//   sparsity = 0.9
//   share = "uniform"
//
//   [[step]]
//   method = "int8"
//   skip = ["conv1", "fc8"]
//
// A list of names is written a;b;c in the short form (quote it in a shell); a backslash takes away
// what the next character means there, for names that hold one of + , ; or a backslash (those that
// TensorFlow exports have semicolons). Everything is checked before any work: unknown methods,
// options and words (with the nearest valid one), numbers out of bounds, steps in an order that
// cannot be.
#ifndef PARE_COMPRESS_RECIPE_H_
#define PARE_COMPRESS_RECIPE_H_

#include <string>
#include <vector>

#include "pare/status.h"

#include "compress/method.h"

namespace pare {

struct Recipe {
  std::vector<RecipeStep> steps;
};

// Errors point at the token: "recipe 'prune:0.9+in8', character 11: there is no method 'in8'; did
// you mean 'int8'?"
Result<Recipe> parse_recipe(const std::string& text);
// `source` is the file's name for messages.
Result<Recipe> parse_recipe_toml(const std::string& toml, const std::string& source);
// A path ending in .toml is read as a file, anything else is the short form.
Result<Recipe> load_recipe(const std::string& text_or_path);

// The short form, with those options that differ from their defaults. parse_recipe() of it gives
// the same recipe.
std::string recipe_string(const Recipe& recipe);
std::string step_string(const RecipeStep& step);

// Does some step need images, or a trainer?
bool needs_images(const Recipe& recipe);
bool needs_trainer(const Recipe& recipe);

// Every method with its options, for `pare compress --help`.
std::string recipe_help();

}  // namespace pare

#endif  // PARE_COMPRESS_RECIPE_H_

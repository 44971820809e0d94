// The files of recipes/, compiled in (the source is made by this folder's CMakeLists.txt).
#ifndef PARE_TRAIN_BUILTIN_RECIPES_H_
#define PARE_TRAIN_BUILTIN_RECIPES_H_

#include <span>

namespace pare {

struct BuiltinRecipe {
  const char* name;
  const char* text;
};

extern const std::span<const BuiltinRecipe> kBuiltinRecipes;

}  // namespace pare

#endif  // PARE_TRAIN_BUILTIN_RECIPES_H_

#include "compress/method.h"

#include <algorithm>

namespace pare {

#define PARE_METHOD(name) Method make_##name##_method();
#include "compress/methods.inc"
#undef PARE_METHOD

const std::vector<Method>& methods() {
  static const std::vector<Method> list = {
#define PARE_METHOD(name) make_##name##_method(),
#include "compress/methods.inc"
#undef PARE_METHOD
  };
  return list;
}

const Method* find_method(const std::string& name) {
  const auto& list = methods();
  const auto found = std::find_if(list.begin(), list.end(),
                                  [&name](const Method& method) { return method.name == name; });
  return found == list.end() ? nullptr : &*found;
}

}  // namespace pare

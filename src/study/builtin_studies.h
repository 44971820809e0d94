// The files of studies/, compiled in (the source is made by this folder's CMakeLists.txt).
#ifndef PARE_STUDY_BUILTIN_STUDIES_H_
#define PARE_STUDY_BUILTIN_STUDIES_H_

#include <span>

namespace pare {

struct BuiltinStudy {
  const char* name;
  const char* text;
};

extern const std::span<const BuiltinStudy> kBuiltinStudies;

}  // namespace pare

#endif  // PARE_STUDY_BUILTIN_STUDIES_H_

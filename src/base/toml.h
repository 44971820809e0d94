// toml++ without its assertions, for all who read TOML.
//
// Version 3.3 asserts what a file decides: "[+" as a table's name ends a program that was compiled
// with assertions, and clang takes the same line for a promise where there are none. Behind each
// stands a proper error, which is what is wanted.
#ifndef PARE_BASE_TOML_H_
#define PARE_BASE_TOML_H_

#ifdef NDEBUG
#define PARE_TOML_NDEBUG
#undef NDEBUG  // else TOML_ASSERT is undone, and its condition assumed
#endif
#define TOML_ASSERT(condition) static_cast<void>(0)
#include <toml++/toml.h>
#ifdef PARE_TOML_NDEBUG
#undef PARE_TOML_NDEBUG
#define NDEBUG
#endif

#endif  // PARE_BASE_TOML_H_

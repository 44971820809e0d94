# fmt::fmt as a static library of our own compiling (fmt_library.cc says why). Another release than
# 9.1 has another source file: there the headers are included whole.
find_path(FMT_INCLUDE_DIR fmt/format-inl.h REQUIRED)
file(STRINGS ${FMT_INCLUDE_DIR}/fmt/core.h fmt_version REGEX "^#define FMT_VERSION [0-9]+$")
if(fmt_version MATCHES " 901[0-9][0-9]$")
  add_library(pare_fmt STATIC ${CMAKE_CURRENT_LIST_DIR}/fmt_library.cc)
  target_include_directories(pare_fmt SYSTEM PUBLIC ${FMT_INCLUDE_DIR})
  target_compile_definitions(pare_fmt PUBLIC FMT_SHARED)  # as Debian's own fmt::fmt
else()
  add_library(pare_fmt INTERFACE)
  target_compile_definitions(pare_fmt INTERFACE FMT_HEADER_ONLY)
endif()
add_library(fmt::fmt ALIAS pare_fmt)

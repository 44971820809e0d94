# How a room of the house is built.
#
#   pare_room(NAME SOURCES a.cc b.cc [DEPENDS base graph] [LIBRARIES fmt::fmt] [ALONE c.cc]
#             [OWN_HEADERS])
#       the static library pare_NAME; with PARE_UNITY its sources are compiled together, but for
#       those of ALONE (whose own names another source has too; ALONE without a file: all), and share
#       the parsed headers of pare_base, the first, unless it has OWN_HEADERS
#   pare_test(NAME SOURCES x_test.cc [DEPENDS ...] [LIBRARIES ...] [ALONE c.cc] [THREADED])
#       a GoogleTest program NAME, compiled likewise, registered with ctest test by test; the target
#       `tests` builds all, `threaded_tests` those that the thread sanitizer can find something in;
#       testing_test, the first, has the precompiled headers of all

function(pare_common target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
                                           $<$<CXX_COMPILER_ID:GNU>:-Werror>
    # Designated initialisers leave the other fields at their defaults on purpose; and g++ 12 sees
    # overlaps in std::string that are not there (its bug 105651).
    -Wno-missing-field-initializers $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/include
                                              ${PROJECT_SOURCE_DIR}/src
                                              ${PROJECT_BINARY_DIR}/generated)
endfunction()

# For the command line and rooms that work on words and descriptions: at -O1 such sources compile in
# half to two thirds of the time of -O2, and they run no long loops themselves.
function(pare_compile_quickly target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()

# What nearly every room includes is parsed once: 3 s for each, of which JSON takes half.
function(pare_parsed_headers target)
  if(NOT PARE_UNITY)
  elseif(target STREQUAL "pare_base")
    target_precompile_headers(${target} PRIVATE <algorithm> <cmath> <filesystem> <fmt/format.h> <functional> <map>
                              <nlohmann/json.hpp> <optional> <ranges> <string> <vector>)
  else()
    target_precompile_headers(${target} REUSE_FROM pare_base)
  endif()
endfunction()

# Parsing the headers is most of the work: all sources of TARGET at once, but for those that follow it, take a third of
# the time.
function(pare_compile_together target)
  if(PARE_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
    set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  endif()
endfunction()

function(pare_room name)
  cmake_parse_arguments(ROOM "OWN_HEADERS" "" "SOURCES;DEPENDS;LIBRARIES;ALONE" ${ARGN})
  add_library(pare_${name} STATIC ${ROOM_SOURCES})
  if(NOT ALONE IN_LIST ROOM_KEYWORDS_MISSING_VALUES)
    pare_compile_together(pare_${name} ${ROOM_ALONE})
  endif()
  pare_common(pare_${name})
  if(NOT ROOM_OWN_HEADERS)
    pare_parsed_headers(pare_${name})
  endif()
  list(TRANSFORM ROOM_DEPENDS PREPEND pare_)
  target_link_libraries(pare_${name} PUBLIC ${ROOM_DEPENDS} ${ROOM_LIBRARIES})
endfunction()

function(pare_test name)
  if(NOT PARE_TESTS)
    return()
  endif()
  cmake_parse_arguments(TEST "THREADED" "" "SOURCES;DEPENDS;LIBRARIES;ALONE" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  # What is tested is optimised; the tests themselves compile in two thirds of the time of -O1.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O0>)
  if(NOT PARE_UNITY)
  elseif(name STREQUAL "testing_test")
    target_precompile_headers(${name} PRIVATE <fmt/format.h> <gmock/gmock.h> <gtest/gtest.h>
                              <nlohmann/json.hpp>)
  else()
    target_precompile_headers(${name} REUSE_FROM testing_test)
  endif()
  if(NOT ALONE IN_LIST TEST_KEYWORDS_MISSING_VALUES)
    pare_compile_together(${name} ${TEST_ALONE})
  endif()
  add_dependencies(tests ${name})
  set(labels "")
  if(TEST_THREADED)
    add_dependencies(threaded_tests ${name})
    set(labels LABELS threaded)
  endif()
  pare_common(${name})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  list(TRANSFORM TEST_DEPENDS PREPEND pare_)
  target_link_libraries(${name} PRIVATE ${TEST_DEPENDS} ${TEST_LIBRARIES} pare_source_folder
                                        GTest::gtest_main GTest::gmock)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST
                       PROPERTIES ENVIRONMENT "PARE_HOME=${PROJECT_SOURCE_DIR}" ${labels})
endfunction()

# How a room of the house is built.
#
#   pare_room(NAME SOURCES a.cc b.cc [DEPENDS base graph] [LIBRARIES fmt::fmt])
#       the static library pare_NAME
#   pare_test(NAME SOURCES x_test.cc [DEPENDS ...] [LIBRARIES ...])
#       a GoogleTest program NAME, registered with ctest test by test

function(pare_common target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
                                           -Werror
    # Designated initialisers leave the other fields at their defaults on purpose; and g++ 12 sees
    # overlaps in std::string that are not there (its bug 105651).
    -Wno-missing-field-initializers $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/include
                                              ${PROJECT_SOURCE_DIR}/src
                                              ${PROJECT_BINARY_DIR}/generated)
endfunction()

function(pare_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  add_library(pare_${name} STATIC ${ROOM_SOURCES})
  pare_common(pare_${name})
  list(TRANSFORM ROOM_DEPENDS PREPEND pare_)
  target_link_libraries(pare_${name} PUBLIC ${ROOM_DEPENDS} ${ROOM_LIBRARIES})
endfunction()

function(pare_test name)
  if(NOT PARE_TESTS)
    return()
  endif()
  cmake_parse_arguments(TEST "" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  pare_common(${name})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  list(TRANSFORM TEST_DEPENDS PREPEND pare_)
  target_link_libraries(${name} PRIVATE ${TEST_DEPENDS} ${TEST_LIBRARIES} pare_source_folder
                                        GTest::gtest_main GTest::gmock)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST
                       PROPERTIES ENVIRONMENT "PARE_HOME=${PROJECT_SOURCE_DIR}")
endfunction()

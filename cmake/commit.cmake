# Writes OUTPUT, a header with the commit of SOURCE, when it differs from what is there. Run at every
# build, because the commit changes without CMake being run again.
cmake_policy(VERSION 3.25)
execute_process(COMMAND git describe --always --dirty --abbrev=12 --match=
                WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit ERROR_QUIET
                OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
if(failed OR commit STREQUAL "")
  set(commit "unknown")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT
"// Written by cmake/commit.cmake at every build.
#ifndef PARE_RECORDS_COMMIT_H_
#define PARE_RECORDS_COMMIT_H_
inline constexpr const char* kCommit = \"@commit@\";
#endif
")

# Writes OUTPUT, a C++ file that defines `const char NAME[]` in namespace pare as the text of INPUT.
cmake_policy(VERSION 3.25)
file(READ ${INPUT} text)
string(FIND "${text}" ")embedded\"" clash)
if(NOT clash EQUAL -1)
  message(FATAL_ERROR "${INPUT} holds the text that ends an embedded file")
endif()
file(WRITE ${OUTPUT} "// Written by cmake/write_embedded.cmake.
namespace pare {
extern const char ${NAME}[];
const char ${NAME}[] = R\"embedded(${text})embedded\";
}
")

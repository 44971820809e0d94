# Files that become part of the program, as C++ sources in namespace pare.
#
#   pare_embed(SOURCES_VARIABLE NAME FILE)
#       adds to SOURCES_VARIABLE a file that defines `const char NAME[]` as the text of FILE
#   pare_embed_texts(SOURCES_VARIABLE NAME PATTERN)
#       adds one that defines `const std::span<const EmbeddedText> NAME` (base/embedded_text.h), an
#       entry for each file that PATTERN matches
function(pare_embed sources_variable name file)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
  set(script ${PROJECT_SOURCE_DIR}/cmake/write_embedded.cmake)
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DINPUT=${file} -DOUTPUT=${output} -P ${script}
    DEPENDS ${file} ${script})
  # Read on its own, so that the rest of its room can be read before anything is built.
  set_source_files_properties(${output} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set(${sources_variable} ${${sources_variable}} ${output} PARENT_SCOPE)
endfunction()

function(pare_embed_texts sources_variable name pattern)
  file(GLOB files CONFIGURE_DEPENDS ${pattern})
  set(entries "")
  foreach(file ${files})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    get_filename_component(stem ${file} NAME_WE)
    file(READ ${file} text)
    string(FIND "${text}" ")embedded\"" clash)
    if(NOT clash EQUAL -1)
      message(FATAL_ERROR "${file} holds the text that ends an embedded file")
    endif()
    string(APPEND entries "    {\"${stem}\", R\"embedded(${text})embedded\"},\n")
  endforeach()
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
  file(CONFIGURE OUTPUT ${output} @ONLY CONTENT
"// Written by cmake/pare_embed.cmake.
#include \"base/embedded_text.h\"

namespace pare {
namespace {

constexpr EmbeddedText kTexts[] = {
@entries@};

}  // namespace

extern const std::span<const EmbeddedText> @name@;
const std::span<const EmbeddedText> @name@ = kTexts;

}  // namespace pare
")
  set_source_files_properties(${output} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set(${sources_variable} ${${sources_variable}} ${output} PARENT_SCOPE)
endfunction()

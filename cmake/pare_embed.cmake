# pare_embed(SOURCES_VARIABLE NAME FILE)
#   adds to SOURCES_VARIABLE a C++ file that defines `const char NAME[]`, in namespace pare, as the
#   text of FILE.
function(pare_embed sources name file)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
  set(script ${PROJECT_SOURCE_DIR}/cmake/write_embedded.cmake)
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DINPUT=${file} -DOUTPUT=${output} -P ${script}
    DEPENDS ${file} ${script})
  # Read on its own, so that the rest of its room can be read before anything is built.
  set_source_files_properties(${output} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set(${sources} ${${sources}} ${output} PARENT_SCOPE)
endfunction()

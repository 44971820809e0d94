# The library for programs of other people: libpare.so, the runtime behind include/pare (C++ and C).
# It holds all it needs but the C and C++ libraries, and shows the public functions alone, so that no
# other library in the same program can clash with it.

add_library(pare_library SHARED ${CMAKE_CURRENT_LIST_DIR}/library.cc)
set_target_properties(pare_library PROPERTIES
  OUTPUT_NAME pare EXPORT_NAME pare LINKER_LANGUAGE CXX
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  LINK_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/library_symbols.map)
target_include_directories(pare_library INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(pare_library INTERFACE cxx_std_20)
# Whole: nothing within the library calls what it offers.
target_link_libraries(pare_library PRIVATE
  -Wl,--whole-archive $<TARGET_FILE:pare_runtime> -Wl,--no-whole-archive
  $<TARGET_PROPERTY:pare_runtime,INTERFACE_LINK_LIBRARIES>)
add_dependencies(pare_library pare_runtime)
target_link_options(pare_library PRIVATE
  LINKER:--version-script=${CMAKE_CURRENT_LIST_DIR}/library_symbols.map LINKER:--no-undefined
  LINKER:--gc-sections)

include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/Pare)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/PareConfig.cmake.in
  ${PROJECT_BINARY_DIR}/PareConfig.cmake INSTALL_DESTINATION ${package_folder}
  PATH_VARS CMAKE_INSTALL_DATADIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/PareConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(TARGETS pare_library EXPORT PareTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT PareTargets NAMESPACE Pare:: DESTINATION ${package_folder})
install(FILES ${PROJECT_BINARY_DIR}/PareConfig.cmake ${PROJECT_BINARY_DIR}/PareConfigVersion.cmake
        DESTINATION ${package_folder})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/pare ${PROJECT_BINARY_DIR}/generated/pare
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.h)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/THIRD_PARTY_NOTICES.md
        DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/pare)
if(EXISTS ${PROJECT_SOURCE_DIR}/zoo)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/zoo DESTINATION ${CMAKE_INSTALL_DATADIR}/pare)
endif()

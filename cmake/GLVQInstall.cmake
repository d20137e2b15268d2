# What `cmake --install` installs, in components that can be had alone:
#   cmake --install build --prefix /usr/local --component Runtime
# Runtime: the C library, its header, glvq-run, and the package that
# find_package(glvq COMPONENTS Runtime) finds. Compiler: the compiler's tools.
# Python: what the wheel has beside the Python files, as the package lays it out.
include(CMakePackageConfigHelpers)
set(GLVQ_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/glvq)

# Programs find the libraries beside them, wherever the folder is moved.
file(RELATIVE_PATH GLVQ_BIN_TO_LIB /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
set_target_properties(glvq-run PROPERTIES INSTALL_RPATH "$ORIGIN/${GLVQ_BIN_TO_LIB};$ORIGIN/../lib")

install(TARGETS glvq_runtime glvq-run EXPORT glvqRuntimeTargets
  RUNTIME COMPONENT Runtime LIBRARY COMPONENT Runtime NAMELINK_COMPONENT Runtime)
install(FILES include/glvq/Runtime/glvq_runtime.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/glvq/Runtime COMPONENT Runtime)
install(EXPORT glvqRuntimeTargets NAMESPACE glvq:: DESTINATION ${GLVQ_CMAKE_DIR} COMPONENT Runtime)

configure_package_config_file(cmake/glvqConfig.cmake.in ${PROJECT_BINARY_DIR}/glvqConfig.cmake
  INSTALL_DESTINATION ${GLVQ_CMAKE_DIR} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/glvqConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/glvqConfig.cmake ${PROJECT_BINARY_DIR}/glvqConfigVersion.cmake
  DESTINATION ${GLVQ_CMAKE_DIR} COMPONENT Runtime)

# For builds without CMake.
configure_file(cmake/glvq.pc.in ${PROJECT_BINARY_DIR}/glvq.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/glvq.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT Runtime)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT Runtime)

set(python_tools glvq-run)
if(GLVQ_ENABLE_COMPILER)
  set(compiler_tools glvq-compile glvq-emulate glvq-lsp-server glvq-opt)
  # libMLIR and libLLVM stay where they were found.
  set_target_properties(${compiler_tools} PROPERTIES INSTALL_RPATH_USE_LINK_PATH TRUE)
  install(TARGETS ${compiler_tools} RUNTIME COMPONENT Compiler)
  list(APPEND python_tools ${compiler_tools})
endif()

if(GLVQ_ENABLE_PYTHON)
  set_target_properties(_runtime PROPERTIES INSTALL_RPATH "$ORIGIN/lib")
  install(TARGETS _runtime LIBRARY DESTINATION glvq COMPONENT Python)
  install(TARGETS ${python_tools} RUNTIME DESTINATION glvq/bin COMPONENT Python)
  # A wheel has no symbolic links: the library under its SONAME.
  install(PROGRAMS $<TARGET_FILE:glvq_runtime> RENAME $<TARGET_SONAME_FILE_NAME:glvq_runtime>
    DESTINATION glvq/lib COMPONENT Python)
  if(GLVQ_ENABLE_LEARNING)
    # Loaded after `import torch`, so it needs no path to torch's libraries.
    install(TARGETS glvq_learning LIBRARY DESTINATION glvq/lib COMPONENT Python)
  endif()
endif()

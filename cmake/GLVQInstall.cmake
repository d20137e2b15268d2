# What `cmake --install` installs, in components that can be had alone:
#   cmake --install build --prefix /usr/local --component Runtime
# Runtime: the C library, its header, glvq-run, and the package that
# find_package(glvq COMPONENTS Runtime) finds. Compiler: the compiler's tools.
include(CMakePackageConfigHelpers)
set(GLVQ_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/glvq)

# Programs find the libraries beside them, wherever the folder is moved.
file(RELATIVE_PATH GLVQ_BIN_TO_LIB /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
set_target_properties(glvq-run PROPERTIES INSTALL_RPATH "$ORIGIN/${GLVQ_BIN_TO_LIB}")

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

if(GLVQ_ENABLE_COMPILER)
  install(TARGETS glvq-compile glvq-lsp-server glvq-opt RUNTIME COMPONENT Compiler)
endif()

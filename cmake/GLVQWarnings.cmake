# Warnings for the parts that do not take their flags from LLVM.
add_library(glvq_warnings INTERFACE)
target_compile_options(glvq_warnings INTERFACE -Wall -Wextra -Wno-unused-parameter)
target_include_directories(glvq_warnings INTERFACE
  ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)

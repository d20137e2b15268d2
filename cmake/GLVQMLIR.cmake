# Finds MLIR and offers thin wrappers around its macros. Everything links the
# one shared libMLIR: a second static copy of any part would not share its
# type and attribute storage.
find_package(MLIR 22.1 REQUIRED CONFIG)
set(LLVM_RUNTIME_OUTPUT_INTDIR ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
set(LLVM_LIBRARY_OUTPUT_INTDIR ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
set(MLIR_BINARY_DIR ${PROJECT_BINARY_DIR})
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)

# The flags of HandleLLVMOptions, for MLIR code only: LibTorch and the runtime
# use exceptions, so they must not become global.
add_library(glvq_mlir_flags INTERFACE)
target_compile_options(glvq_mlir_flags INTERFACE
  -fno-exceptions -Wall -Wextra -Wno-unused-parameter -Wno-comment)
target_compile_definitions(glvq_mlir_flags INTERFACE ${LLVM_DEFINITIONS_LIST})
target_include_directories(glvq_mlir_flags SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
target_include_directories(glvq_mlir_flags INTERFACE
  ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)

# add_glvq_library(NAME sources... DEPENDS targets... LINK_LIBS libs...)
function(add_glvq_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK_LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC glvq_mlir_flags MLIR LLVM ${ARG_LINK_LIBS})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
endfunction()

# add_glvq_tool(NAME sources... LINK_LIBS libs...)
function(add_glvq_tool name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE glvq_mlir_flags ${ARG_LINK_LIBS} MLIR LLVM)
endfunction()

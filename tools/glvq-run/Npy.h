// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Files of numpy arrays (.npy).

#ifndef GLVQ_TOOLS_GLVQ_RUN_NPY_H
#define GLVQ_TOOLS_GLVQ_RUN_NPY_H

#include "glvq/Runtime/glvq_runtime.h"

#include <string>
#include <vector>

namespace glvq {

/// A row-major array.
struct NpyArray {
  glvq_dtype dtype = GLVQ_F32;
  std::vector<int64_t> shape;
  std::vector<char> data;
};

/// Both throw std::runtime_error, naming the file and what is wrong with it.
NpyArray readNpy(const std::string &path);
void writeNpy(const std::string &path, const NpyArray &array);

} // namespace glvq

#endif // GLVQ_TOOLS_GLVQ_RUN_NPY_H

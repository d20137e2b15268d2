// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Reads .safetensors files. The runtime and the artefact writer share it, hence
// no exceptions in the interface and neither MLIR nor LLVM.

#ifndef GLVQ_RUNTIME_SAFETENSORS_H
#define GLVQ_RUNTIME_SAFETENSORS_H

#include "glvq/Runtime/MappedFile.h"

#include <map>
#include <optional>
#include <vector>

namespace glvq {

/// One tensor in a mapped file.
struct TensorView {
  /// As spelt in the file: "F32", "I64", "BF16", …
  std::string dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

/// Bytes of an element of `dtype` ("F32", …); 0 when unknown.
size_t safeTensorsElementSize(std::string_view dtype);

class SafeTensors {
public:
  /// Maps `path` and checks its header: every tensor lies in the file and has
  /// the size of its shape. On failure says why, naming the file and the
  /// tensor.
  static std::optional<SafeTensors> open(const std::string &path,
                                         std::string &error);

  /// Null when there is no tensor of this name.
  const TensorView *find(std::string_view name) const;
  const std::map<std::string, TensorView, std::less<>> &tensors() const {
    return views;
  }
  const MappedFile &file() const { return mapped; }

private:
  MappedFile mapped;
  std::map<std::string, TensorView, std::less<>> views;
};

} // namespace glvq

#endif // GLVQ_RUNTIME_SAFETENSORS_H

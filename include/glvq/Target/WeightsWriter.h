// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Writes the weights of an artefact from those of a checkpoint.

#ifndef GLVQ_TARGET_WEIGHTSWRITER_H
#define GLVQ_TARGET_WEIGHTSWRITER_H

#include "glvq/Target/EntryPoints.h"
#include "llvm/Support/Error.h"

namespace mlir::glvq {

/// Writes every weight argument of `entries` once to the safetensors file
/// `path`, read from the folder `checkpoint` (model.safetensors, or the shards
/// that model.safetensors.index.json lists). Types are widened where an
/// argument wants more (f16 or bf16 to f32, …); every tensor starts at a
/// multiple of 64 bytes. Holds one small block at a time. Refuses, by name: a
/// missing tensor, a shape or type that does not fit, a file that is truncated
/// or corrupt.
llvm::Error writeWeights(ArrayRef<EntryPoint> entries, StringRef checkpoint,
                         StringRef path);

} // namespace mlir::glvq

#endif // GLVQ_TARGET_WEIGHTSWRITER_H

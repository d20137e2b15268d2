// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Passes on the glvq dialect: from a model and a quantized checkpoint to
// products on the tensors that store the weights.

#ifndef GLVQ_DIALECT_GLVQ_TRANSFORMS_PASSES_H
#define GLVQ_DIALECT_GLVQ_TRANSFORMS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir::glvq {
#define GEN_PASS_DECL
#include "glvq/Dialect/GLVQ/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "glvq/Dialect/GLVQ/Transforms/Passes.h.inc"
} // namespace mlir::glvq

#endif // GLVQ_DIALECT_GLVQ_TRANSFORMS_PASSES_H

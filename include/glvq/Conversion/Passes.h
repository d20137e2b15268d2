// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Conversions out of the glvq dialect.

#ifndef GLVQ_CONVERSION_PASSES_H
#define GLVQ_CONVERSION_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir {
class RewritePatternSet;
namespace glvq {
#define GEN_PASS_DECL
#include "glvq/Conversion/Passes.h.inc"

/// The patterns of `convert-glvq-to-linalg`.
void populateGLVQToLinalgPatterns(RewritePatternSet &patterns);

#define GEN_PASS_REGISTRATION
#include "glvq/Conversion/Passes.h.inc"
} // namespace glvq
} // namespace mlir

#endif // GLVQ_CONVERSION_PASSES_H

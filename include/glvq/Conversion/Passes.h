// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Conversions out of the glvq dialect.

#ifndef GLVQ_CONVERSION_PASSES_H
#define GLVQ_CONVERSION_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir {
class OpBuilder;
class RewritePatternSet;
namespace glvq {
class MatmulOp;

#define GEN_PASS_DECL
#include "glvq/Conversion/Passes.h.inc"

/// The patterns of `convert-glvq-to-linalg`.
void populateGLVQToLinalgPatterns(RewritePatternSet &patterns);
/// Builds what a product on tensors means: the weight decoded in full, then
/// linalg.matmul. Failure, with nothing built, if its code has no decoder.
FailureOr<Value> buildReferenceProduct(OpBuilder &builder, MatmulOp op);

#define GEN_PASS_REGISTRATION
#include "glvq/Conversion/Passes.h.inc"
} // namespace glvq
} // namespace mlir

#endif // GLVQ_CONVERSION_PASSES_H

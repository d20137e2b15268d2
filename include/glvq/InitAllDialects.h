// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// All dialects a tool of glvq may meet, in one call.

#ifndef GLVQ_INITALLDIALECTS_H
#define GLVQ_INITALLDIALECTS_H

namespace mlir {
class DialectRegistry;
namespace glvq {
/// Registers the dialects of glvq and of MLIR, their external models and
/// extensions, and the translations that device code needs.
void registerAllDialects(DialectRegistry &registry);
} // namespace glvq
} // namespace mlir

#endif // GLVQ_INITALLDIALECTS_H

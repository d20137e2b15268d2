// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// All passes and pipelines a tool of glvq offers, in one call.

#ifndef GLVQ_INITALLPASSES_H
#define GLVQ_INITALLPASSES_H

namespace mlir::glvq {
/// Registers the passes and pipelines of glvq and of MLIR.
void registerAllPasses();
} // namespace mlir::glvq

#endif // GLVQ_INITALLPASSES_H

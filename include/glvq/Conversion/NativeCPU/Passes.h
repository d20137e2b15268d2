// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The steps from a model on tensors to LLVM code for a CPU that upstream does
// not have: the binary interface of entries, fused linalg, vector kernels of
// contractions, and parallel loops on the runtime's thread pool.

#ifndef GLVQ_CONVERSION_NATIVECPU_PASSES_H
#define GLVQ_CONVERSION_NATIVECPU_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir::glvq {

/// Function attribute, left by `glvq-bind-entry-buffers`: one dictionary per
/// argument of the entry, in the order of its binary interface.
inline constexpr llvm::StringLiteral kEntryArgumentsAttrName =
    "glvq.entry_arguments";
/// Prefix of the symbols that a host calls.
inline constexpr llvm::StringLiteral kEntrySymbolPrefix = "glvq_entry_";
/// The variable that holds the host's parallel loop, or null.
inline constexpr llvm::StringLiteral kParallelForSymbol = "glvq_parallel_for";

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "glvq/Conversion/NativeCPU/Passes.h.inc"
} // namespace mlir::glvq

#endif // GLVQ_CONVERSION_NATIVECPU_PASSES_H

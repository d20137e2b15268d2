//===- Kernels.h - The device kernels of glvq -------------------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Each function writes one kernel into a gpu.module. All sizes that are not
// part of the kernel's identity are i32 parameters; all arrays are bare
// pointers to row-major data.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LIB_CONVERSION_GLVQTOGPU_KERNELS_H
#define GLVQ_LIB_CONVERSION_GLVQTOGPU_KERNELS_H

#include "KernelBuilder.h"
#include "RowLayout.h"

namespace mlir::glvq::gpukernels {

/// What the product is added to.
enum class Initial {
  Zero,    ///< nothing
  Buffer,  ///< an array of its own
  InPlace, ///< what the output holds
};

/// What makes one product kernel different from another.
struct MatmulConfig {
  LatticeAttr code;
  int64_t columns;
  int64_t tokens; ///< tokens that a warp multiplies at once
  Type inputType, initType, outputType;
  Initial initial;
};

/// Linear codes, first half: x'[t, p] = sum_i G[slot, i, k] x[t, column + i],
/// laid out as RowLayout says, zero where the storage has padding.
/// Parameters: x, generators, [order], x'. Grid: tokens, ceil(x' / blockSize).
void buildFoldKernel(KernelBuilder &b, gpu::GPUModuleOp module, StringRef name,
                     LatticeAttr code, int64_t columns, Type inputType);

/// Linear codes, second half: y[t, r] = initial + scale[r] sum_p u[r, p] x'[t,
/// p] with u centred. `lanes` lanes share a row. Parameters: x', codes, scales,
/// [init], y, tokens, rows. Grid: ceil(rows * lanes / blockSize), ceil(tokens /
/// config.tokens).
void buildFoldedMatmulKernel(KernelBuilder &b, gpu::GPUModuleOp module,
                             StringRef name, const MatmulConfig &config);

/// Any code: every lane decodes a lattice point and multiplies it. A warp
/// takes a row.
/// Parameters: x, codes, generators, scales, [order], [companders], [init], y,
/// tokens, rows. Grid: ceil(rows * 32 / blockSize), ceil(tokens /
/// config.tokens).
void buildDecodedMatmulKernel(KernelBuilder &b, gpu::GPUModuleOp module,
                              StringRef name, const MatmulConfig &config);

/// Largest size that is rotated in shared memory.
inline constexpr int64_t maxSharedHadamard = 12288;

/// y = H D x, or D H x, of vectors of `size` elements, `inner` elements apart;
/// a block takes a vector. Parameters: x, [signs], y, inner. Grid: vectors.
void buildHadamardKernel(KernelBuilder &b, gpu::GPUModuleOp module,
                         StringRef name, int64_t size, bool inverse,
                         bool hasSigns, Type elementType);

} // namespace mlir::glvq::gpukernels

#endif // GLVQ_LIB_CONVERSION_GLVQTOGPU_KERNELS_H

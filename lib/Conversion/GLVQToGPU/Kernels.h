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

#include "IntegerLayout.h"
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

/// glvq.fold of lattices and trellises: x'[t, p] = sum_i g[slot, i, k]
/// x[t, column + i] for the field k of a point, with f16 generators
/// [slots, dim, fields] (of a trellis: group scales). Zero for padding.
/// Parameters: x, g, [order], x'. Grid: tokens, ceil(x' / blockSize).
void buildFoldOpKernel(KernelBuilder &b, gpu::GPUModuleOp module,
                       StringRef name, const FoldedRun &run, int64_t columns,
                       int64_t group, bool hasOrder, Type inputType);

/// Activations to bytes, q = round(x 127 / max |x|), or halves, q = x / max
/// |x|, in the order of the layout, zero where it has padding. A block takes a
/// token. Parameters: x, q, factors (f32, x = factor q), sums (of q; i32, or
/// f32 of halves). Grid: tokens.
void buildQuantizeKernel(KernelBuilder &b, gpu::GPUModuleOp module,
                         StringRef name, const IntegerLayout &layout,
                         Type inputType);

/// How a product with packed integers is shared among the warps of a block.
struct IntegerMatmulConfig {
  int64_t tiles;  ///< tiles of 16 rows of a warp
  int64_t split;  ///< warps that share the columns of a row: 1, 2, 4 or 8
  int64_t unroll; ///< steps of a trip of the loop
  Type initType, outputType;
  Initial initial;

  /// Rows of a block.
  int64_t getBlockRows() const { return blockSize / 32 / split * tiles * 16; }
};

/// The configuration that the op carries, or else the one that
/// glvq-select-kernel-config would choose. An error if it is none.
FailureOr<IntegerMatmulConfig> getKernelConfig(MatmulOp op,
                                               const IntegerLayout &layout);

/// Products of #glvq.integer with bytes or halves, on tensor cores; eight
/// tokens at once. Parameters: q, factors, sums, codes, [init], y, tokens,
/// rows. Grid: ceil(rows / (128 tiles / split)), ceil(tokens / 8).
void buildIntegerMatmulKernel(KernelBuilder &b, gpu::GPUModuleOp module,
                              StringRef name, const IntegerLayout &layout,
                              const IntegerMatmulConfig &config);

/// Largest size that is rotated in shared memory.
inline constexpr int64_t maxSharedHadamard = 12288;

/// y = H D x, or D H x, of vectors of `size` elements, `inner` elements apart;
/// a block takes a vector. Parameters: x, [signs], y, inner. Grid: vectors.
void buildHadamardKernel(KernelBuilder &b, gpu::GPUModuleOp module,
                         StringRef name, int64_t size, bool inverse,
                         bool hasSigns, Type elementType);

} // namespace mlir::glvq::gpukernels

#endif // GLVQ_LIB_CONVERSION_GLVQTOGPU_KERNELS_H

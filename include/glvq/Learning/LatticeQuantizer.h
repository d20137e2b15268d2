//===- LatticeQuantizer.h - Learned lattice codes for one matrix *- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Quantizes the weight of one linear layer to `#glvq.lattice`, given the
// second moment H = E[x x^T] of its inputs. It minimises the proxy loss
// tr((W - W^) H (W - W^)^T).
//
// Groups of columns are encoded from the last to the first. With the block
// Cholesky factorisation H = L D L^T (L unit block lower, blocks of `dim`) the
// loss is the sum over blocks of |t - w^|^2 in the metric D_b, where the
// target t is the weight plus the errors of all later columns times L (LDLQ).
// Within a block the point is found by Babai's nearest plane in the metric
// D_b; over a group, encoding alternates with the closed-form generator. At
// the end generators and row scales are refitted to the true loss with the
// codes held fixed. Numbers that are stored as float16 are rounded before they
// are used, so what was optimised is what is stored.
//
// The result depends on neither the number of threads nor their timing: work
// is cut into fixed pieces of 16 rows and sums are taken in a fixed order.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LEARNING_LATTICEQUANTIZER_H
#define GLVQ_LEARNING_LATTICEQUANTIZER_H

#include "glvq/Lattice/CodeLayout.h"
#include "glvq/Learning/ParallelFor.h"

#include <cstdint>
#include <span>
#include <vector>

namespace glvq::learning {

struct LatticeQuantizerOptions {
  int64_t dim = 8;
  /// Columns of a group; a multiple of `dim`.
  int64_t group = 128;
  /// The width of each column group, or one width for all of them.
  std::vector<unsigned> bits = {2};
  /// Rounds of encoding and generator fitting for each group.
  unsigned iterations = 5;
  /// Rounds of the final fit of generators and row scales.
  unsigned finalRounds = 2;
  /// Added to the diagonal of H, relative to its mean. H is an estimate: on
  /// other text 0.03 loses 1 to 2 % less than 0.01 (12 windows of 512 tokens).
  double damping = 0.03;
};

struct LatticeQuantizerResult {
  /// Widths per slot, for the code attribute.
  std::vector<lattice::WidthRun> runs;
  std::vector<int32_t> codes;    ///< [rows, words]
  std::vector<float> generators; ///< [slots, dim, dim], float16 values
  std::vector<float> scales;     ///< [rows], float16 values
  std::vector<int32_t> order;    ///< [slots] when widths are mixed, else empty
  /// tr(E H E^T) / tr(W H W^T) with the damped H.
  double proxyError = 0;
};

/// `weight` is [rows, columns], `hessian` [columns, columns] and symmetric, or
/// empty for the identity. Throws std::invalid_argument for options that do
/// not fit, and for weights or Hessians that are not finite.
LatticeQuantizerResult quantizeLattice(std::span<const float> weight,
                                       int64_t rows, int64_t columns,
                                       std::span<const float> hessian,
                                       const LatticeQuantizerOptions &options,
                                       const ParallelFor &parallelFor);

} // namespace glvq::learning

#endif // GLVQ_LEARNING_LATTICEQUANTIZER_H

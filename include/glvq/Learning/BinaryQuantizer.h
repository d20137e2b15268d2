//===- BinaryQuantizer.h - Binary codes for one matrix ----------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Quantizes the weight of one linear layer to `#glvq.binary`, given the second
// moment H = E[x x^T] of its inputs, with error feedback in blocks of `dim`
// columns (LatticeQuantizer.h). Each point is found by the K-best search of
// BinaryEncoder.h in the metric of its block. Generators and the scales of
// groups are refitted in closed form between rounds, for which the metric of a
// block counts by its mean; at the end the scales of groups and rows are
// refitted to the true loss. Numbers that are stored as float16 are rounded
// before they are used.
//
// The result does not depend on the number of threads.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LEARNING_BINARYQUANTIZER_H
#define GLVQ_LEARNING_BINARYQUANTIZER_H

#include "glvq/Lattice/CodeLayout.h"
#include "glvq/Learning/ParallelFor.h"

#include <cstdint>
#include <span>
#include <vector>

namespace glvq::learning {

struct BinaryQuantizerOptions {
  int64_t dim = 8; ///< 1 to 32
  /// Columns of a group, which share a scale; a multiple of `dim`.
  int64_t group = 128;
  /// The bits of a point in each column group, or one number for all of them:
  /// 1 to 8 dim.
  std::vector<unsigned> pointBits = {16};
  /// K of the search.
  unsigned survivors = 32;
  /// Rounds of encoding; the generator and the scales are refitted between.
  unsigned iterations = 3;
  /// Rounds of the final fit of scales.
  unsigned finalRounds = 2;
  /// Added to the diagonal of H, relative to its mean.
  double damping = 0.03;
};

struct BinaryQuantizerResult {
  /// Bits of a point per slot.
  std::vector<lattice::WidthRun> runs;
  std::vector<int32_t> codes;     ///< [rows, words], lattice::BinaryLayout
  std::vector<float> generators;  ///< [runs, dim, largest n], float16 values
  std::vector<float> scales;      ///< [rows], float16 values
  std::vector<float> groupScales; ///< [slots], float16 values
  std::vector<int32_t> order;     ///< [slots] when widths are mixed, else empty
  /// tr(E H E^T) / tr(W H W^T) with the damped H.
  double proxyError = 0;
};

/// `weight` is [rows, columns], `hessian` [columns, columns] and symmetric, or
/// empty for the identity. Throws std::invalid_argument for options that do
/// not fit, and for weights or Hessians that are not finite.
BinaryQuantizerResult quantizeBinary(std::span<const float> weight,
                                     int64_t rows, int64_t columns,
                                     std::span<const float> hessian,
                                     const BinaryQuantizerOptions &options,
                                     const ParallelFor &parallelFor);

} // namespace glvq::learning

#endif // GLVQ_LEARNING_BINARYQUANTIZER_H

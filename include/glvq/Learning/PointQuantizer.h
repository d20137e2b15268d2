//===- PointQuantizer.h - Codes with fixed points for one matrix *- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Quantizes the weight of one linear layer to `#glvq.leech` or `#glvq.e8p`,
// given the second moment H = E[x x^T] of its inputs. It minimises the proxy
// loss tr((W - W^) H (W - W^)^T).
//
// The points are fixed; what is fitted are the scales of rows and of groups of
// columns. Groups are encoded from the last to the first: with the block
// Cholesky factorisation H = L D L^T (blocks of one point) the target of a
// block is the weight plus the errors of all later columns times L (LDLQ), and
// the code's own search finds the point near it. A few more searches,
// at targets moved along the gradient of the loss in the metric D_b, improve
// it. At the end the scales of
// groups (jointly) and of rows are refitted to the true loss in closed form,
// with the codes held fixed. Numbers that are stored as float16 are rounded
// before they are used.
//
// The result depends on neither the number of threads nor their timing.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LEARNING_POINTQUANTIZER_H
#define GLVQ_LEARNING_POINTQUANTIZER_H

#include "glvq/Lattice/Leech.h"
#include "glvq/Lattice/PointLayout.h"
#include "glvq/Learning/ParallelFor.h"

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace glvq::learning {

/// A code as the quantizer sees it.
struct PointCode {
  int64_t dim = 0;
  /// The widths of the fields of a point.
  std::vector<unsigned> fieldBits;
  /// The standard deviation of the numbers that the points suit is 1 / unit.
  float unit = 1;
  /// Encodes `points` runs of dim floats to fields, and what they stand for.
  std::function<void(std::span<const float> x, std::span<uint64_t> fields,
                     std::span<float> decoded)>
      encode;
};

PointCode makeLeechPointCode(const lattice::GaussianLeechCode &code);
PointCode makeE8PPointCode();

struct PointQuantizerOptions {
  /// Columns of a group, which share a scale; a multiple of the dimension.
  int64_t group = 96;
  /// Steps from the nearest point to one that is better in the metric of the
  /// block (0: none); each takes another search.
  unsigned refinements = 6;
  /// Rounds of the final fit of scales.
  unsigned finalRounds = 2;
  /// Added to the diagonal of H, relative to its mean.
  double damping = 0.03;
};

struct PointQuantizerResult {
  std::vector<int32_t> codes;     ///< [rows, words]
  std::vector<float> scales;      ///< [rows], float16 values
  std::vector<float> groupScales; ///< [slots], float16 values
  /// tr(E H E^T) / tr(W H W^T) with the damped H.
  double proxyError = 0;
};

/// `weight` is [rows, columns], `hessian` [columns, columns] and symmetric, or
/// empty for the identity. Throws std::invalid_argument for options that do
/// not fit, and for weights or Hessians that are not finite.
PointQuantizerResult quantizePoints(const PointCode &code,
                                    std::span<const float> weight, int64_t rows,
                                    int64_t columns,
                                    std::span<const float> hessian,
                                    const PointQuantizerOptions &options,
                                    const ParallelFor &parallelFor);

} // namespace glvq::learning

#endif // GLVQ_LEARNING_POINTQUANTIZER_H

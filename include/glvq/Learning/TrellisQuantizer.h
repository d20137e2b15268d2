//===- TrellisQuantizer.h - Trellis codes for one matrix --------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Quantizes the weight of one linear layer to `#glvq.trellis`, given the
// second moment H = E[x x^T] of its inputs. It minimises the proxy loss
// tr((W - W^) H (W - W^)^T).
//
// The code runs down the rows while error feedback runs along the columns, so
// neither disturbs the other: columns are encoded from the last to the first,
// each by one Viterbi search over all rows, whose targets are the weights plus
// the errors of all later columns times L, where H = L D L^T (LDLQ, exact for
// single columns). Then the filter (or the tables) and the scales of the
// groups are refitted in closed form and the columns are encoded again, for
// `iterations` rounds; the best is kept. At the end the scales of groups and
// rows are refitted to the true loss, with the codes held fixed. Numbers that
// are stored as float16 are rounded before they are used.
//
// The result does not depend on the number of threads. The search down one
// column is sequential; weights of a layer are best quantized in parallel.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LEARNING_TRELLISQUANTIZER_H
#define GLVQ_LEARNING_TRELLISQUANTIZER_H

#include "glvq/Lattice/CodeLayout.h"
#include "glvq/Learning/ParallelFor.h"

#include <cstdint>
#include <span>
#include <vector>

namespace glvq::learning {

struct TrellisQuantizerOptions {
  /// L, the bits of a window: 2 to 20. The search takes 2^L steps a weight.
  unsigned taps = 12;
  /// Two tables of 2^(L/2) entries in place of a filter; L even.
  bool additive = false;
  /// Columns of a group, which share a scale.
  int64_t group = 128;
  /// The width of each column group, or one width for all of them.
  std::vector<unsigned> bits = {2};
  /// Rounds of encoding; the filter and the scales are refitted between them.
  unsigned iterations = 2;
  /// Rounds of the final fit of scales.
  unsigned finalRounds = 2;
  /// Added to the diagonal of H, relative to its mean.
  double damping = 0.03;
};

struct TrellisQuantizerResult {
  /// Widths per slot, for the code attribute.
  std::vector<lattice::WidthRun> runs;
  std::vector<int32_t> codes; ///< as lattice::TrellisLayout stores them
  std::vector<float> nodes;   ///< taps [runs, L] or tables [runs, 2, 2^(L/2)]
  std::vector<float> scales;  ///< [rows], float16 values
  std::vector<float> groupScales; ///< [slots], float16 values
  std::vector<int32_t> order;     ///< [slots] when widths are mixed, else empty
  /// tr(E H E^T) / tr(W H W^T) with the damped H.
  double proxyError = 0;
};

/// `weight` is [rows, columns], `hessian` [columns, columns] and symmetric, or
/// empty for the identity. Throws std::invalid_argument for options that do
/// not fit, and for weights or Hessians that are not finite.
TrellisQuantizerResult quantizeTrellis(std::span<const float> weight,
                                       int64_t rows, int64_t columns,
                                       std::span<const float> hessian,
                                       const TrellisQuantizerOptions &options,
                                       const ParallelFor &parallelFor);

} // namespace glvq::learning

#endif // GLVQ_LEARNING_TRELLISQUANTIZER_H

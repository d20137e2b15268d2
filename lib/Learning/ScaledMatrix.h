//===- ScaledMatrix.h - A matrix under quantization with scales -*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// What the codes with a scale for each row and each group of columns have in
// common: w = scales[row] * scale of the group * value, where the values come
// from a code that the quantizer derived from this class knows.
//
// Matrices are kept as MatrixKernels.h describes, in units of the scales of
// their rows. Columns are taken in blocks, within one group: the feedback of
// all later columns to a block is one matrix product.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LIB_LEARNING_SCALEDMATRIX_H
#define GLVQ_LIB_LEARNING_SCALEDMATRIX_H

#include "MatrixKernels.h"

#include <string>

namespace glvq::learning {

class ScaledMatrix {
protected:
  struct Block {
    int64_t first, size;
    /// Columns of L and of H, [columns][size]. L is that of single columns, or
    /// of whole blocks.
    std::vector<float> feedback, metric;
  };
  struct Group {
    int64_t begin, end;
    int64_t firstBlock, lastBlock;
    unsigned width; ///< in units of the code
    int64_t run;    ///< of equal width
    float scale = 0;
    double yy = 0, ty = 0; ///< sums of the last round, in the metric D
  };

  /// Checks the arguments (std::invalid_argument) and sets everything but the
  /// scales of groups. `widths` is one for each group of columns, or one.
  ScaledMatrix(std::span<const float> weight, int64_t rows, int64_t columns,
               std::span<const float> hessian, int64_t group,
               std::vector<unsigned> widths, int64_t blockSize,
               bool feedbackOfBlocks, double damping,
               const ParallelFor &parallelFor);

  static void require(bool condition, const std::string &message);

  /// The scale of a group for a code of this error on unit variance.
  void guessScale(Group &group, double expectedError);
  /// targets[i] = the weights of a block of one piece of rows, plus the
  /// feedback of all columns from `begin` on.
  void getTargets(const Block &block, int64_t piece, int64_t begin,
                  Lanes *targets);
  /// The scales of groups that fit the targets of the last round best. A factor
  /// that all groups of a run have in common is left to the code.
  void refitToTargets();

  /// The scales of all groups that minimise the true loss, with the codes and
  /// the scales of rows as they are.
  void refitGroupScales();
  /// The scale of each row that minimises the true loss.
  void refitRowScales();
  /// tr(E H E^T) / tr(W H W^T) with the damped H.
  double getProxyError();

  /// [slots] in storage order; and [rows].
  std::vector<float> getGroupScales() const;
  std::vector<float> getRowScales() const;
  /// Empty unless widths are mixed.
  std::vector<int32_t> getOrder() const;

  Lanes *getRow(std::vector<Lanes> &matrix, int64_t piece) {
    return &matrix[piece * columns];
  }

  const ParallelFor &parallelFor;
  int64_t rows, columns, numPieces;
  std::vector<Group> groups;
  std::vector<Block> blocks;
  std::vector<int64_t> slots;
  std::vector<lattice::WidthRun> runs;
  double unit = 1; ///< Of the row scales: a power of two near the weights.

  std::vector<double> factor; ///< C of the damped H = C C^T
  /// [pieces][columns]: weights, W - W^, and values without scales.
  std::vector<Lanes> weights, errors, values;
  std::vector<Lanes> rowWeights, scales; ///< [pieces]

private:
  void loadWeights(std::span<const float> weight);
  void factorHessian(std::span<const float> hessian, bool feedbackOfBlocks,
                     double damping);
  void multiplyMetric(const Lanes *x, Lanes *product);
};

} // namespace glvq::learning

#endif // GLVQ_LIB_LEARNING_SCALEDMATRIX_H

//===- MatrixKernels.h - Vector kernels of the quantizers -------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Rows are independent given the parameters of a code, so 16 of them are kept
// in the lanes of one vector: matrices are stored as
// [piece of 16 rows][column][lane]. All sequential decisions are then plain
// vector code.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LIB_LEARNING_MATRIXKERNELS_H
#define GLVQ_LIB_LEARNING_MATRIXKERNELS_H

#include "glvq/Lattice/CodeLayout.h"
#include "glvq/Learning/ParallelFor.h"

#include <cstdint>
#include <span>
#include <vector>

// One build serves all x86-64 levels; the loader picks the version.
#if defined(__x86_64__) && defined(__clang__)
#define GLVQ_MULTIVERSION                                                      \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define GLVQ_MULTIVERSION
#endif
#define GLVQ_INLINE inline __attribute__((always_inline))

namespace glvq::learning {

constexpr int64_t numLanes = 16;
/// The largest block of columns that accumulateBlock() takes.
constexpr int64_t maxBlock = 32;
using Lanes = float __attribute__((vector_size(numLanes * sizeof(float))));

inline float roundToHalf(float value) {
  return static_cast<float>(static_cast<_Float16>(value));
}

GLVQ_INLINE float sumLanes(const Lanes &v) {
  float parts[numLanes];
  __builtin_memcpy(parts, &v, sizeof(v));
  for (int64_t width = numLanes / 2; width; width /= 2)
    for (int64_t i = 0; i < width; ++i)
      parts[i] += parts[i + width];
  return parts[0];
}

/// acc[i] += sum over k in [begin, end) of panel[k][i] * x[k], i < dim.
template <int64_t D>
GLVQ_INLINE void accumulate(Lanes *acc, const float *panel, const Lanes *x,
                            int64_t begin, int64_t end, int64_t dim) {
  const int64_t d = D ? D : dim;
  Lanes sums[D ? D : maxBlock];
  for (int64_t i = 0; i < d; ++i)
    sums[i] = acc[i];
  for (int64_t k = begin; k < end; ++k) {
    Lanes value = x[k];
    const float *row = panel + k * d;
    for (int64_t i = 0; i < d; ++i)
      sums[i] += row[i] * value;
  }
  for (int64_t i = 0; i < d; ++i)
    acc[i] = sums[i];
}

void accumulateBlock(Lanes *acc, const float *panel, const Lanes *x,
                     int64_t begin, int64_t end, int64_t dim);

/// The lower Cholesky factor of a symmetric n x n matrix, in place of its lower
/// triangle. Returns false when the matrix is not positive definite.
bool cholesky(std::vector<double> &a, int64_t n,
              const ParallelFor &parallelFor);

/// The damped Hessian, divided by its mean diagonal, of `columns` columns and
/// up to `padded` of next to no weight; empty stands for the identity. Also
/// its Cholesky factor, for which damping is raised as far as necessary.
/// Throws std::invalid_argument when no damping helps.
struct DampedHessian {
  DampedHessian(std::span<const float> hessian, int64_t columns, int64_t padded,
                double damping, const ParallelFor &parallelFor);

  std::vector<double> matrix; ///< [padded, padded]
  std::vector<double> factor; ///< the lower C of the matrix = C C^T
};

/// Checks a weight of rows x columns and its Hessian, which may be empty: their
/// sizes, and that all elements are finite. Throws std::invalid_argument.
void checkMatrix(std::span<const float> weight, int64_t rows, int64_t columns,
                 std::span<const float> hessian);

/// C[k, block] C_bb^-1 of the lower n x n factor C, for the block of `size`
/// columns from `first` on: the feedback of column k > block to the block.
void getBlockFeedback(const std::vector<double> &factor, int64_t n, int64_t k,
                      int64_t first, int64_t size, float *feedback);

/// Multiplies each scale by wq / qq, its best fit, as far as the product is a
/// positive float16. `ratio` is old / new: rows are kept divided by their
/// scales.
void refitScales(Lanes &scales, const Lanes &wq, const Lanes &qq, Lanes &ratio);

/// The storage order of column groups of these widths: ascending, a ragged
/// last group in the last slot. `slots` gets the group of each slot.
void chooseSlots(std::span<const unsigned> widths, bool ragged,
                 std::vector<int64_t> &slots,
                 std::vector<lattice::WidthRun> &runs);

} // namespace glvq::learning

#endif // GLVQ_LIB_LEARNING_MATRIXKERNELS_H

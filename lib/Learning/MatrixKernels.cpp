//===- MatrixKernels.cpp - Vector kernels of the quantizers ---------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "MatrixKernels.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

using namespace glvq;
using namespace glvq::learning;

GLVQ_MULTIVERSION void
glvq::learning::accumulateBlock(Lanes *acc, const float *panel, const Lanes *x,
                                int64_t begin, int64_t end, int64_t dim) {
  if (dim == 8)
    accumulate<8>(acc, panel, x, begin, end, dim);
  else
    accumulate<0>(acc, panel, x, begin, end, dim);
}

namespace {
using Doubles = double __attribute__((vector_size(64)));

GLVQ_MULTIVERSION double dot(const double *a, const double *b, int64_t n) {
  Doubles sums[4] = {};
  int64_t k = 0;
  for (; k + 32 <= n; k += 32)
    for (int64_t u = 0; u < 4; ++u) {
      Doubles x, y;
      __builtin_memcpy(&x, a + k + 8 * u, sizeof(x));
      __builtin_memcpy(&y, b + k + 8 * u, sizeof(y));
      sums[u] += x * y;
    }
  Doubles all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double sum = 0;
  for (int64_t i = 0; i < 8; ++i)
    sum += all[i];
  for (; k < n; ++k)
    sum += a[k] * b[k];
  return sum;
}

} // namespace

bool glvq::learning::cholesky(std::vector<double> &a, int64_t n,
                              const ParallelFor &parallelFor) {
  constexpr int64_t panel = 64;
  for (int64_t begin = 0; begin < n; begin += panel) {
    int64_t end = std::min(n, begin + panel);
    auto solveRow = [&](int64_t i, int64_t last) {
      for (int64_t j = begin; j < last; ++j)
        a[i * n + j] =
            (a[i * n + j] - dot(&a[i * n], &a[j * n], j)) / a[j * n + j];
    };
    for (int64_t i = begin; i < end; ++i) {
      solveRow(i, i);
      double diagonal = a[i * n + i] - dot(&a[i * n], &a[i * n], i);
      if (!(diagonal > 0))
        return false;
      a[i * n + i] = std::sqrt(diagonal);
    }
    constexpr int64_t chunk = 16;
    parallelFor((n - end + chunk - 1) / chunk, [&](int64_t c) {
      for (int64_t i = end + c * chunk, e = std::min(n, i + chunk); i < e; ++i)
        solveRow(i, end);
    });
  }
  return true;
}

DampedHessian::DampedHessian(std::span<const float> hessian, int64_t columns,
                             int64_t padded, double damping,
                             const ParallelFor &parallelFor)
    : matrix(padded * padded, 0.0) {
  double mean = 0;
  for (int64_t i = 0; i < columns; ++i)
    mean += hessian.empty() ? 1 : hessian[i * columns + i];
  mean /= columns;
  if (!(mean > 0))
    mean = 1; // Inputs that are always zero: any metric will do.
  auto fill = [&] {
    for (int64_t i = 0; i < padded; ++i) {
      for (int64_t j = 0; j < padded; ++j)
        matrix[i * padded + j] =
            i < columns && j < columns && !hessian.empty()
                ? hessian[i * columns + j] / mean
                : static_cast<double>(i == j && i < columns && hessian.empty());
      // Padding columns weigh next to nothing.
      matrix[i * padded + i] += i < columns ? damping : 1e-6;
    }
    factor = matrix;
  };
  fill();
  while (!cholesky(factor, padded, parallelFor)) {
    damping = std::max(1e-4, damping * 10);
    if (damping > 1e6)
      throw std::invalid_argument("the Hessian is not positive semidefinite");
    fill();
  }
}

void glvq::learning::checkMatrix(std::span<const float> weight, int64_t rows,
                                 int64_t columns,
                                 std::span<const float> hessian) {
  auto require = [](bool condition, const char *message) {
    if (!condition)
      throw std::invalid_argument(message);
  };
  require(rows > 0 && columns > 0, "the weight is empty");
  require(static_cast<int64_t>(weight.size()) == rows * columns,
          "the weight does not have rows * columns elements");
  require(hessian.empty() ||
              static_cast<int64_t>(hessian.size()) == columns * columns,
          "the Hessian is not columns x columns");
  auto isFinite = [](float v) { return std::isfinite(v); };
  require(std::all_of(weight.begin(), weight.end(), isFinite),
          "the weight has elements that are not finite");
  require(std::all_of(hessian.begin(), hessian.end(), isFinite),
          "the Hessian has elements that are not finite");
}

void glvq::learning::getBlockFeedback(const std::vector<double> &factor,
                                      int64_t n, int64_t k, int64_t first,
                                      int64_t size, float *feedback) {
  // row C_bb = C[k, block], by back substitution in the lower C_bb.
  double row[maxBlock];
  for (int64_t i = size - 1; i >= 0; --i) {
    double sum = factor[k * n + first + i];
    for (int64_t j = i + 1; j < size; ++j)
      sum -= row[j] * factor[(first + j) * n + first + i];
    row[i] = sum / factor[(first + i) * n + first + i];
    feedback[i] = static_cast<float>(row[i]);
  }
}

void glvq::learning::refitScales(Lanes &scales, const Lanes &wq,
                                 const Lanes &qq, Lanes &ratio) {
  for (int64_t lane = 0; lane < numLanes; ++lane) {
    float old = scales[lane], factor = wq[lane] / qq[lane];
    float scale = old;
    if (std::isfinite(factor) && factor > 0)
      scale = roundToHalf(old * factor);
    if (!(scale > 0) || !std::isfinite(scale))
      scale = old;
    ratio[lane] = scale > 0 ? old / scale : 1;
    scales[lane] = scale;
  }
}

void glvq::learning::chooseSlots(std::span<const unsigned> widths, bool ragged,
                                 std::vector<int64_t> &slots,
                                 std::vector<lattice::WidthRun> &runs) {
  slots.resize(widths.size());
  std::iota(slots.begin(), slots.end(), 0);
  std::sort(slots.begin(), slots.end() - ragged, [&](int64_t a, int64_t b) {
    return std::pair(widths[a], a) < std::pair(widths[b], b);
  });
  for (int64_t group : slots) {
    if (runs.empty() || runs.back().width != widths[group])
      runs.push_back({widths[group], 0});
    ++runs.back().slots;
  }
}

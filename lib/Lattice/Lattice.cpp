//===- Lattice.cpp - Lattice points, rounding and generators --------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/Lattice.h"

#include <algorithm>
#include <cassert>
#include <cmath>

using namespace glvq::lattice;

float glvq::lattice::expand(Compander compander, float y, float first,
                            float second) {
  switch (compander) {
  case Compander::None:
    return y;
  case Compander::MuLaw:
    return std::copysign(
        second * std::expm1(std::abs(y) * std::log1p(first)) / first, y);
  case Compander::Affine:
    return y * (first + second * std::abs(y));
  }
  return y;
}

void glvq::lattice::decodeBlock(std::span<const float> generator,
                                std::span<const uint8_t> fields, unsigned width,
                                std::span<float> out) {
  size_t dim = fields.size();
  assert(generator.size() == dim * dim && out.size() == dim);
  for (size_t i = 0; i < dim; ++i) {
    float sum = 0;
    for (size_t j = 0; j < dim; ++j)
      sum += generator[i * dim + j] * fieldValue(fields[j], width);
    out[i] = sum;
  }
}

void glvq::lattice::decodeRow(const CodeLayout &layout,
                              std::span<const int32_t> words,
                              std::span<const float> generators, float scale,
                              std::span<const int32_t> order,
                              Compander compander,
                              std::span<const float> companders,
                              std::span<float> out) {
  int64_t dim = layout.getDim();
  std::vector<uint8_t> fields(layout.getNumFields());
  std::vector<float> block(dim);
  layout.unpack(words, fields);
  for (int64_t slot = 0, e = layout.getNumSlots(); slot < e; ++slot) {
    int64_t columns = layout.getSlotColumns(slot);
    int64_t column = (order.empty() ? slot : order[slot]) * layout.getGroup();
    float first = 0, second = 0;
    if (compander != Compander::None) {
      first = companders[2 * slot];
      second = companders[2 * slot + 1];
    }
    for (int64_t c = 0; c < columns; c += dim) {
      decodeBlock(generators.subspan(slot * dim * dim, dim * dim),
                  std::span<const uint8_t>(fields).subspan(
                      layout.getFieldOffset(slot) + c, dim),
                  layout.getWidth(slot), block);
      for (int64_t i = 0; i < dim && c + i < columns; ++i)
        out[column + c + i] =
            scale * expand(compander, block[i], first, second);
    }
  }
}

bool glvq::lattice::invert(std::span<const float> matrix, int64_t dim,
                           std::span<float> inverse) {
  std::vector<double> a(matrix.begin(), matrix.end()), b(dim * dim, 0.0);
  double largest = 0;
  for (double value : a)
    largest = std::max(largest, std::abs(value));
  for (int64_t i = 0; i < dim; ++i)
    b[i * dim + i] = 1;
  for (int64_t i = 0; i < dim; ++i) {
    int64_t pivot = i;
    for (int64_t r = i + 1; r < dim; ++r)
      if (std::abs(a[r * dim + i]) > std::abs(a[pivot * dim + i]))
        pivot = r;
    // The negation also catches NaN.
    if (!(std::abs(a[pivot * dim + i]) > 1e-12 * largest))
      return false;
    for (int64_t c = 0; c < dim; ++c) {
      std::swap(a[i * dim + c], a[pivot * dim + c]);
      std::swap(b[i * dim + c], b[pivot * dim + c]);
    }
    double factor = 1 / a[i * dim + i];
    for (int64_t c = 0; c < dim; ++c) {
      a[i * dim + c] *= factor;
      b[i * dim + c] *= factor;
    }
    for (int64_t r = 0; r < dim; ++r) {
      double f = a[r * dim + i];
      if (r == i || f == 0)
        continue;
      for (int64_t c = 0; c < dim; ++c) {
        a[r * dim + c] -= f * a[i * dim + c];
        b[r * dim + c] -= f * b[i * dim + c];
      }
    }
  }
  for (int64_t i = 0; i < dim * dim; ++i)
    inverse[i] = static_cast<float>(b[i]);
  return true;
}

void glvq::lattice::roundBabai(std::span<const float> inverse,
                               std::span<const float> y, unsigned width,
                               std::span<uint8_t> fields) {
  size_t dim = y.size();
  float half = static_cast<float>(1 << width) / 2;
  for (size_t i = 0; i < dim; ++i) {
    float sum = 0;
    for (size_t j = 0; j < dim; ++j)
      sum += inverse[i * dim + j] * y[j];
    float field = std::floor(sum) + half;
    fields[i] = static_cast<uint8_t>(std::clamp(field, 0.0f, 2 * half - 1));
  }
}

float glvq::lattice::refineByDescent(std::span<const float> generator,
                                     std::span<const float> y, unsigned width,
                                     std::span<uint8_t> fields,
                                     unsigned maxSweeps) {
  size_t dim = y.size();
  int top = (1 << width) - 1;
  std::vector<float> error(dim), norm(dim, 0.0f);
  decodeBlock(generator, fields, width, error);
  for (size_t i = 0; i < dim; ++i) {
    error[i] = y[i] - error[i];
    for (size_t j = 0; j < dim; ++j)
      norm[j] += generator[i * dim + j] * generator[i * dim + j];
  }
  for (unsigned sweep = 0; sweep < maxSweeps; ++sweep) {
    bool changed = false;
    for (size_t j = 0; j < dim; ++j) {
      if (norm[j] == 0)
        continue;
      float dot = 0;
      for (size_t i = 0; i < dim; ++i)
        dot += error[i] * generator[i * dim + j];
      // The best integer step along column j, within the range of fields. A
      // step counts only when it clearly helps, else rounding could cycle.
      int step = static_cast<int>(
          std::nearbyint(std::clamp(dot / norm[j], -256.0f, 256.0f)));
      step = std::clamp(step, -static_cast<int>(fields[j]),
                        top - static_cast<int>(fields[j]));
      float gain = step * (2 * dot - step * norm[j]);
      if (step == 0 || gain <= 1e-6f * norm[j])
        continue;
      fields[j] = static_cast<uint8_t>(fields[j] + step);
      for (size_t i = 0; i < dim; ++i)
        error[i] -= step * generator[i * dim + j];
      changed = true;
    }
    if (!changed)
      break;
  }
  float sum = 0;
  for (float e : error)
    sum += e * e;
  return sum;
}

bool glvq::lattice::solveSymmetric(std::span<double> a, std::span<double> b,
                                   int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = j; i < n; ++i) {
      double sum = a[i * n + j];
      for (int64_t k = 0; k < j; ++k)
        sum -= a[i * n + k] * a[j * n + k];
      if (i == j) {
        if (!(sum > 0))
          return false;
        a[j * n + j] = std::sqrt(sum);
      } else {
        a[i * n + j] = sum / a[j * n + j];
      }
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < i; ++k)
      b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    for (int64_t k = i + 1; k < n; ++k)
      b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return true;
}

GeneratorFit::GeneratorFit(int64_t dim)
    : dim(dim), normal(dim * dim * dim * dim, 0.0), rhs(dim * dim, 0.0) {}

void GeneratorFit::addQuadratic(std::span<const double> metric,
                                std::span<const double> zz) {
  int64_t n = dim * dim;
  for (int64_t a = 0; a < dim; ++a)
    for (int64_t k = 0; k < dim; ++k)
      for (int64_t b = 0; b < dim; ++b) {
        double factor = metric[a * dim + b];
        double *row = &normal[(a * dim + k) * n + b * dim];
        for (int64_t l = 0; l < dim; ++l)
          row[l] += factor * zz[k * dim + l];
      }
}

void GeneratorFit::addLinear(std::span<const double> metricTz) {
  for (int64_t i = 0; i < dim * dim; ++i)
    rhs[i] += metricTz[i];
}

void GeneratorFit::addSample(std::span<const float> z,
                             std::span<const float> target) {
  int64_t n = dim * dim;
  for (int64_t a = 0; a < dim; ++a)
    for (int64_t k = 0; k < dim; ++k) {
      rhs[a * dim + k] += static_cast<double>(target[a]) * z[k];
      double *row = &normal[(a * dim + k) * n + a * dim];
      for (int64_t l = 0; l < dim; ++l)
        row[l] += static_cast<double>(z[k]) * z[l];
    }
}

bool GeneratorFit::solve(std::span<float> generator, double ridge) const {
  int64_t n = dim * dim;
  std::vector<double> a(normal), b(rhs);
  double trace = 0;
  for (int64_t i = 0; i < n; ++i)
    trace += a[i * n + i];
  if (!(trace > 0))
    return false;
  for (int64_t i = 0; i < n; ++i)
    a[i * n + i] += ridge * trace / n;
  if (!solveSymmetric(a, b, n))
    return false;
  for (int64_t i = 0; i < n; ++i)
    if (!std::isfinite(b[i]))
      return false;
  for (int64_t i = 0; i < n; ++i)
    generator[i] = static_cast<float>(b[i]);
  return true;
}

float glvq::lattice::gaussianStep(unsigned width) {
  static constexpr float steps[] = {1.5958f, 0.9957f, 0.5860f, 0.3352f,
                                    0.1881f, 0.1041f, 0.0569f, 0.0308f};
  assert(width >= 1 && width <= 8);
  return steps[width - 1];
}

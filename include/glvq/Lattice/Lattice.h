//===- Lattice.h - Lattice points, rounding and generators ------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// A lattice code stands for y = G (z + 1/2), with a d x d generator G and
// integers z of b bits, stored as fields u = z + 2^(b-1). The half-integer
// offset makes the levels symmetric: without it a 2-bit code of Gaussian data
// has 25 % more error.
//
// Generators are row-major: y[i] = sum_j G[i * d + j] * (z[j] + 1/2).
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LATTICE_LATTICE_H
#define GLVQ_LATTICE_LATTICE_H

#include "glvq/Lattice/CodeLayout.h"

#include <cstdint>
#include <span>
#include <vector>

namespace glvq::lattice {

/// What follows the generator in decoding: w = scale * F^-1(y).
enum class Compander {
  None,   ///< F^-1(y) = y
  MuLaw,  ///< F^-1(y) = S sgn(y) ((1 + mu)^|y| - 1) / mu, parameters (mu, S)
  Affine, ///< F^-1(y) = y (a + b |y|), parameters (a, b)
};

/// F^-1(y) with the two parameters of a slot.
float expand(Compander compander, float y, float first, float second);

/// The value z + 1/2 that a field of `width` bits stands for.
inline float fieldValue(uint8_t field, unsigned width) {
  return static_cast<float>(field) + 0.5f - static_cast<float>(1 << width) / 2;
}

/// One lattice point: out = G (z + 1/2). `fields` and `out` have d elements,
/// `generator` d * d.
void decodeBlock(std::span<const float> generator,
                 std::span<const uint8_t> fields, unsigned width,
                 std::span<float> out);

/// One row: `words` are its packed codes, `generators` [slots, d, d], `order`
/// [slots] or empty, `companders` [slots, 2] or empty; `out` has
/// layout.getColumns() elements.
void decodeRow(const CodeLayout &layout, std::span<const int32_t> words,
               std::span<const float> generators, float scale,
               std::span<const int32_t> order, Compander compander,
               std::span<const float> companders, std::span<float> out);

/// The inverse of a d x d matrix by elimination with pivoting. Returns false
/// when it is singular to working precision.
bool invert(std::span<const float> matrix, int64_t dim,
            std::span<float> inverse);

/// Babai rounding: every coordinate of G^-1 y to the nearest z + 1/2, clamped
/// to the range of `width` bits. Exact for a multiple of an orthogonal
/// generator.
void roundBabai(std::span<const float> inverse, std::span<const float> y,
                unsigned width, std::span<uint8_t> fields);

/// Improves `fields` by steps of one coordinate at a time, until no single
/// step lowers |y - G (z + 1/2)|^2, at most `maxSweeps` times over all
/// coordinates. Returns the final squared error, never above that on entry.
float refineByDescent(std::span<const float> generator,
                      std::span<const float> y, unsigned width,
                      std::span<uint8_t> fields, unsigned maxSweeps = 16);

/// Solves A x = b in place (b becomes x) for a symmetric positive definite A
/// (n x n, destroyed). Returns false when A is not positive definite.
bool solveSymmetric(std::span<double> a, std::span<double> b, int64_t n);

/// The closed-form least-squares generator in a quadratic metric.
///
/// Minimises sum_r (t_r - G z_r)^T D (t_r - G z_r), t_r the targets and z_r
/// the half-integers. With S = sum z z^T and V = sum D t z^T the normal
/// equations are (D (x) S) vec(G) = vec(V); sums of such terms, one for every
/// metric, stay linear. Cross terms H_{cc'} (x) S_{cc'} of a group of
/// several blocks fit as well.
class GeneratorFit {
public:
  explicit GeneratorFit(int64_t dim);

  /// Adds metric (x) zz to the normal matrix: metric and zz are d x d, for a
  /// cross term metric = H[c, c'] and zz = sum z_c z_c'^T.
  void addQuadratic(std::span<const double> metric, std::span<const double> zz);
  /// Adds sum (D t) z^T, d x d, to the right-hand side.
  void addLinear(std::span<const double> metricTz);
  /// Adds one pair in the Euclidean metric.
  void addSample(std::span<const float> z, std::span<const float> target);

  /// The minimiser, with the normal matrix regularised by `ridge` times its
  /// mean diagonal. Returns false, leaving `generator` alone, when the
  /// equations are singular (no data).
  bool solve(std::span<float> generator, double ridge = 1e-6) const;

private:
  int64_t dim;
  std::vector<double> normal, rhs;
};

/// The step of the uniform quantizer of 2^width levels with the least squared
/// error on N(0, 1) (Max, 1960; recomputed by minimising the exact integral).
float gaussianStep(unsigned width);

} // namespace glvq::lattice

#endif // GLVQ_LATTICE_LATTICE_H

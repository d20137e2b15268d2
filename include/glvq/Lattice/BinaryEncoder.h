//===- BinaryEncoder.h - K-best search for binary codes ---------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// A binary code stands for y = B x, with a rectangular generator B, d x n, and
// x in {-1, +1}^n: the projection of a hypercube. Its marginals are close to
// Gaussian and its points dense where the data is, which no square generator
// offers.
//
// The best x is found by a breadth-first search over the bits, which keeps the
// K best beginnings (M-algorithm), on the triangular factor of
// [M B; sqrt(lambda) I], where M^T M is the metric. The second part makes it of
// full rank and adds the same to every x.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LATTICE_BINARYENCODER_H
#define GLVQ_LATTICE_BINARYENCODER_H

#include <cstdint>
#include <span>
#include <vector>

namespace glvq::lattice {

class BinaryEncoder {
public:
  /// Memory that encode() needs, for one thread at a time.
  struct Scratch {
    std::vector<float> rests, next, metrics, nextMetrics;
    std::vector<uint64_t> children;
    std::vector<uint32_t> history;
  };

  /// `generator` is [dim, bits], row-major. `root` is M, [dim, dim], or empty
  /// for the identity. `survivors` is K.
  BinaryEncoder(std::span<const float> generator, int64_t dim, int64_t bits,
                std::span<const float> root, unsigned survivors);

  /// Writes the bits (0 or 1) of the point found nearest to `target`, with
  /// `dim` elements. Exact when survivors >= 2^(bits - 1).
  void encode(std::span<const float> target, std::span<uint8_t> bits,
              Scratch &scratch) const;

private:
  int64_t dim, bits, stride;
  unsigned survivors;
  std::vector<int64_t> order;    ///< the column of B at each level
  std::vector<float> upper;      ///< columns of R, [bits][stride]
  std::vector<float> projection; ///< Q^T M, [bits][dim]
};

/// out = B (2 bits - 1).
void decodeBinaryPoint(std::span<const float> generator,
                       std::span<const uint8_t> bits, std::span<float> out);

/// The least-squares generator of points and targets.
class BinaryFit {
public:
  BinaryFit(int64_t dim, int64_t bits);

  void add(std::span<const uint8_t> bits, std::span<const float> target,
           double weight = 1);
  void add(const BinaryFit &other);
  /// Leaves `generator` alone, and returns false, when there is no data.
  bool solve(std::span<float> generator) const;

private:
  int64_t dim, bits;
  std::vector<double> normal, rhs;
};

/// A generator [dim, bits] for N(0, 1) data that fits start from: the matrix of
/// a filter of the trellis code, wrapped around.
std::vector<float> makeCirculantGenerator(int64_t dim, int64_t bits);

/// A generator for N(0, 1) data, learned from `samples` points of the generator
/// above in `rounds` rounds of encoding and fitting.
std::vector<float> learnGaussianGenerator(int64_t dim, int64_t bits,
                                          int64_t samples, unsigned rounds,
                                          unsigned survivors, uint64_t seed);

} // namespace glvq::lattice

#endif // GLVQ_LATTICE_BINARYENCODER_H

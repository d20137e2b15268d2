//===- Hadamard.h - Randomised Hadamard rotations ---------------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// T = H_n D with D = diag(signs) and H_n = C_m (x) H_{2^k} for n = m 2^k, m
// odd: a Sylvester-Hadamard matrix and, for the odd factor, the discrete
// Hartley matrix. Both are symmetric and orthogonal for every size, so that
// T^-1 = D H_n.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LATTICE_HADAMARD_H
#define GLVQ_LATTICE_HADAMARD_H

#include <cstdint>
#include <span>
#include <vector>

namespace glvq::lattice {

class HadamardTransform {
public:
  explicit HadamardTransform(int64_t size);

  int64_t getSize() const { return odd * power; }

  /// x := H_n x.
  void apply(std::span<float> x) const;
  /// x := H_n D x. `signs` are packed (see packSigns).
  void applyForward(std::span<float> x, std::span<const int32_t> signs) const;
  /// x := D H_n x.
  void applyInverse(std::span<float> x, std::span<const int32_t> signs) const;

private:
  int64_t odd = 1, power = 1;
  /// C_m / sqrt(2^k), m x m: both normalisations in one factor.
  std::vector<float> hartley;
};

/// cos t + sin t for t = 2 pi (product mod size) / size: the entry of
/// sqrt(size) C_size at row j and column k, with product = j k. The remainder
/// keeps the argument, and so the rounding, small.
double getHartleyEntry(int64_t product, int64_t size);

/// Signs of `size` elements, one bit each, 1 for -1: bit j mod 32 of word
/// j / 32. They depend on the seed and the size only (SplitMix64).
std::vector<int32_t> makeSigns(int64_t size, uint64_t seed);

/// x := D x.
void applySigns(std::span<float> x, std::span<const int32_t> signs);

} // namespace glvq::lattice

#endif // GLVQ_LATTICE_HADAMARD_H

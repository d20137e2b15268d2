//===- Hadamard.cpp - Randomised Hadamard rotations -----------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/Hadamard.h"

#include <cassert>
#include <cmath>
#include <numbers>

using namespace glvq::lattice;

double glvq::lattice::getHartleyEntry(int64_t product, int64_t size) {
  double angle = 2 * std::numbers::pi * (product % size) / size;
  return std::cos(angle) + std::sin(angle);
}

HadamardTransform::HadamardTransform(int64_t size) : odd(size) {
  assert(size >= 1);
  while (odd % 2 == 0) {
    odd /= 2;
    power *= 2;
  }
  hartley.resize(odd * odd);
  double norm = 1 / std::sqrt(static_cast<double>(size));
  for (int64_t j = 0; j < odd; ++j)
    for (int64_t k = 0; k < odd; ++k)
      hartley[j * odd + k] =
          static_cast<float>(getHartleyEntry(j * k, odd) * norm);
}

void HadamardTransform::apply(std::span<float> x) const {
  assert(static_cast<int64_t>(x.size()) == getSize());
  for (int64_t a = 0; a < odd; ++a) {
    float *part = x.data() + a * power;
    for (int64_t half = 1; half < power; half *= 2)
      for (int64_t i = 0; i < power; i += 2 * half)
        for (int64_t j = i; j < i + half; ++j) {
          float u = part[j], v = part[j + half];
          part[j] = u + v;
          part[j + half] = u - v;
        }
  }
  std::vector<float> in(x.begin(), x.end());
  for (int64_t a = 0; a < odd; ++a) {
    float *out = x.data() + a * power;
    for (int64_t b = 0; b < power; ++b)
      out[b] = hartley[a * odd] * in[b];
    for (int64_t j = 1; j < odd; ++j) {
      float factor = hartley[a * odd + j];
      const float *part = in.data() + j * power;
      for (int64_t b = 0; b < power; ++b)
        out[b] += factor * part[b];
    }
  }
}

void HadamardTransform::applyForward(std::span<float> x,
                                     std::span<const int32_t> signs) const {
  applySigns(x, signs);
  apply(x);
}

void HadamardTransform::applyInverse(std::span<float> x,
                                     std::span<const int32_t> signs) const {
  apply(x);
  applySigns(x, signs);
}

std::vector<int32_t> glvq::lattice::makeSigns(int64_t size, uint64_t seed) {
  // The size takes part, so that two sizes share no prefix.
  uint64_t state = seed * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(size);
  std::vector<int32_t> words((size + 31) / 32);
  for (size_t i = 0; i < words.size(); ++i) {
    state += 0x9E3779B97F4A7C15u;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    words[i] =
        static_cast<int32_t>(static_cast<uint32_t>((z ^ (z >> 31)) >> 32));
  }
  if (size % 32)
    words.back() &= (1 << (size % 32)) - 1;
  return words;
}

void glvq::lattice::applySigns(std::span<float> x,
                               std::span<const int32_t> signs) {
  assert(signs.size() * 32 >= x.size());
  for (size_t j = 0; j < x.size(); ++j)
    if ((static_cast<uint32_t>(signs[j / 32]) >> (j % 32)) & 1)
      x[j] = -x[j];
}

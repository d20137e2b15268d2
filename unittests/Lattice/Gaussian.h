//===- Gaussian.h - Reproducible N(0,1) data for tests ----------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_UNITTESTS_LATTICE_GAUSSIAN_H
#define GLVQ_UNITTESTS_LATTICE_GAUSSIAN_H

#include <cstddef>
#include <random>
#include <vector>

/// `count` samples of N(0,1).
inline std::vector<float> gaussian(size_t count, unsigned seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> data(count);
  for (float &x : data)
    x = normal(random);
  return data;
}

#endif // GLVQ_UNITTESTS_LATTICE_GAUSSIAN_H

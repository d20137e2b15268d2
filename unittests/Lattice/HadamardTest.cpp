//===- HadamardTest.cpp - Randomised Hadamard rotations -------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/Hadamard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

using namespace glvq::lattice;

static std::vector<float> matrixOf(const HadamardTransform &transform) {
  int64_t n = transform.getSize();
  std::vector<float> matrix(n * n, 0.0f);
  for (int64_t i = 0; i < n; ++i) {
    matrix[i * n + i] = 1;
    transform.apply(std::span<float>(matrix).subspan(i * n, n));
  }
  return matrix;
}

// Powers of two, odd sizes (pure Hartley) and products: symmetric and
// orthogonal.
TEST(Hadamard, SymmetricAndOrthogonal) {
  for (int64_t n : {1, 2, 3, 7, 8, 12, 36, 45, 64, 72}) {
    std::vector<float> h = matrixOf(HadamardTransform(n));
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) {
        EXPECT_NEAR(h[i * n + j], h[j * n + i], 1e-6) << n;
        double dot = 0;
        for (int64_t k = 0; k < n; ++k)
          dot += static_cast<double>(h[i * n + k]) * h[j * n + k];
        EXPECT_NEAR(dot, i == j, 1e-5) << n;
      }
  }
}

// H_12 = C_3 (x) H_4, element by element from the definition.
TEST(Hadamard, IsTheKroneckerProduct) {
  std::vector<float> h = matrixOf(HadamardTransform(12));
  for (int i = 0; i < 12; ++i)
    for (int j = 0; j < 12; ++j) {
      double angle = 2 * std::numbers::pi * (i / 4) * (j / 4) / 3;
      double hartley = (std::cos(angle) + std::sin(angle)) / std::sqrt(3.0);
      double sylvester = __builtin_popcount((i % 4) & (j % 4)) % 2 ? -0.5 : 0.5;
      EXPECT_NEAR(h[i * 12 + j], hartley * sylvester, 1e-6);
    }
}

TEST(Hadamard, InverseUndoesForward) {
  HadamardTransform transform(48);
  std::vector<int32_t> signs = makeSigns(48, 3);
  std::vector<float> x(48), y;
  for (int i = 0; i < 48; ++i)
    x[i] = std::sin(i * 1.7f);
  y = x;
  transform.applyForward(y, signs);
  EXPECT_GT(std::abs(y[0] - x[0]) + std::abs(y[1] - x[1]), 1e-3);
  transform.applyInverse(y, signs);
  for (int i = 0; i < 48; ++i)
    EXPECT_NEAR(x[i], y[i], 1e-5);
}

// Bit j mod 32 of word j / 32 set means -1; nothing is set beyond the end.
TEST(Hadamard, Signs) {
  std::vector<float> x(40, 1.0f);
  std::vector<int32_t> signs = {static_cast<int32_t>(0x80000001u), 0x80};
  applySigns(x, signs);
  for (int j = 0; j < 40; ++j)
    EXPECT_EQ(x[j], j == 0 || j == 31 || j == 39 ? -1 : 1) << j;

  EXPECT_EQ(makeSigns(576, 5), makeSigns(576, 5));
  EXPECT_NE(makeSigns(576, 5), makeSigns(576, 6));
  std::vector<int32_t> made = makeSigns(1001, 0);
  ASSERT_EQ(made.size(), 32u);
  EXPECT_EQ(static_cast<uint32_t>(made.back()) >> 9, 0u);
  int set = 0;
  for (int32_t word : made)
    set += __builtin_popcount(word);
  EXPECT_NEAR(set, 500, 60);
}

//===- LatticeTest.cpp - Lattice points, rounding, generators -------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/Lattice.h"
#include "Gaussian.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

using namespace glvq::lattice;

static double squaredError(std::span<const float> generator,
                           std::span<const uint8_t> fields, unsigned width,
                           std::span<const float> y) {
  std::vector<float> point(y.size());
  decodeBlock(generator, fields, width, point);
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i)
    sum += (y[i] - point[i]) * (y[i] - point[i]);
  return sum;
}

// A square generator on Gaussian data is the uniform quantizer of Max (1960):
// mean squared errors .3634, .1188, .03744, .01154.
TEST(Lattice, GaussianDistortion) {
  constexpr int64_t dim = 8, blocks = 50000;
  std::vector<float> data = gaussian(dim * blocks, 1);
  double expected[] = {0.3634, 0.11885, 0.03744, 0.01154};
  for (unsigned width = 1; width <= 4; ++width) {
    std::vector<float> g(dim * dim, 0.0f), inverse(dim * dim);
    for (int64_t i = 0; i < dim; ++i)
      g[i * dim + i] = gaussianStep(width);
    ASSERT_TRUE(invert(g, dim, inverse));
    std::vector<uint8_t> fields(dim);
    double sum = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      std::span<const float> y(&data[b * dim], dim);
      roundBabai(inverse, y, width, fields);
      sum += squaredError(g, fields, width, y);
    }
    EXPECT_NEAR(sum / data.size(), expected[width - 1],
                0.015 * expected[width - 1]);
  }
}

// Rounding and fitting in turn reach the best quantizer from a poor step (the
// generator itself may turn a little: the error hardly depends on it).
TEST(Lattice, ClosedFormFindsTheStep) {
  constexpr int64_t dim = 4, blocks = 20000;
  std::vector<float> data = gaussian(dim * blocks, 2);
  std::vector<float> g(dim * dim, 0.0f), inverse(dim * dim), z(dim);
  for (int64_t i = 0; i < dim; ++i)
    g[i * dim + i] = 0.7f;
  std::vector<uint8_t> fields(dim);
  double error = 0;
  for (int iteration = 0; iteration < 40; ++iteration) {
    ASSERT_TRUE(invert(g, dim, inverse));
    error = 0;
    GeneratorFit fit(dim);
    for (int64_t b = 0; b < blocks; ++b) {
      std::span<const float> y(&data[b * dim], dim);
      roundBabai(inverse, y, 2, fields);
      error += squaredError(g, fields, 2, y) / data.size();
      if (iteration == 0 && b + 1 == blocks)
        EXPECT_GT(error, 0.13);
      for (int64_t i = 0; i < dim; ++i)
        z[i] = fieldValue(fields[i], 2);
      fit.addSample(z, y);
    }
    ASSERT_TRUE(fit.solve(g));
  }
  EXPECT_NEAR(error, 0.1188, 0.004);
}

// In a metric H over two blocks, no change of one entry of the fitted generator
// lowers tr((W - W^) H (W - W^)^T).
TEST(Lattice, ClosedFormInTheHessianMetric) {
  constexpr int64_t dim = 2, blocks = 2, n = dim * blocks, rows = 9;
  std::vector<float> a = gaussian(n * n, 3), w = gaussian(rows * n, 4);
  std::mt19937 random(5);
  std::vector<double> h(n * n, 0.0), z(rows * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t k = 0; k < n; ++k)
        h[i * n + j] += a[k * n + i] * a[k * n + j];
      h[i * n + j] += i == j ? 0.1 : 0;
    }
  for (double &v : z)
    v = static_cast<int>(random() % 4) - 1.5;
  auto loss = [&](const std::vector<float> &g) {
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) {
      double e[n];
      for (int64_t c = 0; c < n; ++c) {
        e[c] = w[r * n + c];
        for (int64_t k = 0; k < dim; ++k)
          e[c] -= g[c % dim * dim + k] * z[r * n + c / dim * dim + k];
      }
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < n; ++j)
          sum += e[i] * h[i * n + j] * e[j];
    }
    return sum;
  };
  GeneratorFit fit(dim);
  for (int64_t c = 0; c < blocks; ++c) {
    std::vector<double> v(dim * dim, 0.0);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < dim; ++i)
        for (int64_t k = 0; k < dim; ++k)
          for (int64_t j = 0; j < n; ++j)
            v[i * dim + k] += h[(c * dim + i) * n + j] * w[r * n + j] *
                              z[r * n + c * dim + k];
    fit.addLinear(v);
    for (int64_t d = 0; d < blocks; ++d) {
      std::vector<double> metric(dim * dim), zz(dim * dim, 0.0);
      for (int64_t i = 0; i < dim; ++i)
        for (int64_t j = 0; j < dim; ++j) {
          metric[i * dim + j] = h[(c * dim + i) * n + d * dim + j];
          for (int64_t r = 0; r < rows; ++r)
            zz[i * dim + j] += z[r * n + c * dim + i] * z[r * n + d * dim + j];
        }
      fit.addQuadratic(metric, zz);
    }
  }
  std::vector<float> g(dim * dim);
  ASSERT_TRUE(fit.solve(g, 0));
  double best = loss(g);
  for (size_t i = 0; i < g.size(); ++i)
    for (float step : {-0.01f, 0.01f}) {
      std::vector<float> other = g;
      other[i] += step;
      EXPECT_GT(loss(other), best);
    }
}

TEST(Lattice, FitNeedsData) {
  std::vector<float> g(4, 5.0f);
  EXPECT_FALSE(GeneratorFit(2).solve(g));
  EXPECT_EQ(g[0], 5.0f);
}

// For a skewed generator Babai rounding is not optimal: descent lowers the
// error, and never below what exhaustive search finds.
TEST(Lattice, DescentImprovesBabai) {
  constexpr int64_t dim = 3;
  std::vector<float> g = {0.9f, 0.5f, 0.1f, 0.0f, 0.8f, 0.6f, 0.2f, 0.0f, 0.9f};
  std::vector<float> inverse(dim * dim), data = gaussian(dim * 400, 6);
  ASSERT_TRUE(invert(g, dim, inverse));
  double babai = 0, descent = 0, exact = 0;
  std::vector<uint8_t> fields(dim), other(dim);
  for (int64_t b = 0; b < 400; ++b) {
    std::span<const float> y(&data[b * dim], dim);
    roundBabai(inverse, y, 2, fields);
    double before = squaredError(g, fields, 2, y);
    double after = refineByDescent(g, y, 2, fields);
    EXPECT_LE(after, before + 1e-5);
    EXPECT_NEAR(after, squaredError(g, fields, 2, y), 1e-4);
    double best = 1e9;
    for (int u = 0; u < 64; ++u) {
      other = {static_cast<uint8_t>(u % 4), static_cast<uint8_t>(u / 4 % 4),
               static_cast<uint8_t>(u / 16)};
      best = std::min(best, squaredError(g, other, 2, y));
    }
    babai += before;
    descent += after;
    exact += best;
  }
  EXPECT_LT(descent, 0.97 * babai);
  EXPECT_GE(descent, exact - 1e-3);
}

TEST(Lattice, InvertRefusesSingular) {
  std::vector<float> g = {1, 2, 2, 4}, inverse(4);
  EXPECT_FALSE(invert(g, 2, inverse));
}

TEST(Lattice, Companders) {
  EXPECT_FLOAT_EQ(expand(Compander::None, -0.7f, 0, 0), -0.7f);
  EXPECT_NEAR(expand(Compander::MuLaw, 1, 10, 2), 2, 1e-6);
  EXPECT_NEAR(expand(Compander::MuLaw, -0.5f, 10, 2),
              -2 * (std::sqrt(11.0) - 1) / 10, 1e-6);
  EXPECT_NEAR(expand(Compander::Affine, -0.5f, 2, 3), -0.5 * 3.5, 1e-6);
}

// Mixed widths, an order, a ragged group and a compander in one row.
TEST(Lattice, DecodeRow) {
  std::vector<WidthRun> runs = {{1, 1}, {2, 1}, {3, 1}};
  auto layout = CodeLayout::create(10, 2, 4, runs);
  ASSERT_TRUE(layout);
  std::vector<uint8_t> fields = {0, 1, 1, 0, 0, 1, 2, 3, 7, 0};
  std::vector<int32_t> words(layout->getNumWords());
  layout->pack(fields, words);
  std::vector<float> generators = {1, 0, 0, 1, 2, 1, 0, 1, 1, 0, 0, 3};
  std::vector<int32_t> order = {1, 0, 2};
  std::vector<float> companders = {1, 0, 1, 0.5f, 2, 0}, out(10);
  decodeRow(*layout, words, generators, 0.5f, order, Compander::Affine,
            companders, out);
  // Slot 1 (width 2): z + 1/2 = -1.5 -.5 .5 1.5; G = [2 1; 0 1], y (1 + |y|/2).
  auto f = [](float y) { return 0.5f * y * (1 + 0.5f * std::abs(y)); };
  std::vector<float> expected = {f(-3.5f), f(-0.5f), f(2.5f), f(1.5f), -0.25f,
                                 0.25f,    0.25f,    -0.25f,  3.5f,    -10.5f};
  for (int i = 0; i < 10; ++i)
    EXPECT_FLOAT_EQ(out[i], expected[i]) << i;
}

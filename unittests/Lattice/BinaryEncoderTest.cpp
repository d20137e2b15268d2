//===- BinaryEncoderTest.cpp - K-best search ------------------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/BinaryEncoder.h"
#include "Gaussian.h"

#include <gtest/gtest.h>

#include <limits>

using namespace glvq::lattice;

static double gaussianError(const std::vector<float> &generator, int64_t dim,
                            int64_t bits, unsigned survivors, int64_t count) {
  BinaryEncoder encoder(generator, dim, bits, {}, survivors);
  BinaryEncoder::Scratch scratch;
  std::vector<float> x = gaussian(count * dim, 11), y(dim);
  std::vector<uint8_t> point(bits);
  double loss = 0, power = 0;
  for (int64_t p = 0; p < count; ++p) {
    std::span<const float> target(&x[p * dim], dim);
    encoder.encode(target, point, scratch);
    decodeBinaryPoint(generator, point, y);
    for (int64_t i = 0; i < dim; ++i) {
      loss += (target[i] - y[i]) * (target[i] - y[i]);
      power += target[i] * target[i];
    }
  }
  return loss / power;
}

// The errors of binary codes of 2 bits on N(0, 1): 0.0910 at 8 dimensions after
// a longer fit (glvq bench gaussian), and less with more of them, against
// 0.1188 of any square generator.
TEST(BinaryEncoder, GaussianErrors) {
  EXPECT_LT(gaussianError(learnGaussianGenerator(8, 16, 2000, 4, 32, 1), 8, 16,
                          64, 2000),
            0.0945);
  EXPECT_LT(gaussianError(makeCirculantGenerator(16, 32), 16, 32, 128, 500),
            0.087);
  EXPECT_LT(gaussianError(learnGaussianGenerator(8, 12, 1000, 6, 32, 1), 8, 12,
                          64, 1000),
            0.19);
}

// Against all points, in a metric, for wide and tall generators.
TEST(BinaryEncoder, IsExactWithEnoughSurvivors) {
  for (auto [dim, bits] :
       {std::pair<int64_t, int64_t>(4, 8), {1, 3}, {3, 2}, {5, 9}}) {
    std::vector<float> generator = gaussian(dim * bits, 1),
                       root = gaussian(dim * dim, 2), y(dim);
    BinaryEncoder encoder(generator, dim, bits, root, 1u << (bits - 1));
    BinaryEncoder::Scratch scratch;
    auto loss = [&](std::span<const float> target,
                    std::span<const uint8_t> point) {
      decodeBinaryPoint(generator, point, y);
      double sum = 0;
      for (int64_t i = 0; i < dim; ++i) {
        double miss = 0;
        for (int64_t j = 0; j < dim; ++j)
          miss += root[i * dim + j] * (target[j] - y[j]);
        sum += miss * miss;
      }
      return sum;
    };
    std::vector<uint8_t> point(bits);
    for (unsigned seed = 0; seed < 20; ++seed) {
      std::vector<float> target = gaussian(dim, 100 + seed);
      encoder.encode(target, point, scratch);
      double found = loss(target, point);
      double best = std::numeric_limits<double>::infinity();
      for (uint32_t code = 0; code < 1u << bits; ++code) {
        for (int64_t i = 0; i < bits; ++i)
          point[i] = code >> i & 1;
        best = std::min(best, loss(target, point));
      }
      EXPECT_NEAR(found, best, 1e-4 * (1 + best)) << dim << " x " << bits;
    }
  }
}

TEST(BinaryEncoder, ZeroGenerator) {
  std::vector<float> generator(4 * 6, 0.0f);
  EXPECT_EQ(gaussianError(generator, 4, 6, 4, 3), 1);
  EXPECT_FALSE(BinaryFit(4, 6).solve(generator));
}

// The fit recovers the generator that made the targets.
TEST(BinaryEncoder, FitRecovers) {
  std::vector<float> truth = gaussian(3 * 5, 3), found(3 * 5, 0.0f), y(3);
  BinaryFit first(3, 5), second(3, 5);
  for (uint32_t code = 0; code < 32; ++code) {
    std::vector<uint8_t> point(5);
    for (int i = 0; i < 5; ++i)
      point[i] = code >> i & 1;
    decodeBinaryPoint(truth, point, y);
    (code % 2 ? first : second).add(point, y, 0.5);
  }
  first.add(second);
  ASSERT_TRUE(first.solve(found));
  for (size_t i = 0; i < truth.size(); ++i)
    EXPECT_NEAR(found[i], truth[i], 1e-3);
}

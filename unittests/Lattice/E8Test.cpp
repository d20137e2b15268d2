//===- E8Test.cpp - Tests of the padded E8 codebook -----------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/E8.h"
#include "Gaussian.h"

#include "gtest/gtest.h"

#include <cmath>
#include <set>
#include <vector>

using namespace glvq::lattice;

TEST(E8P, Table) {
  unsigned norms[13] = {};
  for (uint32_t pattern : getE8PTable()) {
    unsigned sum = 0, norm = 0;
    for (unsigned i = 0; i < e8Dim; ++i) {
      unsigned twice = pattern >> (4 * i) & 7;
      EXPECT_EQ(twice % 2, 1u);
      sum += twice;
      norm += twice * twice;
    }
    ASSERT_EQ(norm % 8, 0u);
    ASSERT_LE(norm / 4, 12u);
    ++norms[norm / 4];
    EXPECT_EQ(sum / 2 % 2, pattern >> 31);
  }
  EXPECT_EQ(norms[12], 29u);
  EXPECT_EQ(norms[2] + norms[4] + norms[6] + norms[8] + norms[10], 227u);
}

// 2^16 different points of E8 + 1/4, of which E8 is D8 and D8 + 1/2.
TEST(E8P, Points) {
  std::set<std::array<float, e8Dim>> points;
  for (unsigned code = 0; code < 65536; ++code) {
    auto point = getE8PPoint(static_cast<uint16_t>(code));
    points.insert(point);
    float sum = 0, half = (point[0] - 0.25f) * 2;
    for (float v : point) {
      sum += v - 0.25f;
      ASSERT_EQ(std::fmod((v - 0.25f) * 2 - half, 2.0f), 0);
    }
    ASSERT_EQ(std::fmod(sum, 2.0f), 0);
  }
  EXPECT_EQ(points.size(), 65536u);
}

TEST(E8P, SearchIsExact) {
  std::vector<float> x = gaussian(20 * e8Dim, 1);
  for (size_t b = 0; b < 20; ++b) {
    auto block = std::span<const float>(x).subspan(b * e8Dim).first<e8Dim>();
    auto distance = [&](unsigned code) {
      auto point = getE8PPoint(static_cast<uint16_t>(code));
      float sum = 0;
      for (unsigned i = 0; i < e8Dim; ++i)
        sum += (point[i] - block[i]) * (point[i] - block[i]);
      return sum;
    };
    float best = 1e30f;
    for (unsigned code = 0; code < 65536; ++code)
      best = std::min(best, distance(code));
    EXPECT_NEAR(distance(findNearestE8P(block)), best, 1e-4);
  }
}

TEST(E8P, GaussianError) {
  constexpr float unit = 0.9667f;
  std::vector<float> x = gaussian(100000 * e8Dim, 2), decoded(x.size());
  for (float &v : x)
    v /= unit;
  std::vector<uint16_t> codes(x.size() / e8Dim);
  encodeE8P(x, codes, decoded,
            [](int64_t count, const std::function<void(int64_t)> &f) {
              for (int64_t i = 0; i < count; ++i)
                f(i);
            });
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i)
    sum += (x[i] - decoded[i]) * (x[i] - decoded[i]);
  EXPECT_NEAR(sum / x.size() * unit * unit, 0.0914, 0.0006);
}

//===- LeechTest.cpp - Tests of the Leech lattice as a code ---------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/Leech.h"
#include "Gaussian.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>

using namespace glvq::lattice;

// The theta series, 65520 / 691 (sigma_11(m) - tau(m)).
static const uint64_t shellSizes[] = {1,
                                      0,
                                      196560,
                                      16773120,
                                      398034000,
                                      4629381120,
                                      34417656000,
                                      187489935360,
                                      814879774800,
                                      2975551488000,
                                      9486551299680,
                                      27052945920000,
                                      70486236999360,
                                      169931095326720};

TEST(Leech, ShellSizes) {
  size_t numClasses = 0;
  for (unsigned m = 0; m <= maxLeechShell; ++m) {
    uint64_t size = 0;
    for (const LeechClass &c : getLeechClasses(m))
      size += c.size;
    EXPECT_EQ(size, shellSizes[m]) << "shell " << m;
    if (m >= 2)
      numClasses += getLeechClasses(m).size();
  }
  EXPECT_EQ(numClasses, 383u);
  EXPECT_EQ(LeechCodebook(0, 13).getSize(), 280974212784721u);
  EXPECT_EQ(LeechCodebook(0, 13).getIndexBits(), 48u);
  EXPECT_EQ(LeechCodebook(0, 12).getIndexBits(), 47u);
  EXPECT_EQ(LeechCodebook(3, 3).getIndexBits(), 24u);
}

static void checkIndex(const LeechCodebook &codebook, uint64_t index,
                       unsigned shell) {
  LeechPoint point = codebook.getPoint(index);
  ASSERT_EQ(getLeechShell(point), shell) << index;
  ASSERT_EQ(codebook.getIndex(point), index);
}

TEST(Leech, IndexIsABijectionOnShellTwo) {
  LeechCodebook codebook(2, 2);
  for (uint64_t i = 0; i < codebook.getSize(); ++i)
    checkIndex(codebook, i, 2);
}

TEST(Leech, IndexIsABijectionOnShellThree) {
  LeechCodebook codebook(3, 3);
  for (uint64_t i = 0; i < codebook.getSize(); ++i)
    checkIndex(codebook, i, 3);
}

// With GLVQ_LONG_TESTS in the environment 10^7 numbers of each shell: minutes.
TEST(Leech, IndexIsABijection) {
  const int count = std::getenv("GLVQ_LONG_TESTS") ? 10000000 : 100000;
  LeechCodebook ball(0, 13);
  checkIndex(ball, 0, 0);
  std::mt19937_64 random(1);
  uint64_t begin = 1;
  for (unsigned m = 2; m <= maxLeechShell; ++m) {
    LeechCodebook shell(m, m);
    checkIndex(shell, 0, m);
    checkIndex(shell, shell.getSize() - 1, m);
    for (int i = 0; i < count; ++i) {
      uint64_t index = random() % shellSizes[m];
      checkIndex(shell, index, m);
      ASSERT_EQ(ball.getPoint(begin + index), shell.getPoint(index));
    }
    begin += shellSizes[m];
  }
}

TEST(Leech, RefusesForeignPoints) {
  LeechPoint point = LeechCodebook(2, 2).getPoint(1000);
  EXPECT_FALSE(LeechCodebook(3, 4).getIndex(point));
  point[3] += 1; // mixed parity
  EXPECT_FALSE(getLeechShell(point));
  point[3] += 1; // not a word
  EXPECT_FALSE(getLeechShell(point));
  LeechPoint sum{};
  sum[0] = 4; // a word, but the sum is 4 mod 8
  EXPECT_FALSE(getLeechShell(sum));
  sum[1] = 4;
  EXPECT_EQ(getLeechShell(sum), 2u);
}

static void forEach(int64_t count, const std::function<void(int64_t)> &f) {
  for (int64_t i = count - 1; i >= 0; --i)
    f(i);
}

static std::span<const float, leechDim> getBlock(const std::vector<float> &x,
                                                 size_t block) {
  return std::span<const float>(x).subspan(block * leechDim).first<leechDim>();
}

// The smallest of the norms of differences is the minimal norm of the lattice:
// no point is nearer to another than sqrt(32).
TEST(Leech, MinimalNorm) {
  for (unsigned m = 2; m <= maxLeechShell; ++m) {
    LeechCodebook shell(m, m);
    std::mt19937_64 random(m);
    for (int i = 0; i < 1000; ++i) {
      LeechPoint a = shell.getPoint(random() % shell.getSize()),
                 b = shell.getPoint(random() % shell.getSize());
      LeechPoint difference;
      unsigned norm = 0;
      for (unsigned j = 0; j < leechDim; ++j) {
        difference[j] = static_cast<int8_t>(a[j] - b[j]);
        norm += difference[j] * difference[j];
      }
      ASSERT_EQ(norm % 16, 0u);
      ASSERT_TRUE(norm == 0 || norm >= 32) << norm;
    }
  }
}

TEST(Leech, NearestPoint) {
  // Half the minimal distance: any error below it is undone.
  LeechCodebook ball(0, 13);
  std::mt19937_64 random(2);
  std::vector<float> noise = gaussian(1000 * leechDim, 3);
  for (size_t i = 0; i < 1000; ++i) {
    LeechPoint point = ball.getPoint(random() % ball.getSize()), found;
    auto e = getBlock(noise, i);
    float norm = 0, sum = 0;
    for (float v : e)
      norm += v * v;
    std::array<float, leechDim> x;
    for (unsigned j = 0; j < leechDim; ++j) {
      float error = 2.8f * e[j] / std::sqrt(norm);
      x[j] = point[j] + error;
      sum += error * error;
    }
    EXPECT_NEAR(findNearestLeechPoint(x, found), sum, 1e-3);
    EXPECT_EQ(found, point);
  }
}

TEST(Leech, NormalizedSecondMoment) {
  std::mt19937 random(4);
  std::uniform_real_distribution<float> uniform(-60, 60);
  double sum = 0;
  constexpr int numBlocks = 20000;
  for (int n = 0; n < numBlocks; ++n) {
    std::array<float, leechDim> x;
    for (float &v : x)
      v = uniform(random);
    LeechPoint point;
    sum += findNearestLeechPoint(x, point);
    ASSERT_TRUE(getLeechShell(point));
  }
  // The volume of a cell is 8^12.
  EXPECT_NEAR(sum / numBlocks / leechDim / 8, 0.0658, 0.0002);
}

static double getScore(std::span<const float, leechDim> x,
                       const LeechPoint &point, bool angular) {
  double inner = 0, norm = 0;
  for (unsigned i = 0; i < leechDim; ++i) {
    inner += x[i] * point[i];
    norm += point[i] * point[i];
  }
  return angular ? inner / std::sqrt(norm) : 2 * inner - norm;
}

// All points of shell 2, one after the other, against the search.
TEST(Leech, SearchIsExactOnShellTwo) {
  LeechCodebook shell(2, 2);
  LeechSearch search(shell);
  std::vector<float> x = gaussian(3 * leechDim, 5);
  for (size_t b = 0; b < 3; ++b) {
    auto block = getBlock(x, b);
    double best = -1e30;
    for (uint64_t i = 0; i < shell.getSize(); ++i)
      best = std::max(best, getScore(block, shell.getPoint(i), false));
    EXPECT_NEAR(getScore(block, search.findNearest(block, 0), false), best,
                1e-3);
    EXPECT_NEAR(getScore(block, search.findNearest(block), false), best, 1e-3);
    EXPECT_NEAR(getScore(block, search.findDirection(block), false), best,
                1e-3);
  }
}

TEST(Leech, CandidatesComeCloseToTheExactSearch) {
  for (auto [first, last] :
       {std::pair(0u, 13u), {0u, 4u}, {2u, 12u}, {5u, 5u}}) {
    LeechCodebook codebook(first, last);
    LeechSearch search(codebook);
    std::vector<float> x = gaussian(40 * leechDim, 6);
    for (float &v : x)
      v /= 0.35f;
    for (size_t b = 0; b < 40; ++b)
      for (bool angular : {false, true}) {
        auto find = [&](unsigned candidates) {
          auto block = getBlock(x, b);
          LeechPoint point = angular ? search.findDirection(block, candidates)
                                     : search.findNearest(block, candidates);
          EXPECT_TRUE(codebook.getIndex(point));
          return getScore(block, point, angular);
        };
        double exact = find(0), found = find(LeechSearch::defaultCandidates);
        EXPECT_LE(found, exact + 1e-3);
        EXPECT_GE(found, exact - 1e-3 * std::abs(exact));
      }
  }
}

TEST(Leech, SpecialVectors) {
  LeechCodebook ball(0, 13);
  LeechSearch search(ball);
  std::array<float, leechDim> x{};
  EXPECT_EQ(search.findNearest(x), LeechPoint{});
  EXPECT_EQ(getLeechShell(search.findDirection(x)).value_or(0) >= 2, true);
  x[5] = 1e6f;
  LeechPoint far = search.findNearest(x);
  EXPECT_LE(*getLeechShell(far), 13u);
  EXPECT_GE(far[5], 12);
}

static double getError(const LeechCode &code, float unit, size_t numBlocks) {
  std::vector<float> x = gaussian(numBlocks * leechDim, 7), decoded(x.size()),
                     again(x.size());
  for (float &v : x)
    v /= unit;
  std::vector<unsigned> bits = code.getFieldBits();
  std::vector<uint64_t> fields(numBlocks * bits.size());
  encodeLeech(code, x, fields, decoded, forEach);
  for (size_t i = 0; i < fields.size(); ++i)
    EXPECT_EQ(fields[i] >> bits[i % bits.size()], 0u);
  EXPECT_FALSE(findBadLeechBlock(code, fields));
  decodeLeech(code, fields, again, forEach);
  EXPECT_EQ(decoded, again);
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i)
    sum += (x[i] - decoded[i]) * (x[i] - decoded[i]);
  return sum / x.size() * unit * unit;
}

static double getGaussianError(unsigned first, unsigned last, unsigned gainBits,
                               unsigned residualShell, unsigned pointBits) {
  GaussianLeechCode g =
      makeGaussianLeechCode(first, last, gainBits, residualShell);
  unsigned sum = 0;
  for (unsigned bits : g.code.getFieldBits())
    sum += bits;
  EXPECT_EQ(sum, pointBits);
  return getError(g.code, g.unit, 6000);
}

// N(0, 1) at 2.000 bits a weight, with the published values: ball and
// shape-gain.
TEST(Leech, GaussianErrorOfTwoBits) {
  EXPECT_NEAR(getGaussianError(0, 13, 0, 0, 48), 0.0775, 0.02 * 0.0775);
  EXPECT_NEAR(getGaussianError(2, 12, 1, 0, 48), 0.078, 0.02 * 0.078);
}

// Other rates; the bound is the rate-distortion function 2^-2R.
TEST(Leech, GaussianErrorOfOtherRates) {
  double one = getGaussianError(3, 3, 0, 0, 24);
  EXPECT_GT(one, 0.25);
  EXPECT_LT(one, 0.30);
  double ball = getGaussianError(0, 6, 0, 0, 36);
  EXPECT_GT(ball, 0.125);
  EXPECT_LT(ball, 0.158);
  double three = getGaussianError(0, 13, 0, 3, 72);
  EXPECT_GT(three, 0.0156);
  EXPECT_LT(three, 0.0222); // the linear trellis of 3 bits
  double gain = getGaussianError(2, 12, 1, 3, 72);
  EXPECT_LT(gain, 0.0222);
}

TEST(Leech, BadNumbersAreFound) {
  LeechCode code;
  code.firstShell = 2;
  code.lastShell = 12;
  code.gains = {1, 2};
  uint64_t size = LeechCodebook(2, 12).getSize();
  std::vector<uint64_t> fields = {0, size - 1, (uint64_t(1) << 47) + size - 1};
  EXPECT_FALSE(findBadLeechBlock(code, fields));
  fields[2] += 1;
  EXPECT_EQ(findBadLeechBlock(code, fields), 2);
  code.residualShell = 2;
  fields = {0, 196559, 5, 196560};
  EXPECT_EQ(findBadLeechBlock(code, fields), 1);
}

TEST(Leech, Gains) {
  // The mean of the chi distribution with 24 degrees of freedom.
  std::vector<float> mean = makeLeechGains(0, 1);
  ASSERT_EQ(mean.size(), 1u);
  EXPECT_NEAR(mean[0], 4.8482, 1e-3);
  std::vector<float> gains = makeLeechGains(3, 0.9);
  ASSERT_EQ(gains.size(), 8u);
  EXPECT_TRUE(std::is_sorted(gains.begin(), gains.end()));
}

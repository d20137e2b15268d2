//===- TrellisEncoderTest.cpp - Viterbi search ----------------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/TrellisEncoder.h"
#include "Gaussian.h"

#include <gtest/gtest.h>

#include <limits>

using namespace glvq::lattice;

/// Encodes and checks that the states form a sequence with that loss.
static double encode(const TrellisEncoder &encoder,
                     const std::vector<float> &targets,
                     const std::vector<float> &weights = {}) {
  TrellisEncoder::Scratch scratch;
  std::vector<uint32_t> states(targets.size());
  double loss = encoder.encode(targets, weights, states, scratch), sum = 0;
  uint32_t mask = (1u << (encoder.getWindow() - encoder.getBits())) - 1;
  for (size_t t = 0; t < states.size(); ++t) {
    EXPECT_LT(states[t], 1u << encoder.getWindow());
    if (t)
      EXPECT_EQ(states[t] >> encoder.getBits(), states[t - 1] & mask) << t;
    double miss = targets[t] - encoder.getNode(states[t]);
    sum += (weights.empty() ? 1 : weights[t]) * miss * miss;
  }
  EXPECT_DOUBLE_EQ(loss, sum);
  return loss;
}

// The errors of these filters on fresh N(0, 1) data of unit power.
TEST(TrellisEncoder, GaussianErrors) {
  struct {
    unsigned taps, bits;
    double error;
  } cases[] = {{6, 2, 0.0867},  {8, 2, 0.0804},  {10, 2, 0.0789},
               {12, 2, 0.0771}, {12, 3, 0.0194}, {12, 4, 0.0052}};
  for (auto [taps, bits, error] : cases) {
    size_t count = 20000;
    TrellisEncoder encoder(makeLinearNodes(getGaussianTaps(taps, bits)), bits);
    std::vector<float> x = gaussian(count, 1);
    double power = 0;
    for (float v : x)
      power += v * v;
    double loss = encode(encoder, x) / power;
    EXPECT_NEAR(loss, error, 0.02 * error) << taps << " taps, " << bits;
  }
}

// Tables reach below any filter of the same window (0.0757).
TEST(TrellisEncoder, AdditiveTables) {
  TrellisEncoder encoder(makeAdditiveNodes(getGaussianTables(16, 2)), 2);
  std::vector<float> x = gaussian(6000, 1);
  double power = 0;
  for (float v : x)
    power += v * v;
  EXPECT_NEAR(encode(encoder, x) / power, 0.0728, 0.0015);
}

// Against all sequences, for windows with and without full lanes, widths and
// weights.
TEST(TrellisEncoder, IsExact) {
  for (auto [window, bits] : {std::pair(3u, 1u),
                              {4u, 2u},
                              {5u, 3u},
                              {6u, 1u},
                              {7u, 5u},
                              {4u, 4u},
                              {8u, 2u}}) {
    std::vector<float> nodes = gaussian(size_t(1) << window, 7 + window);
    TrellisEncoder encoder(nodes, bits);
    size_t count = std::max<size_t>(1, (15 - window) / bits);
    for (unsigned seed = 0; seed < 4; ++seed) {
      std::vector<float> x = gaussian(count, seed),
                         w = gaussian(count, seed + 9);
      for (float &v : w)
        v *= v;
      unsigned total = window + bits * (count - 1);
      double best = std::numeric_limits<double>::infinity();
      for (uint32_t code = 0; code < 1u << total; ++code) {
        double sum = 0;
        for (size_t t = 0; t < count; ++t) {
          uint32_t state =
              code >> (total - window - bits * t) & ((1u << window) - 1);
          double miss = x[t] - nodes[state];
          sum += w[t] * miss * miss;
        }
        best = std::min(best, sum);
      }
      EXPECT_NEAR(encode(encoder, x, w), best, 1e-5 * best)
          << window << " " << bits;
    }
  }
}

// Sequences beyond the memory of one piece: the same error as a short one.
TEST(TrellisEncoder, LongSequences) {
  std::vector<float> taps = getGaussianTaps(14, 1);
  TrellisEncoder encoder(makeLinearNodes(taps), 1);
  std::vector<float> x = gaussian(10000, 3);
  double whole = encode(encoder, x);
  std::vector<float> begin(x.begin(), x.begin() + 3000);
  EXPECT_NEAR(whole / 10000, encode(encoder, begin) / 3000, 0.01);
}

// A weight of zero leaves its node free: the others gain.
TEST(TrellisEncoder, WeightsMatter) {
  TrellisEncoder encoder(makeLinearNodes(getGaussianTaps(8, 2)), 2);
  std::vector<float> x = gaussian(2000, 4), w(2000);
  for (size_t t = 0; t < w.size(); ++t)
    w[t] = t % 2;
  EXPECT_LT(encode(encoder, x, w) / 1000, 0.5 * encode(encoder, x) / 2000);
  EXPECT_EQ(encode(encoder, {}), 0);
}

TEST(TrellisEncoder, Nodes) {
  std::vector<float> taps = {1, 0.5f, 0.25f, 0.125f};
  std::vector<float> nodes = makeLinearNodes(taps);
  EXPECT_EQ(nodes[0], -1.875f);
  EXPECT_EQ(nodes[0b1010], -1 + 0.5f - 0.25f + 0.125f);
  // Tables of half filters give the same nodes.
  std::vector<float> tables = getGaussianTables(8, 2);
  std::vector<float> linear = makeLinearNodes(getGaussianTaps(8, 2)),
                     additive = makeAdditiveNodes(tables);
  ASSERT_EQ(linear.size(), additive.size());
  for (size_t s = 0; s < linear.size(); ++s)
    EXPECT_NEAR(linear[s], additive[s], 1e-6);
}

TEST(TrellisEncoder, TapsOfAnyLength) {
  for (unsigned bits = 1; bits <= 4; ++bits)
    for (unsigned length = bits + 1; length <= maxTrellisTaps; ++length) {
      std::vector<float> taps = getGaussianTaps(length, bits);
      EXPECT_EQ(taps.size(), length);
      double power = 0;
      for (float tap : taps)
        power += tap * tap;
      EXPECT_GT(power, 0.5);
      EXPECT_LT(power, 2.5);
    }
}

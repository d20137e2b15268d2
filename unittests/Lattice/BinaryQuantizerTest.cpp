//===- BinaryQuantizerTest.cpp - Binary quantization of one matrix --------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Learning/BinaryQuantizer.h"
#include "Gaussian.h"
#include "Quantization.h"
#include "glvq/Lattice/BinaryLayout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

using namespace glvq;
using namespace glvq::learning;

static std::vector<float> decode(const BinaryQuantizerResult &r, int64_t rows,
                                 int64_t columns,
                                 const BinaryQuantizerOptions &options) {
  auto layout = lattice::BinaryLayout::create(columns, options.dim,
                                              options.group, r.runs);
  EXPECT_TRUE(layout);
  std::vector<float> out(rows * columns);
  for (int64_t row = 0; row < rows; ++row)
    lattice::decodeBinaryRow(
        *layout,
        std::span<const int32_t>(r.codes).subspan(row * layout->getNumWords(),
                                                  layout->getNumWords()),
        r.generators, r.scales[row], r.groupScales, r.order,
        std::span<float>(out).subspan(row * columns, columns));
  return out;
}

TEST(BinaryQuantizer, GaussianError) {
  BinaryQuantizerOptions options;
  options.group = 64;
  std::vector<float> w = gaussian(128 * 128, 1);
  auto result = quantizeBinary(w, 128, 128, {}, options, serial);
  double loss = relativeLoss(w, decode(result, 128, 128, options), 128, {});
  EXPECT_NEAR(result.proxyError, loss, 1e-5);
  EXPECT_LT(loss, 0.0925);
  EXPECT_GT(loss, 0.080);
}

TEST(BinaryQuantizer, FeedbackLowersTheLoss) {
  BinaryQuantizerOptions options;
  options.dim = 4;
  options.pointBits = {8};
  options.group = 32;
  constexpr int64_t rows = 96, columns = 64;
  std::vector<float> w = gaussian(rows * columns, 2);
  std::vector<float> h = hessianOf(columns, 0.9);
  auto blind = quantizeBinary(w, rows, columns, {}, options, serial);
  auto seeing = quantizeBinary(w, rows, columns, h, options, serial);
  double without =
      relativeLoss(w, decode(blind, rows, columns, options), columns, h);
  double with =
      relativeLoss(w, decode(seeing, rows, columns, options), columns, h);
  EXPECT_LT(with, 0.5 * without);
}

// Fractions of a bit, mixed, in ragged groups; rows of zeros; any threads.
TEST(BinaryQuantizer, RaggedMixedAndZero) {
  BinaryQuantizerOptions options;
  options.dim = 6;
  options.group = 12;
  options.pointBits = {17, 9, 9, 24};
  constexpr int64_t rows = 37, columns = 47;
  std::vector<float> w = gaussian(rows * columns, 3),
                     h = hessianOf(columns, 0.5);
  std::fill_n(w.begin() + 5 * columns, columns, 0.0f);
  auto result = quantizeBinary(w, rows, columns, h, options, serial);
  EXPECT_EQ(result.order, (std::vector<int32_t>{1, 2, 0, 3}));
  std::vector<float> q = decode(result, rows, columns, options);
  double loss = relativeLoss(w, q, columns, h);
  EXPECT_LT(loss, 0.15);
  EXPECT_LT(result.proxyError, 0.15);
  for (int64_t c = 0; c < columns; ++c)
    EXPECT_EQ(q[5 * columns + c], 0.0f);
  auto again = quantizeBinary(w, rows, columns, h, options, threaded);
  EXPECT_EQ(result.codes, again.codes);
  EXPECT_EQ(result.generators, again.generators);
  EXPECT_EQ(result.scales, again.scales);
}

TEST(BinaryQuantizer, SingularAndTiny) {
  BinaryQuantizerOptions options;
  options.dim = 4;
  options.group = 8;
  options.damping = 0;
  options.pointBits = {16};
  std::vector<float> w = gaussian(16 * 16, 4), h(16 * 16, 1.0f);
  EXPECT_LT(quantizeBinary(w, 16, 16, h, options, serial).proxyError, 0.1);
  std::vector<float> zero(16 * 16, 0.0f);
  EXPECT_EQ(decode(quantizeBinary(zero, 16, 16, {}, options, serial), 16, 16,
                   options),
            zero);
  std::vector<float> one = {0.7f};
  EXPECT_NEAR(
      decode(quantizeBinary(one, 1, 1, {}, options, serial), 1, 1, options)[0],
      0.7f, 0.05f);
}

TEST(BinaryQuantizer, RefusesBadInput) {
  BinaryQuantizerOptions options;
  options.group = 16;
  std::vector<float> w(16 * 16, 1.0f);
  auto message = [&] {
    try {
      quantizeBinary(w, 16, 16, {}, options, serial);
    } catch (const std::invalid_argument &error) {
      return std::string(error.what());
    }
    return std::string();
  };
  w[3] = NAN;
  EXPECT_EQ(message(), "the weight has elements that are not finite");
  std::fill(w.begin(), w.end(), 1e9f);
  EXPECT_EQ(message(), "the weight is too large for float16");
  options.pointBits = {65};
  EXPECT_EQ(message(), "points have 1 to 8 bits for each column");
  options.pointBits = {16};
  options.group = 12;
  EXPECT_EQ(message(), "group must be a multiple of dim");
}

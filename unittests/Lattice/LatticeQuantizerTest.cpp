//===- LatticeQuantizerTest.cpp - Quantization of one matrix --------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Learning/LatticeQuantizer.h"
#include "Gaussian.h"
#include "Quantization.h"
#include "glvq/Lattice/Lattice.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

using namespace glvq;
using namespace glvq::learning;

static std::vector<float> decode(const LatticeQuantizerResult &r, int64_t rows,
                                 int64_t columns,
                                 const LatticeQuantizerOptions &options) {
  auto layout =
      lattice::CodeLayout::create(columns, options.dim, options.group, r.runs);
  EXPECT_TRUE(layout);
  std::vector<float> out(rows * columns);
  for (int64_t row = 0; row < rows; ++row)
    lattice::decodeRow(*layout,
                       std::span<const int32_t>(r.codes).subspan(
                           row * layout->getNumWords(), layout->getNumWords()),
                       r.generators, r.scales[row], r.order,
                       lattice::Compander::None, {},
                       std::span<float>(out).subspan(row * columns, columns));
  return out;
}

// Without a Hessian the error is that of the uniform quantizer (0.1188), a
// little less for the numbers fitted to these very weights.
TEST(LatticeQuantizer, ReachesTheScalarBound) {
  LatticeQuantizerOptions options;
  options.group = 64;
  std::vector<float> w = gaussian(256 * 128, 1);
  auto result = quantizeLattice(w, 256, 128, {}, options, serial);
  double loss = relativeLoss(w, decode(result, 256, 128, options), 128, {});
  EXPECT_LT(loss, 0.1188);
  EXPECT_GT(loss, 0.110);
  EXPECT_NEAR(result.proxyError, loss, 1e-4);
}

// Error feedback uses what the Hessian says: the loss on strongly correlated
// inputs is far below that of the same bits without it.
TEST(LatticeQuantizer, FeedbackLowersTheLoss) {
  LatticeQuantizerOptions options;
  options.group = 32;
  constexpr int64_t rows = 96, columns = 64;
  std::vector<float> w = gaussian(rows * columns, 2);
  std::vector<float> h = hessianOf(columns, 0.9);
  auto blind = quantizeLattice(w, rows, columns, {}, options, serial);
  auto seeing = quantizeLattice(w, rows, columns, h, options, serial);
  double without =
      relativeLoss(w, decode(blind, rows, columns, options), columns, h);
  double with =
      relativeLoss(w, decode(seeing, rows, columns, options), columns, h);
  EXPECT_LT(with, 0.5 * without);
}

// Columns that divide by neither the group nor the dimension, rows that do not
// fill a piece, several widths, and rows of zeros.
TEST(LatticeQuantizer, RaggedMixedAndZero) {
  LatticeQuantizerOptions options;
  options.dim = 4;
  options.group = 16;
  options.bits = {4, 2, 3, 2};
  constexpr int64_t rows = 21, columns = 55;
  std::vector<float> w = gaussian(rows * columns, 3);
  std::fill_n(w.begin() + 5 * columns, columns, 0.0f);
  auto result = quantizeLattice(w, rows, columns, hessianOf(columns, 0.5),
                                options, serial);
  EXPECT_EQ(result.order, (std::vector<int32_t>{1, 2, 0, 3}));
  ASSERT_EQ(result.runs.size(), 4u);
  EXPECT_EQ(result.runs[3].width, 2u);
  std::vector<float> q = decode(result, rows, columns, options);
  EXPECT_LT(relativeLoss(w, q, columns, hessianOf(columns, 0.5)), 0.1);
  for (int64_t c = 0; c < columns; ++c)
    EXPECT_EQ(q[5 * columns + c], 0.0f);
}

// A dimension without a kernel of its own, and more bits: small errors.
TEST(LatticeQuantizer, OtherDimensions) {
  for (int64_t dim : {1, 2, 3, 16}) {
    LatticeQuantizerOptions options;
    options.dim = dim;
    options.group = 2 * dim;
    options.bits = {6};
    std::vector<float> w = gaussian(64 * 96, 4), h = hessianOf(96, 0.7);
    auto result = quantizeLattice(w, 64, 96, h, options, serial);
    EXPECT_LT(relativeLoss(w, decode(result, 64, 96, options), 96, h), 2e-3)
        << dim;
  }
}

TEST(LatticeQuantizer, SameBytesForAnyThreads) {
  LatticeQuantizerOptions options;
  options.group = 32;
  std::vector<float> w = gaussian(40 * 64, 5), h = hessianOf(64, 0.8);
  auto a = quantizeLattice(w, 40, 64, h, options, serial);
  auto b = quantizeLattice(w, 40, 64, h, options, threaded);
  EXPECT_EQ(a.codes, b.codes);
  EXPECT_EQ(a.generators, b.generators);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.proxyError, b.proxyError);
}

// Everything stored as float16 is a float16 already.
TEST(LatticeQuantizer, ParametersAreHalf) {
  std::vector<float> w = gaussian(40 * 32, 6);
  LatticeQuantizerOptions options;
  options.group = 32;
  auto result = quantizeLattice(w, 40, 32, {}, options, serial);
  for (float v : result.generators)
    EXPECT_EQ(v, static_cast<float>(static_cast<_Float16>(v)));
  for (float v : result.scales)
    EXPECT_EQ(v, static_cast<float>(static_cast<_Float16>(v)));
}

// A singular Hessian (inputs that never vary) is damped until it factors.
TEST(LatticeQuantizer, SingularHessian) {
  std::vector<float> w = gaussian(16 * 16, 7), h(16 * 16, 0.0f);
  LatticeQuantizerOptions options;
  options.group = 16;
  options.damping = 0;
  options.bits = {4};
  EXPECT_LT(quantizeLattice(w, 16, 16, h, options, serial).proxyError, 0.1);
  std::fill(h.begin(), h.end(), 1.0f);
  EXPECT_LT(quantizeLattice(w, 16, 16, h, options, serial).proxyError, 0.1);
}

TEST(LatticeQuantizer, RefusesBadInput) {
  LatticeQuantizerOptions options;
  options.group = 16;
  std::vector<float> w(16 * 16, 1.0f);
  auto message = [&] {
    try {
      quantizeLattice(w, 16, 16, {}, options, serial);
    } catch (const std::invalid_argument &error) {
      return std::string(error.what());
    }
    return std::string();
  };
  w[3] = NAN;
  EXPECT_EQ(message(), "the weight has elements that are not finite");
  w[3] = 1e9f;
  EXPECT_EQ(message(), "row 0 of the weight is too large for float16");
  w[3] = 1;
  options.bits = {2, 2};
  EXPECT_EQ(message(),
            "bits must give one width, or one for each of the 1 groups");
  options.bits = {9};
  EXPECT_EQ(message(), "widths are 1 to 8 bits");
  options.bits = {2};
  options.group = 12;
  EXPECT_EQ(message(), "group must be a multiple of dim");
}

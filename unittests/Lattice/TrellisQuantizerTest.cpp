//===- TrellisQuantizerTest.cpp - Trellis quantization of one matrix ------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Learning/TrellisQuantizer.h"
#include "Gaussian.h"
#include "Quantization.h"
#include "glvq/Lattice/TrellisLayout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

using namespace glvq;
using namespace glvq::learning;

static std::vector<float> decode(const TrellisQuantizerResult &r, int64_t rows,
                                 int64_t columns,
                                 const TrellisQuantizerOptions &options) {
  auto layout = lattice::TrellisLayout::create(rows, columns, options.taps,
                                               options.group, r.runs);
  EXPECT_TRUE(layout);
  std::vector<float> out(rows * columns);
  lattice::TrellisParameters parameters{r.nodes, options.additive, r.scales,
                                        r.groupScales, r.order};
  for (int64_t slot = 0; slot < layout->getNumSlots(); ++slot)
    lattice::decodeTrellisSlot(*layout, r.codes, parameters, slot, out);
  return out;
}

// What is stored decodes to the loss that was reported: a little less than on
// fresh data for the numbers fitted to these very weights, more for the
// first bits of short columns.
TEST(TrellisQuantizer, GaussianError) {
  TrellisQuantizerOptions options;
  options.taps = 8;
  options.group = 16;
  std::vector<float> w = gaussian(512 * 32, 1);
  auto result = quantizeTrellis(w, 512, 32, {}, options, serial);
  double loss = relativeLoss(w, decode(result, 512, 32, options), 32, {});
  EXPECT_NEAR(result.proxyError, loss, 1e-5);
  EXPECT_LT(loss, 0.0804);
  EXPECT_GT(loss, 0.070);
}

TEST(TrellisQuantizer, AdditiveTables) {
  TrellisQuantizerOptions options;
  options.taps = 8;
  options.additive = true;
  options.iterations = 6;
  options.group = 32;
  std::vector<float> w = gaussian(512 * 32, 2);
  auto result = quantizeTrellis(w, 512, 32, {}, options, serial);
  double loss = relativeLoss(w, decode(result, 512, 32, options), 32, {});
  EXPECT_NEAR(result.proxyError, loss, 1e-5);
  EXPECT_LT(loss, 0.0804);
}

TEST(TrellisQuantizer, FeedbackLowersTheLoss) {
  TrellisQuantizerOptions options;
  options.taps = 6;
  options.group = 32;
  constexpr int64_t rows = 256, columns = 48;
  std::vector<float> w = gaussian(rows * columns, 3);
  std::vector<float> h = hessianOf(columns, 0.9);
  auto blind = quantizeTrellis(w, rows, columns, {}, options, serial);
  auto seeing = quantizeTrellis(w, rows, columns, h, options, serial);
  double without =
      relativeLoss(w, decode(blind, rows, columns, options), columns, h);
  double with =
      relativeLoss(w, decode(seeing, rows, columns, options), columns, h);
  EXPECT_LT(with, 0.5 * without);
}

// Columns that divide by neither the group nor the blocks, rows that do not
// fill a piece, all widths, rows of zeros, and rows of very different sizes.
TEST(TrellisQuantizer, RaggedMixedAndZero) {
  TrellisQuantizerOptions options;
  options.taps = 7;
  options.group = 11;
  options.bits = {4, 2, 3, 2, 1};
  constexpr int64_t rows = 133, columns = 49;
  std::vector<float> w = gaussian(rows * columns, 4);
  std::fill_n(w.begin() + 5 * columns, columns, 0.0f);
  for (int64_t c = 0; c < columns; ++c)
    w[7 * columns + c] *= 50;
  auto result = quantizeTrellis(w, rows, columns, hessianOf(columns, 0.5),
                                options, serial);
  EXPECT_EQ(result.order, (std::vector<int32_t>{1, 3, 2, 0, 4}));
  ASSERT_EQ(result.runs.size(), 4u);
  std::vector<float> q = decode(result, rows, columns, options);
  EXPECT_LT(relativeLoss(w, q, columns, hessianOf(columns, 0.5)), 0.15);
  for (int64_t c = 0; c < columns; ++c)
    EXPECT_EQ(q[5 * columns + c], 0.0f);
}

// One row, one column, groups larger than the matrix.
TEST(TrellisQuantizer, TinyMatrices) {
  TrellisQuantizerOptions options;
  options.bits = {4};
  for (auto [rows, columns] :
       {std::pair<int64_t, int64_t>(1, 1), {1, 40}, {40, 1}, {3, 2}}) {
    std::vector<float> w = gaussian(rows * columns, 5);
    auto result = quantizeTrellis(w, rows, columns, {}, options, serial);
    EXPECT_LT(
        relativeLoss(w, decode(result, rows, columns, options), columns, {}),
        0.02)
        << rows << " x " << columns;
  }
}

TEST(TrellisQuantizer, ZerosTinyAndHuge) {
  TrellisQuantizerOptions options;
  options.taps = 6;
  std::vector<float> zero(32 * 16, 0.0f);
  auto result = quantizeTrellis(zero, 32, 16, {}, options, serial);
  EXPECT_EQ(decode(result, 32, 16, options), zero);
  EXPECT_EQ(result.proxyError, 0);
  // The numbers are float32, so the size of the weights does not matter.
  for (float size : {1e-12f, 1e12f}) {
    std::vector<float> w = gaussian(128 * 16, 6);
    for (float &x : w)
      x *= size;
    EXPECT_LT(quantizeTrellis(w, 128, 16, {}, options, serial).proxyError, 0.1);
  }
}

TEST(TrellisQuantizer, SameBytesForAnyThreads) {
  TrellisQuantizerOptions options;
  options.taps = 6;
  options.group = 24;
  std::vector<float> w = gaussian(90 * 40, 7), h = hessianOf(40, 0.8);
  auto a = quantizeTrellis(w, 90, 40, h, options, serial);
  auto b = quantizeTrellis(w, 90, 40, h, options, threaded);
  EXPECT_EQ(a.codes, b.codes);
  EXPECT_EQ(a.nodes, b.nodes);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.groupScales, b.groupScales);
  EXPECT_EQ(a.proxyError, b.proxyError);
  for (float v : a.scales)
    EXPECT_EQ(v, static_cast<float>(static_cast<_Float16>(v)));
  for (float v : a.groupScales)
    EXPECT_EQ(v, static_cast<float>(static_cast<_Float16>(v)));
}

// A singular Hessian (inputs that never vary) is damped until it factors.
TEST(TrellisQuantizer, SingularHessian) {
  std::vector<float> w = gaussian(64 * 16, 8), h(16 * 16, 0.0f);
  TrellisQuantizerOptions options;
  options.taps = 8;
  options.damping = 0;
  options.bits = {4};
  EXPECT_LT(quantizeTrellis(w, 64, 16, h, options, serial).proxyError, 0.1);
  std::fill(h.begin(), h.end(), 1.0f);
  EXPECT_LT(quantizeTrellis(w, 64, 16, h, options, serial).proxyError, 0.1);
}

TEST(TrellisQuantizer, RefusesBadInput) {
  TrellisQuantizerOptions options;
  std::vector<float> w(16 * 16, 1.0f), h;
  auto message = [&] {
    try {
      quantizeTrellis(w, 16, 16, h, options, serial);
    } catch (const std::invalid_argument &error) {
      return std::string(error.what());
    }
    return std::string();
  };
  w[3] = NAN;
  EXPECT_EQ(message(), "the weight has elements that are not finite");
  w[3] = 1;
  h.assign(16 * 16, INFINITY);
  EXPECT_EQ(message(), "the Hessian has elements that are not finite");
  h.clear();
  options.bits = {2, 2};
  EXPECT_EQ(message(),
            "bits must give one width, or one for each of the 1 groups");
  options.bits = {5};
  EXPECT_EQ(message(), "widths are 1 to 4 bits");
  options.bits = {2};
  options.taps = 2;
  EXPECT_EQ(message(), "taps must exceed the bits of a weight");
  options.taps = 21;
  EXPECT_EQ(message(), "taps must be 2 to 20");
  options.taps = 9;
  options.additive = true;
  EXPECT_EQ(message(), "additive nodes need an even number of taps");
}

//===- PointQuantizerTest.cpp - Leech and E8P codes of one matrix ---------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Learning/PointQuantizer.h"
#include "Gaussian.h"
#include "Quantization.h"
#include "glvq/Lattice/E8.h"

#include <gtest/gtest.h>

#include <stdexcept>

using namespace glvq;
using namespace glvq::learning;

namespace {

/// A code with its quantizer and decoder.
struct Family {
  PointCode code;
  lattice::LeechCode leech; ///< not for E8P

  static Family makeLeech(unsigned first, unsigned last, unsigned gain,
                          unsigned residual) {
    auto g = lattice::makeGaussianLeechCode(first, last, gain, residual);
    return {makeLeechPointCode(g), g.code};
  }
  static Family makeE8P() { return {makeE8PPointCode(), {}}; }

  std::vector<float> decode(const PointQuantizerResult &r, int64_t rows,
                            int64_t columns, int64_t group) const {
    auto layout =
        lattice::PointLayout::create(columns, code.dim, group, code.fieldBits);
    EXPECT_EQ(static_cast<int64_t>(r.codes.size()),
              rows * layout->getNumWords());
    EXPECT_EQ(static_cast<int64_t>(r.groupScales.size()),
              layout->getNumSlots());
    std::vector<float> out(rows * columns);
    for (int64_t row = 0; row < rows; ++row) {
      auto words = std::span(r.codes).subspan(row * layout->getNumWords(),
                                              layout->getNumWords());
      auto to = std::span(out).subspan(row * columns, columns);
      if (code.dim == 8)
        decodeE8PRow(*layout, words, r.scales[row], r.groupScales, to);
      else
        decodeLeechRow(*layout, leech, words, r.scales[row], r.groupScales, to);
    }
    return out;
  }
};

} // namespace

// What is stored decodes to the loss that was reported, the code's own on
// Gaussian data.
TEST(PointQuantizer, GaussianError) {
  std::vector<float> w = gaussian(128 * 192, 1);
  auto check = [&](const Family &family, double expected) {
    PointQuantizerOptions options;
    auto r = quantizePoints(family.code, w, 128, 192, {}, options, serial);
    double loss =
        relativeLoss(w, family.decode(r, 128, 192, options.group), 192, {});
    EXPECT_NEAR(r.proxyError, loss, 1e-5);
    EXPECT_NEAR(loss, expected, 0.03 * expected);
  };
  check(Family::makeLeech(0, 13, 0, 0), 0.0775);
  check(Family::makeLeech(2, 12, 1, 0), 0.078);
  check(Family::makeE8P(), 0.0914);
}

TEST(PointQuantizer, FeedbackLowersTheLoss) {
  constexpr int64_t rows = 128, columns = 96;
  std::vector<float> w = gaussian(rows * columns, 3);
  std::vector<float> h = hessianOf(columns, 0.9);
  for (const Family &family :
       {Family::makeLeech(0, 13, 0, 0), Family::makeE8P()}) {
    PointQuantizerOptions options;
    auto blind =
        quantizePoints(family.code, w, rows, columns, {}, options, serial);
    auto seeing =
        quantizePoints(family.code, w, rows, columns, h, options, serial);
    double without = relativeLoss(
        w, family.decode(blind, rows, columns, options.group), columns, h);
    double with = relativeLoss(
        w, family.decode(seeing, rows, columns, options.group), columns, h);
    EXPECT_NEAR(seeing.proxyError, with, 0.1 * with); // without the damping
    EXPECT_LT(with, 0.9 * without);

    options.refinements = 0;
    auto plain =
        quantizePoints(family.code, w, rows, columns, h, options, serial);
    EXPECT_LT(seeing.proxyError, plain.proxyError);
  }
}

// Columns that divide by neither the group nor the points, rows that do not
// fill a piece, rows of zeros, and rows of very different sizes.
TEST(PointQuantizer, RaggedAndZero) {
  constexpr int64_t rows = 37, columns = 109;
  std::vector<float> w = gaussian(rows * columns, 4);
  std::fill_n(w.begin() + 5 * columns, columns, 0.0f);
  for (int64_t c = 0; c < columns; ++c)
    w[7 * columns + c] *= 50;
  std::vector<float> h = hessianOf(columns, 0.5);
  for (const Family &family :
       {Family::makeLeech(0, 13, 0, 3), Family::makeLeech(3, 3, 0, 0),
        Family::makeE8P()}) {
    PointQuantizerOptions options;
    options.group = 48;
    auto r = quantizePoints(family.code, w, rows, columns, h, options, serial);
    std::vector<float> q = family.decode(r, rows, columns, options.group);
    EXPECT_LT(relativeLoss(w, q, columns, h), 0.3);
    for (int64_t c = 0; c < columns; ++c)
      EXPECT_EQ(q[5 * columns + c], 0.0f);
  }
}

TEST(PointQuantizer, SameBytesForAnyThreads) {
  std::vector<float> w = gaussian(50 * 72, 7), h = hessianOf(72, 0.8);
  Family family = Family::makeLeech(0, 13, 0, 0);
  PointQuantizerOptions options;
  options.group = 48;
  auto a = quantizePoints(family.code, w, 50, 72, h, options, serial);
  auto b = quantizePoints(family.code, w, 50, 72, h, options, threaded);
  EXPECT_EQ(a.codes, b.codes);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.groupScales, b.groupScales);
}

TEST(PointQuantizer, Refusals) {
  Family family = Family::makeE8P();
  std::vector<float> w = gaussian(4 * 16, 8);
  PointQuantizerOptions options;
  auto message = [&]() -> std::string {
    try {
      quantizePoints(family.code, w, 4, 16, {}, options, serial);
    } catch (const std::invalid_argument &error) {
      return error.what();
    }
    return "";
  };
  options.group = 12;
  EXPECT_EQ(message(), "group must be a multiple of 8");
  options.group = 16;
  EXPECT_EQ(message(), "");
  w[3] = std::nanf("");
  EXPECT_EQ(message(), "the weight has elements that are not finite");
}

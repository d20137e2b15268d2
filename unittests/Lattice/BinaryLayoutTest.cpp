//===- BinaryLayoutTest.cpp - Storage and decoding of binary codes --------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/BinaryLayout.h"
#include "glvq/Lattice/Lattice.h"

#include <gtest/gtest.h>

#include <random>

using namespace glvq::lattice;

static BinaryLayout make(int64_t columns, int64_t dim, int64_t group,
                         std::vector<WidthRun> runs) {
  std::string error;
  auto layout = BinaryLayout::create(columns, dim, group, runs, &error);
  EXPECT_TRUE(layout) << error;
  return *layout;
}

static std::vector<uint8_t> randomBits(int64_t count) {
  std::mt19937 random(1);
  std::vector<uint8_t> bits(count);
  for (uint8_t &bit : bits)
    bit = random() & 1;
  return bits;
}

TEST(BinaryLayout, SizesAndPlacesAsTheFormatSays) {
  // 3/2 bits: points of 12; a group of 24 columns has 36 bits, so two words.
  BinaryLayout layout = make(50, 8, 24, {{12, 3}});
  EXPECT_EQ(layout.getNumWords(), 2 + 2 + 1);
  EXPECT_EQ(layout.getSlotPoints(2), 1);
  EXPECT_EQ(layout.getNumBits(), 36 + 36 + 12);
  EXPECT_EQ(layout.getStorageBits(10),
            10 * 5 * 32 + 8 * 12 * 16 + 10 * 16 + 3 * 16);

  std::vector<uint8_t> bits(layout.getNumBits(), 0);
  bits[33] = 1; // the second word of slot 0
  bits[36] = 1; // the first bit of slot 1
  std::vector<int32_t> words(layout.getNumWords());
  layout.pack(bits, words);
  EXPECT_EQ(words, (std::vector<int32_t>{0, 2, 1, 0, 0}));
}

TEST(BinaryLayout, RoundTrip) {
  for (const BinaryLayout &layout :
       {make(96, 8, 32, {{16, 3}}), make(77, 4, 20, {{1, 1}, {6, 2}, {13, 1}}),
        make(40, 32, 64, {{64, 1}}), make(5, 1, 2, {{8, 3}})}) {
    std::vector<uint8_t> bits = randomBits(layout.getNumBits());
    std::vector<uint8_t> back(bits.size());
    std::vector<int32_t> words(layout.getNumWords(), -1);
    layout.pack(bits, words);
    layout.unpack(words, back);
    EXPECT_EQ(bits, back);
  }
}

// With B = [2^(b-1) I | … | I] / 2 the signs are the digits of a lattice
// code's integers, so both codes decode to the same weights.
TEST(BinaryLayout, ContainsTheScalarLattice) {
  constexpr int64_t columns = 45, dim = 4, group = 20, width = 3;
  BinaryLayout layout = make(columns, dim, group, {{dim * width, 3}});
  std::vector<float> generator(dim * dim * width, 0.0f);
  for (int64_t i = 0; i < dim; ++i)
    for (int64_t bit = 0; bit < width; ++bit)
      generator[i * dim * width + bit * dim + i] =
          static_cast<float>(1 << bit) / 2;
  std::vector<uint8_t> bits = randomBits(layout.getNumBits());
  std::vector<int32_t> words(layout.getNumWords());
  layout.pack(bits, words);
  std::vector<float> groupScales = {1, 2, 4}, out(columns);
  std::vector<int32_t> order = {1, 0, 2};
  decodeBinaryRow(layout, words, generator, 0.5f, groupScales, order, out);
  for (int64_t slot = 0; slot < 3; ++slot)
    for (int64_t c = 0; c < layout.getSlotColumns(slot); ++c) {
      uint8_t field = 0;
      for (int64_t bit = 0; bit < width; ++bit)
        field |= bits[layout.getBitOffset(slot) + c / dim * dim * width +
                      bit * dim + c % dim]
                 << bit;
      EXPECT_FLOAT_EQ(out[order[slot] * group + c],
                      0.5f * groupScales[slot] * fieldValue(field, width));
    }
}

TEST(BinaryLayout, RefusesWhatCannotBeStored) {
  auto reason = [](int64_t dim, std::vector<WidthRun> runs) {
    std::string error;
    EXPECT_FALSE(BinaryLayout::create(64, dim, 32, runs, &error));
    return error;
  };
  EXPECT_EQ(reason(0, {{2, 2}}), "columns, dim and group must be positive");
  EXPECT_EQ(reason(5, {{2, 2}}),
            "a group of 32 columns is not a whole number of points of 5");
  EXPECT_EQ(reason(4, {{33, 2}}),
            "points of 33 bits; points of 4 columns have 1 to 32");
  EXPECT_EQ(reason(4, {{8, 3}}), "the runs of widths do not add up to 2 slots");
  EXPECT_EQ(reason(4, {{8, 1}}), "the runs of widths cover 1 slots of 2");
}

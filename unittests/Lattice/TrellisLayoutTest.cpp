//===- TrellisLayoutTest.cpp - Storage and decoding of trellis codes ------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/TrellisLayout.h"

#include <gtest/gtest.h>

#include <random>

using namespace glvq::lattice;

static TrellisLayout make(int64_t rows, int64_t columns, unsigned taps,
                          int64_t group, std::vector<WidthRun> runs) {
  std::string error;
  auto layout = TrellisLayout::create(rows, columns, taps, group, runs, &error);
  EXPECT_TRUE(layout) << error;
  return *layout;
}

static std::vector<int32_t> randomWords(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> words(count);
  for (int32_t &word : words)
    word = static_cast<int32_t>(random());
  return words;
}

TEST(TrellisLayout, SizesAsTheFormatSays) {
  // Rows of bits k M + L - k; the columns of a run fill whole words.
  TrellisLayout uniform = make(10, 70, 12, 32, {{2, 3}});
  ASSERT_EQ(uniform.getRuns().size(), 1u);
  EXPECT_EQ(uniform.getRuns()[0].bitRows, 2 * 10 + 10);
  EXPECT_EQ(uniform.getRuns()[0].rowWords, 3);
  EXPECT_EQ(uniform.getNumWords(), 30 * 3);
  EXPECT_EQ(uniform.getStorageBits(), 90 * 32 + 12 * 32 + 10 * 16 + 3 * 16);
  EXPECT_EQ(uniform.getStorageBits(true),
            90 * 32 + 2 * 64 * 32 + 10 * 16 + 3 * 16);

  TrellisLayout mixed = make(10, 70, 12, 32, {{1, 1}, {3, 2}});
  EXPECT_EQ(mixed.getRuns()[1].columns, 38);
  EXPECT_EQ(mixed.getRuns()[1].firstWord, 21);
  EXPECT_EQ(mixed.getNumWords(), 21 + (3 * 10 + 9) * 2);
  EXPECT_EQ(mixed.getStorageBits(),
            mixed.getNumWords() * 32 + 2 * 12 * 32 + 10 * 16 + 3 * 16 + 3 * 32);
}

TEST(TrellisLayout, ColumnsGoRoundAndTouchNoOther) {
  TrellisLayout layout = make(5, 50, 7, 20, {{1, 1}, {2, 2}});
  std::vector<int32_t> words = randomWords(layout.getNumWords(), 3);
  for (const TrellisLayout::Run &run : layout.getRuns()) {
    std::vector<uint8_t> before(run.bitRows), bits(run.bitRows);
    layout.getColumn(run, run.columns - 2, words, before);
    for (int64_t r = 0; r < run.bitRows; ++r)
      bits[r] = r % 3 == 0;
    layout.setColumn(run, run.columns - 1, bits, words);
    std::vector<uint8_t> back(run.bitRows), after(run.bitRows);
    layout.getColumn(run, run.columns - 1, words, back);
    layout.getColumn(run, run.columns - 2, words, after);
    EXPECT_EQ(bits, back);
    EXPECT_EQ(before, after);
  }
}

/// The formula of docs/CheckpointFormat.md, read off the words themselves.
static void expectFormula(const TrellisLayout &layout, bool additive,
                          bool withOrder) {
  unsigned taps = layout.getTaps(), half = taps / 2;
  size_t size = additive ? size_t(2) << half : taps;
  std::vector<int32_t> words = randomWords(layout.getNumWords(), 11), order;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  auto draw = [&](size_t count) {
    std::vector<float> values(count);
    for (float &value : values)
      value = normal(random);
    return values;
  };
  std::vector<float> nodes = draw(size * layout.getRuns().size());
  std::vector<float> scales = draw(layout.getRows());
  std::vector<float> groupScales = draw(layout.getNumSlots());
  if (withOrder) // The last slot may be short, the others change places.
    for (int64_t s = 0, e = layout.getNumSlots(); s < e; ++s)
      order.push_back(s == e - 1 ? s : e - 2 - s);

  std::vector<float> out(layout.getRows() * layout.getColumns());
  for (int64_t s = 0; s < layout.getNumSlots(); ++s)
    decodeTrellisSlot(layout, words,
                      {nodes, additive, scales, groupScales, order}, s, out);

  size_t index = 0;
  for (const TrellisLayout::Run &run : layout.getRuns()) {
    const float *node = &nodes[size * index++];
    for (int64_t t = 0; t < layout.getRows(); ++t)
      for (int64_t c = 0; c < run.columns; ++c) {
        auto bit = [&](int64_t row) {
          return words[run.firstWord + row * run.rowWords + c / 32] >> c % 32 &
                 1;
        };
        float sum = 0;
        int64_t number = 0;
        for (unsigned i = 0; i < taps; ++i) {
          int64_t b = bit(run.width * t + taps - 1 - i);
          number |= b << i;
          sum += additive ? 0 : node[i] * static_cast<float>(2 * b - 1);
        }
        if (additive)
          sum = node[number & ((1 << half) - 1)] +
                node[(1 << half) + (number >> half)];
        int64_t slot = run.firstSlot + c / layout.getGroup();
        int64_t column = (withOrder ? order[slot] : slot) * layout.getGroup() +
                         c % layout.getGroup();
        float expected = scales[t] * groupScales[slot] * sum;
        EXPECT_NEAR(out[t * layout.getColumns() + column], expected,
                    1e-4 * (1 + std::abs(expected)));
      }
  }
}

TEST(TrellisLayout, DecodesByTheFormula) {
  expectFormula(make(9, 70, 12, 32, {{2, 3}}), false, false);
  expectFormula(make(1, 3, 1, 8, {{1, 1}}), false, false);
  expectFormula(make(6, 33, 32, 11, {{3, 3}}), false, false);
  expectFormula(make(7, 75, 6, 20, {{1, 1}, {2, 2}, {4, 1}}), false, true);
  expectFormula(make(9, 70, 12, 32, {{2, 3}}), true, false);
  expectFormula(make(7, 75, 6, 20, {{1, 1}, {2, 2}, {4, 1}}), true, true);
}

TEST(TrellisLayout, RefusesWhatCannotBeStored) {
  auto reason = [](int64_t rows, unsigned taps, std::vector<WidthRun> runs) {
    std::string error;
    EXPECT_FALSE(TrellisLayout::create(rows, 64, taps, 32, runs, &error));
    return error;
  };
  EXPECT_EQ(reason(0, 8, {{2, 2}}), "rows, columns and group must be positive");
  EXPECT_EQ(reason(4, 0, {{1, 2}}), "a trellis of 0 taps; taps are 1 to 32");
  EXPECT_EQ(reason(4, 33, {{1, 2}}), "a trellis of 33 taps; taps are 1 to 32");
  EXPECT_EQ(reason(4, 8, {{9, 2}}), "a width of 9 bits; widths are 1 to 8");
  EXPECT_EQ(reason(4, 2, {{3, 2}}),
            "a width of 3 bits needs as many taps, got 2");
  EXPECT_EQ(reason(4, 8, {{2, 3}}),
            "the runs of widths do not add up to 2 slots");
  EXPECT_EQ(reason(4, 8, {{2, 1}}), "the runs of widths cover 1 slots of 2");
}

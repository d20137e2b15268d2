//===- CodeLayoutTest.cpp - Packing of fields -----------------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/CodeLayout.h"

#include <gtest/gtest.h>

#include <random>

using namespace glvq::lattice;

static CodeLayout make(int64_t columns, int64_t dim, int64_t group,
                       std::vector<WidthRun> runs) {
  std::string error;
  auto layout = CodeLayout::create(columns, dim, group, runs, &error);
  EXPECT_TRUE(layout) << error;
  return *layout;
}

static void expectRoundTrip(const CodeLayout &layout) {
  std::mt19937 random(7);
  std::vector<uint8_t> fields(layout.getNumFields()), back(fields.size());
  for (int64_t slot = 0; slot < layout.getNumSlots(); ++slot)
    for (int64_t i = 0; i < layout.getSlotFields(slot); ++i)
      fields[layout.getFieldOffset(slot) + i] =
          random() % (1u << layout.getWidth(slot));
  std::vector<int32_t> words(layout.getNumWords());
  layout.pack(fields, words);
  layout.unpack(words, back);
  EXPECT_EQ(fields, back);
}

// All widths, with fields that cross word boundaries and segments that end
// inside a word.
TEST(CodeLayout, RoundTripOfEveryWidth) {
  for (unsigned width = 1; width <= 8; ++width) {
    expectRoundTrip(make(96, 8, 96, {{width, 1}}));
    expectRoundTrip(make(40, 8, 24, {{width, 2}}));
    expectRoundTrip(make(37, 4, 12, {{width, 4}}));
  }
}

TEST(CodeLayout, RoundTripOfMixedWidths) {
  expectRoundTrip(make(100, 8, 24, {{1, 1}, {3, 2}, {4, 1}, {2, 1}}));
}

// The bit order of docs/CheckpointFormat.md, written out by hand.
TEST(CodeLayout, LittleEndFirst) {
  CodeLayout layout = make(16, 8, 16, {{3, 1}});
  std::vector<uint8_t> fields(16);
  for (int i = 0; i < 16; ++i)
    fields[i] = i % 8;
  std::vector<int32_t> words(layout.getNumWords());
  layout.pack(fields, words);
  ASSERT_EQ(words.size(), 2u);
  uint64_t stream = 0;
  for (int i = 0; i < 16; ++i)
    stream |= static_cast<uint64_t>(i % 8) << (3 * i);
  EXPECT_EQ(static_cast<uint32_t>(words[0]), static_cast<uint32_t>(stream));
  EXPECT_EQ(static_cast<uint32_t>(words[1]),
            static_cast<uint32_t>(stream >> 32));
}

// 20 columns in groups of 16 with runs of 8: the last slot has 4 columns and 8
// fields; every slot starts a new word.
TEST(CodeLayout, RaggedLastGroup) {
  CodeLayout layout = make(20, 8, 16, {{2, 2}});
  EXPECT_EQ(layout.getNumSlots(), 2);
  EXPECT_EQ(layout.getSlotColumns(1), 4);
  EXPECT_EQ(layout.getSlotFields(1), 8);
  EXPECT_EQ(layout.getWordOffset(1), 1);
  EXPECT_EQ(layout.getNumWords(), 2);
}

TEST(CodeLayout, StorageCountsEveryPart) {
  EXPECT_EQ(make(576, 8, 96, {{2, 6}}).getStorageBits(576),
            576 * 576 * 2 + 6 * 64 * 16 + 576 * 16);
  EXPECT_EQ(make(32, 8, 16, {{1, 1}, {3, 1}}).getStorageBits(4, true),
            4 * 32 * 3 + 2 * 64 * 16 + 4 * 16 + 2 * 32 + 2 * 64);
}

TEST(CodeLayout, RefusesWhatDoesNotFit) {
  std::string error;
  std::vector<WidthRun> wide{{9, 1}}, few{{2, 1}}, many{{2, 3}};
  EXPECT_FALSE(CodeLayout::create(8, 8, 8, wide, &error));
  EXPECT_EQ(error, "a width of 9 bits; widths are 1 to 8");
  EXPECT_FALSE(CodeLayout::create(16, 8, 8, few, &error));
  EXPECT_EQ(error, "the runs of widths cover 1 slots of 2");
  EXPECT_FALSE(CodeLayout::create(16, 8, 8, many, &error));
  EXPECT_EQ(error, "the runs of widths do not add up to 2 slots");
}

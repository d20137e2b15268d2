//===- PointLayoutTest.cpp - Tests of the layout of points ----------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/PointLayout.h"

#include "gtest/gtest.h"

#include <random>

using namespace glvq::lattice;

TEST(PointLayout, Sizes) {
  // 576 columns: 6 groups of 4 points of 48 bits.
  PointLayout leech = *PointLayout::create(576, 24, 96, {48});
  EXPECT_EQ(leech.getNumSlots(), 6);
  EXPECT_EQ(leech.getNumPoints(), 24);
  EXPECT_EQ(leech.getNumWords(), 36);
  EXPECT_EQ(leech.getBitOffset(5), 6 * 32 + 48);
  EXPECT_EQ(leech.getStorageBits(10, 2), 10 * 36 * 32 + 160 + 96 + 64);
  // A ragged last group, and groups that do not fill their words.
  PointLayout ragged = *PointLayout::create(100, 24, 48, {25});
  EXPECT_EQ(ragged.getNumSlots(), 3);
  EXPECT_EQ(ragged.getNumPoints(), 5);
  EXPECT_EQ(ragged.getNumWords(), 2 + 2 + 1);
  EXPECT_EQ(ragged.getBitOffset(2), 64);
  PointLayout last = *PointLayout::create(97, 8, 96, {16});
  EXPECT_EQ(last.getNumWords(), 7);

  std::string error;
  EXPECT_FALSE(PointLayout::create(96, 24, 32, {48}, &error));
  EXPECT_EQ(error,
            "a group of 32 columns is not a whole number of points of 24");
}

TEST(PointLayout, PackIsInvertible) {
  std::mt19937_64 random(1);
  using Fields = std::vector<unsigned>;
  for (const Fields &bits : {Fields{48}, Fields{47}, Fields{48, 24}, Fields{16},
                             Fields{64}, Fields{25}, Fields{1}})
    for (int64_t columns : {24, 72, 100, 480}) {
      PointLayout layout = *PointLayout::create(columns, 24, 72, bits);
      std::vector<uint64_t> fields;
      for (int64_t p = 0; p < layout.getNumPoints(); ++p)
        for (unsigned width : bits)
          fields.push_back(random() >> (64 - width));
      std::vector<int32_t> words(layout.getNumWords());
      std::vector<uint64_t> again(fields.size());
      layout.pack(fields, words);
      EXPECT_TRUE(layout.unpack(words, again));
      EXPECT_EQ(fields, again);
    }
}

TEST(PointLayout, PaddingIsChecked) {
  PointLayout layout = *PointLayout::create(120, 24, 72, {25});
  std::vector<int32_t> words(layout.getNumWords());
  std::vector<uint64_t> fields(layout.getNumPoints());
  ASSERT_EQ(words.size(), 5u);
  EXPECT_TRUE(layout.unpack(words, fields));
  words[2] = 1 << 10; // bit 74 is the last of the third point
  EXPECT_TRUE(layout.unpack(words, fields));
  words[2] = 1 << 11;
  EXPECT_FALSE(layout.unpack(words, fields));
  words[2] = 0;
  words[4] = 1 << 18;
  EXPECT_FALSE(layout.unpack(words, fields));
}

//===- GolayTest.cpp - Tests of the Golay code ----------------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Lattice/Golay.h"

#include "gtest/gtest.h"

using namespace glvq::lattice;

TEST(Golay, Weights) {
  const GolayCode &code = GolayCode::get();
  unsigned counts[25] = {};
  for (uint32_t word : code.getWords())
    ++counts[std::popcount(word)];
  for (unsigned weight = 0; weight <= 24; ++weight) {
    EXPECT_EQ(counts[weight], GolayCode::getCount(weight)) << weight;
    for (unsigned i = 0; i < counts[weight]; ++i)
      EXPECT_EQ(std::popcount(code.getWord(GolayCode::getFirst(weight) + i)),
                static_cast<int>(weight));
  }
}

TEST(Golay, IsLinearAndNumbered) {
  const GolayCode &code = GolayCode::get();
  for (unsigned i = 0; i < GolayCode::numWords; ++i) {
    uint32_t word = code.getWord(i);
    EXPECT_EQ(code.getIndex(word), i);
    EXPECT_TRUE(code.contains(word));
    EXPECT_TRUE(code.contains(word ^ code.getWord(1)));
    EXPECT_TRUE(code.contains(word ^ code.getWord(2000)));
    EXPECT_FALSE(code.contains(word ^ 1));
    EXPECT_FALSE(code.contains(word | 1u << 24));
  }
}

//===- IntegerLayout.h - Packed integers on tensor cores --------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// How lanes read rows of #glvq.integer, and where the activations of a column
// lie for it.
//
// An mma.sync.m16n8k32 multiplies 16 rows by 8 tokens over 32 columns. Which
// columns these are is free, as long as both operands agree; so they are those
// that a lane finds in the words that it loads. Four lanes read a row:
//
//   row g      | unit of lane 0 | lane 1 | lane 2 | lane 3 | lane 0 | …
//   row g + 8  | unit of lane 0 | …                        '- the next step
//
// A unit is a few whole words. Of widths that divide a byte, a field is masked
// where it stands, in the four bytes of a word at once:
//
//   word       | c15 c14 c13 c12 | c11 c10 c9 c8 | c7 c6 c5 c4 | c3 c2 c1 c0 |
//   & 0x0c0c…  |         c13     |         c9    |       c5    |       c1    |
//
// These are bytes of 4 u, and 4 is taken out of the sum. The activations of
// columns 1, 5, 9, 13 therefore lie together; those of a word follow each
// other in the order c0 c4 c8 c12, c1 c5 c9 c13, …. Fields of other widths are
// spread over the bytes of a word, four neighbours at a time.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LIB_CONVERSION_GLVQTOGPU_INTEGERLAYOUT_H
#define GLVQ_LIB_CONVERSION_GLVQTOGPU_INTEGERLAYOUT_H

#include "llvm/Support/MathExtras.h"
#include <algorithm>
#include <cstdint>
#include <numeric>

namespace mlir::glvq::gpukernels {

struct IntegerLayout {
  int64_t bits, columns;
  bool inPlace;          ///< fields are masked where they stand
  int64_t words;         ///< words of a row
  int64_t vectorWords;   ///< words that one aligned load takes: 1, 2 or 4
  int64_t unitWords;     ///< words of a unit: a multiple of `vectorWords`
  int64_t unitFields;    ///< fields of a unit: a multiple of 8
  int64_t steps;         ///< steps of a row: four units each
  int64_t paddedColumns; ///< activations of a token, in bytes

  IntegerLayout(int64_t bits, int64_t columns)
      : bits(bits), columns(columns), inPlace(8 % bits == 0),
        words(llvm::divideCeil(columns * bits, 32)),
        vectorWords(std::gcd<int64_t>(words, 4)) {
    // The words after which fields start at a word again.
    int64_t pattern = bits / std::gcd<int64_t>(bits, 32);
    // A product takes eight fields of a lane.
    unitWords = std::lcm(pattern, std::max<int64_t>(vectorWords, 2));
    while (vectorWords > 1 && unitWords * 32 / bits > maxUnitFields) {
      vectorWords /= 2;
      unitWords = std::lcm(pattern, std::max<int64_t>(vectorWords, 2));
    }
    unitFields = unitWords * 32 / bits;
    steps = llvm::divideCeil(words, 4 * unitWords);
    paddedColumns = steps * 4 * unitFields;
  }

  /// Whether sums of so many columns fit into 32 bits, twice.
  bool isExact() const {
    int64_t largest = ((int64_t(1) << bits) - 1) << (inPlace ? 8 - bits : 1);
    return columns * 127 * std::max(largest, int64_t(2) << bits) <= INT32_MAX;
  }

private:
  /// More would not leave enough registers for two tiles of rows.
  static constexpr int64_t maxUnitFields = 128;
};

} // namespace mlir::glvq::gpukernels

#endif // GLVQ_LIB_CONVERSION_GLVQTOGPU_INTEGERLAYOUT_H

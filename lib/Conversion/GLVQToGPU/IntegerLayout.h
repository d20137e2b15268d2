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
// columns 1, 5, 9, 13 therefore lie together. A product takes two words of
// codes, and the two words of activations that they meet lie side by side:
// c0 c4 c8 c12 of the first, of the second, c1 c5 c9 c13 of the first, ….
// Fields of other widths are spread over the bytes of a word, four neighbours
// at a time.
//
// With activations of halves it is mma.sync.m16n8k16, and a word is two halves
// instead of four bytes: c0 c8, c1 c9, …. A field masked within the lower ten
// bits of a half is a subnormal number, u 2^(position - 24), exactly.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LIB_CONVERSION_GLVQTOGPU_INTEGERLAYOUT_H
#define GLVQ_LIB_CONVERSION_GLVQTOGPU_INTEGERLAYOUT_H

#include "llvm/Support/MathExtras.h"
#include <algorithm>
#include <cstdint>
#include <numeric>

namespace mlir::glvq::gpukernels {

/// What activations are rounded to.
enum class Activations { Int8, Float16 };

struct IntegerLayout {
  int64_t bits, columns;
  Activations activations;
  bool inPlace;          ///< fields are masked where they stand
  int64_t words;         ///< words of a row
  int64_t vectorWords;   ///< words that one aligned load takes: 1, 2 or 4
  int64_t unitWords;     ///< words of a unit: a multiple of `vectorWords`
  int64_t unitFields;    ///< fields of a unit: a multiple of 8
  int64_t steps;         ///< steps of a row: four units each
  int64_t paddedColumns; ///< activations of a token

  IntegerLayout(int64_t bits, int64_t columns, Activations activations)
      : bits(bits), columns(columns), activations(activations),
        inPlace(8 % bits == 0), words(llvm::divideCeil(columns * bits, 32)),
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

  /// Activations in a word: bytes or halves.
  int64_t perWord() const { return activations == Activations::Int8 ? 4 : 2; }
  /// Words of a token's activations.
  int64_t tokenWords() const { return paddedColumns / perWord(); }

  /// The columns of the first activation of a word, and from one to the next
  /// in it: fields that stand in the same place of the bytes (halves) of a word
  /// of codes, or neighbours.
  int64_t columnStride() const { return inPlace ? 32 / bits / perWord() : 1; }

  /// Halves: by what the word of codes with field number `index` of a half is
  /// shifted down, so that the field is within the lower ten bits, and where it
  /// is then.
  int64_t halfShift(int64_t index) const {
    if (index * bits + bits <= 10)
      return 0;
    return 16 % bits == 0 && bits >= 4 ? 8 : 10;
  }
  int64_t halfPosition(int64_t index) const {
    return index * bits - halfShift(index);
  }

  /// Whether sums of so many columns fit into 32 bits, twice.
  bool isExact() const {
    if (activations != Activations::Int8)
      return true;
    int64_t largest = ((int64_t(1) << bits) - 1) << (inPlace ? 8 - bits : 1);
    return columns * 127 * std::max(largest, int64_t(2) << bits) <= INT32_MAX;
  }

private:
  /// More would not leave enough registers for two tiles of rows.
  static constexpr int64_t maxUnitFields = 128;
};

} // namespace mlir::glvq::gpukernels

#endif // GLVQ_LIB_CONVERSION_GLVQTOGPU_INTEGERLAYOUT_H

//===- E8.h - The padded E8 codebook (E8P) ----------------------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// QuIP#'s code of 2 bits a weight (arXiv 2402.04396): 2^16 points of E8 + 1/4,
// each a point of D8 + 1/2 (half-integers with an even sum) moved by +-1/4 in
// all coordinates. 256 patterns of absolute values serve all signs: the 227
// with norm <= 10 and 29 of norm 12.
//
// A code of 16 bits: bits 0-7 number the pattern, bit 8 + i is set when
// coordinate i < 7 of the point of D8 + 1/2 is negative (the last sign makes
// the sum even), bit 15 is set for +1/4.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LATTICE_E8_H
#define GLVQ_LATTICE_E8_H

#include "glvq/Lattice/ParallelFor.h"
#include "glvq/Lattice/PointLayout.h"

#include <array>
#include <cstdint>
#include <span>

namespace glvq::lattice {

constexpr unsigned e8Dim = 8;

/// The patterns by norm, then lexicographically. The four bits at 4 i are
/// twice the absolute value of coordinate i (1, 3 or 5); the highest of all
/// is set when the sum of the pattern is odd.
const std::array<uint32_t, 256> &getE8PTable();

/// The point of a code.
std::array<float, e8Dim> getE8PPoint(uint16_t code);

/// The code of the point nearest to x, exactly.
uint16_t findNearestE8P(std::span<const float, e8Dim> x);

/// Encodes whole blocks of 8 floats; the points go to `decoded`.
void encodeE8P(std::span<const float> x, std::span<uint16_t> codes,
               std::span<float> decoded, const ParallelFor &parallelFor);

/// One row of a weight in storage: `words` are its packed codes, `groupScales`
/// one for each slot; `out` has layout.getColumns() elements.
void decodeE8PRow(const PointLayout &layout, std::span<const int32_t> words,
                  float scale, std::span<const float> groupScales,
                  std::span<float> out);

} // namespace glvq::lattice

#endif // GLVQ_LATTICE_E8_H

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The order of packed integers that CPU kernels read: sixteen rows side by
// side, and the bytes of a word in four columns side by side.

#ifndef GLVQ_LATTICE_INTERLEAVE_H
#define GLVQ_LATTICE_INTERLEAVE_H

#include <cstdint>
#include <vector>

namespace glvq::lattice {

/// Rows of a tile: word w of row r of tile t is word 16 w + r of the tile.
inline constexpr int64_t kInterleavedRows = 16;
/// Columns of a block; fields of b bits make b words of each row.
inline constexpr int64_t kInterleavedColumns = 32;

/// Words of a row with so many columns, whole blocks.
inline int64_t getInterleavedWords(int64_t columns, int64_t bits) {
  return (columns + kInterleavedColumns - 1) / kInterleavedColumns * bits;
}

/// Where bits of a field lie: bits firstBit … firstBit + numBits - 1 of it are
/// bits position … of a byte.
struct FieldPiece {
  int64_t byte;
  int32_t position, firstBit, numBits;
};

/// The one or two pieces of field `step` of a block. Byte i of the b words of a
/// row is a stream of 8 b bits of its own, with the fields of the columns i,
/// 4 + i, 8 + i, …, 28 + i of the block; `FieldPiece::byte` counts its bytes,
/// that is, words.
std::vector<FieldPiece> getFieldPieces(int64_t bits, int64_t step);

/// From rows of packed fields, field c at bits c b … of its row, to tiles.
/// `codes` has `rows` rows of `rowWords` words, `stride` words apart; columns
/// beyond its words and rows beyond the last one are zeros. `tiles` gets
/// ceil(rows / 16) tiles of 16 getInterleavedWords(columns, bits) words.
void interleave(const uint32_t *codes, int64_t rows, int64_t rowWords,
                int64_t stride, int64_t columns, int64_t bits, uint32_t *tiles);

} // namespace glvq::lattice

#endif // GLVQ_LATTICE_INTERLEAVE_H

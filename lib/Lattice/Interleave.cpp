// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Packed integers in the order of CPU kernels.

#include "glvq/Lattice/Interleave.h"

#include <algorithm>

using namespace glvq::lattice;

std::vector<FieldPiece> glvq::lattice::getFieldPieces(int64_t bits,
                                                      int64_t step) {
  std::vector<FieldPiece> pieces;
  for (int64_t bit = 0; bit < bits;) {
    int64_t place = step * bits + bit;
    int64_t count = std::min(bits - bit, 8 - place % 8);
    pieces.push_back({place / 8, static_cast<int32_t>(place % 8),
                      static_cast<int32_t>(bit), static_cast<int32_t>(count)});
    bit += count;
  }
  return pieces;
}

void glvq::lattice::interleave(const uint32_t *codes, int64_t rows,
                               int64_t rowWords, int64_t stride,
                               int64_t columns, int64_t bits, uint32_t *tiles) {
  int64_t words = getInterleavedWords(columns, bits);
  int64_t numTiles = (rows + kInterleavedRows - 1) / kInterleavedRows;
  std::fill_n(tiles, numTiles * kInterleavedRows * words, 0);
  uint32_t mask = (1u << bits) - 1;
  for (int64_t row = 0; row < rows; ++row) {
    const uint32_t *from = codes + row * stride;
    uint32_t *to = tiles + row / kInterleavedRows * kInterleavedRows * words +
                   row % kInterleavedRows;
    for (int64_t column = 0; column < columns; ++column) {
      int64_t bit = column * bits, word = bit / 32;
      if (word >= rowWords)
        break;
      uint64_t pair = from[word];
      if (word + 1 < rowWords)
        pair |= uint64_t(from[word + 1]) << 32;
      uint32_t field = static_cast<uint32_t>(pair >> bit % 32) & mask;
      int64_t inBlock = column % kInterleavedColumns;
      int64_t place = inBlock / 4 * bits;
      uint32_t *block =
          to + column / kInterleavedColumns * bits * kInterleavedRows;
      // The field may go on in the next byte of its stream.
      uint32_t spread = field << place % 8;
      int64_t shift = 8 * (inBlock % 4);
      block[place / 8 * kInterleavedRows] |= (spread & 255) << shift;
      if (spread > 255)
        block[(place / 8 + 1) * kInterleavedRows] |= spread >> 8 << shift;
    }
  }
}

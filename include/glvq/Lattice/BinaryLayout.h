//===- BinaryLayout.h - How the bits of binary codes lie in words -*- C++
//-*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// The storage of a binary code as docs/CheckpointFormat.md fixes it, and its
// decoder. Every run of d columns of a row is a point of n bits b, which stand
// for the weights
//
//   w = scale[row] group_scales[slot] B (2 b - 1)
//
// with a generator B of d x n, row-major, for each run of slots of one width.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LATTICE_BINARYLAYOUT_H
#define GLVQ_LATTICE_BINARYLAYOUT_H

#include "glvq/Lattice/CodeLayout.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace glvq::lattice {

class BinaryLayout {
public:
  /// At most this many bits for a weight.
  static constexpr unsigned maxWidth = 8;

  /// A matrix of `columns` columns in groups of `group`, in points of `dim`
  /// columns. The widths of the runs are bits of a *point*. Returns nothing,
  /// with the reason in `error`, unless the runs cover the
  /// ceil(columns / group) slots and all points have 1 to 8 dim bits.
  static std::optional<BinaryLayout> create(int64_t columns, int64_t dim,
                                            int64_t group,
                                            std::span<const WidthRun> runs,
                                            std::string *error = nullptr);

  int64_t getColumns() const { return columns; }
  int64_t getDim() const { return dim; }
  int64_t getGroup() const { return group; }
  int64_t getNumSlots() const { return static_cast<int64_t>(slots.size()); }
  int64_t getNumRuns() const { return numRuns; }
  bool isMixed() const { return numRuns > 1; }
  /// n of the run with the largest.
  unsigned getMaxWidth() const;

  /// Words of one row.
  int64_t getNumWords() const { return numWords; }
  /// Bits of all points of one row.
  int64_t getNumBits() const { return numBits; }

  /// Bits of a point of a slot.
  unsigned getWidth(int64_t slot) const { return slots[slot].width; }
  /// The run a slot belongs to.
  int64_t getRun(int64_t slot) const { return slots[slot].run; }
  int64_t getSlotColumns(int64_t slot) const;
  /// ceil(columns / dim) of a slot.
  int64_t getSlotPoints(int64_t slot) const;
  /// The first bit of a slot among those of a row.
  int64_t getBitOffset(int64_t slot) const { return slots[slot].bit; }
  /// The first word of a slot among those of a row.
  int64_t getWordOffset(int64_t slot) const { return slots[slot].word; }

  /// Packs one row: getNumBits() bytes of 0 or 1, point by point, to
  /// getNumWords() words, each slot from a whole word on.
  void pack(std::span<const uint8_t> bits, std::span<int32_t> words) const;
  /// The inverse of pack().
  void unpack(std::span<const int32_t> words, std::span<uint8_t> bits) const;

  /// Bits that `rows` rows take in storage, all parts included: codes,
  /// generators, scales of rows and groups (f16), the order when widths are
  /// mixed.
  int64_t getStorageBits(int64_t rows) const;

private:
  BinaryLayout() = default;

  struct Slot {
    unsigned width;
    int64_t run, bit, word;
  };
  int64_t columns = 0, dim = 0, group = 0;
  int64_t numRuns = 0, numBits = 0, numWords = 0;
  std::vector<Slot> slots;
};

/// One row: `words` are its packed codes, `generators` [runs, d, n] with n the
/// largest of all runs, `groupScales` [slots] in the order of storage, `order`
/// [slots] or empty; `out` has layout.getColumns() elements.
void decodeBinaryRow(const BinaryLayout &layout, std::span<const int32_t> words,
                     std::span<const float> generators, float scale,
                     std::span<const float> groupScales,
                     std::span<const int32_t> order, std::span<float> out);

} // namespace glvq::lattice

#endif // GLVQ_LATTICE_BINARYLAYOUT_H

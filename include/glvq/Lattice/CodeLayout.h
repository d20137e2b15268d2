//===- CodeLayout.h - How the fields of lattice codes lie in words *- C++
//-*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// The storage of `codes` as docs/CheckpointFormat.md fixes it: per row one bit
// stream for each slot, padded to whole 32-bit words. Everything that reads or
// writes codes on the host goes through this class, so that the rule exists
// once.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LATTICE_CODELAYOUT_H
#define GLVQ_LATTICE_CODELAYOUT_H

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace glvq::lattice {

/// `slots` consecutive slots whose fields are `width` bits wide.
struct WidthRun {
  unsigned width;
  int64_t slots;
};

class CodeLayout {
public:
  static constexpr unsigned maxWidth = 8;

  /// A matrix of `columns` columns in groups of `group`, in runs of `dim`.
  /// Returns nothing, with the reason in `error`, unless the runs cover the
  /// ceil(columns / group) slots and all widths are 1 to 8.
  static std::optional<CodeLayout> create(int64_t columns, int64_t dim,
                                          int64_t group,
                                          std::span<const WidthRun> runs,
                                          std::string *error = nullptr);

  int64_t getColumns() const { return columns; }
  int64_t getDim() const { return dim; }
  int64_t getGroup() const { return group; }
  int64_t getNumSlots() const { return static_cast<int64_t>(widths.size()); }
  /// Words of one row.
  int64_t getNumWords() const { return wordOffsets.back(); }
  /// Fields of one row, those of padding columns included.
  int64_t getNumFields() const { return fieldOffsets.back(); }

  unsigned getWidth(int64_t slot) const { return widths[slot]; }
  /// Columns of a slot: `group`, or what is left for the last one.
  int64_t getSlotColumns(int64_t slot) const;
  /// The first field of a slot among the fields of a row.
  int64_t getFieldOffset(int64_t slot) const { return fieldOffsets[slot]; }
  int64_t getSlotFields(int64_t slot) const {
    return fieldOffsets[slot + 1] - fieldOffsets[slot];
  }
  /// The first word of a slot's segment among the words of a row.
  int64_t getWordOffset(int64_t slot) const { return wordOffsets[slot]; }
  bool isMixed() const;

  /// Packs one row: getNumFields() fields to getNumWords() words. Bits of a
  /// field above its width are dropped; padding bits of a segment are zero.
  void pack(std::span<const uint8_t> fields, std::span<int32_t> words) const;
  /// The inverse of pack().
  void unpack(std::span<const int32_t> words, std::span<uint8_t> fields) const;

  /// Bits that `rows` rows take in storage, all parts included: codes,
  /// generators and scales (f16), the order when widths are mixed, and two
  /// f32 a slot when `hasCompander`. Signs of rotations are shared by a whole
  /// model and not counted here.
  int64_t getStorageBits(int64_t rows, bool hasCompander = false) const;

private:
  CodeLayout() = default;

  int64_t columns = 0, dim = 0, group = 0;
  std::vector<unsigned> widths;
  std::vector<int64_t> fieldOffsets, wordOffsets;
};

} // namespace glvq::lattice

#endif // GLVQ_LATTICE_CODELAYOUT_H

//===- PointLayout.h - How numbers of points lie in words -------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// The storage of `codes` of codes with fixed points (`#glvq.leech`,
// `#glvq.e8p`) as docs/CheckpointFormat.md fixes it: per row one bit stream for
// each group of columns, padded to whole 32-bit words. Every run of `dim`
// columns is a point with one field, or several of different widths; the
// surplus coordinates of the last point of a row are dropped.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LATTICE_POINTLAYOUT_H
#define GLVQ_LATTICE_POINTLAYOUT_H

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace glvq::lattice {

class PointLayout {
public:
  /// Returns nothing, with the reason in `error`, unless `group` is a multiple
  /// of `dim`. Fields have 1 to 64 bits.
  static std::optional<PointLayout> create(int64_t columns, int64_t dim,
                                           int64_t group,
                                           std::vector<unsigned> fieldBits,
                                           std::string *error = nullptr);

  int64_t getColumns() const { return columns; }
  int64_t getDim() const { return dim; }
  int64_t getGroup() const { return group; }
  int64_t getNumSlots() const { return (columns + group - 1) / group; }
  int64_t getNumPoints() const { return (columns + dim - 1) / dim; }
  int64_t getPointsPerSlot() const { return group / dim; }
  const std::vector<unsigned> &getFieldBits() const { return fieldBits; }
  int64_t getNumFields() const { return fieldBits.size(); }
  unsigned getPointBits() const { return pointBits; }
  /// Words of a full slot.
  int64_t getWordsPerSlot() const {
    return (getPointsPerSlot() * pointBits + 31) / 32;
  }
  /// Words of one row.
  int64_t getNumWords() const;

  /// The first bit of a point among those of a row.
  int64_t getBitOffset(int64_t point) const {
    int64_t slot = point / getPointsPerSlot();
    return slot * getWordsPerSlot() * 32 +
           (point - slot * getPointsPerSlot()) * pointBits;
  }

  /// Packs one row, [points][fields], to getNumWords() words. Fields must fit
  /// their width; padding bits are zero.
  void pack(std::span<const uint64_t> fields, std::span<int32_t> words) const;
  /// The inverse of pack(). Returns false when a padding bit is set, which
  /// pack() never does.
  bool unpack(std::span<const int32_t> words, std::span<uint64_t> fields) const;

  /// Bits that `rows` rows take in storage: codes, scales of rows and groups
  /// (f16), and the given number of f32 parameters.
  int64_t getStorageBits(int64_t rows, int64_t parameters) const {
    return rows * getNumWords() * 32 + rows * 16 + getNumSlots() * 16 +
           parameters * 32;
  }

private:
  PointLayout() = default;

  int64_t columns = 0, dim = 0, group = 0;
  unsigned pointBits = 0;
  std::vector<unsigned> fieldBits;
};

} // namespace glvq::lattice

#endif // GLVQ_LATTICE_POINTLAYOUT_H

//===- TrellisLayout.h - How the bits of trellis codes lie in words -*- C++
//-*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// The storage of a trellis code as docs/CheckpointFormat.md fixes it, and its
// decoder. The bits of a column form one sequence down the rows; a weight of a
// slot of width k reads a window of L bits, which moves k bits from one row to
// the next:
//
//   w[t][j] = scales[t] group_scales[slot]
//             sum_i taps[i] (2 bit(k t + L - 1 - i, j) - 1)
//
// or, with additive nodes, tables[0][low] + tables[1][high] in place of the
// sum, where bit i of the number low + 2^(L/2) high is
// bit(k t + L - 1 - i, j).
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LATTICE_TRELLISLAYOUT_H
#define GLVQ_LATTICE_TRELLISLAYOUT_H

#include "glvq/Lattice/CodeLayout.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace glvq::lattice {

class TrellisLayout {
public:
  static constexpr unsigned maxTaps = 32;
  /// With additive nodes: two tables of 2^12 entries.
  static constexpr unsigned maxAdditiveTaps = 24;

  /// The slots of one width: a matrix of bits of its own, the columns of its
  /// slots side by side.
  struct Run {
    unsigned width;              ///< k: bits by which the window moves a row.
    int64_t firstSlot, numSlots; ///< Which slots.
    int64_t columns;             ///< Columns of all its slots.
    int64_t bitRows;             ///< k M + L - k.
    int64_t rowWords;            ///< Words of a row of bits.
    int64_t firstWord;           ///< Its place among the words of the weight.
  };

  /// A weight of `rows` x `columns` with windows of `taps` bits and columns in
  /// groups of `group`. Returns nothing, with the reason in `error`, unless the
  /// runs cover the ceil(columns / group) slots, taps are 1 to 32, and all
  /// widths are 1 to 8 and at most `taps`.
  static std::optional<TrellisLayout> create(int64_t rows, int64_t columns,
                                             unsigned taps, int64_t group,
                                             std::span<const WidthRun> runs,
                                             std::string *error = nullptr);

  int64_t getRows() const { return rows; }
  int64_t getColumns() const { return columns; }
  unsigned getTaps() const { return taps; }
  int64_t getGroup() const { return group; }
  std::span<const Run> getRuns() const { return runs; }
  int64_t getNumSlots() const { return (columns + group - 1) / group; }
  int64_t getNumWords() const;
  bool isMixed() const { return runs.size() > 1; }

  /// Columns of a slot: `group`, or what is left for the last one.
  int64_t getSlotColumns(int64_t slot) const;
  /// The run a slot belongs to.
  const Run &getRun(int64_t slot) const;

  /// Stores a column's sequence, one byte (0 or 1) for each of the run's
  /// bitRows bits. `column` counts the columns of the run. Columns that share
  /// a word must not be stored at the same time.
  void setColumn(const Run &run, int64_t column, std::span<const uint8_t> bits,
                 std::span<int32_t> words) const;
  /// The inverse of setColumn().
  void getColumn(const Run &run, int64_t column, std::span<const int32_t> words,
                 std::span<uint8_t> bits) const;

  /// Bits of the whole weight in storage, all parts included: codes, taps (or
  /// tables) in f32, scales of rows and groups in f16, the order when widths
  /// are mixed.
  int64_t getStorageBits(bool additive = false) const;

private:
  TrellisLayout() = default;

  int64_t rows = 0, columns = 0, group = 0;
  unsigned taps = 0;
  std::vector<Run> runs;
};

/// What stands beside the codes of a trellis weight.
struct TrellisParameters {
  /// [runs, L], or with additive nodes [runs, 2, 2^(L/2)].
  std::span<const float> nodes;
  bool additive = false;
  std::span<const float> scales;      ///< [rows]
  std::span<const float> groupScales; ///< [slots], in the order of storage.
  std::span<const int32_t> order;     ///< [slots], or empty.
};

/// Decodes the columns of one slot into `out`, the whole matrix, row-major.
/// Slots may be decoded at the same time.
void decodeTrellisSlot(const TrellisLayout &layout,
                       std::span<const int32_t> words,
                       const TrellisParameters &parameters, int64_t slot,
                       std::span<float> out);

} // namespace glvq::lattice

#endif // GLVQ_LATTICE_TRELLISLAYOUT_H

//===- RowLayout.h - The units in which kernels read a row ------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Device kernels read the codes of a row in *units*: as many whole words as
// hold a whole number of fields, so that every shift inside of a unit is a
// constant. A lane takes one unit at a time. This file says where the units
// of a row lie, and in which order the folded activations are stored for them.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LIB_CONVERSION_GLVQTOGPU_ROWLAYOUT_H
#define GLVQ_LIB_CONVERSION_GLVQTOGPU_ROWLAYOUT_H

#include "glvq/Dialect/GLVQ/IR/GLVQ.h"

namespace mlir::glvq::gpukernels {

/// Consecutive slots of the same width and number of columns. Their words are
/// cut into `segments`: one for all slots where no slot ends inside of a
/// field's word pattern, else one a slot.
struct SlotRun {
  int64_t width;        ///< bits of a field
  int64_t firstSlot;    ///< first slot of the run
  int64_t slots;        ///< number of slots
  int64_t columns;      ///< columns of each slot
  int64_t fields;       ///< fields of each slot: columns rounded up to `dim`
  int64_t slotWords;    ///< words of each slot
  int64_t wordOffset;   ///< first word of the run in its row
  int64_t segments;     ///< `slots`, or 1 when they are read as one
  int64_t segmentWords; ///< words of a segment
  int64_t vectorWords;  ///< words that one aligned load takes: 1, 2 or 4
  int64_t unitWords;    ///< words of a unit, a multiple of `vectorWords`
  int64_t unitFields;   ///< fields of a unit, a multiple of 4
  int64_t segmentUnits; ///< units of a segment, the last may be partial
  int64_t foldedOffset; ///< first folded activation of the run

  int64_t units() const { return segments * segmentUnits; }
  /// Fields from the start of one slot to the start of the next, where slots
  /// are read as one.
  int64_t slotStride() const { return slotWords * 32 / width; }
};

/// How a kernel reads the rows of a weight.
///
/// Folded activations lie as lanes read them: `lanes` units make a step, and
/// within a step four fields of each lane lie together, lane after lane. Field
/// f of unit q of a run is at
/// foldedOffset + (q / lanes) * lanes * unitFields + (f / 4) * 4 * lanes
/// + (q % lanes) * 4 + f % 4.
struct RowLayout {
  int64_t dim, group, columns;
  int64_t words;      ///< words of a row
  int64_t lanes;      ///< lanes that share a row, a power of two up to 32
  int64_t foldedSize; ///< folded activations of a token, paddings included
  SmallVector<SlotRun> runs;

  static RowLayout get(LatticeAttr code, int64_t columns);

  /// Tokens that a warp multiplies at once when there are several: enough to
  /// pay for the unpacking. ptxas loads the activations of a whole unit ahead,
  /// for all tokens, and spills beyond 128 of them.
  int64_t getManyTokens() const;
};

} // namespace mlir::glvq::gpukernels

#endif // GLVQ_LIB_CONVERSION_GLVQTOGPU_ROWLAYOUT_H

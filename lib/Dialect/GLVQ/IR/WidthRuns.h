// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// What the families of codes share that cut columns into groups and give the
// groups widths: checks of the runs of widths, and slices of the storage.

#ifndef GLVQ_LIB_DIALECT_GLVQ_IR_WIDTHRUNS_H
#define GLVQ_LIB_DIALECT_GLVQ_IR_WIDTHRUNS_H

#include "glvq/Dialect/GLVQ/IR/GLVQ.h"

#include <string>

namespace mlir::glvq {

/// Bits of a code word.
constexpr int64_t kWordBits = 32;

/// The width of a run as it is written: `2` or `3/2`.
std::string formatWidth(const WidthRun &run);

/// Checks what runs of widths must fulfil whatever the weight is: ascending
/// but for a shorter last group, none empty, none equal to the one before.
LogicalResult verifyRuns(ArrayRef<WidthRun> runs,
                         function_ref<InFlightDiagnostic()> emitError);
/// Checks that they count the groups of a weight with so many columns.
LogicalResult verifyRunsOfWeight(ArrayRef<WidthRun> runs, int64_t columns,
                                 int64_t group,
                                 function_ref<InFlightDiagnostic()> emitError);
/// The slots of each run.
SmallVector<SlotRun> getSlotRuns(ArrayRef<WidthRun> runs, int64_t columns,
                                 int64_t group);
/// The suffix of an alias: `_w2_g96`, `_w3_2_g96`, `_wmixed_g96`.
void printAliasSuffix(raw_ostream &os, ArrayRef<WidthRun> runs, int64_t group);

/// Whether columns `offset`, … `offset + size - 1` are whole groups, and if so
/// whether they are all columns.
FailureOr<bool> checkSlice(OpFoldResult offset, OpFoldResult size,
                           int64_t columns, int64_t group);
/// A slice of a tensor or memref with unit strides.
Value takeSlice(OpBuilder &b, Location loc, Value part,
                ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes);

} // namespace mlir::glvq

#endif // GLVQ_LIB_DIALECT_GLVQ_IR_WIDTHRUNS_H

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Runs of widths and slices of storage, for all families that have them.

#include "WidthRuns.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::glvq;

std::string glvq::formatWidth(const WidthRun &run) {
  std::string text = std::to_string(run.width);
  if (run.denominator != 1)
    text += "/" + std::to_string(run.denominator);
  return text;
}

static bool isNarrower(const WidthRun &a, const WidthRun &b) {
  return a.width * b.denominator < b.width * a.denominator;
}

LogicalResult glvq::verifyRuns(ArrayRef<WidthRun> runs,
                               function_ref<InFlightDiagnostic()> emitError) {
  if (runs.empty())
    return emitError() << "expects a width, or runs `width : groups`";
  for (const WidthRun &run : runs)
    if (run.slots < 0 || (run.slots == 0 && runs.size() > 1))
      return emitError() << "a run of widths must hold at least one group, got "
                         << run.slots;
  for (auto [index, run] : llvm::enumerate(runs.drop_front())) {
    const WidthRun &previous = runs[index];
    // A shorter last group stays last, whatever its width is.
    bool mayBeShort = index + 2 == runs.size() && run.slots == 1;
    if (isNarrower(run, previous) && !mayBeShort)
      return emitError() << "runs of widths must be ascending, but "
                         << formatWidth(run) << " follows "
                         << formatWidth(previous)
                         << "; store the groups sorted by width";
    if (!isNarrower(run, previous) && !isNarrower(previous, run))
      return emitError() << "two runs of width " << formatWidth(run)
                         << " follow each other; write them as one";
  }
  return success();
}

LogicalResult
glvq::verifyRunsOfWeight(ArrayRef<WidthRun> runs, int64_t columns,
                         int64_t group,
                         function_ref<InFlightDiagnostic()> emitError) {
  if (runs.front().slots == 0)
    return success();
  int64_t slots = 0, numSlots = llvm::divideCeil(columns, group);
  for (const WidthRun &run : runs)
    slots += run.slots;
  if (slots != numSlots)
    return emitError() << "the runs of widths count " << slots
                       << " groups, but " << columns << " columns make "
                       << numSlots << " groups of " << group;
  if (runs.size() > 1 && isNarrower(runs.back(), runs.drop_back().back()) &&
      columns % group == 0)
    return emitError() << "runs of widths must be ascending: the last group is "
                          "not shorter than "
                          "the others, so it can be stored in order";
  return success();
}

SmallVector<SlotRun> glvq::getSlotRuns(ArrayRef<WidthRun> runs, int64_t columns,
                                       int64_t group) {
  SmallVector<SlotRun> result;
  int64_t slot = 0;
  for (const WidthRun &run : runs) {
    int64_t count = run.slots ? run.slots : llvm::divideCeil(columns, group);
    int64_t end = std::min(columns, (slot + count) * group);
    result.push_back({run, slot, count, end - slot * group});
    slot += count;
  }
  return result;
}

void glvq::printAliasSuffix(raw_ostream &os, ArrayRef<WidthRun> runs,
                            int64_t group) {
  os << "_w";
  if (runs.front().slots) {
    os << "mixed";
  } else {
    os << runs.front().width;
    if (runs.front().denominator != 1)
      os << '_' << runs.front().denominator;
  }
  os << "_g" << group;
}

FailureOr<bool> glvq::checkSlice(OpFoldResult offset, OpFoldResult size,
                                 int64_t columns, int64_t group) {
  std::optional<int64_t> first = getConstantIntValue(offset);
  std::optional<int64_t> count = getConstantIntValue(size);
  if (!count)
    return failure();
  if (first == 0 && *count == columns)
    return true;
  // Whole groups only. A dynamic offset is that of a loop whose step is the
  // size of the tile; only whole tiles keep it at the start of a group.
  bool reachesEnd = first && *first % group == 0 && *first + *count == columns;
  if (*count % group && !reachesEnd)
    return failure();
  if (first && *first % group)
    return failure();
  return false;
}

Value glvq::takeSlice(OpBuilder &b, Location loc, Value part,
                      ArrayRef<OpFoldResult> offsets,
                      ArrayRef<OpFoldResult> sizes) {
  SmallVector<OpFoldResult> strides(offsets.size(), b.getIndexAttr(1));
  if (isa<MemRefType>(part.getType()))
    return memref::SubViewOp::create(b, loc, part, offsets, sizes, strides);
  return tensor::ExtractSliceOp::create(b, loc, part, offsets, sizes, strides);
}

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// `#glvq.lattice`: verification, storage layout and slices of it. The layout is
// that of docs/CheckpointFormat.md.

#include "WidthRuns.h"
#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::glvq;

//===----------------------------------------------------------------------===//
// Layout
//===----------------------------------------------------------------------===//

OpAsmDialectInterface::AliasResult
LatticeAttr::getAlias(raw_ostream &os) const {
  os << "lattice" << getDim();
  printAliasSuffix(os, getBits(), getGroup());
  return OpAsmDialectInterface::AliasResult::OverridableAlias;
}

int64_t LatticeAttr::getNumSlots(int64_t columns) const {
  return llvm::divideCeil(columns, getGroup());
}

int64_t LatticeAttr::getWidthOfSlot(int64_t slot) const {
  if (!isMixed())
    return getBits().front().width;
  for (const WidthRun &run : getBits()) {
    if (slot < run.slots)
      return run.width;
    slot -= run.slots;
  }
  llvm_unreachable("slot beyond the last run of widths");
}

int64_t LatticeAttr::getNumColumnsOfSlot(int64_t columns, int64_t slot) const {
  return std::min(getGroup(), columns - slot * getGroup());
}

int64_t LatticeAttr::getNumWordsOfSlot(int64_t columns, int64_t slot) const {
  int64_t fields = llvm::alignTo(getNumColumnsOfSlot(columns, slot), getDim());
  return llvm::divideCeil(fields * getWidthOfSlot(slot), kWordBits);
}

int64_t LatticeAttr::getWordOffset(int64_t columns, int64_t slot) const {
  int64_t words = 0;
  for (int64_t s = 0; s < slot; ++s)
    words += getNumWordsOfSlot(columns, s);
  return words;
}

LogicalResult LatticeAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  int64_t dim, ArrayRef<WidthRun> bits,
                                  int64_t group, Compander compander) {
  if (dim < 1)
    return emitError() << "a lattice has at least one dimension, got dim = "
                       << dim;
  if (group < 1 || group % dim)
    return emitError()
           << "a group of " << group << " columns is not a whole number of "
           << dim
           << "-dimensional lattice points; make `group` a multiple of `dim`";
  for (const WidthRun &run : bits)
    if (run.width < 1 || run.width > 8 || run.denominator != 1)
      return emitError()
             << "a lattice coordinate is stored in 1 to 8 bits, got "
             << formatWidth(run);
  return verifyRuns(bits, emitError);
}

LogicalResult
LatticeAttr::verifyWeight(ArrayRef<int64_t> shape, Type elementType,
                          function_ref<InFlightDiagnostic()> emitError) const {
  return verifyRunsOfWeight(getBits(), shape[1], getGroup(), emitError);
}

SmallVector<RankedTensorType>
LatticeAttr::getStorageTypes(WeightType type) const {
  int64_t rows = type.getNumRows(), columns = type.getNumColumns();
  int64_t slots = getNumSlots(columns);
  Builder b(getContext());
  SmallVector<RankedTensorType> types = {
      RankedTensorType::get({rows, getNumWords(columns)}, b.getI32Type()),
      RankedTensorType::get({slots, getDim(), getDim()}, b.getF16Type()),
      RankedTensorType::get({rows}, b.getF16Type())};
  if (isMixed())
    types.push_back(RankedTensorType::get({slots}, b.getI32Type()));
  if (hasCompander())
    types.push_back(RankedTensorType::get({slots, 2}, b.getF32Type()));
  return types;
}

SmallVector<StringRef> LatticeAttr::getStorageNames() const {
  SmallVector<StringRef> names = {"codes", "generators", "scales"};
  if (isMixed())
    names.push_back("order");
  if (hasCompander())
    names.push_back("companders");
  return names;
}

bool LatticeAttr::isLinear() const { return !hasCompander(); }

//===----------------------------------------------------------------------===//
// Slices
//===----------------------------------------------------------------------===//

FailureOr<WeightCodeAttrInterface>
LatticeAttr::sliceStorage(OpBuilder &b, Location loc, WeightType type,
                          ValueRange parts, ArrayRef<OpFoldResult> offsets,
                          ArrayRef<OpFoldResult> sizes,
                          SmallVectorImpl<Value> &slices) const {
  int64_t columns = type.getNumColumns();
  FailureOr<bool> all = checkSlice(offsets[1], sizes[1], columns, getGroup());
  // With mixed widths a run of slots is no run of columns.
  if (failed(all) || (!*all && isMixed()))
    return failure();
  int64_t size = *getConstantIntValue(sizes[1]);

  AffineExpr d0 = b.getAffineDimExpr(0);
  OpFoldResult zero = b.getIndexAttr(0);
  OpFoldResult slot = affine::makeComposedFoldedAffineApply(
      b, loc, d0.floorDiv(getGroup()), {offsets[1]});
  OpFoldResult word = affine::makeComposedFoldedAffineApply(
      b, loc,
      d0.floorDiv(getGroup()) * (*all ? 0 : getNumWordsOfSlot(columns, 0)),
      {offsets[1]});
  OpFoldResult slots = b.getIndexAttr(getNumSlots(size));
  OpFoldResult words = b.getIndexAttr(getNumWords(size));
  OpFoldResult dim = b.getIndexAttr(getDim()), two = b.getIndexAttr(2);

  auto slice = [&](Value part, ArrayRef<OpFoldResult> offsets,
                   ArrayRef<OpFoldResult> sizes) {
    slices.push_back(takeSlice(b, loc, part, offsets, sizes));
  };
  slice(parts[0], {offsets[0], word}, {sizes[0], words});
  slice(parts[1], {slot, zero, zero}, {slots, dim, dim});
  slice(parts[2], {offsets[0]}, {sizes[0]});
  unsigned next = 3;
  if (isMixed())
    slice(parts[next++], {zero}, {slots});
  if (hasCompander())
    slice(parts[next++], {slot, zero}, {slots, two});
  return cast<WeightCodeAttrInterface>(*this);
}

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// `#glvq.binary`: verification, storage, slices and the reference decoder, all
// by the text of docs/CheckpointFormat.md.

#include "ReferenceEmitter.h"
#include "WidthRuns.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::glvq;

OpAsmDialectInterface::AliasResult BinaryAttr::getAlias(raw_ostream &os) const {
  os << "binary" << getDim();
  printAliasSuffix(os, getBits(), getGroup());
  return OpAsmDialectInterface::AliasResult::OverridableAlias;
}

LogicalResult BinaryAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t dim, ArrayRef<WidthRun> bits,
                                 int64_t group) {
  if (dim < 1)
    return emitError() << "a point has at least one column, got dim = " << dim;
  if (group < 1 || group % dim)
    return emitError() << "a group of " << group
                       << " columns is not a whole number of points of " << dim
                       << "; make `group` a multiple of `dim`";
  for (const WidthRun &run : bits) {
    if (run.denominator < 1 || dim % run.denominator)
      return emitError() << formatWidth(run) << " bits for each of " << dim
                         << " columns are no whole number of bits of a point";
    if (run.width < 1 || run.width > 8 * run.denominator)
      return emitError()
             << "a binary code spends up to 8 bits on a weight, got "
             << formatWidth(run);
  }
  return verifyRuns(bits, emitError);
}

LogicalResult
BinaryAttr::verifyWeight(ArrayRef<int64_t> shape, Type elementType,
                         function_ref<InFlightDiagnostic()> emitError) const {
  return verifyRunsOfWeight(getBits(), shape[1], getGroup(), emitError);
}

SmallVector<SlotRun> BinaryAttr::getRuns(int64_t columns) const {
  return getSlotRuns(getBits(), columns, getGroup());
}

int64_t BinaryAttr::getMaxPointBits() const {
  int64_t largest = 0;
  for (const WidthRun &run : getBits())
    largest = std::max(largest, getPointBits(run));
  return largest;
}

int64_t BinaryAttr::getNumWordsOfSlot(int64_t columns, const WidthRun &bits,
                                      int64_t slot) const {
  int64_t inSlot = std::min(getGroup(), columns - slot * getGroup());
  int64_t points = llvm::divideCeil(inSlot, getDim());
  return llvm::divideCeil(points * getPointBits(bits), kWordBits);
}

int64_t BinaryAttr::getNumWords(int64_t columns) const {
  int64_t words = 0;
  for (const SlotRun &run : getRuns(columns))
    for (int64_t i = 0; i < run.count; ++i)
      words += getNumWordsOfSlot(columns, run.bits, run.first + i);
  return words;
}

SmallVector<RankedTensorType>
BinaryAttr::getStorageTypes(WeightType type) const {
  int64_t rows = type.getNumRows(), columns = type.getNumColumns();
  int64_t slots = llvm::divideCeil(columns, getGroup());
  int64_t runs = getBits().size();
  Builder b(getContext());
  SmallVector<RankedTensorType> types = {
      RankedTensorType::get({rows, getNumWords(columns)}, b.getI32Type()),
      RankedTensorType::get({runs, getDim(), getMaxPointBits()},
                            b.getF16Type()),
      RankedTensorType::get({rows}, b.getF16Type()),
      RankedTensorType::get({slots}, b.getF16Type())};
  if (isMixed())
    types.push_back(RankedTensorType::get({slots}, b.getI32Type()));
  return types;
}

SmallVector<StringRef> BinaryAttr::getStorageNames() const {
  SmallVector<StringRef> names = {"codes", "generators", "scales",
                                  "group_scales"};
  if (isMixed())
    names.push_back("order");
  return names;
}

bool BinaryAttr::isLinear() const { return true; }

FailureOr<WeightCodeAttrInterface>
BinaryAttr::sliceStorage(OpBuilder &b, Location loc, WeightType type,
                         ValueRange parts, ArrayRef<OpFoldResult> offsets,
                         ArrayRef<OpFoldResult> sizes,
                         SmallVectorImpl<Value> &slices) const {
  int64_t columns = type.getNumColumns();
  FailureOr<bool> all = checkSlice(offsets[1], sizes[1], columns, getGroup());
  // With mixed widths a run of slots is no run of columns.
  if (failed(all) || (!*all && isMixed()))
    return failure();
  int64_t size = *getConstantIntValue(sizes[1]);
  AffineExpr group = b.getAffineDimExpr(0).floorDiv(getGroup());
  auto apply = [&](AffineExpr expr) {
    return affine::makeComposedFoldedAffineApply(b, loc, expr, {offsets[1]});
  };
  OpFoldResult slot = apply(group);
  OpFoldResult word = apply(
      group * (*all ? 0 : getNumWordsOfSlot(columns, getBits().front(), 0)));
  OpFoldResult slots = b.getIndexAttr(llvm::divideCeil(size, getGroup()));
  auto slice = [&](Value part, ArrayRef<OpFoldResult> offsets,
                   ArrayRef<OpFoldResult> sizes) {
    slices.push_back(takeSlice(b, loc, part, offsets, sizes));
  };
  slice(parts[0], {offsets[0], word},
        {sizes[0], b.getIndexAttr(getNumWords(size))});
  slices.push_back(parts[1]);
  slice(parts[2], {offsets[0]}, {sizes[0]});
  slice(parts[3], {slot}, {slots});
  if (isMixed())
    slices.push_back(parts[4]);
  return cast<WeightCodeAttrInterface>(*this);
}

/// Loops: row m, slot s, point p, coordinate c, bit i of the point. A shorter
/// last slot has points beyond its columns here; they are never looked at.
FailureOr<Value> BinaryAttr::buildDecode(OpBuilder &builder, Location loc,
                                         WeightType type,
                                         ValueRange parts) const {
  Emitter e(loc, builder);
  Value codes = parts[0], generators = parts[1], scales = parts[2],
        groupScales = parts[3];
  int64_t columns = type.getNumColumns(), numWords = getNumWords(columns);
  int64_t slots = llvm::divideCeil(columns, getGroup());
  Type f32 = e.getF32Type(), i64 = e.getI64Type(),
       elementType = type.getElementType();
  SmallVector<OpFoldResult> shape = {
      tensor::getMixedSize(e, loc, codes, 0), e.getIndexAttr(slots),
      e.getIndexAttr(getGroup() / getDim()), e.getIndexAttr(getDim())};

  SmallVector<int64_t> runOf, widthOf, firstBit;
  int64_t words = 0;
  for (auto [index, run] : llvm::enumerate(getRuns(columns)))
    for (int64_t i = 0; i < run.count; ++i) {
      runOf.push_back(index);
      widthOf.push_back(getPointBits(run.bits));
      firstBit.push_back(words * kWordBits);
      words += getNumWordsOfSlot(columns, run.bits, run.first + i);
    }
  Value runs = e.table(runOf), widths = e.table(widthOf),
        first = e.table(firstBit);

  auto add = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    Value m = e.loop(0), s = e.loop(1), i = e.loop(4);
    Value width = e.extract(widths, s);
    Value position =
        e.add(e.extract(first, s), e.add(e.mul(e.loop(2), width), i));
    Value bit = e.bit(codes, position, numWords,
                      [&](Value word) { return SmallVector<Value>{m, word}; });
    Value twice = arith::ShLIOp::create(e, bit, e.integer(i64, 1));
    Value sign =
        arith::SIToFPOp::create(e, f32, e.sub(twice, e.integer(i64, 1)));
    Value entry = e.castFloat(
        f32, e.extract(generators, {e.extract(runs, s), e.loop(3), i}));
    Value next = e.add(args[1], e.mul(entry, sign));
    return {e.select(e.less(i, width), next, args[1])};
  };
  // Only the shape of the first operand counts.
  Value bits = e.empty({e.getIndexAttr(getMaxPointBits())}, f32);
  Value y = e.generic(5, 1, bits, e.filled(shape, e.real(f32, 0)),
                      {{4}, {0, 1, 2, 3}}, add)[0];
  auto scale = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    Value w = e.mul(e.mul(args[0], e.castFloat(f32, args[2])),
                    e.castFloat(f32, args[1]));
    return {e.castFloat(elementType, w)};
  };
  Value w =
      e.generic(4, 0, {y, scales, groupScales}, e.empty(shape, elementType),
                {{0, 1, 2, 3}, {0}, {1}, {0, 1, 2, 3}}, scale)[0];
  return toMatrix(e, type, w, isMixed() ? parts[4] : Value());
}

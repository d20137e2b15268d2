// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// `#glvq.trellis`: verification, storage, slices and the reference decoder,
// all by the text of docs/CheckpointFormat.md.

#include "ReferenceEmitter.h"
#include "WidthRuns.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::glvq;

/// A window is read from a word of 32 bits; two tables of 2^12 entries are
/// more than the first cache holds.
static constexpr int64_t kMaxTaps = 32, kMaxAdditiveTaps = 24;

OpAsmDialectInterface::AliasResult
TrellisAttr::getAlias(raw_ostream &os) const {
  os << "trellis" << getTaps() << (isAdditive() ? "a" : "");
  printAliasSuffix(os, getBits(), getGroup());
  return OpAsmDialectInterface::AliasResult::OverridableAlias;
}

LogicalResult TrellisAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  int64_t taps, ArrayRef<WidthRun> bits,
                                  int64_t group, TrellisNodes nodes) {
  if (taps < 1 || taps > kMaxTaps)
    return emitError() << "a trellis has 1 to " << kMaxTaps
                       << " taps, got taps = " << taps;
  if (nodes == TrellisNodes::Additive && (taps % 2 || taps > kMaxAdditiveTaps))
    return emitError() << "additive nodes need an even number of taps up to "
                       << kMaxAdditiveTaps << ", got taps = " << taps;
  if (group < 1)
    return emitError() << "a group has at least one column, got group = "
                       << group;
  for (const WidthRun &run : bits) {
    if (run.width < 1 || run.width > 8 || run.denominator != 1)
      return emitError()
             << "a trellis spends 1 to 8 whole bits on a weight, got "
             << formatWidth(run) << "; mix widths for an average between them";
    if (run.width > taps)
      return emitError() << "a window of " << taps << " bits cannot move "
                         << run.width
                         << " bits a row; a trellis needs as many taps as bits";
  }
  return verifyRuns(bits, emitError);
}

LogicalResult
TrellisAttr::verifyWeight(ArrayRef<int64_t> shape, Type elementType,
                          function_ref<InFlightDiagnostic()> emitError) const {
  return verifyRunsOfWeight(getBits(), shape[1], getGroup(), emitError);
}

SmallVector<SlotRun> TrellisAttr::getRuns(int64_t columns) const {
  return getSlotRuns(getBits(), columns, getGroup());
}

int64_t TrellisAttr::getNumBitRows(const SlotRun &run, int64_t rows) const {
  if (ShapedType::isDynamic(rows))
    return ShapedType::kDynamic;
  return run.bits.width * rows + getTaps() - run.bits.width;
}

SmallVector<RankedTensorType>
TrellisAttr::getStorageTypes(WeightType type) const {
  int64_t rows = type.getNumRows(), columns = type.getNumColumns();
  int64_t slots = llvm::divideCeil(columns, getGroup());
  SmallVector<SlotRun> runs = getRuns(columns);
  Builder b(getContext());
  SmallVector<int64_t> codes, nodes = {static_cast<int64_t>(runs.size())};
  if (!isMixed())
    codes = {getNumBitRows(runs[0], rows), getNumRowWords(runs[0])};
  else if (ShapedType::isDynamic(rows))
    codes = {ShapedType::kDynamic};
  else {
    codes = {0};
    for (const SlotRun &run : runs)
      codes[0] += getNumBitRows(run, rows) * getNumRowWords(run);
  }
  if (isAdditive())
    nodes.append({2, int64_t(1) << getTaps() / 2});
  else
    nodes.push_back(getTaps());
  SmallVector<RankedTensorType> types = {
      RankedTensorType::get(codes, b.getI32Type()),
      RankedTensorType::get(nodes, b.getF32Type()),
      RankedTensorType::get({rows}, b.getF16Type()),
      RankedTensorType::get({slots}, b.getF16Type())};
  if (isMixed())
    types.push_back(RankedTensorType::get({slots}, b.getI32Type()));
  return types;
}

SmallVector<StringRef> TrellisAttr::getStorageNames() const {
  SmallVector<StringRef> names = {"codes", isAdditive() ? "tables" : "taps",
                                  "scales", "group_scales"};
  if (isMixed())
    names.push_back("order");
  return names;
}

bool TrellisAttr::isLinear() const { return !isAdditive(); }

FailureOr<WeightCodeAttrInterface>
TrellisAttr::sliceStorage(OpBuilder &b, Location loc, WeightType type,
                          ValueRange parts, ArrayRef<OpFoldResult> offsets,
                          ArrayRef<OpFoldResult> sizes,
                          SmallVectorImpl<Value> &slices) const {
  FailureOr<bool> all =
      checkSlice(offsets[1], sizes[1], type.getNumColumns(), getGroup());
  if (failed(all))
    return failure();
  int64_t columns = *getConstantIntValue(sizes[1]);
  OpFoldResult zero = b.getIndexAttr(0);
  auto slice = [&](Value part, ArrayRef<OpFoldResult> offsets,
                   ArrayRef<OpFoldResult> sizes) {
    slices.push_back(takeSlice(b, loc, part, offsets, sizes));
  };
  if (isMixed()) {
    // The runs lie behind each other, each with all its rows.
    if (!*all || getConstantIntValue(offsets[0]) != 0 ||
        getConstantIntValue(sizes[0]) != type.getNumRows())
      return failure();
    llvm::append_range(slices, parts);
    return cast<WeightCodeAttrInterface>(*this);
  }
  // Groups that begin within a word cannot be cut off.
  if (!*all && getGroup() % kWordBits)
    return failure();

  // The windows of neighbouring rows overlap, and so do the slices.
  int64_t width = getBits().front().width;
  AffineExpr d0 = b.getAffineDimExpr(0);
  auto apply = [&](AffineExpr expr, OpFoldResult value) {
    return affine::makeComposedFoldedAffineApply(b, loc, expr, {value});
  };
  OpFoldResult bitRow = apply(d0 * width, offsets[0]);
  OpFoldResult bitRows = apply(d0 * width + (getTaps() - width), sizes[0]);
  OpFoldResult word = *all ? zero : apply(d0.floorDiv(kWordBits), offsets[1]);
  OpFoldResult words = b.getIndexAttr(llvm::divideCeil(columns, kWordBits));
  OpFoldResult slot = apply(d0.floorDiv(getGroup()), offsets[1]);
  OpFoldResult slots = b.getIndexAttr(llvm::divideCeil(columns, getGroup()));
  slice(parts[0], {bitRow, word}, {bitRows, words});
  slices.push_back(parts[1]);
  slice(parts[2], {offsets[0]}, {sizes[0]});
  slice(parts[3], {slot}, {slots});
  return cast<WeightCodeAttrInterface>(*this);
}

/// Loops: row t, column j, place i in the window, from the newest bit on.
FailureOr<Value> TrellisAttr::buildDecode(OpBuilder &builder, Location loc,
                                          WeightType type,
                                          ValueRange parts) const {
  Emitter e(loc, builder);
  Value codes = parts[0], nodes = parts[1], scales = parts[2],
        groupScales = parts[3];
  int64_t columns = type.getNumColumns(), taps = getTaps();
  Type f32 = e.getF32Type(), i64 = e.getI64Type();
  OpFoldResult rows = tensor::getMixedSize(e, loc, scales, 0);
  SmallVector<OpFoldResult> shape = {rows, e.getIndexAttr(columns)};
  SmallVector<SlotRun> runs = getRuns(columns);

  // What the code says of each slot. With runs of widths the codes are one
  // row of words, where the rows of bits of a run begin at its first word.
  Value slotOfGroup, runOfSlot, widths, firstColumns, rowWords;
  SmallVector<Value> firstWords;
  if (isMixed()) {
    slotOfGroup = invertOrder(e, parts[4]);
    SmallVector<int64_t> run, width, first, words;
    for (auto [index, r] : llvm::enumerate(runs))
      for (int64_t i = 0; i < r.count; ++i) {
        run.push_back(index);
        width.push_back(r.bits.width);
        first.push_back(i * getGroup());
        words.push_back(getNumRowWords(r));
      }
    runOfSlot = e.table(run);
    widths = e.table(width);
    firstColumns = e.table(first);
    rowWords = e.table(words);
    Value m = getValueOrCreateConstantIndexOp(e, loc, rows);
    Value next = e.index(0);
    for (const SlotRun &r : runs) {
      firstWords.push_back(next);
      int64_t k = r.bits.width, words = getNumRowWords(r);
      next = e.add(next, e.mul(e.add(e.mul(m, e.index(k)), e.index(taps - k)),
                               e.index(words)));
    }
  }
  auto slotOf = [&](Emitter &e, Value column) -> Value {
    Value group = e.div(column, e.index(getGroup()));
    return slotOfGroup
               ? e.castIndex(e.getIndexType(), e.extract(slotOfGroup, group))
               : group;
  };
  auto bit = [&](Emitter &e) -> Value {
    Value j = e.loop(1);
    Value newest = e.sub(e.index(taps - 1), e.loop(2));
    if (!isMixed()) {
      Value k = e.index(runs[0].bits.width);
      Value row = e.add(e.mul(k, e.loop(0)), newest);
      return e.bit(codes, j, getNumRowWords(runs[0]),
                   [&](Value word) { return SmallVector<Value>{row, word}; });
    }
    Value slot = slotOf(e, j);
    Value row = e.add(e.mul(e.extract(widths, slot), e.loop(0)), newest);
    Value column =
        e.add(e.extract(firstColumns, slot), e.rem(j, e.index(getGroup())));
    Value first = firstWords.back();
    for (int64_t r = runs.size() - 2; r >= 0; --r)
      first = e.select(e.equal(e.extract(runOfSlot, slot), e.index(r)),
                       firstWords[r], first);
    Value place = e.add(first, e.mul(row, e.extract(rowWords, slot)));
    // Columns of a run lie within its words: no word is ever out of bounds.
    return e.bit(
        codes, column, std::numeric_limits<int32_t>::max(),
        [&](Value word) { return SmallVector<Value>{e.add(place, word)}; });
  };
  auto run = [&](Emitter &e) -> Value {
    return isMixed() ? e.extract(runOfSlot, slotOf(e, e.loop(1))) : e.index(0);
  };

  Value window = e.empty({e.getIndexAttr(taps)}, f32); // only its shape counts
  Value sums;
  if (isAdditive()) {
    auto collect = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
      Value shift = e.castIndex(i64, e.loop(2));
      return {arith::OrIOp::create(e, args[1],
                                   arith::ShLIOp::create(e, bit(e), shift))};
    };
    Value numbers = e.generic(3, 1, window, e.filled(shape, e.integer(i64, 0)),
                              {{2}, {0, 1}}, collect)[0];
    auto lookUp = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
      Value number = e.castIndex(e.getIndexType(), args[0]);
      Value size = e.index(int64_t(1) << taps / 2), r = run(e);
      Value low = e.extract(nodes, {r, e.index(0), e.rem(number, size)});
      Value high = e.extract(nodes, {r, e.index(1), e.div(number, size)});
      return {e.add(low, high)};
    };
    sums = e.generic(2, 0, numbers, e.empty(shape, f32), {{0, 1}, {0, 1}},
                     lookUp)[0];
  } else {
    auto add = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
      Value twice = arith::ShLIOp::create(e, bit(e), e.integer(i64, 1));
      Value sign =
          arith::SIToFPOp::create(e, f32, e.sub(twice, e.integer(i64, 1)));
      Value tap = e.extract(nodes, {run(e), e.loop(2)});
      return {e.add(args[1], e.mul(tap, sign))};
    };
    sums = e.generic(3, 1, window, e.filled(shape, e.real(f32, 0)),
                     {{2}, {0, 1}}, add)[0];
  }

  Type elementType = type.getElementType();
  auto scale = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    Value group =
        e.castFloat(f32, e.extract(groupScales, slotOf(e, e.loop(1))));
    Value w = e.mul(e.mul(args[0], group), e.castFloat(f32, args[1]));
    return {e.castFloat(elementType, w)};
  };
  Value w = e.generic(2, 0, {sums, scales}, e.empty(shape, elementType),
                      {{0, 1}, {0}, {0, 1}}, scale)[0];
  if (w.getType() != type.getDecodedType())
    w = tensor::CastOp::create(e, type.getDecodedType(), w);
  return w;
}

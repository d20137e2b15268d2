// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// How the generators of the linear codes move to the activations: the runs of
// integers that remain, the reference of `glvq.fold`, and products made of it.

#include "ReferenceEmitter.h"
#include "WidthRuns.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::glvq;

/// The run after folding, if its slots follow each other without gaps: each has
/// the fields of its points in whole words, so the next begins at a multiple of
/// their width only if that divides the bits of a slot. `width` is that of a
/// field.
static FailureOr<FoldedRun> foldRun(const SlotRun &run, int64_t group,
                                    int64_t dim, int64_t fields,
                                    int64_t width) {
  auto numFields = [&](int64_t columns) {
    return llvm::divideCeil(columns, dim) * fields;
  };
  int64_t bits = llvm::alignTo(numFields(group) * width, kWordBits);
  if (run.count > 1 && bits % width)
    return failure();
  int64_t last = run.columns - (run.count - 1) * group;
  FoldedRun folded;
  folded.slots = run;
  folded.bits = width;
  folded.dim = dim;
  folded.fields = fields;
  folded.stride = run.count > 1 ? bits / width : numFields(last);
  folded.columns = (run.count - 1) * folded.stride + numFields(last);
  return folded;
}

/// An entry of the generator of a slot: input i of a point to field k of it.
using EntryFn = function_ref<Value(Emitter &, Value slot, Value i, Value k)>;

/// Loops: token m, folded activation f of the run, column i of its point.
static Value buildPointFold(OpBuilder &builder, Location loc,
                            const FoldedRun &run, int64_t group, Value input,
                            Value order, EntryFn entry) {
  Emitter e(loc, builder);
  Type f32 = e.getF32Type();
  const SlotRun &slots = run.slots;
  int64_t lastColumns = slots.columns - (slots.count - 1) * group;
  SmallVector<OpFoldResult> shape = {tensor::getMixedSize(e, loc, input, 0),
                                     e.getIndexAttr(run.columns)};
  auto add = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    Value f = e.loop(1), i = e.loop(2);
    Value inRun = e.div(f, e.index(run.stride));
    Value slot = e.add(inRun, e.index(slots.first));
    Value field = e.rem(f, e.index(run.stride));
    Value point = e.div(field, e.index(run.fields));
    Value column = e.add(e.mul(point, e.index(run.dim)), i);
    Value last = e.equal(inRun, e.index(slots.count - 1));
    Value inside =
        e.less(column, e.select(last, e.index(lastColumns), e.index(group)));
    Value place =
        order ? e.castIndex(e.getIndexType(), e.extract(order, slot)) : slot;
    place = e.add(e.mul(place, e.index(group)), column);
    Value x = e.castFloat(
        f32,
        e.extract(input, {e.loop(0), e.select(inside, place, e.index(0))}));
    Value b = entry(e, slot, i, e.rem(field, e.index(run.fields)));
    return {e.add(args[1], e.select(inside, e.mul(b, x), e.real(f32, 0)))};
  };
  // Only the shape of the first operand counts.
  Value point = e.empty({e.getIndexAttr(run.dim)}, f32);
  return e.generic(3, 1, point, e.filled(shape, e.real(f32, 0)), {{2}, {0, 1}},
                   add)[0];
}

/// The parts that folding needs.
static SmallVector<Value> getFoldParams(WeightCodeAttrInterface code,
                                        ValueRange parts) {
  SmallVector<Value> params;
  for (unsigned part : code.getFoldParts())
    params.push_back(parts[part]);
  return params;
}

static Value fold(Emitter &e, WeightCodeAttrInterface code, unsigned run,
                  int64_t columns, Value input, ValueRange parts) {
  int64_t batch = cast<RankedTensorType>(input.getType()).getDimSize(0);
  return FoldOp::create(e,
                        RankedTensorType::get({batch, columns}, e.getF32Type()),
                        input, getFoldParams(code, parts), code, run);
}

static Value zeros(Emitter &e, Value input, int64_t columns) {
  return e.filled(
      {tensor::getMixedSize(e, e.getLoc(), input, 0), e.getIndexAttr(columns)},
      e.real(e.getF32Type(), 0));
}

static Value multiplyIntegers(Emitter &e, int64_t bits, Value input,
                              Value codes, Value init) {
  auto code = PackedIntegerAttr::get(e.getContext(), bits);
  return MatmulOp::create(e, TypeRange{init.getType()}, input, codes,
                          ValueRange(), init, code)
      .getResult();
}

/// init + factor scales[t] (sum of the products), in the type of init.
static Value scale(Emitter &e, ValueRange products, Value scales, float factor,
                   Value init) {
  auto type = cast<RankedTensorType>(init.getType());
  Type f32 = e.getF32Type();
  auto body = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    Value sum = args[0];
    for (Value product : args.take_front(products.size()).drop_front())
      sum = e.add(sum, product);
    Value scale = e.castFloat(f32, args[products.size()]);
    if (factor != 1)
      scale = e.mul(scale, e.real(f32, factor));
    Value y = e.castFloat(type.getElementType(), e.mul(sum, scale));
    return {e.add(args.back(), y)};
  };
  SmallVector<Value> ins(products);
  ins.push_back(scales);
  SmallVector<SmallVector<unsigned>> loops(products.size(), {0, 1});
  loops.push_back({1});
  loops.push_back({0, 1});
  return e.generic(2, 0, ins, init, loops, body)[0];
}

//===----------------------------------------------------------------------===//
// Lattice
//===----------------------------------------------------------------------===//

FailureOr<SmallVector<FoldedRun>>
LatticeAttr::getFoldedRuns(int64_t columns) const {
  if (!isLinear())
    return failure();
  SmallVector<FoldedRun> runs;
  for (const SlotRun &run : getSlotRuns(getBits(), columns, getGroup())) {
    FailureOr<FoldedRun> folded =
        foldRun(run, getGroup(), getDim(), getDim(), run.bits.width);
    if (failed(folded))
      return failure();
    runs.push_back(*folded);
  }
  return runs;
}

SmallVector<unsigned> LatticeAttr::getFoldParts() const {
  if (isMixed())
    return {1, 3};
  return {1};
}

FailureOr<Value> LatticeAttr::buildFold(OpBuilder &builder, Location loc,
                                        unsigned run, Value input,
                                        ValueRange params) const {
  int64_t columns = cast<RankedTensorType>(input.getType()).getDimSize(1);
  FailureOr<SmallVector<FoldedRun>> runs = getFoldedRuns(columns);
  if (failed(runs))
    return failure();
  return buildPointFold(
      builder, loc, (*runs)[run], getGroup(), input,
      isMixed() ? params[1] : Value(),
      [&](Emitter &e, Value slot, Value i, Value k) -> Value {
        return e.castFloat(e.getF32Type(), e.extract(params[0], {slot, i, k}));
      });
}

/// One product for each run, with its columns of words, on top of each other.
static Value buildRunsOfColumns(Emitter &e, WeightCodeAttrInterface code,
                                ArrayRef<FoldedRun> runs, WeightType type,
                                Value input, ValueRange parts) {
  Value u = zeros(e, input, type.getNumRows());
  int64_t word = 0;
  for (auto [index, run] : llvm::enumerate(runs)) {
    int64_t words = llvm::divideCeil(run.columns * run.bits, kWordBits);
    Value codes = parts[0];
    if (runs.size() > 1)
      codes = takeSlice(
          e, e.getLoc(), codes, {e.getIndexAttr(0), e.getIndexAttr(word)},
          {e.getIndexAttr(type.getNumRows()), e.getIndexAttr(words)});
    Value folded = fold(e, code, index, run.columns, input, parts);
    u = multiplyIntegers(e, run.bits, folded, codes, u);
    word += words;
  }
  return u;
}

FailureOr<Value> LatticeAttr::buildFoldedProduct(OpBuilder &builder,
                                                 Location loc, WeightType type,
                                                 Value input, ValueRange parts,
                                                 Value init) const {
  FailureOr<SmallVector<FoldedRun>> runs = getFoldedRuns(type.getNumColumns());
  if (failed(runs))
    return failure();
  Emitter e(loc, builder);
  Value u = buildRunsOfColumns(e, *this, *runs, type, input, parts);
  return scale(e, u, parts[2], 1, init);
}

//===----------------------------------------------------------------------===//
// Binary
//===----------------------------------------------------------------------===//

FailureOr<SmallVector<FoldedRun>>
BinaryAttr::getFoldedRuns(int64_t columns) const {
  SmallVector<FoldedRun> runs;
  for (const SlotRun &run : getRuns(columns)) {
    FailureOr<FoldedRun> folded =
        foldRun(run, getGroup(), getDim(), getPointBits(run.bits), /*width=*/1);
    if (failed(folded))
      return failure();
    runs.push_back(*folded);
  }
  return runs;
}

SmallVector<unsigned> BinaryAttr::getFoldParts() const {
  if (isMixed())
    return {1, 3, 4};
  return {1, 3};
}

FailureOr<Value> BinaryAttr::buildFold(OpBuilder &builder, Location loc,
                                       unsigned run, Value input,
                                       ValueRange params) const {
  int64_t columns = cast<RankedTensorType>(input.getType()).getDimSize(1);
  FailureOr<SmallVector<FoldedRun>> runs = getFoldedRuns(columns);
  if (failed(runs))
    return failure();
  return buildPointFold(
      builder, loc, (*runs)[run], getGroup(), input,
      isMixed() ? params[2] : Value(),
      [&](Emitter &e, Value slot, Value i, Value k) -> Value {
        Type f32 = e.getF32Type();
        return e.mul(
            e.castFloat(f32, e.extract(params[0], {e.index(run), i, k})),
            e.castFloat(f32, e.extract(params[1], slot)));
      });
}

FailureOr<Value> BinaryAttr::buildFoldedProduct(OpBuilder &builder,
                                                Location loc, WeightType type,
                                                Value input, ValueRange parts,
                                                Value init) const {
  FailureOr<SmallVector<FoldedRun>> runs = getFoldedRuns(type.getNumColumns());
  if (failed(runs))
    return failure();
  Emitter e(loc, builder);
  Value u = buildRunsOfColumns(e, *this, *runs, type, input, parts);
  // A bit is +-1/2 to the product, and +-1 in the weight.
  return scale(e, u, parts[2], 2, init);
}

//===----------------------------------------------------------------------===//
// Trellis
//===----------------------------------------------------------------------===//

FailureOr<SmallVector<FoldedRun>>
TrellisAttr::getFoldedRuns(int64_t columns) const {
  if (!isLinear())
    return failure();
  // The columns of a run lie side by side, whatever the size of a group is.
  SmallVector<FoldedRun> runs;
  for (const SlotRun &run : getRuns(columns))
    runs.push_back({run, /*bits=*/1, /*dim=*/1, /*fields=*/1,
                    /*stride=*/getGroup(), run.columns});
  return runs;
}

SmallVector<unsigned> TrellisAttr::getFoldParts() const {
  if (isMixed())
    return {3, 4};
  return {3};
}

FailureOr<Value> TrellisAttr::buildFold(OpBuilder &builder, Location loc,
                                        unsigned run, Value input,
                                        ValueRange params) const {
  int64_t columns = cast<RankedTensorType>(input.getType()).getDimSize(1);
  FailureOr<SmallVector<FoldedRun>> runs = getFoldedRuns(columns);
  if (failed(runs))
    return failure();
  return buildPointFold(builder, loc, (*runs)[run], getGroup(), input,
                        isMixed() ? params[1] : Value(),
                        [&](Emitter &e, Value slot, Value, Value) -> Value {
                          return e.castFloat(e.getF32Type(),
                                             e.extract(params[0], slot));
                        });
}

FailureOr<Value> TrellisAttr::buildFoldedProduct(OpBuilder &builder,
                                                 Location loc, WeightType type,
                                                 Value input, ValueRange parts,
                                                 Value init) const {
  int64_t rows = type.getNumRows();
  FailureOr<SmallVector<FoldedRun>> runs = getFoldedRuns(type.getNumColumns());
  if (failed(runs) || ShapedType::isDynamic(rows))
    return failure();
  Emitter e(loc, builder);
  int64_t batch = cast<RankedTensorType>(input.getType()).getDimSize(0);
  auto resultType = RankedTensorType::get({batch, rows}, e.getF32Type());
  SmallVector<Value> filtered;
  int64_t word = 0;
  for (auto [index, run] : llvm::enumerate(*runs)) {
    int64_t bitRows = getNumBitRows(run.slots, rows);
    int64_t words = getNumRowWords(run.slots);
    Value codes = parts[0];
    if (isMixed()) {
      codes = takeSlice(e, loc, codes, {e.getIndexAttr(word)},
                        {e.getIndexAttr(bitRows * words)});
      word += bitRows * words;
      auto matrix = RankedTensorType::get({bitRows, words}, e.getI32Type());
      SmallVector<ReassociationIndices> together = {{0, 1}};
      codes = tensor::ExpandShapeOp::create(e, matrix, codes, together);
    }
    Value folded = fold(e, *this, index, run.columns, input, parts);
    Value u =
        multiplyIntegers(e, run.bits, folded, codes, zeros(e, input, bitRows));
    filtered.push_back(FilterOp::create(e, resultType, u, parts[1],
                                        run.slots.bits.width, index));
  }
  // A bit is +-1/2 to the product, and +-1 in the weight.
  return scale(e, filtered, parts[2], 2, init);
}

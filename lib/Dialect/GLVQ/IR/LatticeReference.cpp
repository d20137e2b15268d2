// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The reference decoder and encoder of `#glvq.lattice`, as IR. They follow the
// text of docs/CheckpointFormat.md as plainly as possible, for they are what
// kernels are tested against; speed is no concern here.
//
// Throughout, m is a row, s a slot, p a lattice point of the slot and i a
// coordinate of the point: intermediate tensors are [m, s, p, i]. A shorter
// last slot has points beyond its columns there; they are never looked at.

#include "ReferenceEmitter.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::glvq;

namespace {
/// What decoder and encoder share about one weight.
struct Lattice {
  LatticeAttr code;
  int64_t columns, slots, dim, group, points, words;
  SmallVector<OpFoldResult> shape; // [m, s, p, i]
  // Constants per slot, with mixed widths.
  Value widths, firstWords;

  Lattice(Emitter &e, LatticeAttr code, int64_t columns, OpFoldResult rows)
      : code(code), columns(columns), slots(code.getNumSlots(columns)),
        dim(code.getDim()), group(code.getGroup()), points(group / dim),
        words(code.getNumWords(columns)) {
    shape = {rows, e.getIndexAttr(slots), e.getIndexAttr(points),
             e.getIndexAttr(dim)};
    if (!code.isMixed())
      return;
    SmallVector<int64_t> width, first;
    for (int64_t s = 0; s < slots; ++s) {
      width.push_back(code.getWidthOfSlot(s));
      first.push_back(code.getWordOffset(columns, s));
    }
    widths = e.table(width);
    firstWords = e.table(first);
  }

  /// Width of the fields of slot `s`.
  Value width(Emitter &e, Value s) const {
    return widths ? e.extract(widths, s) : e.index(code.getWidthOfSlot(0));
  }
  /// Place of slot `s` in a row of words.
  Value firstWord(Emitter &e, Value s) const {
    return firstWords ? e.extract(firstWords, s)
                      : e.mul(s, e.index(code.getNumWordsOfSlot(columns, 0)));
  }
  /// Number of the field that holds coordinate `i` of point `p`.
  Value field(Emitter &e, Value p, Value i) const {
    return e.add(e.mul(p, e.index(dim)), i);
  }
};

} // namespace

//===----------------------------------------------------------------------===//
// Decoder
//===----------------------------------------------------------------------===//

/// z + 1/2 of every coordinate, as f32.
static Value unpack(Emitter &e, const Lattice &l, Value codes) {
  Type f32 = e.getF32Type(), i64 = e.getI64Type();
  auto body = [&](Emitter &e, ValueRange) -> SmallVector<Value> {
    Value m = e.loop(0), s = e.loop(1), width = l.width(e, s);
    Value bit = e.mul(l.field(e, e.loop(2), e.loop(3)), width);
    Value last = e.index(l.words - 1);
    auto load = [&](Value word) -> Value {
      // The word after a field's first may belong to nobody.
      word = arith::MinUIOp::create(e, word, last);
      return arith::ExtUIOp::create(e, i64, e.extract(codes, {m, word}));
    };
    Value word = e.add(l.firstWord(e, s), e.div(bit, e.index(32)));
    Value high = arith::ShLIOp::create(e, load(e.add(word, e.index(1))),
                                       e.integer(i64, 32));
    Value pair = arith::OrIOp::create(e, load(word), high);
    Value shift = e.castIndex(i64, e.rem(bit, e.index(32)));
    Value levels =
        arith::ShLIOp::create(e, e.integer(i64, 1), e.castIndex(i64, width));
    Value u = arith::AndIOp::create(e, arith::ShRUIOp::create(e, pair, shift),
                                    e.sub(levels, e.integer(i64, 1)));
    Value z = e.sub(u, arith::ShRUIOp::create(e, levels, e.integer(i64, 1)));
    return {e.add(arith::SIToFPOp::create(e, f32, z), e.real(f32, 0.5))};
  };
  return e.generic(4, 0, {}, e.empty(l.shape, f32), {{0, 1, 2, 3}}, body)[0];
}

/// Matrices [s, i, j] times points [m, s, p, j], in the type of the points.
static Value multiply(Emitter &e, const Lattice &l, Value matrices,
                      Value points) {
  Type type = getElementTypeOrSelf(points);
  auto body = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    return {e.add(args[2], e.mul(e.castFloat(type, args[0]), args[1]))};
  };
  return e.generic(5, 1, {matrices, points}, e.filled(l.shape, e.real(type, 0)),
                   {{1, 3, 4}, {0, 1, 2, 4}, {0, 1, 2, 3}}, body)[0];
}

/// F^-1(y), the weight over its scale.
static Value expand(Emitter &e, Compander compander, Value y, Value first,
                    Value second) {
  switch (compander) {
  case Compander::None:
    return y;
  case Compander::MuLaw: {
    // (1 + mu)^|y| - 1 = expm1(|y| log1p(mu)), exact for small y too.
    Value power = math::ExpM1Op::create(
        e, e.mul(math::AbsFOp::create(e, y), math::Log1pOp::create(e, first)));
    return e.mul(second, math::CopySignOp::create(e, e.div(power, first), y));
  }
  case Compander::Affine:
    return e.mul(y, e.add(first, e.mul(second, math::AbsFOp::create(e, y))));
  }
  llvm_unreachable("unknown compander");
}

FailureOr<Value> LatticeAttr::buildDecode(OpBuilder &builder, Location loc,
                                          WeightType type,
                                          ValueRange parts) const {
  Emitter e(loc, builder);
  Value codes = parts[0], generators = parts[1], scales = parts[2];
  Value companders = hasCompander() ? parts.back() : Value();
  Type f32 = e.getF32Type(), elementType = type.getElementType();
  OpFoldResult rows = tensor::getMixedSize(e, loc, codes, 0);
  Lattice l(e, *this, type.getNumColumns(), rows);

  Value y = multiply(e, l, generators, unpack(e, l, codes));
  auto scale = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    Value first, second;
    if (companders) {
      first = e.extract(companders, {e.loop(1), e.index(0)});
      second = e.extract(companders, {e.loop(1), e.index(1)});
    }
    Value w = expand(e, getCompander(), args[0], first, second);
    return {e.castFloat(elementType, e.mul(w, e.castFloat(f32, args[1])))};
  };
  Value w = e.generic(4, 0, {y, scales}, e.empty(l.shape, elementType),
                      {{0, 1, 2, 3}, {0}, {0, 1, 2, 3}}, scale)[0];

  return toMatrix(e, type, w, isMixed() ? parts[3] : Value());
}

//===----------------------------------------------------------------------===//
// Encoder
//===----------------------------------------------------------------------===//

/// F(w), with w the weight over its scale.
static Value compress(Emitter &e, Compander compander, Value w, Value first,
                      Value second) {
  Type f32 = e.getF32Type();
  Value magnitude = math::AbsFOp::create(e, w), y;
  switch (compander) {
  case Compander::None:
    return w;
  case Compander::MuLaw:
    y = e.div(math::Log1pOp::create(e, e.mul(first, e.div(magnitude, second))),
              math::Log1pOp::create(e, first));
    break;
  case Compander::Affine: {
    // The root of a t + b t^2 = |w|, in the form that allows b = 0.
    Value square = e.add(e.mul(first, first),
                         e.mul(e.real(f32, 4), e.mul(second, magnitude)));
    Value root = math::SqrtOp::create(
        e, arith::MaximumFOp::create(e, square, e.real(f32, 0)));
    y = e.div(e.mul(e.real(f32, 2), magnitude), e.add(first, root));
    break;
  }
  }
  return math::CopySignOp::create(e, y, w);
}

/// Inverses of square matrices [s, i, j], as f64: Gauss-Jordan elimination with
/// partial pivoting on [A | 1], all matrices at once.
static Value invert(Emitter &e, Value matrices) {
  auto type = cast<RankedTensorType>(matrices.getType());
  int64_t slots = type.getDimSize(0), dim = type.getDimSize(1);
  Type f64 = e.getF64Type();
  SmallVector<OpFoldResult> perSlot = {e.getIndexAttr(slots)};
  SmallVector<OpFoldResult> shape = {e.getIndexAttr(slots), e.getIndexAttr(dim),
                                     e.getIndexAttr(2 * dim)};
  auto augment = [&](Emitter &e, ValueRange) -> SmallVector<Value> {
    Value row = e.loop(1), column = e.loop(2),
          left = e.less(column, e.index(dim));
    Value unit = e.select(e.equal(column, e.add(row, e.index(dim))),
                          e.real(f64, 1), e.real(f64, 0));
    Value clamped = e.select(left, column, e.index(0));
    Value a = e.castFloat(f64, e.extract(matrices, {e.loop(0), row, clamped}));
    return {e.select(left, a, unit)};
  };
  Value augmented =
      e.generic(3, 0, {}, e.empty(shape, f64), {{0, 1, 2}}, augment)[0];

  auto eliminate = [&](OpBuilder &nested, Location loc, Value p,
                       ValueRange iterArgs) {
    Emitter e(loc, nested);
    Value a = iterArgs[0];
    // The row, from p on, with the largest entry in column p.
    Value rows = e.empty({e.getIndexAttr(dim)}, f64); // only its shape counts
    auto pivot = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
      Value row = e.loop(1);
      Value size = math::AbsFOp::create(e, e.extract(a, {e.loop(0), row, p}));
      Value larger =
          arith::CmpFOp::create(e, arith::CmpFPredicate::OGT, size, args[1]);
      Value below = arith::CmpIOp::create(e, arith::CmpIPredicate::uge, row, p);
      Value better = arith::AndIOp::create(e, larger, below);
      return {e.select(better, size, args[1]), e.select(better, row, args[2])};
    };
    Value best = e.generic(
        2, 1, rows, {e.filled(perSlot, e.real(f64, -1)), e.filled(perSlot, p)},
        {{1}, {0}, {0}}, pivot)[1];
    // Swap it with row p.
    auto swap = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
      Value row = e.loop(1);
      Value source = e.select(e.equal(row, p), args[0],
                              e.select(e.equal(row, args[0]), p, row));
      return {e.extract(a, {e.loop(0), source, e.loop(2)})};
    };
    Value swapped =
        e.generic(3, 0, best, e.empty(shape, f64), {{0}, {0, 1, 2}}, swap)[0];
    // Clear column p in all other rows.
    auto clear = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
      Value s = e.loop(0), row = e.loop(1);
      Value unit = e.div(e.extract(swapped, {s, p, e.loop(2)}),
                         e.extract(swapped, {s, p, p}));
      Value rest = e.sub(args[0], e.mul(e.extract(swapped, {s, row, p}), unit));
      return {e.select(e.equal(row, p), unit, rest)};
    };
    // Written into the matrix of the loop, which bufferization then updates in
    // place.
    Value cleared =
        e.generic(3, 0, swapped, a, {{0, 1, 2}, {0, 1, 2}}, clear)[0];
    scf::YieldOp::create(e, cleared);
  };
  Value reduced = scf::ForOp::create(e, e.index(0), e.index(dim), e.index(1),
                                     augmented, eliminate)
                      .getResult(0);
  OpFoldResult zero = e.getIndexAttr(0), one = e.getIndexAttr(1);
  return tensor::ExtractSliceOp::create(
      e, reduced, ArrayRef<OpFoldResult>{zero, zero, e.getIndexAttr(dim)},
      ArrayRef<OpFoldResult>{e.getIndexAttr(slots), e.getIndexAttr(dim),
                             e.getIndexAttr(dim)},
      ArrayRef<OpFoldResult>{one, one, one});
}

/// The fields [m, s, p, i] as code words.
static Value pack(Emitter &e, const Lattice &l, Value fields) {
  Type i32 = e.getI32Type();
  // Slot of each word, and its place in the slot.
  SmallVector<int64_t> slotOf, placeOf;
  for (int64_t s = 0; s < l.slots; ++s)
    for (int64_t w = 0, n = l.code.getNumWordsOfSlot(l.columns, s); w < n;
         ++w) {
      slotOf.push_back(s);
      placeOf.push_back(w);
    }
  Value slots = e.table(slotOf), places = e.table(placeOf);
  int64_t lastFields =
      llvm::alignTo(l.code.getNumColumnsOfSlot(l.columns, l.slots - 1), l.dim);
  // One loop over the 32 bits of a word: fields may straddle words.
  Value bits = e.empty({e.getIndexAttr(32)}, i32); // only its shape counts
  auto collect = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    Value s = args[0], bit = e.loop(2), width = l.width(e, s);
    Value position = e.add(e.mul(args[1], e.index(32)), bit);
    Value field = e.div(position, width);
    Value numFields = e.select(e.equal(s, e.index(l.slots - 1)),
                               e.index(lastFields), e.index(l.group));
    Value inside = e.less(field, numFields);
    Value safe = e.select(inside, field, e.index(0));
    Value u = e.extract(fields, {e.loop(0), s, e.div(safe, e.index(l.dim)),
                                 e.rem(safe, e.index(l.dim))});
    Value shifted =
        arith::ShRUIOp::create(e, u, e.castIndex(i32, e.rem(position, width)));
    Value one = arith::AndIOp::create(e, shifted, e.integer(i32, 1));
    Value placed = arith::ShLIOp::create(e, one, e.castIndex(i32, bit));
    return {arith::OrIOp::create(e, args[3],
                                 e.select(inside, placed, e.integer(i32, 0)))};
  };
  Value zeros =
      e.filled({l.shape[0], e.getIndexAttr(l.words)}, e.integer(i32, 0));
  return e.generic(3, 1, {slots, places, bits}, zeros, {{1}, {1}, {2}, {0, 1}},
                   collect)[0];
}

FailureOr<Value> LatticeAttr::buildEncode(OpBuilder &builder, Location loc,
                                          WeightType type, Value dense,
                                          ValueRange params) const {
  Emitter e(loc, builder);
  Value generators = params[0], scales = params[1];
  Value order = isMixed() ? params[2] : Value();
  Value companders = hasCompander() ? params.back() : Value();
  Type f32 = e.getF32Type(), f64 = e.getF64Type(), i32 = e.getI32Type();
  Lattice l(e, *this, type.getNumColumns(),
            tensor::getMixedSize(e, loc, dense, 0));

  // F(w / scale), zero beyond the columns.
  auto normalize = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    Value m = e.loop(0), s = e.loop(1);
    Value group =
        order ? e.castIndex(e.getIndexType(), e.extract(order, s)) : s;
    Value column =
        e.add(e.mul(group, e.index(l.group)), l.field(e, e.loop(2), e.loop(3)));
    Value inside = e.less(column, e.index(l.columns));
    Value scale = e.castFloat(f32, args[0]), zero = e.real(f32, 0);
    Value known =
        arith::CmpFOp::create(e, arith::CmpFPredicate::ONE, scale, zero);
    Value w = e.castFloat(
        f32, e.extract(dense, {m, e.select(inside, column, e.index(0))}));
    w = e.div(w, e.select(known, scale, e.real(f32, 1)));
    w = e.select(arith::AndIOp::create(e, inside, known), w, zero);
    Value first, second;
    if (companders) {
      first = e.extract(companders, {s, e.index(0)});
      second = e.extract(companders, {s, e.index(1)});
    }
    return {e.castFloat(f64, compress(e, getCompander(), w, first, second))};
  };
  Value y = e.generic(4, 0, scales, e.empty(l.shape, f64), {{0}, {0, 1, 2, 3}},
                      normalize)[0];

  // Babai rounding, then the range of the fields.
  Value t = multiply(e, l, invert(e, generators), y);
  auto round = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    Value width = e.castIndex(i32, l.width(e, e.loop(1)));
    Value levels = arith::ShLIOp::create(e, e.integer(i32, 1), width);
    Value half = arith::ShRUIOp::create(e, levels, e.integer(i32, 1));
    Value z = math::RoundEvenOp::create(e, e.sub(args[0], e.real(f64, 0.5)));
    Value u = e.add(z, arith::UIToFPOp::create(e, f64, half));
    Value top =
        arith::UIToFPOp::create(e, f64, e.sub(levels, e.integer(i32, 1)));
    // maxnum: not a number, of a singular generator, becomes zero.
    u = arith::MinNumFOp::create(
        e, arith::MaxNumFOp::create(e, u, e.real(f64, 0)), top);
    return {arith::FPToUIOp::create(e, i32, u)};
  };
  Value fields = e.generic(4, 0, t, e.empty(l.shape, i32),
                           {{0, 1, 2, 3}, {0, 1, 2, 3}}, round)[0];
  Value codes = pack(e, l, fields);
  RankedTensorType codesType = getStorageTypes(type).front();
  if (codes.getType() != codesType)
    codes = tensor::CastOp::create(e, codesType, codes);
  return codes;
}

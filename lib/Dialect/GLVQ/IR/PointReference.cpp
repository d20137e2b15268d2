// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The reference decoders of `#glvq.leech` and `#glvq.e8p`, as IR. They follow
// docs/LeechLattice.md and docs/CheckpointFormat.md as plainly as possible, for
// they are what kernels are tested against; speed is no concern here.
//
// Throughout, m is a row, s a slot and p a point of the slot. A shorter last
// slot has points beyond its columns; they are number 0 and never looked at.

#include "ReferenceEmitter.h"
#include "glvq/Dialect/GLVQ/IR/PointCodes.h"
#include "glvq/Lattice/E8.h"
#include "glvq/Lattice/Golay.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::glvq;
using ::glvq::lattice::GolayCode;
using ::glvq::lattice::LeechClass;
using ::glvq::lattice::LeechCodebook;
using ::glvq::lattice::leechDim;
using ::glvq::lattice::LeechSide;
using ::glvq::lattice::PointLayout;

namespace {

/// What both decoders need.
struct Points : Emitter {
  Points(OpBuilder &builder, Location loc, const PointLayout &layout,
         Value codes)
      : Emitter(loc, builder), layout(layout), codes(codes) {
    shape = {tensor::getMixedSize(*this, loc, codes, 0),
             getIndexAttr(layout.getNumSlots()),
             getIndexAttr(layout.getPointsPerSlot())};
  }

  /// A constant tensor of any integer type.
  Value constant(Type element, ArrayRef<int64_t> shape,
                 ArrayRef<int64_t> values) {
    auto type = RankedTensorType::get(shape, element);
    SmallVector<APInt> bits;
    for (int64_t value : values)
      bits.emplace_back(element.getIntOrFloatBitWidth(), value);
    return arith::ConstantOp::create(*this, DenseElementsAttr::get(type, bits));
  }

  /// Field number `field` of every point, [m, s, p] as i64: one bit after the
  /// other.
  Value getFields(unsigned field) {
    Type i64 = getI64Type();
    int64_t first = 0, width = layout.getFieldBits()[field];
    for (unsigned f = 0; f < field; ++f)
      first += layout.getFieldBits()[f];
    Value bits = empty({getIndexAttr(width)}, i64); // only its shape counts
    auto collect = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
      Value slot = e.loop(1), i = e.loop(3);
      Value point =
          e.add(e.mul(slot, e.index(layout.getPointsPerSlot())), e.loop(2));
      Value position =
          e.add(e.mul(slot, e.index(layout.getWordsPerSlot() * 32)),
                e.add(e.mul(e.loop(2), e.index(layout.getPointBits())),
                      e.add(e.index(first), i)));
      Value bit = e.bit(codes, position, layout.getNumWords(), [&](Value word) {
        return SmallVector<Value>{e.loop(0), word};
      });
      bit = e.select(e.less(point, e.index(layout.getNumPoints())), bit,
                     e.integer(i64, 0));
      return {arith::OrIOp::create(
          e, args[1], arith::ShLIOp::create(e, bit, e.castIndex(i64, i)))};
    };
    return generic(4, 1, bits, filled(shape, integer(i64, 0)), {{3}, {0, 1, 2}},
                   collect)[0];
  }

  /// The shape of coordinates, [m, s, p, i].
  SmallVector<OpFoldResult> getCoordinateShape() {
    SmallVector<OpFoldResult> result(shape);
    result.push_back(getIndexAttr(layout.getDim()));
    return result;
  }

  /// Points v [m, s, p, i] as the weight.
  Value getWeight(WeightType type, Value v, Value scales, Value groupScales) {
    Type f32 = getF32Type(), elementType = type.getElementType();
    auto scale = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
      Value factor =
          e.mul(e.castFloat(f32, args[1]), e.castFloat(f32, args[2]));
      return {e.castFloat(elementType, e.mul(factor, args[0]))};
    };
    Value w = generic(4, 0, {v, scales, groupScales},
                      empty(getCoordinateShape(), elementType),
                      {{0, 1, 2, 3}, {0}, {1}, {0, 1, 2, 3}}, scale)[0];
    return toMatrix(*this, type, w, Value());
  }

  PointLayout layout;
  Value codes;
  SmallVector<OpFoldResult> shape;
};

/// From numbers to points of a Leech codebook.
class LeechDecoder {
public:
  LeechDecoder(Points &e, const LeechCodebook &codebook);

  /// The class [m, s, p] (index) of numbers [m, s, p] (i64).
  Value findClasses(Value numbers);
  /// The coordinates [m, s, p, i] as f32.
  Value decode(Value numbers, Value classes);
  /// |v| of the points of each class, f32.
  Value getNorms();

private:
  // Columns of the table of classes.
  enum Column {
    FirstNumber,
    FirstWord,
    SignBits,
    IsOdd,
    Negatives,
    RestOn,
    RestOff,
    FirstChoice
  };
  enum ChoiceColumn {
    OnWord,
    OffWord,
    Value_,
    Slots,
    Count,
    Radix,
    NumChoiceColumns
  };
  static constexpr int64_t numChoices = 4;
  static constexpr int64_t numColumns =
      FirstChoice + numChoices * NumChoiceColumns;

  Value get(Emitter &e, Value number, int64_t column) {
    return e.extract(table, {number, e.index(column)});
  }
  static int64_t choice(int64_t j, ChoiceColumn column) {
    return FirstChoice + j * NumChoiceColumns + column;
  }
  SmallVector<Value> step(Emitter &e, Value position, ValueRange args);

  Points &e;
  const LeechCodebook &codebook;
  int64_t numClasses;
  Value table, words, binomials;
};

} // namespace

LeechDecoder::LeechDecoder(Points &e, const LeechCodebook &codebook)
    : e(e), codebook(codebook), numClasses(codebook.getNumClasses()) {
  SmallVector<int64_t> rows;
  for (int64_t i = 0; i < numClasses; ++i) {
    const LeechClass &c = codebook.getClass(i);
    int64_t fixed[] = {static_cast<int64_t>(codebook.getOffset(i)),
                       c.getFirstWord(),
                       c.signBits,
                       c.odd,
                       c.negatives,
                       c.restOn,
                       c.restOff};
    llvm::append_range(rows, fixed);
    for (const ::glvq::lattice::LeechChoice &choice : c.choices) {
      int64_t columns[] = {
          choice.side != LeechSide::Off,
          choice.side != LeechSide::On,
          choice.value,
          choice.slots,
          choice.count,
          ::glvq::lattice::getBinomial(choice.slots, choice.count)};
      llvm::append_range(rows, columns);
    }
  }
  table = e.constant(e.getI64Type(), {numClasses, numColumns}, rows);
  SmallVector<int64_t> golay(GolayCode::get().getWords().begin(),
                             GolayCode::get().getWords().end());
  words = e.constant(e.getI64Type(), {GolayCode::numWords}, golay);
  SmallVector<int64_t> pascal;
  for (unsigned n = 0; n <= leechDim; ++n)
    for (unsigned k = 0; k <= leechDim; ++k)
      pascal.push_back(::glvq::lattice::getBinomial(n, k));
  binomials = e.constant(e.getI64Type(), {leechDim + 1, leechDim + 1}, pascal);
}

Value LeechDecoder::findClasses(Value numbers) {
  // One less than the number of classes that begin at or before the number.
  Value classes = e.empty({e.getIndexAttr(numClasses)}, e.getI64Type());
  auto count = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    Value later = e.less(args[0], get(e, e.loop(3), FirstNumber));
    return {e.select(later, args[2], e.loop(3))};
  };
  return e.generic(4, 1, {numbers, classes}, e.filled(e.shape, e.index(0)),
                   {{0, 1, 2}, {3}, {0, 1, 2}}, count)[0];
}

Value LeechDecoder::getNorms() {
  SmallVector<float> norms;
  for (int64_t i = 0; i < numClasses; ++i)
    norms.push_back(std::sqrt(16.0f * codebook.getClass(i).shell));
  auto type = RankedTensorType::get({numClasses}, e.getF32Type());
  return arith::ConstantOp::create(
      e, DenseElementsAttr::get(type, ArrayRef<float>(norms)));
}

/// One position of all points. `args` are the class, the word, and the state:
/// rank, slots left and count left of every choice, the sign bits left, the
/// parity of negative values on the word, and the value.
SmallVector<Value> LeechDecoder::step(Emitter &e, Value position,
                                      ValueRange args) {
  Type i64 = e.getI64Type(), f32 = e.getF32Type();
  Value zero = e.integer(i64, 0), one = e.integer(i64, 1);
  Value number = args[0], word = args[1];
  SmallVector<Value> state(args.drop_front(2));
  auto both = [&](Value a, Value b) -> Value {
    return arith::AndIOp::create(e, a, b);
  };
  auto no = [&](Value a) -> Value {
    Value yes = arith::ConstantOp::create(e, e.getBoolAttr(true));
    return arith::XOrIOp::create(e, a, yes);
  };
  auto isSet = [&](int64_t column) {
    return e.equal(get(e, number, column), one);
  };

  Value rest = arith::ShRUIOp::create(e, word, e.castIndex(i64, position));
  Value onWord = e.equal(both(rest, one), one), last = e.equal(rest, one);
  Value value =
      e.select(onWord, get(e, number, RestOn), get(e, number, RestOff));
  Value open = arith::ConstantOp::create(e, e.getBoolAttr(true));
  for (int64_t j = 0; j < numChoices; ++j) {
    Value &rank = state[3 * j], &slots = state[3 * j + 1],
          &count = state[3 * j + 2];
    Value active = both(open, e.select(onWord, isSet(choice(j, OnWord)),
                                       isSet(choice(j, OffWord))));
    // Combinations without this position come first.
    Value fewer = e.select(active, e.sub(slots, one), zero);
    Value without =
        e.extract(binomials, {e.castIndex(e.getIndexType(), fewer),
                              e.castIndex(e.getIndexType(), count)});
    Value taken = both(active, no(e.less(rank, without)));
    rank = e.select(taken, e.sub(rank, without), rank);
    slots = e.select(active, fewer, slots);
    count = e.select(taken, e.sub(count, one), count);
    value = e.select(taken, get(e, number, choice(j, Value_)), value);
    open = both(open, no(taken));
  }

  Value &signs = state[3 * numChoices], &negatives = state[3 * numChoices + 1];
  Value odd = isSet(IsOdd);
  Value three = e.equal(both(value, e.integer(i64, 3)), e.integer(i64, 3));
  Value oddNegative = arith::XOrIOp::create(e, three, onWord);
  Value free = both(no(last), no(e.equal(value, zero)));
  Value wanted = no(e.equal(negatives, get(e, number, Negatives)));
  Value evenNegative =
      e.select(last, wanted, both(free, e.equal(both(signs, one), one)));
  Value negative = e.select(odd, oddNegative, evenNegative);
  signs = e.select(free, arith::ShRUIOp::create(e, signs, one), signs);
  Value counted = both(both(negative, onWord), no(last));
  negatives =
      e.select(counted, arith::XOrIOp::create(e, negatives, one), negatives);
  Value v = arith::SIToFPOp::create(e, f32, value);
  state.back() = e.select(negative, arith::NegFOp::create(e, v), v);
  return state;
}

Value LeechDecoder::decode(Value numbers, Value classes) {
  Type i64 = e.getI64Type(), f32 = e.getF32Type(), index = e.getIndexType();
  SmallVector<SmallVector<unsigned>> maps;

  // The digits of the number within its class.
  SmallVector<Value> outs;
  for (int64_t i = 0; i < 3 * numChoices + 3; ++i)
    outs.push_back(e.empty(e.shape, i64));
  maps.assign(2 + outs.size(), {0, 1, 2});
  auto split = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    Value number = args[1];
    Value local = e.sub(args[0], get(e, number, FirstNumber));
    Value bits = get(e, number, SignBits);
    Value below = arith::ShLIOp::create(e, e.integer(i64, 1), bits);
    Value signs =
        arith::AndIOp::create(e, local, e.sub(below, e.integer(i64, 1)));
    local = arith::ShRUIOp::create(e, local, bits);
    SmallVector<Value> digits(3 * numChoices);
    for (int64_t j = numChoices - 1; j >= 0; --j) {
      Value radix = get(e, number, choice(j, Radix));
      digits[3 * j] = e.rem(local, radix);
      digits[3 * j + 1] = get(e, number, choice(j, Slots));
      digits[3 * j + 2] = get(e, number, choice(j, Count));
      local = e.div(local, radix);
    }
    // No read beyond the table, whatever the number is.
    Value place =
        arith::MinUIOp::create(e, e.add(local, get(e, number, FirstWord)),
                               e.integer(i64, GolayCode::numWords - 1));
    place = e.castIndex(index, place);
    digits.push_back(signs);
    digits.push_back(e.integer(i64, 0));
    digits.push_back(e.extract(words, place));
    return digits;
  };
  SmallVector<Value> state =
      e.generic(3, 0, {numbers, classes}, outs, maps, split);
  Value word = state.pop_back_val();

  // One position after the other.
  Value points = e.filled(e.getCoordinateShape(), e.real(f32, 0));
  state.push_back(points);
  auto body = [&](OpBuilder &nested, Location loc, Value i, ValueRange args) {
    Emitter e(loc, nested);
    SmallVector<Value> outs(args.drop_back());
    outs.push_back(e.empty(this->e.shape, f32));
    SmallVector<SmallVector<unsigned>> maps(2 + outs.size(), {0, 1, 2});
    SmallVector<Value> next = e.generic(
        3, 0, {classes, word}, outs, maps,
        [&](Emitter &e, ValueRange args) { return step(e, i, args); });
    OpFoldResult zero = e.getIndexAttr(0), one = e.getIndexAttr(1);
    SmallVector<OpFoldResult> offsets(3, zero), sizes(this->e.shape);
    offsets.push_back(i);
    sizes.push_back(one);
    SmallVector<OpFoldResult> strides(4, one);
    next.back() = tensor::InsertSliceOp::create(e, next.back(), args.back(),
                                                offsets, sizes, strides);
    scf::YieldOp::create(e, next);
  };
  return scf::ForOp::create(e, e.index(0), e.index(leechDim), e.index(1), state,
                            body)
      .getResults()
      .back();
}

FailureOr<Value> LeechAttr::buildDecode(OpBuilder &builder, Location loc,
                                        WeightType type,
                                        ValueRange parts) const {
  Points e(builder, loc, getPointLayout(*this, type.getNumColumns()), parts[0]);
  Type i64 = e.getI64Type(), f32 = e.getF32Type();
  LeechCodebook codebook = getCodebook(*this);
  LeechDecoder decoder(e, codebook);
  Value fields = e.getFields(0), numbers = fields;
  if (getGain()) {
    auto mask = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
      int64_t below = (int64_t(1) << codebook.getIndexBits()) - 1;
      return {arith::AndIOp::create(e, args[0], e.integer(i64, below))};
    };
    numbers = e.generic(3, 0, fields, e.empty(e.shape, i64),
                        {{0, 1, 2}, {0, 1, 2}}, mask)[0];
  }
  Value classes = decoder.findClasses(numbers);
  Value v = decoder.decode(numbers, classes);
  Value coordinates = e.empty(e.getCoordinateShape(), f32);
  if (getGain()) {
    Value gains = parts[3], norms = decoder.getNorms();
    auto scale = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
      Value high = arith::ShRUIOp::create(
          e, args[1], e.integer(i64, codebook.getIndexBits()));
      Value gain = e.extract(gains, e.castIndex(e.getIndexType(), high));
      Value factor = e.div(gain, e.extract(norms, args[2]));
      return {e.mul(factor, args[0])};
    };
    v = e.generic(4, 0, {v, fields, classes}, coordinates,
                  {{0, 1, 2, 3}, {0, 1, 2}, {0, 1, 2}, {0, 1, 2, 3}}, scale)[0];
  }
  if (getResidual()) {
    LeechCodebook shell = getResidualCodebook(*this);
    LeechDecoder second(e, shell);
    Value numbers = e.getFields(1), scale = parts.back();
    Value u = second.decode(numbers, second.findClasses(numbers));
    auto sum = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
      return {e.add(args[0], e.mul(e.extract(scale, e.index(0)), args[1]))};
    };
    v = e.generic(4, 0, {v, u}, coordinates,
                  {{0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}}, sum)[0];
  }
  return e.getWeight(type, v, parts[1], parts[2]);
}

FailureOr<Value> E8PAttr::buildDecode(OpBuilder &builder, Location loc,
                                      WeightType type, ValueRange parts) const {
  Points e(builder, loc, getPointLayout(*this, type.getNumColumns()), parts[0]);
  Type i64 = e.getI64Type(), f32 = e.getF32Type();
  const auto &patterns = ::glvq::lattice::getE8PTable();
  Value table =
      e.constant(i64, {static_cast<int64_t>(patterns.size())},
                 SmallVector<int64_t>(patterns.begin(), patterns.end()));
  auto decode = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    auto shift = [&](Value a, int64_t bits) -> Value {
      return arith::ShRUIOp::create(e, a, e.integer(i64, bits));
    };
    auto mask = [&](Value a, int64_t bits) -> Value {
      return arith::AndIOp::create(e, a, e.integer(i64, bits));
    };
    Value code = args[0], i = e.castIndex(i64, e.loop(3));
    Value pattern =
        e.extract(table, e.castIndex(e.getIndexType(), mask(code, 255)));
    Value four = arith::ShLIOp::create(e, i, e.integer(i64, 2));
    Value twice = mask(arith::ShRUIOp::create(e, pattern, four), 7);
    Value value =
        e.mul(arith::SIToFPOp::create(e, f32, twice), e.real(f32, 0.5));
    // The eighth sign makes the sum even.
    Value signs = mask(shift(code, 8), 127);
    Value parity =
        mask(e.add(math::CtPopOp::create(e, signs), shift(pattern, 31)), 1);
    signs = arith::OrIOp::create(
        e, signs, arith::ShLIOp::create(e, parity, e.integer(i64, 7)));
    Value negative = e.equal(mask(arith::ShRUIOp::create(e, signs, i), 1),
                             e.integer(i64, 1));
    Value up = e.equal(shift(code, 15), e.integer(i64, 1));
    return {e.add(e.select(negative, arith::NegFOp::create(e, value), value),
                  e.select(up, e.real(f32, 0.25), e.real(f32, -0.25)))};
  };
  Value v =
      e.generic(4, 0, e.getFields(0), e.empty(e.getCoordinateShape(), f32),
                {{0, 1, 2}, {0, 1, 2, 3}}, decode)[0];
  return e.getWeight(type, v, parts[1], parts[2]);
}

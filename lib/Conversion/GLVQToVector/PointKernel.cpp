// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The product with a code of fixed points (`#glvq.leech`, `#glvq.e8p`) on a
// CPU.
//
// A lane of a vector is a row of the weight: the same point of 16 (or 8) rows
// is decoded at once, one coordinate after the other, without a branch. The
// rows' tile is decoded to f32 once, laid out [column][row], and multiplied
// with all tokens: sums over columns then need no communication between lanes.
//
// Decoding a number of the Leech lattice follows docs/LeechLattice.md. The
// class is found by binary search; its table rows are gathered. Digits are
// split off in f64, where they are exact. Ranks of combinations go through the
// positions with C(n, k) updated in f32: C(n - 1, k) = C(n, k) (n - k) / n is
// below 2^22, so that rounding to the nearest integer makes it exact. Three
// choices a position do for nearly all points; vectors in which some point
// needs the fourth one (1 of 430 points of 13 shells) take another loop.

#include "KernelBuilder.h"
#include "glvq/Dialect/GLVQ/IR/PointCodes.h"
#include "glvq/Lattice/E8.h"
#include "glvq/Lattice/Golay.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace mlir::glvq;
using ::glvq::lattice::GolayCode;
using ::glvq::lattice::LeechClass;
using ::glvq::lattice::LeechCodebook;
using ::glvq::lattice::PointLayout;

namespace {
class PointKernel {
public:
  PointKernel(KernelBuilder &b, WeightCodeAttrInterface code,
              func::FuncOp function, const PointLayout &layout, int64_t lanes);
  void build();

private:
  using Values = SmallVector<Value>;
  /// Takes coordinate `index` (an index) of a point of all rows.
  using Sink = function_ref<void(Value index, Value vector)>;

  // Arithmetic on vectors, one lane a row.
  VectorType i32() { return b.ints(lanes); }
  VectorType i64() { return b.vecType(lanes, b.getI64Type()); }
  VectorType f32() { return b.floats(lanes); }
  VectorType f64() { return b.vecType(lanes, b.getF64Type()); }
  Value splat(int32_t value) { return b.splat(lanes, value); }
  Value splatLong(int64_t value) {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(i64(), b.getI64IntegerAttr(value)));
  }
  Value splatFloat(float value) { return b.splat(lanes, value); }
  Value logicalAnd(Value x, Value y) { return arith::AndIOp::create(b, x, y); }
  Value exclusiveOr(Value x, Value y) { return arith::XOrIOp::create(b, x, y); }
  Value shiftRight(Value x, Value bits) {
    return arith::ShRUIOp::create(b, x, bits);
  }
  Value shiftLeft(Value x, Value bits) {
    return arith::ShLIOp::create(b, x, bits);
  }
  Value select(Value condition, Value x, Value y) {
    return arith::SelectOp::create(b, condition, x, y);
  }
  Value isEqual(Value x, Value y) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x, y);
  }
  Value logicalNot(Value x) {
    auto type = cast<VectorType>(x.getType());
    return exclusiveOr(
        x, arith::ConstantOp::create(
               b, DenseElementsAttr::get(type, b.getBoolAttr(true))));
  }
  /// `bits` bits of 32-bit lanes from bit `first` on.
  Value getBits(Value x, int32_t first, int32_t bits) {
    return logicalAnd(shiftRight(x, splat(first)), splat((1 << bits) - 1));
  }
  Value toFloat(Value x) { return arith::SIToFPOp::create(b, f32(), x); }

  template <typename T>
  Value makeTable(const Twine &name, ArrayRef<T> values);
  Value gather(Value table, Value indices);

  Value loadWords(Value word);
  Value loadField(Value point, unsigned field);

  struct LeechTables;
  void decodeLeech(const LeechTables &tables, Value number, Value *norm,
                   Sink sink);
  void walkPositions(Value word, Value odd, ValueRange values,
                     ArrayRef<Values> choices, Value signs, Value parity,
                     Sink sink);
  void decodeE8P(Value number, Sink sink);

  void decodePoint(Value point, Value decoded);
  void multiply(Value decoded, Value sums, Value token, int64_t numTokens);

  KernelBuilder &b;
  WeightCodeAttrInterface code;
  PointLayout layout;
  int64_t lanes, rows, columns, rowWords;
  std::string name;
  ModuleOp module;
  Value input, codes, scales, groupScales, init;
  Value gains, residualScale; ///< null without
  std::unique_ptr<LeechTables> tables, residualTables;
  Value patterns;  ///< of E8P
  Values tileRows; ///< the row of each lane
};

/// The classes of a codebook as tables. Choices have the names A to D: for odd
/// points the first to the fourth one; for even points A and D are those on the
/// word, B and C those off it, so that D is seldom needed.
struct PointKernel::LeechTables {
  unsigned indexBits;
  int64_t searchSteps; ///< 2^steps is at least the number of classes
  Value offsets;       ///< i64, padded with the largest number
  /// i32: values A to D, on and off the word, 4 bits each; odd, parity of
  /// negative values; 5 sign bits.
  Value values;
  Value slots;      ///< i32: slots of A to D, 5 bits each; the first word
  Value counts;     ///< i32: counts of A to D, 5 bits each
  Value radices[4]; ///< i32, in the order of the digits
  Value norms;      ///< f32: |v|
  Value words;      ///< i32: the Golay code
};
} // namespace

PointKernel::PointKernel(KernelBuilder &b, WeightCodeAttrInterface code,
                         func::FuncOp function, const PointLayout &layout,
                         int64_t lanes)
    : b(b), code(code), layout(layout), lanes(lanes),
      columns(layout.getColumns()), rowWords(layout.getNumWords()),
      module(function->getParentOfType<ModuleOp>()) {
  auto arguments = function.getArguments();
  input = arguments[0];
  codes = arguments[1];
  scales = arguments[2];
  groupScales = arguments[3];
  init = arguments.back();
  rows = cast<MemRefType>(codes.getType()).getDimSize(0);

  auto leech = dyn_cast<LeechAttr>(code);
  if (!leech) {
    const auto &table = ::glvq::lattice::getE8PTable();
    SmallVector<int32_t> words(table.begin(), table.end());
    patterns = makeTable<int32_t>("glvq_e8p_patterns", words);
    return;
  }
  if (leech.getGain())
    gains = arguments[4];
  if (leech.getResidual())
    residualScale = arguments[arguments.size() - 2];

  auto makeTables = [&](const LeechCodebook &codebook) {
    auto t = std::make_unique<LeechTables>();
    std::string prefix = ("glvq_leech_" + Twine(codebook.getFirstShell()) +
                          "_" + Twine(codebook.getLastShell()) + "_")
                             .str();
    size_t n = codebook.getNumClasses();
    t->indexBits = codebook.getIndexBits();
    t->searchSteps = llvm::Log2_64_Ceil(n);
    SmallVector<int64_t> offsets(int64_t(1) << t->searchSteps, INT64_MAX);
    SmallVector<int32_t> values, slots, counts, radices[4];
    SmallVector<float> norms;
    for (size_t i = 0; i < n; ++i) {
      const LeechClass &c = codebook.getClass(i);
      offsets[i] = codebook.getOffset(i);
      const int order[2][4] = {{0, 2, 3, 1}, {0, 1, 2, 3}};
      uint32_t v = 0, s = 0, k = 0;
      for (unsigned j = 0; j < 4; ++j) {
        const auto &choice = c.choices[order[c.odd][j]];
        v |= choice.value << (4 * j);
        s |= choice.slots << (5 * j);
        k |= choice.count << (5 * j);
        radices[j].push_back(::glvq::lattice::getBinomial(c.choices[j].slots,
                                                          c.choices[j].count));
      }
      v |= c.restOn << 16 | c.restOff << 20 | c.odd << 24 | c.negatives << 25;
      values.push_back(static_cast<int32_t>(v | c.signBits << 26));
      slots.push_back(static_cast<int32_t>(s | c.getFirstWord() << 20));
      counts.push_back(static_cast<int32_t>(k));
      norms.push_back(std::sqrt(16.0f * c.shell));
    }
    t->offsets = makeTable<int64_t>(prefix + "offsets", offsets);
    t->values = makeTable<int32_t>(prefix + "values", values);
    t->slots = makeTable<int32_t>(prefix + "slots", slots);
    t->counts = makeTable<int32_t>(prefix + "counts", counts);
    for (unsigned j = 0; j < 4; ++j)
      t->radices[j] =
          makeTable<int32_t>(prefix + "radices_" + Twine(j), radices[j]);
    if (gains)
      t->norms = makeTable<float>(prefix + "norms", norms);
    SmallVector<int32_t> words(GolayCode::get().getWords().begin(),
                               GolayCode::get().getWords().end());
    t->words = makeTable<int32_t>("glvq_golay_words", words);
    return t;
  };
  tables = makeTables(getCodebook(leech));
  if (residualScale)
    residualTables = makeTables(getResidualCodebook(leech));
}

/// A constant of the module, one for all kernels.
template <typename T>
Value PointKernel::makeTable(const Twine &name, ArrayRef<T> values) {
  std::string symbol = name.str();
  Type element = std::is_same_v<T, float>
                     ? Type(b.getF32Type())
                     : Type(b.getIntegerType(8 * sizeof(T)));
  auto type = MemRefType::get({static_cast<int64_t>(values.size())}, element);
  if (!module.lookupSymbol(symbol)) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    auto tensorType = RankedTensorType::get(type.getShape(), element);
    memref::GlobalOp::create(b, symbol, b.getStringAttr("private"), type,
                             DenseElementsAttr::get(tensorType, values),
                             /*constant=*/true, b.getI64IntegerAttr(64));
  }
  return memref::GetGlobalOp::create(b, type, symbol);
}

Value PointKernel::gather(Value table, Value indices) {
  Type element = cast<MemRefType>(table.getType()).getElementType();
  VectorType type = b.vecType(lanes, element);
  Value mask = arith::ConstantOp::create(
      b, DenseElementsAttr::get(b.vecType(lanes, b.getI1Type()),
                                b.getBoolAttr(true)));
  Value pass = arith::ConstantOp::create(b, b.getZeroAttr(type));
  return vector::GatherOp::create(b, type, table, ValueRange(b.idx(0)), indices,
                                  mask, pass);
}

/// Word `word` of the codes of all rows.
Value PointKernel::loadWords(Value word) {
  Value words = splat(0);
  for (auto [lane, row] : llvm::enumerate(tileRows))
    words = vector::InsertOp::create(b, b.load(codes, {row, word}), words,
                                     static_cast<int64_t>(lane));
  return words;
}

/// A field of a point of all rows, as i64.
Value PointKernel::loadField(Value point, unsigned field) {
  int64_t first = 0, width = layout.getFieldBits()[field],
          pointBits = layout.getPointBits();
  for (unsigned f = 0; f < field; ++f)
    first += layout.getFieldBits()[f];
  int64_t perSlot = layout.getPointsPerSlot();
  Value slot = arith::DivUIOp::create(b, point, b.idx(perSlot));
  Value inSlot = arith::RemUIOp::create(b, point, b.idx(perSlot));
  Value bit = b.add(b.mul(inSlot, pointBits), first);
  Value word = b.add(b.mul(slot, layout.getWordsPerSlot()),
                     arith::DivUIOp::create(b, bit, b.idx(32)));
  Value shift = arith::RemUIOp::create(b, bit, b.idx(32));
  Value shifts = b.broadcast(
      lanes, arith::IndexCastUIOp::create(b, b.getI64Type(), shift));

  // Fields begin at multiples of some power of two.
  int64_t alignment = std::gcd(std::gcd(pointBits, first), int64_t(32));
  int64_t numWords = llvm::divideCeil(32 - alignment + width, 32);
  auto load = [&](int64_t i) {
    // The word after a field's last may belong to the next row.
    Value at = arith::MinUIOp::create(b, b.add(word, i), b.idx(rowWords - 1));
    return arith::ExtUIOp::create(b, i64(), loadWords(at));
  };
  Value bits = load(0);
  if (numWords > 1)
    bits = arith::OrIOp::create(b, bits, shiftLeft(load(1), splatLong(32)));
  bits = shiftRight(bits, shifts);
  if (numWords > 2) {
    // In two steps: by 64 bits it would be undefined.
    Value rest =
        shiftLeft(load(2), arith::SubIOp::create(b, splatLong(63), shifts));
    bits = arith::OrIOp::create(b, bits, shiftLeft(rest, splatLong(1)));
  }
  return width == 64 ? bits
                     : logicalAnd(bits, splatLong((int64_t(1) << width) - 1));
}

/// The loop over positions. `choices` are (rank, C(n, k), n, k) of A, B, C and
/// maybe D, as f32; `values` the absolute values of A, …, then on and off the
/// word: for odd points with the sign they have on the word.
void PointKernel::walkPositions(Value word, Value odd, ValueRange values,
                                ArrayRef<Values> choices, Value signs,
                                Value parity, Sink sink) {
  Values state = {word, signs, parity};
  for (const Values &choice : choices)
    llvm::append_range(state, choice);
  Value one = splat(1), zero = splat(0);
  b.loop(
      b.idx(0), b.idx(::glvq::lattice::leechDim), 1, state,
      [&](Value i, ValueRange args) {
        Values next(args);
        Value rest = args[0], signs = args[1], parity = args[2];
        Value onWord = isEqual(logicalAnd(rest, one), one),
              last = isEqual(rest, one);
        Value onOrOdd = arith::OrIOp::create(b, onWord, odd);
        Value offOrOdd = arith::OrIOp::create(b, logicalNot(onWord), odd);
        Value value =
            select(onWord, values[choices.size()], values[choices.size() + 1]);
        Value open; // The position is not taken.
        for (size_t j = 0; j < choices.size(); ++j) {
          Value &rank = next[3 + 4 * j], &combinations = next[4 + 4 * j],
                &n = next[5 + 4 * j], &k = next[6 + 4 * j];
          Value active = j == 0 || j == 3 ? onOrOdd : offOrOdd;
          if (open)
            active = logicalAnd(active, open);
          Value left = arith::MulFOp::create(b, combinations,
                                             arith::SubFOp::create(b, n, k));
          Value without =
              math::RoundEvenOp::create(b, arith::DivFOp::create(b, left, n));
          Value reached = arith::CmpFOp::create(b, arith::CmpFPredicate::OGE,
                                                rank, without);
          Value taken = logicalAnd(active, reached);
          Value with = arith::SubFOp::create(b, combinations, without);
          rank = select(taken, arith::SubFOp::create(b, rank, without), rank);
          combinations =
              select(active, select(reached, with, without), combinations);
          Value minusOne = splatFloat(-1);
          n = select(active, arith::AddFOp::create(b, n, minusOne), n);
          k = select(taken, arith::AddFOp::create(b, k, minusOne), k);
          value = select(taken, values[j], value);
          Value free = logicalNot(taken);
          open = open ? logicalAnd(open, free) : free;
        }
        // Even points: the next sign bit; the last position on the word settles
        // the parity.
        Value isZero = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ,
                                             value, splatFloat(0));
        Value own = select(isZero, zero, logicalAnd(signs, one));
        Value even = select(last, parity, own);
        Value negative = select(odd, select(onWord, zero, one), even);
        next[0] = shiftRight(rest, one);
        next[1] = select(arith::OrIOp::create(b, isZero, last), signs,
                         shiftRight(signs, one));
        next[2] = exclusiveOr(parity, select(onWord, even, zero));
        Value bits = arith::BitcastOp::create(b, i32(), value);
        bits = exclusiveOr(bits, shiftLeft(negative, splat(31)));
        sink(i, arith::BitcastOp::create(b, f32(), bits));
        return next;
      });
}

/// Points of the Leech lattice from their numbers; `norm`, if asked for,
/// becomes |v|.
void PointKernel::decodeLeech(const LeechTables &t, Value number, Value *norm,
                              Sink sink) {
  // The last class that begins at or before the number.
  Value classes = splat(0), begin = splatLong(0);
  for (int64_t step = t.searchSteps - 1; step >= 0; --step) {
    Value next = arith::AddIOp::create(b, classes, splat(1 << step));
    Value offset = gather(t.offsets, next);
    Value reached =
        arith::CmpIOp::create(b, arith::CmpIPredicate::sge, number, offset);
    classes = select(reached, next, classes);
    begin = select(reached, offset, begin);
  }
  Value v = gather(t.values, classes), s = gather(t.slots, classes),
        k = gather(t.counts, classes);
  if (norm)
    *norm = gather(t.norms, classes);
  Value odd = isEqual(getBits(v, 24, 1), splat(1));

  // The digits of the number within its class, from the last one on.
  Value local = arith::SubIOp::create(b, number, begin);
  Value signBits = getBits(v, 26, 6);
  Value signs = logicalAnd(
      arith::TruncIOp::create(b, i32(), local),
      arith::SubIOp::create(b, shiftLeft(splat(1), signBits), splat(1)));
  local = shiftRight(local, arith::ExtUIOp::create(b, i64(), signBits));
  Value rest = arith::SIToFPOp::create(b, f64(), local);
  Value ranks[4], combinations[4];
  for (int j = 3; j >= 0; --j) {
    Value radix = gather(t.radices[j], classes);
    combinations[j] = toFloat(radix);
    Value wide = arith::SIToFPOp::create(b, f64(), radix);
    // The quotient of numbers below 2^48 is exact but for the last bits, which
    // cannot reach the next integer.
    Value quotient =
        math::FloorOp::create(b, arith::DivFOp::create(b, rest, wide));
    Value digit = arith::SubFOp::create(
        b, rest, arith::MulFOp::create(b, quotient, wide));
    ranks[j] = arith::TruncFOp::create(b, f32(), digit);
    rest = quotient;
  }
  Value wordNumber = arith::AddIOp::create(
      b, arith::FPToSIOp::create(b, i32(), rest), getBits(s, 20, 12));
  Value word = gather(t.words, wordNumber);

  const int evenOrder[] = {0, 2, 3, 1};
  SmallVector<Values> choices;
  Values values;
  auto getValue = [&](int field) {
    Value bits = getBits(v, 4 * field, 4);
    Value residue = isEqual(logicalAnd(bits, splat(3)), splat(3));
    Value turned = logicalAnd(odd, logicalNot(residue));
    Value value = toFloat(bits);
    return select(turned, arith::NegFOp::create(b, value), value);
  };
  for (int j = 0; j < 4; ++j) {
    int even = evenOrder[j];
    Value rank = j ? select(odd, ranks[j], ranks[even]) : ranks[j];
    Value combination =
        j ? select(odd, combinations[j], combinations[even]) : combinations[j];
    choices.push_back({rank, combination, toFloat(getBits(s, 5 * j, 5)),
                       toFloat(getBits(k, 5 * j, 5))});
    values.push_back(getValue(j));
  }
  Value on = getValue(4), off = getValue(5);
  Value parity = getBits(v, 25, 1);

  Value fourth = vector::ReductionOp::create(b, vector::CombiningKind::OR,
                                             getBits(k, 15, 5));
  Value needed = arith::CmpIOp::create(
      b, arith::CmpIPredicate::ne, fourth,
      arith::ConstantOp::create(b, b.getI32IntegerAttr(0)));
  b.conditional(
      needed,
      [&] {
        Values all(values);
        all.append({on, off});
        walkPositions(word, odd, all, choices, signs, parity, sink);
      },
      [&] {
        Values three(ArrayRef(values).take_front(3));
        three.append({on, off});
        walkPositions(word, odd, three, ArrayRef(choices).take_front(3), signs,
                      parity, sink);
      });
}

void PointKernel::decodeE8P(Value number, Sink sink) {
  Value code = arith::TruncIOp::create(b, i32(), number);
  Value pattern = gather(patterns, logicalAnd(code, splat(255)));
  Value signs = getBits(code, 8, 7);
  // The eighth sign makes the sum even.
  Value parity = exclusiveOr(signs, shiftRight(signs, splat(4)));
  parity = exclusiveOr(parity, shiftRight(parity, splat(2)));
  parity = exclusiveOr(parity, shiftRight(parity, splat(1)));
  parity = exclusiveOr(parity, shiftRight(pattern, splat(31)));
  signs = arith::OrIOp::create(
      b, signs, shiftLeft(logicalAnd(parity, splat(1)), splat(7)));
  Value up = isEqual(shiftRight(code, splat(15)), splat(1));
  Value shift = select(up, splatFloat(0.25f), splatFloat(-0.25f));
  for (int i = 0; i < static_cast<int>(::glvq::lattice::e8Dim); ++i) {
    Value half = arith::MulFOp::create(b, toFloat(getBits(pattern, 4 * i, 3)),
                                       splatFloat(0.5f));
    Value bits = arith::BitcastOp::create(b, i32(), half);
    Value negative = shiftLeft(shiftRight(signs, splat(i)), splat(31));
    Value value =
        arith::BitcastOp::create(b, f32(), exclusiveOr(bits, negative));
    sink(b.idx(i), arith::AddFOp::create(b, value, shift));
  }
}

/// One point of all rows to decoded[column, row], without the scales of rows.
void PointKernel::decodePoint(Value point, Value decoded) {
  Value slot =
      arith::DivUIOp::create(b, point, b.idx(layout.getPointsPerSlot()));
  Value groupScale =
      b.broadcast(lanes, arith::ExtFOp::create(b, b.getF32Type(),
                                               b.load(groupScales, slot)));
  Value column = b.mul(point, layout.getDim()), number = loadField(point, 0);
  auto store = [&](Value factor) {
    return [&, factor](Value i, Value vector) {
      b.storeVector(arith::MulFOp::create(b, vector, factor), decoded,
                    {arith::AddIOp::create(b, column, i), b.idx(0)});
    };
  };
  if (!tables)
    return decodeE8P(number, store(groupScale));
  if (!gains) {
    decodeLeech(*tables, number, nullptr, store(groupScale));
  } else {
    Value high = shiftRight(number, splatLong(tables->indexBits));
    Value gain = gather(gains, arith::TruncIOp::create(b, i32(), high));
    number =
        logicalAnd(number, splatLong((int64_t(1) << tables->indexBits) - 1));
    Value norm;
    // The factor is known once the class is.
    Value factor;
    decodeLeech(*tables, number, &norm, [&](Value i, Value vector) {
      factor = arith::MulFOp::create(b, arith::DivFOp::create(b, gain, norm),
                                     groupScale);
      store(factor)(i, vector);
    });
  }
  if (!residualScale)
    return;
  Value scale = b.broadcast(lanes, b.load(residualScale, b.idx(0)));
  Value factor = arith::MulFOp::create(b, scale, groupScale);
  decodeLeech(*residualTables, loadField(point, 1), nullptr,
              [&](Value i, Value vector) {
                Value at = arith::AddIOp::create(b, column, i);
                Value sum = b.loadVector(lanes, decoded, {at, b.idx(0)});
                b.storeVector(b.fma(vector, factor, sum), decoded,
                              {at, b.idx(0)});
              });
}

/// init[token, row] += scale[row] times the product of the decoded rows and
/// some tokens.
void PointKernel::multiply(Value decoded, Value sums, Value token,
                           int64_t numTokens) {
  Values zeros(numTokens, splatFloat(0));
  Values dots = b.loop(
      b.idx(0), b.idx(columns), 1, zeros, [&](Value column, ValueRange args) {
        Value w = b.loadVector(lanes, decoded, {column, b.idx(0)});
        Values next;
        for (auto [t, sum] : llvm::enumerate(args)) {
          Value x = b.load(input, {b.add(token, t), column});
          next.push_back(b.fma(w, b.broadcast(lanes, x), sum));
        }
        return next;
      });
  for (auto [t, dot] : llvm::enumerate(dots)) {
    b.storeVector(dot, sums, b.idx(0));
    // A shorter last tile repeats its last row, which must be counted once.
    Value at = b.add(token, t);
    Value first = tileRows.front();
    Value left = arith::SubIOp::create(b, b.idx(rows), first);
    Value count = arith::MinUIOp::create(b, left, b.idx(lanes));
    b.loop(b.idx(0), count, 1, [&](Value lane) {
      Value row = arith::AddIOp::create(b, first, lane);
      Value scale =
          arith::ExtFOp::create(b, b.getF32Type(), b.load(scales, row));
      Value sum = math::FmaOp::create(b, b.load(sums, lane), scale,
                                      b.load(init, {at, row}));
      memref::StoreOp::create(b, sum, init, {at, row});
    });
  }
}

void PointKernel::build() {
  constexpr int64_t tokenBlock = 8;
  Value numTokens = b.dim(input, 0);
  b.parallel(b.idx(llvm::divideCeil(rows, lanes)), [&](Value tile) {
    Value first = b.mul(tile, lanes);
    tileRows.clear();
    tileRows.push_back(first);
    for (int64_t lane = 1; lane < lanes; ++lane)
      tileRows.push_back(
          arith::MinUIOp::create(b, b.add(first, lane), b.idx(rows - 1)));
    Value decoded = b.scratch({layout.getNumPoints() * layout.getDim(), lanes});
    Value sums = b.scratch({lanes});
    b.loop(0, layout.getNumPoints(), 1,
           [&](Value point) { decodePoint(point, decoded); });
    Value rest = arith::RemUIOp::create(b, numTokens, b.idx(tokenBlock));
    Value whole = arith::SubIOp::create(b, numTokens, rest);
    b.loop(b.idx(0), whole, tokenBlock,
           [&](Value token) { multiply(decoded, sums, token, tokenBlock); });
    b.loop(whole, numTokens, 1,
           [&](Value token) { multiply(decoded, sums, token, 1); });
    b.release(sums);
    b.release(decoded);
  });
}

void mlir::glvq::buildPointKernel(KernelBuilder &b,
                                  WeightCodeAttrInterface code,
                                  func::FuncOp function, int64_t vectorLength) {
  int64_t columns =
      cast<MemRefType>(function.getArgument(0).getType()).getDimSize(1);
  PointLayout layout = isa<LeechAttr>(code)
                           ? getPointLayout(cast<LeechAttr>(code), columns)
                           : getPointLayout(cast<E8PAttr>(code), columns);
  PointKernel(b, code, function, layout, vectorLength).build();
}

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The product with a lattice weight on a CPU.
//
// Without a compander the decoder is linear: x . G(u + c) = (G^T x) . u + c
// sum(G^T x), with c = 1/2 - 2^(bits-1). So the generators go to the
// activations, once per call, and what is left of each weight is an integer of
// a few bits: three or four vector instructions for a vector of weights. The
// fields are not shifted into place. A field at bit s of its lane stands for u
// 2^s; the activation of that lane is 2^-s times as large, which is exact.
//
// With a compander each point is decoded: in registers when whole points fill a
// vector, from the fields permuted and the columns of the generator repeated.
//
// For many tokens some rows are decoded to f32 once, and multiplied as a dense
// matrix in blocks that fit the registers.
//
// Activations are laid out slot by slot as the codes are; each slot is padded
// with zeros to whole vectors, so that no loop has a remainder and the codes
// beyond a slot meet a zero.

#include "KernelBuilder.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>
#include <numbers>

using namespace mlir;
using namespace mlir::glvq;

namespace {
/// Slots with the same width and number of columns.
struct SlotRun {
  int64_t width;
  int64_t first, count;
  int64_t columns; // of each slot
  int64_t points;  // of each slot: ceil(columns / dim)
  int64_t firstWord, words;
  int64_t firstPad, pad; // place in the padded activations
  /// Words of a row from the first slot to the end. Only a single slot may come
  /// so near to the end of the row that loads must be moved back.
  int64_t available;
};

/// A slot in the code that is being built: of a run, at places known when it
/// runs.
struct Slot {
  const SlotRun &run;
  Value index, word, pad;
};

class MatmulKernel {
public:
  MatmulKernel(KernelBuilder &b, LatticeAttr code, func::FuncOp function,
               int64_t lanes);
  void build();

private:
  using Values = SmallVector<Value>;
  /// Builds something for a slot, or for a vector of fields of a slot (`chunk`,
  /// within those at `word` and `pad`). Takes and gives values carried through
  /// the loops.
  using SlotFn = function_ref<Values(const Slot &, ValueRange)>;
  using ChunkFn = function_ref<Values(const Slot &, int64_t chunk, ValueRange)>;

  Values forEachSlot(ValueRange init, SlotFn body);
  Values forEachChunk(const Slot &slot, ValueRange init, ChunkFn body);

  bool isInPlace(int64_t width) const { return lanes == 16 && width == 2; }
  /// By how many bits the field in each lane stays shifted.
  int64_t getShift(int64_t width, int64_t lane) const {
    return isInPlace(width) ? lane * width : lane * width % 8;
  }
  Value getInverseShifts(int64_t width);
  /// Whether a vector holds whole points, so that it can be decoded by itself.
  bool hasWholePoints() const { return lanes % dim == 0; }
  Value loadFields(Value row, const Slot &slot, int64_t chunk);
  Value loadCentered(Value row, const Slot &slot, int64_t chunk);
  Value loadWeights(Value row, const Slot &slot, int64_t chunk);
  int64_t getFirstWord(const SlotRun &run, int64_t chunk) const {
    return chunk * lanes * run.width / 32;
  }
  bool reachesBeyondRow(const SlotRun &run) const;

  Value getFirstColumn(const Slot &slot);
  void applyGenerator(const Slot &slot, Value generators, Value from,
                      ValueRange fromIndices, int64_t available, Value to,
                      ValueRange toIndices);
  Value companded(const Slot &slot, Value y);

  void foldActivations(Value folded, Value offsets, Value token);
  void layOutActivations(Value padded, Value token);
  void prepareDecoding();

  void decodeRow(Value row, Value decoded, Value decodedRow, Value points);
  void accumulate(Value token, Value row, Value dot);
  void multiplyPacked(Value token, Value firstRow, int64_t numRows);
  void multiplyDecoded(Value decoded, Value token, int64_t numTokens,
                       Value firstRow, int64_t numRows);
  void multiplyRows(Value firstRow, int64_t numRows);

  KernelBuilder &b;
  LatticeAttr code;
  int64_t lanes, dim, rows, columns, rowWords, paddedColumns, rowBlock,
      tokenBlock;
  SmallVector<SlotRun> runs;
  Value input, codes, generators, scales, order, companders, init;
  Value numTokens, activations;
  Value offsets; // linear codes: [token]
  // Otherwise: [slot, j, lane] = G[lane mod dim][j], and the factors of the
  // compander per slot.
  Value transposedGenerators, factors;
};
} // namespace

MatmulKernel::MatmulKernel(KernelBuilder &b, LatticeAttr code,
                           func::FuncOp function, int64_t lanes)
    : b(b), code(code), lanes(lanes), dim(code.getDim()) {
  ValueRange arguments = function.getArguments();
  input = arguments.front();
  codes = arguments[1];
  generators = arguments[2];
  scales = arguments[3];
  if (code.isMixed())
    order = arguments[4];
  if (code.hasCompander())
    companders = arguments.drop_back().back();
  init = arguments.back();
  rows = cast<MemRefType>(codes.getType()).getDimSize(0);
  columns = cast<MemRefType>(input.getType()).getDimSize(1);
  rowWords = code.getNumWords(columns);
  // Accumulators, operands and masks fill the 32 registers of AVX-512, or the
  // 16 of AVX2.
  rowBlock = lanes == 16 ? 8 : 4;
  tokenBlock = lanes == 16 ? 3 : 2;

  int64_t pad = 0;
  int64_t numSlots = code.getNumSlots(columns);
  for (int64_t slot = 0; slot < numSlots; ++slot) {
    SlotRun run;
    run.width = code.getWidthOfSlot(slot);
    run.first = slot;
    run.count = 1;
    run.columns = code.getNumColumnsOfSlot(columns, slot);
    run.points = llvm::divideCeil(run.columns, dim);
    run.firstWord = code.getWordOffset(columns, slot);
    run.words = code.getNumWordsOfSlot(columns, slot);
    run.firstPad = pad;
    run.pad = llvm::alignTo(run.points * dim, lanes);
    run.available = rowWords - run.firstWord;
    pad += run.pad;
    if (!runs.empty() && runs.back().width == run.width &&
        runs.back().columns == run.columns && !reachesBeyondRow(run))
      ++runs.back().count;
    else
      runs.push_back(run);
  }
  paddedColumns = pad;
}

/// Calls `body` in a loop over each run of slots.
auto MatmulKernel::forEachSlot(ValueRange init, SlotFn body) -> Values {
  Values values = llvm::to_vector_of<Value>(init);
  for (const SlotRun &run : runs) {
    auto at = [&](Value slot) {
      return Slot{run, b.add(slot, run.first),
                  b.add(b.mul(slot, run.words), run.firstWord),
                  b.add(b.mul(slot, run.pad), run.firstPad)};
    };
    if (run.count == 1)
      values = body(at(b.idx(0)), values);
    else
      values = b.loop(
          b.idx(0), b.idx(run.count), 1, values,
          [&](Value slot, ValueRange args) { return body(at(slot), args); });
  }
  return values;
}

/// Calls `body` for each vector of fields of a slot: all at once, or in a loop
/// when they are many.
auto MatmulKernel::forEachChunk(const Slot &slot, ValueRange init, ChunkFn body)
    -> Values {
  Values values = llvm::to_vector_of<Value>(init);
  int64_t numChunks = slot.run.pad / lanes, first = 0;
  // Eight vectors of fields are whole words for every width.
  constexpr int64_t unroll = 8;
  auto moved = [&](Value block) {
    return Slot{slot.run, slot.index,
                b.add(slot.word, b.mul(block, getFirstWord(slot.run, unroll))),
                b.add(slot.pad, b.mul(block, unroll * lanes))};
  };
  if (numChunks > 2 * unroll) {
    // The last 128 fields are not in the loop: only there may loads be moved
    // back.
    int64_t numBlocks = numChunks / unroll - 16 / lanes;
    values = b.loop(b.idx(0), b.idx(numBlocks), 1, values,
                    [&](Value block, ValueRange args) {
                      Values inner = llvm::to_vector_of<Value>(args);
                      for (int64_t chunk = 0; chunk < unroll; ++chunk)
                        inner = body(moved(block), chunk, inner);
                      return inner;
                    });
    first = numBlocks * unroll;
  }
  for (int64_t chunk = first; chunk < numChunks; ++chunk)
    values = body(slot, chunk, values);
  return values;
}

/// Whether loading whole vectors of words for this slot would leave the row.
bool MatmulKernel::reachesBeyondRow(const SlotRun &run) const {
  int64_t numWords = isInPlace(run.width) ? 1 : std::min<int64_t>(4, rowWords);
  return getFirstWord(run, run.pad / lanes - 1) + numWords > run.available;
}

/// 2^-shift for each lane.
Value MatmulKernel::getInverseShifts(int64_t width) {
  SmallVector<float> scale;
  for (int64_t lane = 0; lane < lanes; ++lane)
    scale.push_back(std::ldexp(1.0f, -getShift(width, lane)));
  return b.constant(scale);
}

/// The fields of a chunk as floats u 2^shift.
Value MatmulKernel::loadFields(Value row, const Slot &slot, int64_t chunk) {
  int64_t width = slot.run.width;
  SmallVector<int32_t> mask;
  for (int64_t lane = 0; lane < lanes; ++lane)
    mask.push_back(
        static_cast<int32_t>(((1u << width) - 1) << getShift(width, lane)));

  int64_t first = getFirstWord(slot.run, chunk);
  if (isInPlace(width)) {
    // One word holds the fields of all lanes. A chunk of nothing but padding
    // may lie behind the last word; it meets zeros.
    first = std::min(first, slot.run.available - 1);
    Value word = b.load(codes, {row, b.add(slot.word, first)});
    Value fields =
        arith::AndIOp::create(b, b.broadcast(lanes, word), b.constant(mask));
    return arith::UIToFPOp::create(b, b.floats(lanes), fields);
  }

  // Four words hold the fields of all lanes, wherever the chunk begins in the
  // first of them. Each lane takes the one or two bytes its field lies in.
  int64_t numWords = std::min<int64_t>(4, rowWords);
  int64_t byte = chunk * lanes * width / 8 - 4 * first;
  if (first + numWords > slot.run.available) {
    int64_t moved = slot.run.available - numWords;
    byte += 4 * (first - moved);
    first = moved;
  }
  Value words = b.loadVector(numWords, codes, {row, b.add(slot.word, first)});
  Type bytesType = b.vecType(4 * numWords, b.getI8Type());
  Value bytes =
      vector::BitCastOp::create(b, cast<VectorType>(bytesType), words);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(bytesType));
  SmallVector<int64_t> pick;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    int64_t bit = lane * width;
    int64_t numBytes = bit % 8 + width > 8 ? 2 : 1;
    for (int64_t i = 0; i < 4; ++i) {
      int64_t source = byte + bit / 8 + i;
      pick.push_back(i < numBytes && source < 4 * numWords ? source
                                                           : 4 * numWords);
    }
  }
  Value picked = vector::ShuffleOp::create(b, bytes, zero, pick);
  Value fields = vector::BitCastOp::create(b, b.ints(lanes), picked);
  fields = arith::AndIOp::create(b, fields, b.constant(mask));
  return arith::SIToFPOp::create(b, b.floats(lanes), fields);
}

/// The fields of a chunk as lattice coordinates u + 1/2 - 2^(bits-1).
Value MatmulKernel::loadCentered(Value row, const Slot &slot, int64_t chunk) {
  Value center = b.splat(lanes, 0.5f - std::ldexp(1.0f, slot.run.width - 1));
  return b.fma(loadFields(row, slot, chunk), getInverseShifts(slot.run.width),
               center);
}

/// What is multiplied with the prepared activations: fields u 2^shift for a
/// linear code, weights without the scale of the row otherwise.
Value MatmulKernel::loadWeights(Value row, const Slot &slot, int64_t chunk) {
  if (!companders)
    return loadFields(row, slot, chunk);
  Value z = loadCentered(row, slot, chunk);
  Value y = b.splat(lanes, 0.0f);
  for (int64_t j = 0; j < dim; ++j) {
    SmallVector<int64_t> pick;
    for (int64_t lane = 0; lane < lanes; ++lane)
      pick.push_back(lane / dim * dim + j);
    Value coordinate = vector::ShuffleOp::create(b, z, z, pick);
    Value column = b.loadVector(lanes, transposedGenerators,
                                {slot.index, b.idx(j), b.idx(0)});
    y = b.fma(coordinate, column, y);
  }
  return companded(slot, y);
}

/// The column of the weight at which the columns of a slot begin.
Value MatmulKernel::getFirstColumn(const Slot &slot) {
  Value group = slot.index;
  if (order)
    group = arith::IndexCastOp::create(b, b.getIndexType(),
                                       b.load(order, {slot.index}));
  return b.mul(group, code.getGroup());
}

/// For each lattice point of a slot, the sum over i < dim of from[point, i] *
/// generators[slot, i] as a vector; `available` elements of `from` exist, the
/// rest counts as zero. The last vector of the slot is set to zero first, so
/// that its padding is zero.
void MatmulKernel::applyGenerator(const Slot &slot, Value generators,
                                  Value from, ValueRange fromIndices,
                                  int64_t available, Value to,
                                  ValueRange toIndices) {
  auto at = [&](ValueRange indices, Value offset) {
    Values moved = llvm::to_vector_of<Value>(indices);
    moved.back() = b.add(moved.back(), offset);
    return moved;
  };
  if (slot.run.points * dim < slot.run.pad)
    b.storeVector(b.splat(lanes, 0.0f), to,
                  at(toIndices, b.idx(slot.run.pad - lanes)));
  bool isHalf =
      !cast<MemRefType>(generators.getType()).getElementType().isF32();
  auto step = [&](Value point, Value i, Value sum) -> Value {
    Value row = b.loadVector(dim, generators, {slot.index, i, b.idx(0)});
    if (isHalf)
      row = arith::ExtFOp::create(b, b.floats(dim), row);
    Value x = b.load(from, at(fromIndices, b.add(b.mul(point, dim), i)));
    return b.fma(b.broadcast(dim, x), row, sum);
  };
  auto onePoint = [&](Value point, int64_t size) {
    Value sum = b.splat(dim, 0.0f);
    if (size <= 8) {
      for (int64_t i = 0; i < size; ++i)
        sum = step(point, b.idx(i), sum);
    } else {
      sum =
          b.loop(b.idx(0), b.idx(size), 1, sum, [&](Value i, ValueRange args) {
             return Values{step(point, i, args.front())};
           }).front();
    }
    if (generators == transposedGenerators)
      sum = companded(slot, sum);
    b.storeVector(sum, to, at(toIndices, b.mul(point, dim)));
  };
  b.loop(0, available / dim, 1, [&](Value point) { onePoint(point, dim); });
  if (available % dim)
    onePoint(b.idx(available / dim), available % dim);
}

/// F^-1(y), without the scale of the row.
Value MatmulKernel::companded(const Slot &slot, Value y) {
  int64_t size = cast<VectorType>(y.getType()).getDimSize(0);
  Value first = b.load(factors, {slot.index, b.idx(0)});
  Value second = b.load(factors, {slot.index, b.idx(1)});
  Value magnitude = math::AbsFOp::create(b, y);
  if (code.getCompander() == Compander::Affine) {
    Value factor =
        b.fma(b.broadcast(size, second), magnitude, b.broadcast(size, first));
    return arith::MulFOp::create(b, y, factor);
  }

  // (1 + mu)^|y| = 2^(|y| log2(1 + mu)) = 2^n 2^r: 2^n by its exponent bits,
  // 2^r for |r| <= 1/2 by its Taylor series, whose next term is below 1e-9.
  Value exponent =
      arith::MulFOp::create(b, magnitude, b.broadcast(size, first));
  exponent = arith::MinimumFOp::create(b, exponent, b.splat(size, 126.0f));
  Value half = arith::AddFOp::create(b, exponent, b.splat(size, 0.5f));
  Value whole = arith::FPToSIOp::create(b, b.ints(size), half);
  Value rest = arith::SubFOp::create(
      b, exponent, arith::SIToFPOp::create(b, b.floats(size), whole));
  constexpr int degree = 8;
  double coefficient = 1;
  SmallVector<float> coefficients;
  for (int i = 0; i <= degree; ++i, coefficient *= std::numbers::ln2 / i)
    coefficients.push_back(static_cast<float>(coefficient));
  Value power = b.splat(size, coefficients.back());
  for (float c : llvm::reverse(ArrayRef(coefficients).drop_back()))
    power = b.fma(power, rest, b.splat(size, c));
  Value biased = arith::AddIOp::create(b, whole, b.splat(size, int32_t(127)));
  Value bits = arith::ShLIOp::create(b, biased, b.splat(size, int32_t(23)));
  power = arith::MulFOp::create(
      b, power, arith::BitcastOp::create(b, b.floats(size), bits));
  Value grown = arith::SubFOp::create(b, power, b.splat(size, 1.0f));
  Value scaled = arith::MulFOp::create(b, grown, b.broadcast(size, second));
  return math::CopySignOp::create(b, scaled, y);
}

/// folded[token] = G^T x slot by slot, times 2^-shift; offsets[token] = what
/// the +1/2 - 2^(bits-1) of all fields contribute.
void MatmulKernel::foldActivations(Value folded, Value offsets, Value token) {
  Values sums = forEachSlot(b.splat(lanes, 0.0f), [&](const Slot &slot,
                                                      ValueRange sums) {
    applyGenerator(slot, generators, input, {token, getFirstColumn(slot)},
                   slot.run.columns, folded, {token, slot.pad});
    Value inverse = getInverseShifts(slot.run.width);
    Value center = b.splat(lanes, 0.5f - std::ldexp(1.0f, slot.run.width - 1));
    return forEachChunk(
        slot, sums, [&](const Slot &at, int64_t chunk, ValueRange sums) {
          Values place{token, b.add(at.pad, chunk * lanes)};
          Value x = b.loadVector(lanes, folded, place);
          b.storeVector(arith::MulFOp::create(b, x, inverse), folded, place);
          return Values{b.fma(x, center, sums.front())};
        });
  });
  memref::StoreOp::create(b, b.sum(sums.front()), offsets, token);
}

/// padded[token] = x, slot by slot.
void MatmulKernel::layOutActivations(Value padded, Value token) {
  forEachSlot({}, [&](const Slot &slot, ValueRange) {
    Value from = getFirstColumn(slot);
    int64_t whole = slot.run.columns / lanes * lanes;
    b.loop(0, whole, lanes, [&](Value i) {
      Value x = b.loadVector(lanes, input, {token, b.add(from, i)});
      b.storeVector(x, padded, {token, b.add(slot.pad, i)});
    });
    if (whole < slot.run.pad)
      b.storeVector(b.splat(lanes, 0.0f), padded,
                    {token, b.add(slot.pad, slot.run.pad - lanes)});
    if (whole + lanes < slot.run.pad)
      b.storeVector(b.splat(lanes, 0.0f), padded,
                    {token, b.add(slot.pad, whole)});
    b.loop(whole, slot.run.columns, 1, [&](Value i) {
      memref::StoreOp::create(b, b.load(input, {token, b.add(from, i)}), padded,
                              {token, b.add(slot.pad, i)});
    });
    return Values();
  });
}

/// Fills `transposedGenerators` and `factors`: (a, b) of an affine compander;
/// for mu_law (log2(1 + mu), S / mu).
void MatmulKernel::prepareDecoding() {
  int64_t numSlots = code.getNumSlots(columns);
  int64_t length = hasWholePoints() ? lanes : dim;
  transposedGenerators = b.scratch({numSlots, dim, length});
  factors = b.scratch({numSlots, 2});
  b.loop(0, numSlots, 1, [&](Value slot) {
    b.loop(0, dim, 1, [&](Value i) {
      b.loop(0, dim, 1, [&](Value j) {
        Value g = arith::ExtFOp::create(b, b.getF32Type(),
                                        b.load(generators, {slot, i, j}));
        for (int64_t lane = 0; lane < length; lane += dim)
          memref::StoreOp::create(b, g, transposedGenerators,
                                  {slot, j, b.add(i, lane)});
      });
    });
    Value first = b.load(companders, {slot, b.idx(0)});
    Value second = b.load(companders, {slot, b.idx(1)});
    if (code.getCompander() == Compander::MuLaw) {
      second = arith::DivFOp::create(b, second, first);
      first = math::Log2Op::create(
          b, arith::AddFOp::create(b, first, b.scalar(1.0f)));
    }
    memref::StoreOp::create(b, first, factors, {slot, b.idx(0)});
    memref::StoreOp::create(b, second, factors, {slot, b.idx(1)});
  });
}

/// One row as floats, see `loadWeights`. `points` has room for the fields of
/// one slot, where points are not whole in vectors.
void MatmulKernel::decodeRow(Value row, Value decoded, Value decodedRow,
                             Value points) {
  forEachSlot({}, [&](const Slot &slot, ValueRange) {
    if (!points) {
      forEachChunk(slot, {}, [&](const Slot &at, int64_t chunk, ValueRange) {
        b.storeVector(loadWeights(row, at, chunk), decoded,
                      {decodedRow, b.add(at.pad, chunk * lanes)});
        return Values();
      });
      return Values();
    }
    forEachChunk(slot, {}, [&](const Slot &at, int64_t chunk, ValueRange) {
      Value z = loadCentered(row, at, chunk);
      Value place = arith::SubIOp::create(b, at.pad, slot.pad);
      b.storeVector(z, points, {b.add(place, chunk * lanes)});
      return Values();
    });
    applyGenerator(slot, transposedGenerators, points, b.idx(0),
                   slot.run.points * dim, decoded, {decodedRow, slot.pad});
    return Values();
  });
}

/// init[token, row] += scale[row] (dot + offset[token]).
void MatmulKernel::accumulate(Value token, Value row, Value dot) {
  if (offsets)
    dot = arith::AddFOp::create(b, dot, b.load(offsets, token));
  Value scale = arith::ExtFOp::create(b, b.getF32Type(), b.load(scales, row));
  Value sum = math::FmaOp::create(b, dot, scale, b.load(init, {token, row}));
  memref::StoreOp::create(b, sum, init, {token, row});
}

/// One token times some rows, straight from the codes.
void MatmulKernel::multiplyPacked(Value token, Value firstRow,
                                  int64_t numRows) {
  Values zeros(numRows, b.splat(lanes, 0.0f));
  Values dots = forEachSlot(zeros, [&](const Slot &slot, ValueRange sums) {
    return forEachChunk(
        slot, sums, [&](const Slot &at, int64_t chunk, ValueRange sums) {
          Value x = b.loadVector(lanes, activations,
                                 {token, b.add(at.pad, chunk * lanes)});
          Values next;
          for (auto [i, sum] : llvm::enumerate(sums))
            next.push_back(
                b.fma(loadWeights(b.add(firstRow, i), at, chunk), x, sum));
          return next;
        });
  });
  for (auto [i, dot] : llvm::enumerate(dots))
    accumulate(token, b.add(firstRow, i), b.sum(dot));
}

/// Some tokens times decoded rows.
void MatmulKernel::multiplyDecoded(Value decoded, Value token,
                                   int64_t numTokens, Value firstRow,
                                   int64_t numRows) {
  Values zeros(numRows * numTokens, b.splat(lanes, 0.0f));
  Values dots =
      b.loop(b.idx(0), b.idx(paddedColumns), lanes, zeros,
             [&](Value column, ValueRange sums) {
               Values x, next;
               for (int64_t t = 0; t < numTokens; ++t)
                 x.push_back(b.loadVector(lanes, activations,
                                          {b.add(token, t), column}));
               for (int64_t row = 0; row < numRows; ++row) {
                 Value w = b.loadVector(lanes, decoded, {b.idx(row), column});
                 for (int64_t t = 0; t < numTokens; ++t)
                   next.push_back(b.fma(w, x[t], sums[row * numTokens + t]));
               }
               return next;
             });
  for (int64_t row = 0; row < numRows; ++row)
    for (int64_t t = 0; t < numTokens; ++t)
      accumulate(b.add(token, t), b.add(firstRow, row),
                 b.sum(dots[row * numTokens + t]));
}

/// All tokens times some rows.
void MatmulKernel::multiplyRows(Value firstRow, int64_t numRows) {
  auto viaDecoded = [&] {
    int64_t largest =
        llvm::max_element(runs, [](const SlotRun &a, const SlotRun &b) {
          return a.pad < b.pad;
        })->pad;
    Value decoded = b.scratch({numRows, paddedColumns});
    Value points =
        companders && !hasWholePoints() ? b.scratch({largest}) : Value();
    b.loop(0, numRows, 1, [&](Value row) {
      decodeRow(b.add(firstRow, row), decoded, row, points);
    });
    Value rest = arith::RemUIOp::create(b, numTokens, b.idx(tokenBlock));
    Value whole = arith::SubIOp::create(b, numTokens, rest);
    b.loop(b.idx(0), whole, tokenBlock, [&](Value token) {
      multiplyDecoded(decoded, token, tokenBlock, firstRow, numRows);
    });
    b.loop(whole, numTokens, 1, [&](Value token) {
      multiplyDecoded(decoded, token, 1, firstRow, numRows);
    });
    if (points)
      b.release(points);
    b.release(decoded);
  };
  if (companders && !hasWholePoints())
    return viaDecoded();
  Value few =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ult, numTokens, b.idx(3));
  b.conditional(
      few,
      [&] {
        b.loop(b.idx(0), numTokens, 1,
               [&](Value token) { multiplyPacked(token, firstRow, numRows); });
      },
      viaDecoded);
}

void MatmulKernel::build() {
  numTokens = b.dim(input, 0);
  activations = b.scratch({ShapedType::kDynamic, paddedColumns}, numTokens);
  if (companders) {
    prepareDecoding();
  } else {
    offsets = b.scratch(ShapedType::kDynamic, numTokens);
  }
  b.parallel(numTokens, [&](Value token) {
    if (companders)
      layOutActivations(activations, token);
    else
      foldActivations(activations, offsets, token);
  });

  if (int64_t numBlocks = rows / rowBlock)
    b.parallel(b.idx(numBlocks), [&](Value block) {
      multiplyRows(b.mul(block, rowBlock), rowBlock);
    });
  b.loop(rows / rowBlock * rowBlock, rows, 1,
         [&](Value row) { multiplyRows(row, 1); });

  if (companders) {
    b.release(transposedGenerators);
    b.release(factors);
  } else {
    b.release(offsets);
  }
  b.release(activations);
}

void glvq::buildMatmulKernel(KernelBuilder &b, LatticeAttr code,
                             func::FuncOp function, int64_t vectorLength) {
  MatmulKernel(b, code, function, vectorLength).build();
}

bool glvq::hasMatmulKernel(WeightCodeAttrInterface code) {
  auto trellis = dyn_cast<TrellisAttr>(code);
  return isa<LatticeAttr, InterleavedAttr, LeechAttr, E8PAttr>(code) ||
         (trellis && trellis.isAdditive());
}

LogicalResult glvq::checkMatmulKernel(MatmulOp op, std::string &reason) {
  auto fail = [&](const char *text) {
    reason = text;
    return failure();
  };
  if (!hasMatmulKernel(op.getCode()))
    return fail("there is none for its code");
  for (Value value : op->getOperands()) {
    auto type = dyn_cast<MemRefType>(value.getType());
    if (!type)
      return fail("it is not bufferized");
    if (!type.isLastDimUnitStride())
      return fail("the last dimension of an operand is not contiguous");
  }
  for (Value value : {op.getInput(), op.getInit()})
    if (!cast<MemRefType>(value.getType()).getElementType().isF32())
      return fail("its activations are not f32");
  if (cast<MemRefType>(op.getInit().getType()).isDynamicDim(1))
    return fail("the number of rows of the weight is dynamic");
  if (cast<MemRefType>(op.getInput().getType()).isDynamicDim(1))
    return fail("the number of columns is dynamic");
  return success();
}

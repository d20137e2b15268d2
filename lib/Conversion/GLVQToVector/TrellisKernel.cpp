// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The product with an additive trellis on a CPU. Its weights are no linear
// function of the bits, so they are decoded: a block of rows at a time into
// scratch memory, then multiplied as a dense matrix with all tokens.
//
// A lane is a column. Going down the rows, the windows of a vector of columns
// are the lanes of one integer vector that shifts by the new bits; the two
// tables are looked up with gathers. A block begins by reading the bits that
// its first window shares with the rows before.
//
// Activations are laid out as the bits are, run by run of equal width, each
// padded with zeros to whole vectors, and multiplied with the scale of their
// group.

#include "KernelBuilder.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::glvq;

namespace {
class TrellisKernel {
public:
  TrellisKernel(KernelBuilder &b, TrellisAttr code, func::FuncOp function,
                int64_t lanes);
  void build();

private:
  /// A run of slots of one width.
  struct Run {
    SlotRun slots;
    int64_t index, rowWords, firstWord, firstPad;
  };

  void layOut(Value padded, Value token);
  Value loadBits(const Run &run, Value bitRow, Value column);
  void decode(Value firstRow, int64_t numRows, Value decoded);
  void multiply(Value decoded, Value firstRow, int64_t numRows);
  void multiplyRows(Value decoded, Value token, Value firstRow, Value row,
                    int64_t numRows);
  void block(Value firstRow, int64_t numRows);

  KernelBuilder &b;
  TrellisAttr code;
  int64_t lanes, taps, rows, columns, paddedColumns;
  SmallVector<Run> runs;
  Value input, codes, tables, scales, groupScales, order, init, activations;
};
} // namespace

/// Rows that are decoded at once. Each block reads L - k bits for every column
/// once more.
static constexpr int64_t rowBlock = 32;
/// Rows that are multiplied at once.
static constexpr int64_t dotBlock = 4;

TrellisKernel::TrellisKernel(KernelBuilder &b, TrellisAttr code,
                             func::FuncOp function, int64_t lanes)
    : b(b), code(code), lanes(lanes), taps(code.getTaps()),
      input(function.getArgument(0)), codes(function.getArgument(1)),
      tables(function.getArgument(2)), scales(function.getArgument(3)),
      groupScales(function.getArgument(4)),
      order(code.isMixed() ? function.getArgument(5) : Value()),
      init(function.getArguments().back()) {
  rows = cast<MemRefType>(scales.getType()).getDimSize(0);
  columns = cast<MemRefType>(input.getType()).getDimSize(1);
  int64_t word = 0, pad = 0;
  for (auto [index, slots] : llvm::enumerate(code.getRuns(columns))) {
    int64_t rowWords = TrellisAttr::getNumRowWords(slots);
    runs.push_back({slots, static_cast<int64_t>(index), rowWords, word, pad});
    word += code.getNumBitRows(slots, rows) * rowWords;
    pad += llvm::alignTo(slots.columns, lanes);
  }
  paddedColumns = pad;
}

/// padded[token] = group_scale x, in the order of the bits.
void TrellisKernel::layOut(Value padded, Value token) {
  int64_t group = code.getGroup();
  for (const Run &run : runs) {
    int64_t used = run.slots.columns, room = llvm::alignTo(used, lanes);
    b.loop(used, room, 1, [&](Value i) {
      memref::StoreOp::create(b, b.scalar(0), padded,
                              {token, b.add(i, run.firstPad)});
    });
    auto slot = [&](Value inRun, int64_t size) {
      Value slot = b.add(inRun, run.slots.first), place = slot;
      if (order)
        place = arith::IndexCastOp::create(b, b.getIndexType(),
                                           b.load(order, {slot}));
      Value from = b.mul(place, group),
            to = b.add(b.mul(inRun, group), run.firstPad);
      Value scale =
          arith::ExtFOp::create(b, b.getF32Type(), b.load(groupScales, {slot}));
      Value factor = b.broadcast(lanes, scale);
      int64_t whole = size / lanes * lanes;
      b.loop(0, whole, lanes, [&](Value i) {
        Value x = b.loadVector(lanes, input, {token, b.add(from, i)});
        b.storeVector(arith::MulFOp::create(b, x, factor), padded,
                      {token, b.add(to, i)});
      });
      b.loop(whole, size, 1, [&](Value i) {
        Value x = b.load(input, {token, b.add(from, i)});
        memref::StoreOp::create(b, arith::MulFOp::create(b, x, scale), padded,
                                {token, b.add(to, i)});
      });
    };
    int64_t last = run.slots.count - 1;
    b.loop(0, last, 1, [&](Value inRun) { slot(inRun, group); });
    slot(b.idx(last), used - last * group);
  }
}

/// The bits of a vector of columns, as i1. `column` is a multiple of the lanes,
/// so they are within one word.
Value TrellisKernel::loadBits(const Run &run, Value bitRow, Value column) {
  Value place = arith::DivUIOp::create(b, column, b.idx(32));
  Value word;
  if (code.isMixed())
    word = b.load(codes, {b.add(b.add(b.mul(bitRow, run.rowWords), place),
                                run.firstWord)});
  else
    word = b.load(codes, {bitRow, place});
  Value shift = arith::RemUIOp::create(b, column, b.idx(32));
  shift = arith::IndexCastUIOp::create(b, b.getI32Type(), shift);
  Type bitsType = b.getIntegerType(lanes);
  Value bits = arith::TruncIOp::create(b, bitsType,
                                       arith::ShRUIOp::create(b, word, shift));
  bits = vector::BroadcastOp::create(b, b.vecType(1, bitsType), bits);
  return vector::BitCastOp::create(b, b.vecType(lanes, b.getI1Type()), bits);
}

/// decoded[i] = row firstRow + i without scales.
void TrellisKernel::decode(Value firstRow, int64_t numRows, Value decoded) {
  int64_t half = taps / 2;
  Value windowMask =
      b.splat(lanes, static_cast<int32_t>((int64_t(1) << taps) - 1));
  Value lowMask =
      b.splat(lanes, static_cast<int32_t>((int64_t(1) << half) - 1));
  Value zero = b.splat(lanes, int32_t(0)), none = b.splat(lanes, 0.0f);
  Value everywhere = arith::ConstantOp::create(
      b, DenseElementsAttr::get(b.vecType(lanes, b.getI1Type()), true));
  for (const Run &run : runs) {
    int64_t k = run.slots.bits.width;
    auto shiftIn = [&](Value window, Value bitRow, Value column) -> Value {
      Value bit = arith::SelectOp::create(b, loadBits(run, bitRow, column),
                                          b.splat(lanes, int32_t(1)), zero);
      Value shifted =
          arith::ShLIOp::create(b, window, b.splat(lanes, int32_t(1)));
      return arith::OrIOp::create(b, shifted, bit);
    };
    auto lookUp = [&](int64_t table, Value place) -> Value {
      return vector::GatherOp::create(
          b, b.floats(lanes), tables,
          ValueRange{b.idx(run.index), b.idx(table), b.idx(0)}, place,
          everywhere, none);
    };
    b.loop(b.idx(0), b.idx(llvm::alignTo(run.slots.columns, lanes)), lanes,
           [&](Value column) {
             Value bitRow = b.mul(firstRow, k);
             Value window =
                 b.loop(b.idx(0), b.idx(taps - k), 1, zero,
                        [&](Value i, ValueRange args) {
                          return SmallVector<Value>{
                              shiftIn(args.front(), b.add(bitRow, i), column)};
                        })
                     .front();
             b.loop(b.idx(0), b.idx(numRows), 1, window,
                    [&](Value row, ValueRange args) {
                      Value next = args.front(),
                            newest =
                                b.add(b.add(bitRow, taps - k), b.mul(row, k));
                      for (int64_t i = 0; i < k; ++i)
                        next = shiftIn(next, b.add(newest, i), column);
                      next = arith::AndIOp::create(b, next, windowMask);
                      Value high = arith::ShRUIOp::create(
                          b, next, b.splat(lanes, static_cast<int32_t>(half)));
                      Value w = arith::AddFOp::create(
                          b, lookUp(0, arith::AndIOp::create(b, next, lowMask)),
                          lookUp(1, high));
                      b.storeVector(w, decoded,
                                    {row, b.add(column, run.firstPad)});
                      return SmallVector<Value>{next};
                    });
           });
  }
}

/// init[token, …] += scale (decoded rows, from `row` on, times the activations
/// of the token).
void TrellisKernel::multiplyRows(Value decoded, Value token, Value firstRow,
                                 Value row, int64_t numRows) {
  SmallVector<Value> zeros(numRows, b.splat(lanes, 0.0f));
  SmallVector<Value> dots = b.loop(
      b.idx(0), b.idx(paddedColumns), lanes, zeros,
      [&](Value column, ValueRange sums) {
        Value x = b.loadVector(lanes, activations, {token, column});
        SmallVector<Value> next;
        for (auto [i, sum] : llvm::enumerate(sums))
          next.push_back(b.fma(
              b.loadVector(lanes, decoded, {b.add(row, i), column}), x, sum));
        return next;
      });
  for (auto [i, dot] : llvm::enumerate(dots)) {
    Value place = b.add(b.add(firstRow, row), i);
    Value scale =
        arith::ExtFOp::create(b, b.getF32Type(), b.load(scales, place));
    Value product = arith::MulFOp::create(b, scale, b.sum(dot));
    Value sum = arith::AddFOp::create(b, product, b.load(init, {token, place}));
    memref::StoreOp::create(b, sum, init, {token, place});
  }
}

void TrellisKernel::block(Value firstRow, int64_t numRows) {
  Value decoded = b.scratch({numRows, paddedColumns});
  decode(firstRow, numRows, decoded);
  int64_t whole = numRows / dotBlock * dotBlock;
  b.loop(b.idx(0), b.dim(input, 0), 1, [&](Value token) {
    b.loop(0, whole, dotBlock, [&](Value row) {
      multiplyRows(decoded, token, firstRow, row, dotBlock);
    });
    b.loop(whole, numRows, 1,
           [&](Value row) { multiplyRows(decoded, token, firstRow, row, 1); });
  });
  b.release(decoded);
}

void TrellisKernel::build() {
  Value numTokens = b.dim(input, 0);
  activations = b.scratch({ShapedType::kDynamic, paddedColumns}, numTokens);
  b.parallel(numTokens, [&](Value token) { layOut(activations, token); });
  int64_t whole = rows / rowBlock;
  if (whole)
    b.parallel(b.idx(whole),
               [&](Value i) { block(b.mul(i, rowBlock), rowBlock); });
  if (rows % rowBlock)
    block(b.idx(whole * rowBlock), rows % rowBlock);
  b.release(activations);
}

void glvq::buildTrellisKernel(KernelBuilder &b, TrellisAttr code,
                              func::FuncOp function, int64_t vectorLength) {
  TrellisKernel(b, code, function, vectorLength).build();
}

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The product with interleaved integers, `#glvq.interleaved`, on a CPU: what
// linear codes come to once their generators are folded into the activations.
//
// Sixteen rows lie in the lanes of a vector of words, so that every row has
// an accumulator and nothing is ever summed across lanes. With activations of
// eight bits a step multiplies four columns of all rows: the four bytes of a
// word hold parts of four columns, and a dword with the activations of these
// is broadcast. For a single token the fields are not moved: a field, or what
// a byte has of it, is masked where it lies, and as u 2^p is an unsigned byte
// like any other, its accumulator alone knows of the factor. A step is then two
// instructions, a mask and a dot product, and the kernel waits for memory.
//
// Several tokens share the work of unpacking some rows into bytes.

#include "KernelBuilder.h"
#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "glvq/Lattice/Interleave.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace mlir::glvq;
using ::glvq::lattice::FieldPiece;

static constexpr int64_t kRows = ::glvq::lattice::kInterleavedRows;
static constexpr int64_t kBlock = ::glvq::lattice::kInterleavedColumns;
/// Steps of four columns in a block.
static constexpr int64_t kSteps = kBlock / 4;

namespace {
class IntegerMatmulKernel {
public:
  IntegerMatmulKernel(KernelBuilder &b, int64_t bits, func::FuncOp function,
                      DotInstruction dot, bool quantize);
  void build();

private:
  using Values = SmallVector<Value>;

  /// Vectors that hold the sixteen rows.
  int64_t parts() const { return kRows / lanes; }
  Value bits32(uint32_t value) {
    return b.splat(lanes, static_cast<int32_t>(value));
  }
  /// The four bytes of `value` in every lane's dword.
  static uint32_t inEachByte(uint32_t value) { return value * 0x01010101u; }

  Value asBytes(Value words) {
    return vector::BitCastOp::create(b, b.vecType(4 * lanes, b.getI8Type()),
                                     words);
  }
  Value call(StringRef name, Type type, ValueRange operands) {
    return LLVM::CallIntrinsicOp::create(b, type, b.getStringAttr(name),
                                         operands)
        .getResult(0);
  }
  Value maddPairs(Value u, Value x, int32_t factor);
  Value dot4(Value acc, Value u, uint32_t largest, Value x);

  Values loadBlock(Value tile, Value block, int64_t part);
  Value unpack(ArrayRef<Value> words, int64_t step);
  Value unpackColumn(ArrayRef<Value> words, int64_t column);
  void forEachBlock(function_ref<void(Value)> body) {
    b.loop(b.idx(0), b.idx(numBlocks), 1, body);
  }

  void quantizeActivations(Value token);
  void padActivations(Value token);
  Values loadActivation(Value token, Value step);
  void store(Value tile, int64_t part, Value token, Value sum);

  void multiplyOne(Value tile, Value token);
  Value sumFloats(Value tile, int64_t part, Value token);
  Value sumBytes(Value tile, int64_t part, Value token);
  Value unpackTiles(Value firstTile, int64_t numTiles);
  void multiplySome(Value unpacked, Value firstTile, int64_t numTiles,
                    Value firstToken, int64_t numTokens);
  void multiplyAll(Value firstTile, int64_t numTiles);

  KernelBuilder &b;
  int64_t bits;
  DotInstruction dot;
  /// Whether activations are rounded to eight bits.
  bool quantize;
  int64_t lanes, rows, columns, numBlocks, numTiles;
  /// What a field's value is short of the weight: 1/2 - 2^(bits-1).
  float center;
  Value input, codes, init, numTokens;
  /// [token, step] dwords of four activations, or [token, column] floats,
  /// padded to whole blocks.
  Value activations;
  /// Per token: the factor of the activations, and what centers the sums.
  Value factors, offsets;
};
} // namespace

IntegerMatmulKernel::IntegerMatmulKernel(KernelBuilder &b, int64_t bits,
                                         func::FuncOp function,
                                         DotInstruction dot, bool quantize)
    : b(b), bits(bits), dot(dot), quantize(quantize),
      lanes(dot == DotInstruction::VNNI512 ? 16 : 8),
      center(0.5f - static_cast<float>(1 << (bits - 1))) {
  input = function.getArgument(0);
  codes = function.getArgument(1);
  init = function.getArgument(2);
  columns = cast<MemRefType>(input.getType()).getDimSize(1);
  rows = cast<MemRefType>(init.getType()).getDimSize(1);
  numTiles = llvm::divideCeil(rows, kRows);
  numBlocks = llvm::divideCeil(columns, kBlock);
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

/// Sums of two products of unsigned and signed bytes times `factor`, summed in
/// pairs again: AVX2's dot product. Unsigned bytes are at most 127, since the
/// sums of two products are 16 bits.
Value IntegerMatmulKernel::maddPairs(Value u, Value x, int32_t factor) {
  auto halves = b.vecType(2 * lanes, b.getI16Type());
  Value sums =
      call("llvm.x86.avx2.pmadd.ub.sw", halves, {asBytes(u), asBytes(x)});
  Value factors = vector::BitCastOp::create(
      b, halves, b.splat(lanes, factor << 16 | factor));
  return call("llvm.x86.avx2.pmadd.wd", b.ints(lanes), {sums, factors});
}

/// acc + the dot products of the bytes of each dword, of `u` as unsigned (none
/// above `largest`) and of `x` as signed numbers.
Value IntegerMatmulKernel::dot4(Value acc, Value u, uint32_t largest, Value x) {
  switch (dot) {
  case DotInstruction::VNNI512:
    return call("llvm.x86.avx512.vpdpbusd.512", b.ints(lanes),
                {acc, asBytes(u), asBytes(x)});
  case DotInstruction::VNNI256:
    return call("llvm.x86.avx512.vpdpbusd.256", b.ints(lanes),
                {acc, asBytes(u), asBytes(x)});
  case DotInstruction::AVX2: {
    if (largest <= 127)
      return arith::AddIOp::create(b, acc, maddPairs(u, x, 1));
    Value low = bits32(inEachByte(15));
    Value high = arith::ShRUIOp::create(b, u, b.splat(lanes, 4));
    acc = arith::AddIOp::create(
        b, acc, maddPairs(arith::AndIOp::create(b, u, low), x, 1));
    return arith::AddIOp::create(
        b, acc, maddPairs(arith::AndIOp::create(b, high, low), x, 16));
  }
  case DotInstruction::Generic:
    for (int32_t i = 0; i < 4; ++i) {
      Value byte = u, signedByte = x;
      if (i)
        byte = arith::ShRUIOp::create(b, byte, b.splat(lanes, 8 * i));
      if (i < 3)
        byte = arith::AndIOp::create(b, byte, bits32(255));
      if (i < 3)
        signedByte =
            arith::ShLIOp::create(b, signedByte, b.splat(lanes, 24 - 8 * i));
      signedByte = arith::ShRSIOp::create(b, signedByte, b.splat(lanes, 24));
      Value product = arith::MulIOp::create(b, byte, signedByte);
      acc = arith::AddIOp::create(b, acc, product);
    }
    return acc;
  }
  llvm_unreachable("unknown dot product");
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// The words of a block of the rows of a tile.
auto IntegerMatmulKernel::loadBlock(Value tile, Value block, int64_t part)
    -> Values {
  Values words;
  for (int64_t word = 0; word < bits; ++word)
    words.push_back(b.loadVector(lanes, codes,
                                 {tile, b.add(b.mul(block, bits * kRows),
                                              word * kRows + part * lanes)}));
  return words;
}

/// The fields of four columns as bytes, from the words of a block.
Value IntegerMatmulKernel::unpack(ArrayRef<Value> words, int64_t step) {
  Value result;
  for (const FieldPiece &piece : ::glvq::lattice::getFieldPieces(bits, step)) {
    Value value = words[piece.byte];
    int32_t up = piece.firstBit - piece.position;
    if (up > 0)
      value = arith::ShLIOp::create(b, value, b.splat(lanes, up));
    else if (up < 0)
      value = arith::ShRUIOp::create(b, value, b.splat(lanes, -up));
    uint32_t mask = ((1u << piece.numBits) - 1) << piece.firstBit;
    if (mask != 255)
      value = arith::AndIOp::create(b, value, bits32(inEachByte(mask)));
    result = result ? arith::OrIOp::create(b, result, value) : value;
  }
  return result;
}

/// The fields of one column of a block as floats.
Value IntegerMatmulKernel::unpackColumn(ArrayRef<Value> words, int64_t column) {
  int32_t lane = column % 4;
  Value result;
  for (const FieldPiece &piece :
       ::glvq::lattice::getFieldPieces(bits, column / 4)) {
    Value value = words[piece.byte];
    int32_t down = 8 * lane + piece.position - piece.firstBit;
    if (down > 0)
      value = arith::ShRUIOp::create(b, value, b.splat(lanes, down));
    else if (down < 0)
      value = arith::ShLIOp::create(b, value, b.splat(lanes, -down));
    uint32_t mask = ((1u << piece.numBits) - 1) << piece.firstBit;
    value = arith::AndIOp::create(b, value, bits32(mask));
    result = result ? arith::OrIOp::create(b, result, value) : value;
  }
  return arith::SIToFPOp::create(b, b.floats(lanes), result);
}

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

/// x = factor q with |q| <= 127, the largest element exactly.
void IntegerMatmulKernel::quantizeActivations(Value token) {
  auto load = [&](Value column, int64_t left) -> Value {
    if (left >= lanes)
      return b.loadVector(lanes, input, {token, column});
    SmallVector<bool> inside;
    for (int64_t lane = 0; lane < lanes; ++lane)
      inside.push_back(lane < left);
    auto maskType = b.vecType(lanes, b.getI1Type());
    Value mask = arith::ConstantOp::create(
        b, DenseElementsAttr::get(maskType, ArrayRef<bool>(inside)));
    return vector::MaskedLoadOp::create(b, b.floats(lanes), input,
                                        ValueRange{token, column}, mask,
                                        b.splat(lanes, 0.0f));
  };
  int64_t whole = columns / lanes * lanes;
  // Both passes over the row: whole vectors, then one that ends early.
  auto reduce = [&](Value start,
                    function_ref<Value(Value, Value, Value)> step) -> Value {
    Value result = start;
    if (whole)
      result = b.loop(b.idx(0), b.idx(whole), lanes, result,
                      [&](Value column, ValueRange args) {
                        return Values{
                            step(load(column, lanes), column, args.front())};
                      })
                   .front();
    if (whole < columns)
      result = step(load(b.idx(whole), columns - whole), b.idx(whole), result);
    return result;
  };

  Value largest = reduce(b.splat(lanes, 0.0f), [&](Value x, Value, Value acc) {
    return arith::MaximumFOp::create(b, acc, math::AbsFOp::create(b, x))
        .getResult();
  });
  largest =
      vector::ReductionOp::create(b, vector::CombiningKind::MAXIMUMF, largest);
  Value limit = b.scalar(127.0f), zero = b.scalar(0.0f);
  Value isZero =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, largest, zero);
  Value inverse = arith::SelectOp::create(
      b, isZero, zero, arith::DivFOp::create(b, limit, largest));
  Value factor = arith::DivFOp::create(b, largest, limit);
  memref::StoreOp::create(b, factor, factors, token);

  // Adding 1.5 2^23 leaves the number rounded to the nearest integer, ties to
  // even, in the low bits of the sum.
  Value shifter = b.splat(lanes, 12582912.0f);
  Value base = b.splat(lanes, 0x4B400000);
  Value scale = b.broadcast(lanes, inverse);
  auto words = b.vecType(lanes / 4, b.getI32Type());
  Value sum = reduce(b.splat(lanes, 0), [&](Value x, Value column, Value acc) {
    Value shifted =
        arith::AddFOp::create(b, arith::MulFOp::create(b, x, scale), shifter);
    Value q = arith::SubIOp::create(
        b, vector::BitCastOp::create(b, b.ints(lanes), shifted), base);
    Value bytes =
        arith::TruncIOp::create(b, b.vecType(lanes, b.getI8Type()), q);
    Value step = arith::DivUIOp::create(b, column, b.idx(4));
    b.storeVector(vector::BitCastOp::create(b, words, bytes), activations,
                  {token, step});
    return arith::AddIOp::create(b, acc, q).getResult();
  });
  Value total = vector::ReductionOp::create(b, vector::CombiningKind::ADD, sum);
  Value offset = arith::MulFOp::create(
      b, arith::SIToFPOp::create(b, b.getF32Type(), total), b.scalar(center));
  memref::StoreOp::create(b, offset, offsets, token);
  int64_t written = llvm::alignTo(columns, lanes) / 4;
  Value none = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
  b.loop(written, numBlocks * kSteps, 1, [&](Value step) {
    memref::StoreOp::create(b, none, activations, {token, step});
  });
}

/// A copy of the token's row, padded with zeros, and its sum.
void IntegerMatmulKernel::padActivations(Value token) {
  Value zero = b.scalar(0.0f);
  Value sum =
      b.loop(b.idx(0), b.idx(columns), 1, zero,
             [&](Value column, ValueRange args) {
               Value x = b.load(input, {token, column});
               memref::StoreOp::create(b, x, activations, {token, column});
               return Values{arith::AddFOp::create(b, args.front(), x)};
             })
          .front();
  b.loop(columns, numBlocks * kBlock, 1, [&](Value column) {
    memref::StoreOp::create(b, zero, activations, {token, column});
  });
  memref::StoreOp::create(b, b.scalar(1.0f), factors, token);
  memref::StoreOp::create(b, arith::MulFOp::create(b, sum, b.scalar(center)),
                          offsets, token);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// init[token, rows] += factor (sum + offset).
void IntegerMatmulKernel::store(Value tile, int64_t part, Value token,
                                Value sum) {
  if (quantize)
    sum = arith::SIToFPOp::create(b, b.floats(lanes), sum);
  Value offset = b.broadcast(lanes, b.load(offsets, token));
  Value factor = b.broadcast(lanes, b.load(factors, token));
  Value product = arith::AddFOp::create(b, sum, offset);
  Value row = b.add(b.mul(tile, kRows), part * lanes);
  if (rows % kRows == 0) {
    Value old = b.loadVector(lanes, init, {token, row});
    b.storeVector(b.fma(product, factor, old), init, {token, row});
    return;
  }
  Value left = arith::SubIOp::create(b, b.idx(rows), row);
  Value mask =
      vector::CreateMaskOp::create(b, b.vecType(lanes, b.getI1Type()), left);
  // A part that lies beyond the last row is addressed inside of it.
  row = arith::MinSIOp::create(b, row, b.idx(rows - 1));
  Value old = vector::MaskedLoadOp::create(b, b.floats(lanes), init,
                                           ValueRange{token, row}, mask,
                                           b.splat(lanes, 0.0f));
  vector::MaskedStoreOp::create(b, init, ValueRange{token, row}, mask,
                                b.fma(product, factor, old));
}

/// One token times the rows of a tile, the fields where they lie.
void IntegerMatmulKernel::multiplyOne(Value tile, Value token) {
  for (int64_t part = 0; part < parts(); ++part)
    store(tile, part, token,
          quantize ? sumBytes(tile, part, token)
                   : sumFloats(tile, part, token));
}

Value IntegerMatmulKernel::sumFloats(Value tile, int64_t part, Value token) {
  // Four chains of additions.
  Values sums(4, b.splat(lanes, 0.0f));
  sums = b.loop(
      b.idx(0), b.idx(numBlocks), 1, sums, [&](Value block, ValueRange args) {
        Values acc = llvm::to_vector_of<Value>(args);
        Values words = loadBlock(tile, block, part);
        for (int64_t column = 0; column < kBlock; ++column) {
          Value x =
              b.load(activations, {token, b.add(b.mul(block, kBlock), column)});
          Value &chain = acc[column % acc.size()];
          chain =
              b.fma(unpackColumn(words, column), b.broadcast(lanes, x), chain);
        }
        return acc;
      });
  auto add = [&](Value x, Value y) {
    return arith::AddFOp::create(b, x, y).getResult();
  };
  return add(add(sums[0], sums[1]), add(sums[2], sums[3]));
}

Value IntegerMatmulKernel::sumBytes(Value tile, int64_t part, Value token) {
  // An accumulator for each factor 2^shift that pieces come with; several,
  // taken in turns, where there are few: a dot product takes some cycles.
  llvm::SmallMapVector<int32_t, int64_t, 16> shifts;
  for (int64_t step = 0; step < kSteps; ++step)
    for (const FieldPiece &piece : ::glvq::lattice::getFieldPieces(bits, step))
      shifts.insert({piece.position - piece.firstBit, 0});
  for (auto [slot, shift] : llvm::enumerate(shifts))
    shift.second = slot;
  int64_t numShifts = shifts.size();
  int64_t turns = llvm::divideCeil(8, numShifts);
  Values sums(numShifts * turns, b.splat(lanes, 0));
  sums = b.loop(
      b.idx(0), b.idx(numBlocks), 1, sums, [&](Value block, ValueRange args) {
        Values acc = llvm::to_vector_of<Value>(args);
        SmallVector<int64_t> uses(numShifts, 0);
        Values words = loadBlock(tile, block, part);
        for (int64_t step = 0; step < kSteps; ++step) {
          Value x =
              b.load(activations, {token, b.add(b.mul(block, kSteps), step)});
          x = b.broadcast(lanes, x);
          for (const FieldPiece &piece :
               ::glvq::lattice::getFieldPieces(bits, step)) {
            uint32_t mask = ((1u << piece.numBits) - 1) << piece.position;
            Value u = words[piece.byte];
            if (mask != 255)
              u = arith::AndIOp::create(b, u, bits32(inEachByte(mask)));
            int64_t slot = shifts[piece.position - piece.firstBit];
            Value &sum = acc[slot * turns + uses[slot]++ % turns];
            sum = dot4(sum, u, mask, x);
          }
        }
        return acc;
      });
  Value total;
  for (auto [shift, slot] : shifts) {
    Value sum = sums[slot * turns];
    for (int64_t i = 1; i < turns; ++i)
      sum = arith::AddIOp::create(b, sum, sums[slot * turns + i]);
    // Every term was a multiple of 2^shift.
    if (shift > 0)
      sum = arith::ShRSIOp::create(b, sum, b.splat(lanes, shift));
    else if (shift < 0)
      sum = arith::ShLIOp::create(b, sum, b.splat(lanes, -shift));
    total = total ? arith::AddIOp::create(b, total, sum) : sum;
  }
  return total;
}

/// [tile, step, lane] bytes of four columns, or [tile, column, lane] floats.
Value IntegerMatmulKernel::unpackTiles(Value firstTile, int64_t count) {
  int64_t perBlock = quantize ? kSteps : kBlock;
  auto type = quantize ? Type(b.getI32Type()) : Type(b.getF32Type());
  Value unpacked = b.scratch({count, numBlocks * perBlock, kRows}, {}, type);
  for (int64_t tile = 0; tile < count; ++tile)
    forEachBlock([&](Value block) {
      for (int64_t part = 0; part < parts(); ++part) {
        Values words = loadBlock(b.add(firstTile, tile), block, part);
        for (int64_t i = 0; i < perBlock; ++i)
          b.storeVector(quantize ? unpack(words, i) : unpackColumn(words, i),
                        unpacked,
                        {b.idx(tile), b.add(b.mul(block, perBlock), i),
                         b.idx(part * lanes)});
      }
    });
  return unpacked;
}

/// Some tokens times the rows of some unpacked tiles.
void IntegerMatmulKernel::multiplySome(Value unpacked, Value firstTile,
                                       int64_t count, Value firstToken,
                                       int64_t numTokens) {
  Value zero = quantize ? b.splat(lanes, 0) : b.splat(lanes, 0.0f);
  int64_t vectors = count * parts();
  Values init(vectors * numTokens, zero);
  int64_t depth = numBlocks * (quantize ? kSteps : kBlock);
  Values sums =
      b.loop(b.idx(0), b.idx(depth), 1, init, [&](Value step, ValueRange args) {
        Values u, next;
        for (int64_t tile = 0; tile < count; ++tile)
          for (int64_t part = 0; part < parts(); ++part)
            u.push_back(b.loadVector(lanes, unpacked,
                                     {b.idx(tile), step, b.idx(part * lanes)}));
        for (int64_t t = 0; t < numTokens; ++t) {
          Value x = b.load(activations, {b.add(firstToken, t), step});
          x = b.broadcast(lanes, x);
          for (int64_t v = 0; v < vectors; ++v) {
            Value acc = args[t * vectors + v];
            next.push_back(quantize ? dot4(acc, u[v], (1u << bits) - 1, x)
                                    : b.fma(u[v], x, acc));
          }
        }
        return next;
      });
  for (int64_t t = 0; t < numTokens; ++t)
    for (int64_t v = 0; v < vectors; ++v)
      store(b.add(firstTile, v / parts()), v % parts(), b.add(firstToken, t),
            sums[t * vectors + v]);
}

/// All tokens times the rows of some tiles.
void IntegerMatmulKernel::multiplyAll(Value firstTile, int64_t count) {
  Value one =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ule, numTokens, b.idx(1));
  b.conditional(
      one,
      [&] {
        b.loop(b.idx(0), numTokens, 1, [&](Value token) {
          for (int64_t tile = 0; tile < count; ++tile)
            multiplyOne(b.add(firstTile, tile), token);
        });
      },
      [&] {
        Value unpacked = unpackTiles(firstTile, count);
        // Accumulators, rows and activations fill the registers: 32, or 16 of
        // half the length.
        int64_t tokenBlock = dot == DotInstruction::VNNI512 ? 8
                             : count == 1                   ? 4
                                                            : 2;
        Value rest = arith::RemUIOp::create(b, numTokens, b.idx(tokenBlock));
        Value whole = arith::SubIOp::create(b, numTokens, rest);
        b.loop(b.idx(0), whole, tokenBlock, [&](Value token) {
          multiplySome(unpacked, firstTile, count, token, tokenBlock);
        });
        b.loop(whole, numTokens, 1, [&](Value token) {
          multiplySome(unpacked, firstTile, count, token, 1);
        });
        b.release(unpacked);
      });
}

void IntegerMatmulKernel::build() {
  numTokens = b.dim(input, 0);
  int64_t width = numBlocks * (quantize ? kSteps : kBlock);
  activations =
      b.scratch({ShapedType::kDynamic, width}, numTokens,
                quantize ? Type(b.getI32Type()) : Type(b.getF32Type()));
  factors = b.scratch(ShapedType::kDynamic, numTokens);
  offsets = b.scratch(ShapedType::kDynamic, numTokens);
  b.parallel(numTokens, [&](Value token) {
    if (quantize)
      quantizeActivations(token);
    else
      padActivations(token);
  });
  // Two tiles at a time, so that an activation that is loaded is used twice.
  if (int64_t pairs = numTiles / 2)
    b.parallel(b.idx(pairs),
               [&](Value pair) { multiplyAll(b.mul(pair, 2), 2); });
  if (numTiles % 2)
    multiplyAll(b.idx(numTiles - 1), 1);
  b.release(offsets);
  b.release(factors);
  b.release(activations);
}

void mlir::glvq::buildIntegerMatmulKernel(KernelBuilder &b, int64_t bits,
                                          func::FuncOp function,
                                          DotInstruction dot, bool quantize) {
  IntegerMatmulKernel(b, bits, function, dot, quantize).build();
}

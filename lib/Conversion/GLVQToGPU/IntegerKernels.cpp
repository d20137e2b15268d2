//===- IntegerKernels.cpp - Products with packed integers -----------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
//   quantize: x ──► bytes q, a factor for each token, the sum of its q
//   product:  y = factor (sum_c u_c q_c - (2^bits - 1) / 2 sum_c q_c)
//
// The sums are integers, and exact.
//
//===----------------------------------------------------------------------===//

#include "IntegerLayout.h"
#include "Kernels.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::glvq;
using namespace mlir::glvq::gpukernels;

using Kind = KernelParameter::Kind;

static constexpr int64_t warpSize = 32;
static constexpr int64_t warps = blockSize / warpSize;

static MemRefType getWorkgroupType(KernelBuilder &b, ArrayRef<int64_t> shape,
                                   Type elementType) {
  return MemRefType::get(shape, elementType, MemRefLayoutAttrInterface(),
                         gpu::AddressSpaceAttr::get(
                             b.getContext(), gpu::AddressSpace::Workgroup));
}

/// Combines the values of all threads of the block; every thread gets the
/// result. `scratch` has an element for each warp.
static Value
reduceBlock(KernelBuilder &b, Value value, Value scratch,
            function_ref<Value(Value, Value)> combine) {
  for (int64_t offset = warpSize / 2; offset; offset /= 2)
    value = combine(value, gpu::ShuffleOp::create(b, value, offset, warpSize,
                                                  gpu::ShuffleMode::XOR)
                               .getShuffleResult());
  Value thread = b.threadId();
  b.ifThen(b.equal(b.rem(thread, warpSize), 0), [&] {
    memref::StoreOp::create(b, value, scratch,
                            b.toIndex(b.div(thread, warpSize)));
  });
  gpu::BarrierOp::create(b);
  Value result;
  for (int64_t warp = 0; warp != warps; ++warp) {
    Value part = memref::LoadOp::create(
        b, scratch, ValueRange(arith::ConstantIndexOp::create(b, warp)));
    result = result ? combine(result, part) : part;
  }
  return result;
}

void gpukernels::buildQuantizeKernel(KernelBuilder &b, gpu::GPUModuleOp module,
                                     StringRef name,
                                     const IntegerLayout &layout,
                                     Type inputType) {
  OpBuilder::InsertionGuard guard(b);
  gpu::GPUFuncOp kernel = b.startKernel(
      module, name,
      {{Kind::Input}, {Kind::Output}, {Kind::Output}, {Kind::Output}},
      {getWorkgroupType(b, {warps}, b.f32()),
       getWorkgroupType(b, {warps}, b.i32())});
  Value thread = b.threadId(), threads = b.constant(blockSize);
  Value token = b.blockId();
  auto rowOf = [&](unsigned argument, Type element, int64_t length) {
    Value offset = arith::MulIOp::create(
        b, b.widen(token),
        arith::ConstantIntOp::create(b, b.getI64Type(), length));
    return b.address(kernel.getArgument(argument), element, offset);
  };
  Value x = rowOf(0, inputType, layout.columns);
  Value q = rowOf(1, b.i32(), layout.paddedColumns / 4);

  auto maximum = [&](Value u, Value v) -> Value {
    return arith::MaximumFOp::create(b, u, v);
  };
  Value largest = b.loop(thread, b.constant(layout.columns), threads,
                         {b.constant(0.0f)}, [&](Value c, ValueRange in) {
                           Value value = b.load(x, inputType, c);
                           Value size = math::AbsFOp::create(b, value);
                           return SmallVector<Value>{maximum(in[0], size)};
                         })[0];
  largest =
      reduceBlock(b, largest, kernel.getWorkgroupAttributions()[0], maximum);
  Value limit = b.constant(127.0f), zero = b.constant(0.0f);
  Value isZero =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, largest, zero);
  Value inverse = b.select(isZero, zero,
                           arith::DivFOp::create(b, limit, largest));

  // Four bytes at a time: columns `stride` apart, from `first` on.
  Value none = b.constant(int64_t(0));
  int64_t perByte = layout.inPlace ? 8 / layout.bits : 1;
  Value sum = b.loop(
      thread, b.constant(layout.paddedColumns / 4), threads, {none},
      [&](Value word, ValueRange in) {
        Value first = b.add(b.mul(b.div(word, perByte), 4 * perByte),
                            b.rem(word, perByte));
        Value total = in[0], bytes;
        for (int64_t i = 0; i != 4; ++i) {
          Value column = b.add(first, i * perByte);
          Value inside = b.less(column, layout.columns);
          // Padding reads the first column, and becomes zero.
          Value value = b.load(x, inputType, b.select(inside, column, none));
          // Adding 1.5 2^23 leaves the number rounded to the nearest integer,
          // ties to even, in the low bits of the sum.
          Value shifted =
              b.addf(b.mulf(value, inverse), b.constant(12582912.0f));
          Value rounded =
              b.sub(arith::BitcastOp::create(b, b.i32(), shifted),
                    b.constant(int64_t(0x4B400000)));
          rounded = b.select(inside, rounded, none);
          total = b.add(total, rounded);
          Value byte = b.shl(b.bitAnd(rounded, 255), 8 * i);
          bytes = bytes ? b.bitOr(bytes, byte) : byte;
        }
        LLVM::StoreOp::create(b, bytes, b.address(q, b.i32(), word));
        return SmallVector<Value>{total};
      })[0];
  sum = reduceBlock(b, sum, kernel.getWorkgroupAttributions()[1],
                    [&](Value u, Value v) { return b.add(u, v); });
  b.ifThen(b.equal(thread, 0), [&] {
    b.store(arith::DivFOp::create(b, largest, limit), kernel.getArgument(2),
            b.f32(), token);
    LLVM::StoreOp::create(b, sum,
                          b.address(kernel.getArgument(3), b.i32(), token));
  });
}

namespace {
/// What a warp multiplies: words of a unit of 2 * tiles rows with the bytes of
/// a token.
class UnitProduct {
public:
  UnitProduct(KernelBuilder &b, const IntegerLayout &layout, int64_t tiles)
      : b(b), layout(layout), tiles(tiles) {}

  /// Sums with different powers of two taken out.
  int64_t getNumSets() const {
    return layout.inPlace ? std::min<int64_t>(8 / layout.bits, 4) : 1;
  }
  /// The power that the sums of a set are to be divided by.
  int64_t getShift(int64_t set) const {
    return layout.inPlace ? set * layout.bits : 0;
  }
  /// Sums of a lane: 4 for each tile and set.
  int64_t getNumSums() const { return tiles * getNumSets() * 4; }

  /// sums += words * bytes. `words` are those of the unit, for each of the
  /// 2 * tiles rows; `bytes` those of the activations, four in a word.
  void accumulate(ArrayRef<SmallVector<Value>> words, ArrayRef<Value> bytes,
                  MutableArrayRef<Value> sums) {
    if (layout.inPlace)
      accumulateInPlace(words, bytes, sums);
    else
      accumulateSpread(words, bytes, sums);
  }

private:
  void accumulateInPlace(ArrayRef<SmallVector<Value>> words,
                         ArrayRef<Value> bytes, MutableArrayRef<Value> sums) {
    int64_t perByte = 8 / layout.bits, sets = getNumSets();
    for (int64_t w = 0; w != layout.unitWords; w += 2)
      for (int64_t tile = 0; tile != tiles; ++tile) {
        // Words w and w + 1 of both rows, in the order of the fragment.
        SmallVector<Value, 4> whole = {
            words[2 * tile][w], words[2 * tile + 1][w],
            words[2 * tile][w + 1], words[2 * tile + 1][w + 1]};
        for (int64_t field = 0; field != perByte; ++field) {
          // Of single bits, the upper four are shifted down: eight sets would
          // take too many registers.
          if (field == sets)
            for (Value &word : whole)
              word = b.shr(word, sets * layout.bits);
          int64_t set = field % sets;
          SmallVector<Value, 4> a;
          for (Value word : whole)
            a.push_back(layout.bits == 8
                            ? word
                            : b.bitAnd(word, inEachByte(getShift(set))));
          multiply(a, {bytes[w * perByte + field],
                       bytes[(w + 1) * perByte + field]},
                   sums.slice((tile * sets + set) * 4, 4));
        }
      }
  }

  void accumulateSpread(ArrayRef<SmallVector<Value>> words,
                        ArrayRef<Value> bytes, MutableArrayRef<Value> sums) {
    for (int64_t quad = 0; quad != layout.unitFields / 4; quad += 2)
      for (int64_t tile = 0; tile != tiles; ++tile)
        multiply({spread(words[2 * tile], quad),
                  spread(words[2 * tile + 1], quad),
                  spread(words[2 * tile], quad + 1),
                  spread(words[2 * tile + 1], quad + 1)},
                 {bytes[quad], bytes[quad + 1]}, sums.slice(tile * 4, 4));
  }

  /// `bits` bits in each byte, from bit `position` on.
  int64_t inEachByte(int64_t position) const {
    return ((int64_t(1) << layout.bits) - 1) * 0x01010101 << position;
  }

  /// Fields 4 quad … 4 quad + 3 of the words, one in each byte.
  Value spread(ArrayRef<Value> words, int64_t quad) {
    int64_t bits = layout.bits;
    int64_t word = 4 * bits * quad / 32, bit = 4 * bits * quad % 32;
    Value x = b.shr(words[word], bit);
    if (bit + 4 * bits > 32)
      x = LLVM::FshrOp::create(b, words[word + 1], words[word],
                               b.constant(bit));
    // Two fields to each half, then one to each byte; bits that are in nobody's
    // way are masked away at the end.
    auto join = [&](Value low, int64_t shift, int64_t lowMask) -> Value {
      Value high = b.shl(low, shift);
      return b.bitOr(b.bitAnd(low, lowMask), b.bitAnd(high, ~lowMask & 0xffffffff));
    };
    x = join(x, 16 - 2 * bits, 0x0000ffff);
    x = join(x, 8 - bits, 0x00ff00ff);
    return b.bitAnd(x, inEachByte(0));
  }

  void multiply(ArrayRef<Value> a, ArrayRef<Value> activations,
                MutableArrayRef<Value> c) {
    Type results = LLVM::LLVMStructType::getLiteral(
        b.getContext(), SmallVector<Type>(4, b.i32()));
    Value d = NVVM::MmaOp::create(
        b, results, a, activations, SmallVector<Value>(c),
        ArrayRef<int64_t>{16, 8, 32}, /*b1Op=*/std::nullopt,
        NVVM::MMAIntOverflow::wrapped,
        std::array<NVVM::MMATypes, 2>{NVVM::MMATypes::u8, NVVM::MMATypes::s8},
        std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row,
                                       NVVM::MMALayout::col});
    for (auto [i, value] : llvm::enumerate(c))
      value = LLVM::ExtractValueOp::create(b, d, ArrayRef<int64_t>(i));
  }

  KernelBuilder &b;
  const IntegerLayout &layout;
  int64_t tiles;
};
} // namespace

void gpukernels::buildIntegerMatmulKernel(KernelBuilder &b,
                                          gpu::GPUModuleOp module,
                                          StringRef name,
                                          const IntegerLayout &layout,
                                          const IntegerMatmulConfig &config) {
  int64_t tiles = config.tiles, split = config.split;
  int64_t warpRows = 16 * tiles, groups = warps / split;
  SmallVector<KernelParameter> parameters(4, {Kind::Input});
  if (config.initial == Initial::Buffer)
    parameters.push_back({Kind::Input});
  llvm::append_range(
      parameters,
      ArrayRef<KernelParameter>{{Kind::Output}, {Kind::Size}, {Kind::Size}});

  OpBuilder::InsertionGuard guard(b);
  gpu::GPUFuncOp kernel = b.startKernel(
      module, name, parameters,
      {getWorkgroupType(b, {warps, 4 * tiles, warpSize}, b.i32())});
  unsigned count = kernel.getNumArguments();
  Value rows = kernel.getArgument(count - 1);
  Value tokens = kernel.getArgument(count - 2);
  Value output = kernel.getArgument(count - 3);
  Value init = config.initial == Initial::Buffer
                   ? Value(kernel.getArgument(count - 4))
                   : output;
  Value partials = kernel.getWorkgroupAttributions()[0];

  Value thread = b.threadId();
  Value lane = b.rem(thread, warpSize), warp = b.div(thread, warpSize);
  Value inGroup = b.div(lane, 4), inRow = b.rem(lane, 4);
  Value blockRow = b.mul(b.blockId(gpu::Dimension::x), groups * warpRows);
  Value blockToken = b.mul(b.blockId(gpu::Dimension::y), 8);
  auto safe = [&](Value i, Value size) {
    return b.min(i, b.sub(size, b.constant(int64_t(1))));
  };
  auto rowOf = [&](Value array, Value row, int64_t length) {
    Value offset = arith::MulIOp::create(
        b, b.widen(row),
        arith::ConstantIntOp::create(b, b.getI64Type(), length));
    return b.address(array, b.i32(), offset);
  };

  // Rows and tokens beyond the last are computed as the last, and not stored.
  SmallVector<Value> codes;
  Value firstRow = b.add(b.add(blockRow, b.mul(b.div(warp, split), warpRows)),
                         inGroup);
  for (int64_t i = 0; i != 2 * tiles; ++i)
    codes.push_back(rowOf(kernel.getArgument(3),
                          safe(b.add(firstRow, 8 * i), rows), layout.words));
  Value activations =
      rowOf(kernel.getArgument(0), safe(b.add(blockToken, inGroup), tokens),
            layout.paddedColumns / 4);

  UnitProduct product(b, layout, tiles);
  SmallVector<Value> sums(product.getNumSums(), b.constant(int64_t(0)));
  int64_t unitBytes = layout.unitFields / 4;
  bool overruns = layout.steps * 4 * layout.unitWords > layout.words;
  auto step = [&](Value index, MutableArrayRef<Value> sums) {
    Value unit = b.add(b.mul(index, 4), inRow);
    SmallVector<SmallVector<Value>> words(2 * tiles);
    for (int64_t w = 0; w != layout.unitWords; w += layout.vectorWords) {
      Value offset = b.add(b.mul(unit, layout.unitWords), w);
      // What is loaded there does not matter: it is multiplied by zero.
      if (overruns)
        offset = b.min(offset, b.constant(layout.words - layout.vectorWords));
      for (auto [row, values] : llvm::zip_equal(codes, words))
        llvm::append_range(values,
                           b.loadMany(row, b.i32(), offset, layout.vectorWords));
    }
    SmallVector<Value> bytes;
    int64_t width = std::min<int64_t>(unitBytes, 4);
    for (int64_t i = 0; i != unitBytes; i += width)
      llvm::append_range(
          bytes, b.loadMany(activations, b.i32(),
                            b.add(b.mul(unit, unitBytes), i), width));
    product.accumulate(words, bytes, sums);
  };
  Value first = b.rem(warp, split);
  // Several steps at once, while all of them are there, then the rest.
  int64_t whole = layout.steps / (split * config.unroll) * split * config.unroll;
  auto loop = [&](Value begin, int64_t end, int64_t unroll) {
    sums = b.loop(begin, b.constant(end), b.constant(split * unroll), sums,
                  [&](Value index, ValueRange in) {
                    SmallVector<Value> next(in);
                    for (int64_t i = 0; i != unroll; ++i)
                      step(b.add(index, i * split), next);
                    return next;
                  });
  };
  if (whole)
    loop(first, whole, config.unroll);
  if (whole != layout.steps)
    loop(b.add(first, whole), layout.steps, 1);

  // The sets of a sum become one, and the warps that split the columns meet.
  int64_t sets = product.getNumSets();
  for (int64_t tile = 0; tile != tiles; ++tile)
    for (int64_t i = 0; i != 4; ++i) {
      Value total;
      for (int64_t set = 0; set != sets; ++set) {
        Value sum = sums[(tile * sets + set) * 4 + i];
        if (int64_t shift = product.getShift(set))
          sum = arith::ShRSIOp::create(b, sum, b.constant(shift));
        total = total ? b.add(total, sum) : sum;
      }
      memref::StoreOp::create(
          b, total, partials,
          ValueRange{b.toIndex(warp),
                     arith::ConstantIndexOp::create(b, tile * 4 + i),
                     b.toIndex(lane)});
    }
  gpu::BarrierOp::create(b);

  int64_t results = groups * tiles * 4 * warpSize;
  b.loop(thread, b.constant(results), b.constant(blockSize), {},
         [&](Value index, ValueRange) {
    Value group = b.div(index, tiles * 4 * warpSize);
    Value place = b.rem(b.div(index, warpSize), tiles * 4);
    Value resultLane = b.rem(index, warpSize);
    Value sum;
    for (int64_t i = 0; i != split; ++i) {
      Value part = memref::LoadOp::create(
          b, partials,
          ValueRange{b.toIndex(b.add(b.mul(group, split), i)),
                     b.toIndex(place), b.toIndex(resultLane)});
      sum = sum ? b.add(sum, part) : part;
    }
    // Register i of a tile holds row g + 8 (i / 2) and token 2 t + i % 2.
    Value tile = b.div(place, 4), i = b.rem(place, 4);
    Value row = b.add(b.add(blockRow, b.mul(group, warpRows)),
                      b.add(b.add(b.mul(tile, 16), b.mul(b.div(i, 2), 8)),
                            b.div(resultLane, 4)));
    Value token = b.add(b.add(blockToken, b.mul(b.rem(resultLane, 4), 2)),
                        b.rem(i, 2));
    b.ifThen(b.both(b.less(row, rows), b.less(token, tokens)), [&] {
      Value factor = b.load(kernel.getArgument(1), b.f32(), token);
      Value tokenSum = b.load(kernel.getArgument(2), b.i32(), token);
      Value centred = b.sub(
          b.mul(sum, 2), b.mul(tokenSum, (int64_t(1) << layout.bits) - 1));
      Value result = arith::SIToFPOp::create(b, b.f32(), centred);
      factor = b.mulf(factor, b.constant(0.5f));
      Value at = arith::AddIOp::create(
          b, arith::MulIOp::create(b, b.widen(token), b.widen(rows)),
          b.widen(row));
      result = config.initial == Initial::Zero
                   ? b.mulf(factor, result)
                   : b.fma(factor, result, b.load(init, config.initType, at));
      b.store(result, output, config.outputType, at);
    });
    return SmallVector<Value>();
  });
}

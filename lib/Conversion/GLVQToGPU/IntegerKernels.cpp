//===- IntegerKernels.cpp - Products with packed integers -----------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
//   quantize: x ──► bytes or halves q, a factor for each token, the sum of its
//   q product:  y = factor (sum_c u_c q_c - (2^bits - 1) / 2 sum_c q_c)
//
// The sums of bytes are integers, and exact.
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
  return MemRefType::get(
      shape, elementType, MemRefLayoutAttrInterface(),
      gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup));
}

/// Combines the values of all threads of the block; every thread gets the
/// result. `scratch` has an element for each warp.
static Value reduceBlock(KernelBuilder &b, Value value, Value scratch,
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
  bool isInt8 = layout.activations == Activations::Int8;
  Type sumType = isInt8 ? b.i32() : b.f32();
  OpBuilder::InsertionGuard guard(b);
  gpu::GPUFuncOp kernel = b.startKernel(
      module, name,
      {{Kind::Input}, {Kind::Output}, {Kind::Output}, {Kind::Output}},
      {getWorkgroupType(b, {warps}, b.f32()),
       getWorkgroupType(b, {warps}, sumType)});
  Value thread = b.threadId(), threads = b.constant(blockSize);
  Value token = b.blockId();
  auto rowOf = [&](unsigned argument, Type element, int64_t length) {
    Value offset = arith::MulIOp::create(
        b, b.widen(token),
        arith::ConstantIntOp::create(b, b.getI64Type(), length));
    return b.address(kernel.getArgument(argument), element, offset);
  };
  Value x = rowOf(0, inputType, layout.columns);
  Value q = rowOf(1, b.i32(), layout.tokenWords());

  auto maximum = [&](Value u, Value v) -> Value {
    return arith::MaximumFOp::create(b, u, v);
  };
  Value largest = b.loop(thread, b.constant(layout.columns), threads,
                         {b.constant(0.0f)}, [&](Value c, ValueRange in) {
                           Value value = b.load(x, inputType, c);
                           // Not math.absf: it becomes a call of libdevice,
                           // which only a CUDA toolkit has.
                           Value size =
                               maximum(value, arith::NegFOp::create(b, value));
                           return SmallVector<Value>{maximum(in[0], size)};
                         })[0];
  largest =
      reduceBlock(b, largest, kernel.getWorkgroupAttributions()[0], maximum);
  // Bytes go up to 127, halves to 1.
  Value limit = b.constant(isInt8 ? 127.0f : 1.0f), zero = b.constant(0.0f);
  Value isZero =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, largest, zero);
  Value inverse =
      b.select(isZero, zero, arith::DivFOp::create(b, limit, largest));

  Value none = b.constant(int64_t(0));
  auto round = [&](Value value, Value inside) -> Value {
    // Adding 1.5 2^23 leaves the number rounded to the nearest integer, ties to
    // even, in the low bits of the sum.
    Value shifted = b.addf(value, b.constant(12582912.0f));
    Value rounded = b.sub(arith::BitcastOp::create(b, b.i32(), shifted),
                          b.constant(int64_t(0x4B400000)));
    return b.select(inside, rounded, none);
  };
  int64_t stride = layout.columnStride(), perWord = layout.perWord();
  Value sum = b.loop(
      thread, b.constant(layout.tokenWords()), threads, {isInt8 ? none : zero},
      [&](Value word, ValueRange in) {
        // Which word of codes this one meets, and which of its fields.
        Value codeWord = b.div(word, stride), index = b.rem(word, stride);
        if (isInt8 && layout.inPlace) {
          codeWord = b.add(b.mul(b.div(word, 2 * stride), 2), b.rem(word, 2));
          index = b.div(b.rem(word, 2 * stride), 2);
        }
        Value first = b.add(b.mul(codeWord, perWord * stride), index);
        // A field at `position` counts 2^position, which is taken out of the
        // half, and 2^-9 remains of all: see finish().
        Value power, inversePower;
        if (!isInt8) {
          Value position = b.mul(index, layout.bits);
          if (!layout.inPlace)
            position = none;
          for (int64_t i = 0; layout.inPlace && i != stride; ++i)
            if (int64_t shift = layout.halfShift(i))
              position =
                  b.select(b.equal(index, i),
                           b.constant(i * layout.bits - shift), position);
          auto powerOfTwo = [&](Value exponent) -> Value {
            Value biased = b.add(exponent, b.constant(int64_t(127)));
            return arith::BitcastOp::create(
                b, b.f32(),
                arith::ShLIOp::create(b, biased, b.constant(int64_t(23))));
          };
          Value exponent = b.sub(b.constant(int64_t(15)), position);
          power = powerOfTwo(exponent);
          inversePower = powerOfTwo(b.sub(none, exponent));
        }
        Value total = in[0], bits;
        for (int64_t i = 0; i != perWord; ++i) {
          Value column = b.add(first, i * stride);
          Value inside = b.less(column, layout.columns);
          // Padding reads the first column, and becomes zero.
          Value value = b.mulf(
              b.load(x, inputType, b.select(inside, column, none)), inverse);
          Value part;
          if (isInt8) {
            Value rounded = round(value, inside);
            total = b.add(total, rounded);
            part = b.bitAnd(rounded, 255);
          } else {
            value = b.mulf(b.select(inside, value, zero), power);
            Value half = arith::TruncFOp::create(b, b.getF16Type(), value);
            Value back = arith::ExtFOp::create(b, b.f32(), half);
            total = b.fma(back, inversePower, total);
            part = arith::ExtUIOp::create(
                b, b.i32(), arith::BitcastOp::create(b, b.getI16Type(), half));
          }
          part = b.shl(part, 32 / perWord * i);
          bits = bits ? b.bitOr(bits, part) : part;
        }
        LLVM::StoreOp::create(b, bits, b.address(q, b.i32(), word));
        return SmallVector<Value>{total};
      })[0];
  sum = reduceBlock(
      b, sum, kernel.getWorkgroupAttributions()[1],
      [&](Value u, Value v) { return isInt8 ? b.add(u, v) : b.addf(u, v); });
  b.ifThen(b.equal(thread, 0), [&] {
    b.store(arith::DivFOp::create(b, largest, limit), kernel.getArgument(2),
            b.f32(), token);
    LLVM::StoreOp::create(b, sum,
                          b.address(kernel.getArgument(3), sumType, token));
  });
}

void gpukernels::buildFoldOpKernel(KernelBuilder &b, gpu::GPUModuleOp module,
                                   StringRef name, const FoldedRun &run,
                                   int64_t columns, int64_t group,
                                   bool hasOrder, Type inputType) {
  SmallVector<KernelParameter> parameters = {{Kind::Input}, {Kind::Input}};
  if (hasOrder)
    parameters.push_back({Kind::Input});
  parameters.push_back({Kind::Output});
  OpBuilder::InsertionGuard guard(b);
  gpu::GPUFuncOp kernel = b.startKernel(module, name, parameters);
  Value token = b.widen(b.blockId(gpu::Dimension::x));
  auto rowOf = [&](Value array, Type element, int64_t length) {
    return b.address(
        array, element,
        arith::MulIOp::create(
            b, token, arith::ConstantIntOp::create(b, b.getI64Type(), length)));
  };
  Value x = rowOf(kernel.getArgument(0), inputType, columns);
  Value generators = kernel.getArgument(1);
  Value folded = rowOf(kernel.getArguments().back(), b.f32(), run.columns);
  Value place =
      b.add(b.mul(b.blockId(gpu::Dimension::y), blockSize), b.threadId());
  b.ifThen(b.less(place, run.columns), [&] {
    Value slot = b.div(place, run.stride), inSlot = b.rem(place, run.stride);
    Value point = b.mul(b.div(inSlot, run.fields), run.dim);
    Value field = b.rem(inSlot, run.fields);
    // The last slot may have fewer columns; after them comes padding.
    int64_t last = run.slots.columns - (run.slots.count - 1) * group;
    Value limit = b.select(b.equal(slot, run.slots.count - 1), b.constant(last),
                           b.constant(group));
    Value left = b.sub(b.max(limit, point), point);
    Value count = b.min(b.constant(run.dim), left);
    slot = b.add(slot, run.slots.first);
    Value source = slot;
    if (hasOrder)
      source = b.load(kernel.getArgument(2), b.i32(), slot);
    Value column = b.add(b.mul(source, group), point);
    Value matrix = b.add(b.mul(slot, run.dim * run.fields), field);
    Value sum =
        b.loop(b.constant(int64_t(0)), count, b.constant(int64_t(1)),
               {b.constant(0.0f)}, [&](Value i, ValueRange in) {
                 Value entry = b.load(generators, b.getF16Type(),
                                      b.add(matrix, b.mul(i, run.fields)));
                 return SmallVector<Value>{b.fma(
                     entry, b.load(x, inputType, b.add(column, i)), in[0])};
               })[0];
    b.store(sum, folded, b.f32(), place);
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
    return isInt8() && layout.inPlace ? std::min<int64_t>(8 / layout.bits, 4)
                                      : 1;
  }
  /// The power that the sums of a set are to be divided by.
  int64_t getShift(int64_t set) const {
    return layout.inPlace ? set * layout.bits : 0;
  }
  /// Sums of a lane: 4 for each tile and set.
  int64_t getNumSums() const { return tiles * getNumSets() * 4; }

  Type getSumType() const { return isInt8() ? b.i32() : b.f32(); }
  bool isInt8() const { return layout.activations == Activations::Int8; }

  /// sums += words * activations. `words` are those of the unit, for each of
  /// the 2 * tiles rows; `activations` those of the token.
  void accumulate(ArrayRef<SmallVector<Value>> words,
                  ArrayRef<Value> activations, MutableArrayRef<Value> sums) {
    if (!isInt8())
      accumulateHalves(words, activations, sums);
    else if (layout.inPlace)
      accumulateInPlace(words, activations, sums);
    else
      accumulateSpread(words, activations, sums);
  }

private:
  void accumulateHalves(ArrayRef<SmallVector<Value>> words,
                        ArrayRef<Value> activations,
                        MutableArrayRef<Value> sums) {
    for (int64_t pair = 0; pair != layout.unitFields / 2; pair += 2)
      for (int64_t tile = 0; tile != tiles; ++tile)
        multiply({halves(words[2 * tile], pair),
                  halves(words[2 * tile + 1], pair),
                  halves(words[2 * tile], pair + 1),
                  halves(words[2 * tile + 1], pair + 1)},
                 {activations[pair], activations[pair + 1]},
                 sums.slice(tile * 4, 4));
  }

  /// The two fields that meet word `pair` of the activations, as subnormals.
  Value halves(ArrayRef<Value> words, int64_t pair) {
    int64_t bits = layout.bits, mask = (int64_t(1) << bits) - 1;
    if (layout.inPlace) {
      int64_t perHalf = layout.columnStride(), index = pair % perHalf;
      Value word = b.shr(words[pair / perHalf], layout.halfShift(index));
      return b.bitAnd(word, mask * 0x10001 << layout.halfPosition(index));
    }
    Value x = getWindow(words, 2 * bits * pair, 2 * bits);
    return b.bitOr(b.bitAnd(x, mask),
                   b.bitAnd(b.shl(x, 16 - bits), mask << 16));
  }

  /// `width` bits of the words from bit `first` on; what is above is arbitrary.
  Value getWindow(ArrayRef<Value> words, int64_t first, int64_t width) {
    int64_t word = first / 32, bit = first % 32;
    if (bit + width <= 32)
      return b.shr(words[word], bit);
    return LLVM::FshrOp::create(b, words[word + 1], words[word],
                                b.constant(bit));
  }

  void accumulateInPlace(ArrayRef<SmallVector<Value>> words,
                         ArrayRef<Value> bytes, MutableArrayRef<Value> sums) {
    int64_t perByte = 8 / layout.bits, sets = getNumSets();
    for (int64_t w = 0; w != layout.unitWords; w += 2)
      for (int64_t tile = 0; tile != tiles; ++tile) {
        // Words w and w + 1 of both rows, in the order of the fragment.
        SmallVector<Value, 4> whole = {
            words[2 * tile][w], words[2 * tile + 1][w], words[2 * tile][w + 1],
            words[2 * tile + 1][w + 1]};
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
          multiply(a,
                   {bytes[w * perByte + 2 * field],
                    bytes[w * perByte + 2 * field + 1]},
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
    Value x = getWindow(words, 4 * bits * quad, 4 * bits);
    // Two fields to each half, then one to each byte; bits that are in nobody's
    // way are masked away at the end.
    auto join = [&](Value low, int64_t shift, int64_t lowMask) -> Value {
      Value high = b.shl(low, shift);
      return b.bitOr(b.bitAnd(low, lowMask),
                     b.bitAnd(high, ~lowMask & 0xffffffff));
    };
    x = join(x, 16 - 2 * bits, 0x0000ffff);
    x = join(x, 8 - bits, 0x00ff00ff);
    return b.bitAnd(x, inEachByte(0));
  }

  void multiply(ArrayRef<Value> a, ArrayRef<Value> activations,
                MutableArrayRef<Value> c) {
    Type results = LLVM::LLVMStructType::getLiteral(
        b.getContext(), SmallVector<Type>(4, getSumType()));
    std::array<NVVM::MMALayout, 2> layouts = {NVVM::MMALayout::row,
                                              NVVM::MMALayout::col};
    Value d;
    if (isInt8()) {
      d = NVVM::MmaOp::create(
          b, results, a, activations, SmallVector<Value>(c),
          ArrayRef<int64_t>{16, 8, 32}, /*b1Op=*/std::nullopt,
          NVVM::MMAIntOverflow::wrapped,
          std::array<NVVM::MMATypes, 2>{NVVM::MMATypes::u8, NVVM::MMATypes::s8},
          layouts);
    } else {
      auto asHalves = [&](ArrayRef<Value> words) {
        return llvm::map_to_vector(words, [&](Value word) -> Value {
          return LLVM::BitcastOp::create(
              b, VectorType::get({2}, b.getF16Type()), word);
        });
      };
      d = NVVM::MmaOp::create(
          b, results, asHalves(a), asHalves(activations), SmallVector<Value>(c),
          ArrayRef<int64_t>{16, 8, 16},
          /*b1Op=*/std::nullopt, /*intOverflow=*/std::nullopt,
          /*multiplicandPtxTypes=*/std::nullopt, layouts);
    }
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
      {getWorkgroupType(b, {warps, 4 * tiles, warpSize},
                        layout.activations == Activations::Int8 ? b.i32()
                                                                : b.f32())});
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
  Value firstRow =
      b.add(b.add(blockRow, b.mul(b.div(warp, split), warpRows)), inGroup);
  for (int64_t i = 0; i != 2 * tiles; ++i)
    codes.push_back(rowOf(kernel.getArgument(3),
                          safe(b.add(firstRow, 8 * i), rows), layout.words));
  Value activations =
      rowOf(kernel.getArgument(0), safe(b.add(blockToken, inGroup), tokens),
            layout.tokenWords());

  UnitProduct product(b, layout, tiles);
  bool isInt8 = product.isInt8();
  auto plus = [&](Value u, Value v) -> Value {
    if (!u)
      return v;
    return isInt8 ? b.add(u, v) : b.addf(u, v);
  };
  SmallVector<Value> sums(product.getNumSums(),
                          isInt8 ? b.constant(int64_t(0)) : b.constant(0.0f));
  int64_t unitActivations = layout.unitFields / layout.perWord();
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
        llvm::append_range(
            values, b.loadMany(row, b.i32(), offset, layout.vectorWords));
    }
    SmallVector<Value> values;
    int64_t width = std::min<int64_t>(unitActivations, 4);
    for (int64_t i = 0; i != unitActivations; i += width)
      llvm::append_range(
          values, b.loadMany(activations, b.i32(),
                             b.add(b.mul(unit, unitActivations), i), width));
    product.accumulate(words, values, sums);
  };
  Value first = b.rem(warp, split);
  // Several steps at once, while all of them are there, then the rest.
  int64_t whole =
      layout.steps / (split * config.unroll) * split * config.unroll;
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
        total = plus(total, sum);
      }
      memref::StoreOp::create(
          b, total, partials,
          ValueRange{b.toIndex(warp),
                     arith::ConstantIndexOp::create(b, tile * 4 + i),
                     b.toIndex(lane)});
    }
  gpu::BarrierOp::create(b);

  int64_t results = groups * tiles * 4 * warpSize;
  b.loop(
      thread, b.constant(results), b.constant(blockSize), {},
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
          sum = plus(sum, part);
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
          Value tokenSum =
              b.load(kernel.getArgument(2), product.getSumType(), token);
          int64_t twiceCentre = (int64_t(1) << layout.bits) - 1;
          Value result;
          if (isInt8) {
            Value centred = b.sub(b.mul(sum, 2), b.mul(tokenSum, twiceCentre));
            result = arith::SIToFPOp::create(b, b.f32(), centred);
            factor = b.mulf(factor, b.constant(0.5f));
          } else {
            // Fields count 2^-24, activations 2^15.
            result = b.fma(sum, b.constant(512.0f),
                           b.mulf(tokenSum, b.constant(-0.5f * twiceCentre)));
          }
          Value at = arith::AddIOp::create(
              b, arith::MulIOp::create(b, b.widen(token), b.widen(rows)),
              b.widen(row));
          result =
              config.initial == Initial::Zero
                  ? b.mulf(factor, result)
                  : b.fma(factor, result, b.load(init, config.initType, at));
          b.store(result, output, config.outputType, at);
        });
        return SmallVector<Value>();
      });
}

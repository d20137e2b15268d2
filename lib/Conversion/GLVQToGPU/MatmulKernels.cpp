//===- MatmulKernels.cpp - Products with encoded weights ------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::glvq;
using namespace mlir::glvq::gpukernels;

using Kind = KernelParameter::Kind;

void gpukernels::buildFoldKernel(KernelBuilder &b, gpu::GPUModuleOp module,
                                 StringRef name, LatticeAttr code,
                                 int64_t columns, Type inputType) {
  RowLayout layout = RowLayout::get(code, columns);
  SmallVector<KernelParameter> parameters = {{Kind::Input}, {Kind::Input}};
  if (code.isMixed())
    parameters.push_back({Kind::Input});
  parameters.push_back({Kind::Output});

  OpBuilder::InsertionGuard guard(b);
  gpu::GPUFuncOp kernel = b.startKernel(module, name, parameters);
  Value x = kernel.getArgument(0), generators = kernel.getArgument(1);
  Value order = code.isMixed() ? Value(kernel.getArgument(2)) : Value();
  Value folded = kernel.getArguments().back();

  Value token = b.widen(b.blockId(gpu::Dimension::x));
  auto times = [&](Value wide, int64_t factor) -> Value {
    return arith::MulIOp::create(
        b, wide, arith::ConstantIntOp::create(b, b.getI64Type(), factor));
  };
  x = b.address(x, inputType, times(token, columns));
  folded = b.address(folded, b.f32(), times(token, layout.foldedSize));
  Value p = b.add(b.mul(b.blockId(gpu::Dimension::y), blockSize), b.threadId());
  Value zero = b.constant(0.0f);

  for (const auto &[index, run] : llvm::enumerate(layout.runs)) {
    int64_t size = llvm::alignTo(run.units(), layout.lanes) * run.unitFields;
    Value local = b.sub(p, b.constant(run.foldedOffset));
    // As unsigned numbers, those before the run are large.
    b.ifThen(b.less(local, size), [&] {
      // Where in the row: the inverse of RowLayout's formula.
      int64_t stepSize = layout.lanes * run.unitFields;
      Value inStep = b.rem(local, stepSize);
      Value lane = b.rem(b.div(inStep, 4), layout.lanes);
      Value unit = b.add(b.mul(b.div(local, stepSize), layout.lanes), lane);
      Value field =
          b.add(b.mul(b.div(inStep, 4 * layout.lanes), 4), b.rem(inStep, 4));
      Value slot, inSlot;
      if (run.segments > 1) {
        slot = b.div(unit, run.segmentUnits);
        inSlot =
            b.add(b.mul(b.rem(unit, run.segmentUnits), run.unitFields), field);
      } else {
        Value inRun = b.add(b.mul(unit, run.unitFields), field);
        slot = b.div(inRun, run.slotStride());
        inSlot = b.rem(inRun, run.slotStride());
      }
      Value valid = b.both(b.less(slot, run.slots), b.less(inSlot, run.fields));
      // Padding computes what the first field does, and stores zero.
      slot =
          b.add(b.select(valid, slot, b.constant(int64_t(0))), run.firstSlot);
      inSlot = b.select(valid, inSlot, b.constant(int64_t(0)));
      Value group = order ? b.load(order, b.i32(), slot) : slot;
      Value point = b.mul(b.div(inSlot, layout.dim), layout.dim);
      Value k = b.rem(inSlot, layout.dim);
      Value column = b.add(b.mul(group, layout.group), point);
      Value matrix = b.add(b.mul(slot, layout.dim * layout.dim), k);
      Value count =
          b.min(b.constant(layout.dim), b.sub(b.constant(run.columns), point));
      Value sum = b.loop(
          b.constant(int64_t(0)), count, b.constant(int64_t(1)), zero,
          [&](Value i, ValueRange sums) -> SmallVector<Value> {
            Value g = b.load(generators, b.getF16Type(),
                             b.add(matrix, b.mul(i, layout.dim)));
            return {b.fma(g, b.load(x, inputType, b.add(column, i)), sums[0])};
          })[0];
      b.store(b.select(valid, sum, zero), folded, b.f32(), p);
    });
  }
}

namespace {
/// The part that all product kernels share: which row and which tokens a
/// thread works for, and what becomes of its sums.
struct MatmulFrame {
  MatmulFrame(KernelBuilder &b, const MatmulConfig &config, int64_t lanes)
      : b(b), config(config), lanes(lanes) {}

  /// Sets the fields from the last parameters of the kernel: [init], y,
  /// tokens, rows.
  void start(gpu::GPUFuncOp kernel) {
    unsigned count = kernel.getNumArguments();
    rows = kernel.getArgument(count - 1);
    tokens = kernel.getArgument(count - 2);
    output = kernel.getArgument(count - 3);
    init = config.initial == Initial::Buffer
               ? Value(kernel.getArgument(count - 4))
               : output;
    Value thread = b.threadId();
    lane = b.rem(thread, lanes);
    row = b.add(b.mul(b.blockId(gpu::Dimension::x), blockSize / lanes),
                b.div(thread, lanes));
    // Threads beyond the last row compute the last row again: all lanes of a
    // warp have to reach the shuffles.
    safeRow = b.min(row, b.sub(rows, b.constant(int64_t(1))));
    firstToken = b.mul(b.blockId(gpu::Dimension::y), config.tokens);
  }
  Value token(int64_t t) { return b.add(firstToken, t); }
  Value safeToken(int64_t t) {
    return b.min(token(t), b.sub(tokens, b.constant(int64_t(1))));
  }
  /// Start of row `index` of an array of rows of `length`.
  Value rowOf(Value array, Type element, Value index, int64_t length) {
    Value offset = arith::MulIOp::create(
        b, b.widen(index),
        arith::ConstantIntOp::create(b, b.getI64Type(), length));
    return b.address(array, element, offset);
  }

  /// Adds up the lanes of each row, and stores the result of its first lane.
  void finish(MutableArrayRef<Value> sums, Value scales) {
    for (Value &sum : sums)
      for (int64_t offset = lanes / 2; offset; offset /= 2)
        sum = b.addf(sum, gpu::ShuffleOp::create(b, sum, offset, 32,
                                                 gpu::ShuffleMode::XOR)
                              .getShuffleResult());
    b.ifThen(b.both(b.equal(lane, 0), b.less(row, rows)), [&] {
      Value scale = b.load(scales, b.getF16Type(), row);
      for (auto [t, sum] : llvm::enumerate(sums))
        b.ifThen(b.less(token(t), tokens), [&, t = t, sum = sum] {
          Value index = arith::AddIOp::create(
              b, arith::MulIOp::create(b, b.widen(token(t)), b.widen(rows)),
              b.widen(row));
          Value result =
              config.initial == Initial::Zero
                  ? b.mulf(scale, sum)
                  : b.fma(scale, sum, b.load(init, config.initType, index));
          b.store(result, output, config.outputType, index);
        });
    });
  }

  KernelBuilder &b;
  const MatmulConfig &config;
  int64_t lanes;
  Value rows, tokens, output, init, lane, row, safeRow, firstToken;
};

/// Appends the parameters that MatmulFrame::start() reads.
void addFrameParameters(const MatmulConfig &config,
                        SmallVectorImpl<KernelParameter> &parameters) {
  if (config.initial == Initial::Buffer)
    parameters.push_back({Kind::Input});
  llvm::append_range(
      parameters,
      ArrayRef<KernelParameter>{{Kind::Output}, {Kind::Size}, {Kind::Size}});
}
} // namespace

void gpukernels::buildFoldedMatmulKernel(KernelBuilder &b,
                                         gpu::GPUModuleOp module,
                                         StringRef name,
                                         const MatmulConfig &config) {
  RowLayout layout = RowLayout::get(config.code, config.columns);
  SmallVector<KernelParameter> parameters(3, {Kind::Input});
  addFrameParameters(config, parameters);

  OpBuilder::InsertionGuard guard(b);
  gpu::GPUFuncOp kernel = b.startKernel(module, name, parameters);
  Value scales = kernel.getArgument(2);
  MatmulFrame frame(b, config, layout.lanes);
  frame.start(kernel);
  Value codes =
      frame.rowOf(kernel.getArgument(1), b.i32(), frame.safeRow, layout.words);
  SmallVector<Value> folded, sums;
  for (int64_t t = 0; t != config.tokens; ++t) {
    folded.push_back(frame.rowOf(kernel.getArgument(0), b.f32(),
                                 frame.safeToken(t), layout.foldedSize));
    sums.push_back(b.constant(0.0f));
  }

  for (const SlotRun &run : layout.runs) {
    auto unitBody = [&](Value unit, ValueRange in) {
      SmallVector<Value> out(in);
      Value wordOffset =
          run.segments == 1
              ? b.mul(unit, run.unitWords)
              : b.add(b.mul(b.div(unit, run.segmentUnits), run.segmentWords),
                      b.mul(b.rem(unit, run.segmentUnits), run.unitWords));
      wordOffset = b.add(wordOffset, run.wordOffset);
      // Only the last unit of a row can reach beyond it. What it finds there
      // does not matter: it is multiplied by zero.
      bool overruns = run.wordOffset + (run.segments - 1) * run.segmentWords +
                          run.segmentUnits * run.unitWords >
                      layout.words;
      SmallVector<Value> words;
      for (int64_t w = 0; w != run.unitWords; w += run.vectorWords) {
        Value offset = b.add(wordOffset, w);
        if (overruns)
          offset = b.min(offset, b.constant(layout.words - run.vectorWords));
        llvm::append_range(words,
                           b.loadMany(codes, b.i32(), offset, run.vectorWords));
      }
      // The lane's place in the interleaved activations of its step.
      Value base = b.add(
          b.add(b.mul(b.div(unit, layout.lanes), layout.lanes * run.unitFields),
                b.mul(b.rem(unit, layout.lanes), 4)),
          run.foldedOffset);
      for (int64_t f = 0; f != run.unitFields; f += 4) {
        SmallVector<Value> fields;
        for (int64_t i = f; i != f + 4; ++i) {
          int64_t word = i * run.width / 32, bit = i * run.width % 32;
          if (bit + run.width <= 32) {
            fields.push_back(b.centredField(words[word], bit, run.width));
            continue;
          }
          Value joined = b.bitOr(b.shr(words[word], bit - 1),
                                 b.shl(words[word + 1], 33 - bit));
          fields.push_back(b.centredField(joined, 1, run.width));
        }
        for (int64_t t = 0; t != config.tokens; ++t) {
          SmallVector<Value> xs =
              b.loadMany(folded[t], b.f32(), b.add(base, f * layout.lanes), 4);
          for (auto [field, value] : llvm::zip_equal(fields, xs))
            out[t] = b.fma(field, value, out[t]);
        }
      }
      return out;
    };
    sums = b.loop(frame.lane, b.constant(run.units()), b.constant(layout.lanes),
                  sums, unitBody);
  }
  frame.finish(sums, scales);
}

/// F^-1(y) for the compander whose two parameters of the slot are given.
static Value expand(KernelBuilder &b, Compander compander, Value y, Value first,
                    Value second) {
  if (compander == Compander::None)
    return y;
  Value bits = arith::BitcastOp::create(b, b.i32(), y);
  Value magnitude =
      arith::BitcastOp::create(b, b.f32(), b.bitAnd(bits, 0x7fffffff));
  if (compander == Compander::Affine) // y (a + b |y|)
    return b.mulf(y, b.fma(second, magnitude, first));
  // S sgn(y) ((1 + mu)^|y| - 1) / mu, by the base-2 functions of the hardware:
  // their error is a few units in the last place of the power.
  auto call = [&](StringRef intrinsic, Value operand) -> Value {
    return LLVM::CallIntrinsicOp::create(
               b, TypeRange(b.f32()), b.getStringAttr(intrinsic),
               ValueRange(operand),
               LLVM::FastmathFlagsAttr::get(b.getContext(),
                                            LLVM::FastmathFlags::none))
        .getResult(0);
  };
  Value log = call("llvm.nvvm.lg2.approx.f", b.addf(first, b.constant(1.0f)));
  Value power = call("llvm.nvvm.ex2.approx", b.mulf(magnitude, log));
  Value factor = arith::DivFOp::create(b, second, first);
  Value weight = b.mulf(factor, b.subf(power, b.constant(1.0f)));
  Value sign = b.bitAnd(bits, int64_t(1) << 31);
  return arith::BitcastOp::create(
      b, b.f32(),
      arith::XOrIOp::create(b, arith::BitcastOp::create(b, b.i32(), weight),
                            sign));
}

void gpukernels::buildDecodedMatmulKernel(KernelBuilder &b,
                                          gpu::GPUModuleOp module,
                                          StringRef name,
                                          const MatmulConfig &config) {
  constexpr int64_t lanes = 32;
  LatticeAttr code = config.code;
  RowLayout layout = RowLayout::get(code, config.columns);
  SmallVector<KernelParameter> parameters(4, {Kind::Input});
  parameters.append(code.isMixed() + code.hasCompander(), {Kind::Input});
  addFrameParameters(config, parameters);

  OpBuilder::InsertionGuard guard(b);
  gpu::GPUFuncOp kernel = b.startKernel(module, name, parameters);
  Value generators = kernel.getArgument(2), scales = kernel.getArgument(3);
  Value order = code.isMixed() ? Value(kernel.getArgument(4)) : Value();
  Value companders = code.hasCompander()
                         ? Value(kernel.getArgument(4 + code.isMixed()))
                         : Value();
  MatmulFrame frame(b, config, lanes);
  frame.start(kernel);
  Value codes =
      frame.rowOf(kernel.getArgument(1), b.i32(), frame.safeRow, layout.words);
  SmallVector<Value> inputs, sums;
  for (int64_t t = 0; t != config.tokens; ++t) {
    inputs.push_back(frame.rowOf(kernel.getArgument(0), config.inputType,
                                 frame.safeToken(t), config.columns));
    sums.push_back(b.constant(0.0f));
  }

  Value zero = b.constant(int64_t(0)), one = b.constant(int64_t(1));
  for (const SlotRun &run : layout.runs) {
    int64_t points = run.fields / layout.dim;
    auto pointBody = [&](Value index, ValueRange in) {
      Value inRun = b.div(index, points);
      Value slot = b.add(inRun, run.firstSlot);
      Value point = b.mul(b.rem(index, points), layout.dim);
      Value segment = b.add(b.mul(inRun, run.slotWords), run.wordOffset);
      SmallVector<Value> z;
      for (int64_t j = 0; j != layout.dim; ++j) {
        Value bit = b.mul(b.add(point, j), run.width);
        Value word = b.add(segment, b.shr(bit, 5));
        Value low = b.load(codes, b.i32(), word);
        // Where a field may go on in the next word, read both.
        Value high = low;
        if (32 % run.width != 0)
          high = b.load(codes, b.i32(),
                        b.min(b.add(word, 1), b.constant(layout.words - 1)));
        Value field = LLVM::FshrOp::create(b, high, low, b.bitAnd(bit, 31));
        z.push_back(b.centredField(field, 0, run.width));
      }
      Value first, second;
      if (companders) {
        first = b.load(companders, b.f32(), b.mul(slot, 2));
        second = b.load(companders, b.f32(), b.add(b.mul(slot, 2), 1));
      }
      Value group = order ? b.load(order, b.i32(), slot) : slot;
      Value column = b.add(b.mul(group, layout.group), point);
      Value count =
          b.min(b.constant(layout.dim), b.sub(b.constant(run.columns), point));
      return b.loop(zero, count, one, in, [&](Value i, ValueRange partial) {
        Value matrix = b.mul(b.add(b.mul(slot, layout.dim), i), layout.dim);
        Value y = b.constant(0.0f);
        for (int64_t j = 0; j != layout.dim; ++j)
          y = b.fma(b.load(generators, b.getF16Type(), b.add(matrix, j)), z[j],
                    y);
        Value weight = expand(b, code.getCompander(), y, first, second);
        SmallVector<Value> out;
        for (auto [input, sum] : llvm::zip_equal(inputs, partial))
          out.push_back(b.fma(
              weight, b.load(input, config.inputType, b.add(column, i)), sum));
        return out;
      });
    };
    sums = b.loop(frame.lane, b.constant(run.slots * points), b.constant(lanes),
                  sums, pointBody);
  }
  frame.finish(sums, scales);
}

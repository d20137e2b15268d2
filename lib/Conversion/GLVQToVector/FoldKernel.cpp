// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Activations of a linear code on a CPU: the generator moved onto them
// (glvq.fold), and the filter of a trellis on the results (glvq.filter). Both
// are small beside the product between them; a token is the unit of parallel
// work.

#include "KernelBuilder.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::glvq;

namespace {
class FoldKernel {
public:
  FoldKernel(KernelBuilder &b, FoldOp op, func::FuncOp function, int64_t lanes);
  void build();

private:
  void foldSlot(Value token, Value slot, int64_t columns, int64_t room);
  void scaleColumns(Value scale, Value token, Value from, Value to,
                    int64_t columns);
  Value toFloat(Value value);

  KernelBuilder &b;
  WeightCodeAttrInterface code;
  FoldedRun run;
  int64_t runIndex, group, lanes;
  Value input, generators, groupScales, order, result;
};
} // namespace

FoldKernel::FoldKernel(KernelBuilder &b, FoldOp op, func::FuncOp function,
                       int64_t lanes)
    : b(b), code(op.getCode()), run(op.getFoldedRun()), runIndex(op.getRun()),
      lanes(lanes), input(function.getArgument(0)),
      result(function.getArguments().back()) {
  ValueRange params = function.getArguments().drop_front().drop_back();
  if (auto lattice = dyn_cast<LatticeAttr>(code)) {
    group = lattice.getGroup();
    generators = params[0];
    order = lattice.isMixed() ? params[1] : Value();
  } else if (auto binary = dyn_cast<BinaryAttr>(code)) {
    group = binary.getGroup();
    generators = params[0];
    groupScales = params[1];
    order = binary.isMixed() ? params[2] : Value();
  } else {
    auto trellis = cast<TrellisAttr>(code);
    group = trellis.getGroup();
    groupScales = params[0];
    order = trellis.isMixed() ? params[1] : Value();
  }
}

Value FoldKernel::toFloat(Value value) {
  Type type = b.getF32Type();
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    type = vector.clone(type);
  return value.getType() == type
             ? value
             : arith::ExtFOp::create(b, type, value).getResult();
}

/// result[token, to + i] = scale input[token, from + i].
void FoldKernel::scaleColumns(Value scale, Value token, Value from, Value to,
                              int64_t columns) {
  int64_t whole = columns / lanes * lanes;
  Value factor = b.broadcast(lanes, scale);
  b.loop(0, whole, lanes, [&](Value i) {
    Value x = b.loadVector(lanes, input, {token, b.add(from, i)});
    b.storeVector(arith::MulFOp::create(b, x, factor), result,
                  {token, b.add(to, i)});
  });
  b.loop(whole, columns, 1, [&](Value i) {
    Value x = b.load(input, {token, b.add(from, i)});
    memref::StoreOp::create(b, arith::MulFOp::create(b, x, scale), result,
                            {token, b.add(to, i)});
  });
}

/// One slot of the run, with its columns; the results have `room`, what they
/// leave is zero.
void FoldKernel::foldSlot(Value token, Value slot, int64_t columns,
                          int64_t room) {
  Value inStorage = b.add(slot, run.slots.first);
  Value place = inStorage;
  if (order)
    place = arith::IndexCastOp::create(b, b.getIndexType(),
                                       b.load(order, {inStorage}));
  Value from = b.mul(place, group), to = b.mul(slot, run.stride);
  Value scale;
  if (groupScales)
    scale = toFloat(b.load(groupScales, {inStorage}));
  if (!generators)
    return scaleColumns(scale, token, from, to, columns);

  bool isLattice = isa<LatticeAttr>(code);
  Value matrix = isLattice ? inStorage : b.idx(runIndex);
  if (isLattice && run.dim == 1) {
    scale = toFloat(b.load(generators, {matrix, b.idx(0), b.idx(0)}));
    scaleColumns(scale, token, from, to, columns);
  } else {
    auto loadRow = [&](Value i) {
      Value row =
          toFloat(b.loadVector(run.fields, generators, {matrix, i, b.idx(0)}));
      if (scale)
        row = arith::MulFOp::create(b, row, b.broadcast(run.fields, scale));
      return row;
    };
    // Rows that fit the registers are loaded once for all points.
    constexpr int64_t largestHeld = 16;
    bool held = run.dim * llvm::divideCeil(run.fields, lanes) <= largestHeld;
    SmallVector<Value> rows;
    if (held)
      for (int64_t i = 0; i < run.dim; ++i)
        rows.push_back(loadRow(b.idx(i)));
    auto foldPoint = [&](Value point, int64_t size) {
      Value first = b.add(from, b.mul(point, run.dim));
      auto step = [&](Value i, Value row, Value sum) {
        Value x =
            b.broadcast(run.fields, b.load(input, {token, b.add(first, i)}));
        return b.fma(x, row, sum);
      };
      Value sum = b.splat(run.fields, 0.0f);
      if (held) {
        for (int64_t i = 0; i < size; ++i)
          sum = step(b.idx(i), rows[i], sum);
      } else {
        sum = b.loop(b.idx(0), b.idx(size), 1, sum,
                     [&](Value i, ValueRange args) {
                       return SmallVector<Value>{
                           step(i, loadRow(i), args.front())};
                     })
                  .front();
      }
      b.storeVector(sum, result, {token, b.add(to, b.mul(point, run.fields))});
    };
    b.loop(0, columns / run.dim, 1,
           [&](Value point) { foldPoint(point, run.dim); });
    if (columns % run.dim)
      foldPoint(b.idx(columns / run.dim), columns % run.dim);
  }
  int64_t used = llvm::divideCeil(columns, run.dim) * run.fields;
  b.loop(used, room, 1, [&](Value i) {
    memref::StoreOp::create(b, b.scalar(0), result, {token, b.add(to, i)});
  });
}

void FoldKernel::build() {
  int64_t last = run.slots.count - 1;
  int64_t lastColumns = run.slots.columns - last * group;
  b.parallel(b.dim(input, 0), [&](Value token) {
    b.loop(0, last, 1,
           [&](Value slot) { foldSlot(token, slot, group, run.stride); });
    foldSlot(token, b.idx(last), lastColumns, run.columns - last * run.stride);
  });
}

void glvq::buildFoldKernel(KernelBuilder &b, FoldOp op, func::FuncOp function,
                           int64_t vectorLength) {
  FoldKernel(b, op, function, vectorLength).build();
}

/// The filter runs over all positions of the input, whose vectors need no
/// shuffles, and of its results every stride-th is kept: taps times stride
/// multiply-adds for a vector of results.
void glvq::buildFilterKernel(KernelBuilder &b, FilterOp op,
                             func::FuncOp function, int64_t lanes) {
  Value input = function.getArgument(0), taps = function.getArgument(1),
        result = function.getArgument(2);
  int64_t stride = op.getStride(), rows = op.getType().getDimSize(1);
  int64_t length = op.getTaps().getType().getDimSize(1);
  // With a stride the last vectors would reach beyond the input.
  int64_t whole = (stride == 1 ? rows : rows - 1) / lanes * lanes;
  b.parallel(b.dim(input, 0), [&](Value token) {
    SmallVector<Value> scalars, vectors;
    for (int64_t i = 0; i < length; ++i) {
      scalars.push_back(b.load(taps, {b.idx(op.getRun()), b.idx(i)}));
      if (whole)
        vectors.push_back(b.broadcast(lanes, scalars.back()));
    }
    b.loop(0, whole, lanes, [&](Value row) {
      Value first = b.mul(row, stride), kept;
      for (int64_t part = 0; part < stride; ++part) {
        Value sum = b.splat(lanes, 0.0f);
        for (int64_t i = 0; i < length; ++i) {
          Value place = b.add(first, part * lanes + length - 1 - i);
          sum = b.fma(vectors[i], b.loadVector(lanes, input, {token, place}),
                      sum);
        }
        // Lane l of the result is position l stride.
        SmallVector<int64_t> pick;
        for (int64_t lane = 0; lane < lanes; ++lane)
          pick.push_back(lane * stride / lanes == part
                             ? lanes + lane * stride % lanes
                             : lane);
        kept = vector::ShuffleOp::create(b, kept ? kept : sum, sum, pick);
      }
      b.storeVector(kept, result, {token, row});
    });
    b.loop(whole, rows, 1, [&](Value row) {
      Value first = b.mul(row, stride), sum = b.scalar(0);
      for (int64_t i = 0; i < length; ++i) {
        Value x = b.load(input, {token, b.add(first, length - 1 - i)});
        sum = arith::AddFOp::create(b, sum,
                                    arith::MulFOp::create(b, scalars[i], x));
      }
      memref::StoreOp::create(b, sum, result, {token, row});
    });
  });
}

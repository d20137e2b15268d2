// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// glvq-linalg-to-vector-kernels: contractions on buffers as register-blocked
// vector loops. Written directly, not as a tiling schedule: the two forms that
// models have need few lines, code size stays small whatever the sizes are, and
// sizes known only at run time are the common case (tokens, cache positions).

#include "glvq/Conversion/NativeCPU/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_LINALGTOVECTORKERNELSPASS
#include "glvq/Conversion/NativeCPU/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;

namespace {

using LoopDims = SmallVector<unsigned, 4>;

/// `value` through a float extension.
Value peelExtension(Value value) {
  if (auto ext = value.getDefiningOp<arith::ExtFOp>())
    return ext.getIn();
  return value;
}

/// Whether the body is out + lhs · rhs, with operands possibly extended.
bool isMultiplyAdd(linalg::LinalgOp op) {
  Block *body = op.getBlock();
  auto add =
      body->getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  if (!add)
    return false;
  for (bool swapped : {false, true}) {
    Value accumulator = swapped ? add.getRhs() : add.getLhs();
    Value other = swapped ? add.getLhs() : add.getRhs();
    auto product = other.getDefiningOp<arith::MulFOp>();
    if (accumulator != body->getArgument(2) || !product)
      continue;
    Value a = peelExtension(product.getLhs());
    Value c = peelExtension(product.getRhs());
    Value x = body->getArgument(0), y = body->getArgument(1);
    if ((a == x && c == y) || (a == y && c == x))
      return true;
  }
  return false;
}

/// A contraction in terms of its loops: batch dimensions are in all operands,
/// m in lhs and result, n in rhs and result, k in lhs and rhs.
struct Contraction {
  enum class Form { Dot, Axpy };

  linalg::LinalgOp op;
  Value lhs, rhs, out;
  AffineMap lhsMap, rhsMap, outMap;
  LoopDims batch, m;
  unsigned n, k;
  Form form;

  static std::optional<Contraction> match(linalg::LinalgOp op);
};

/// The loop that runs along the last dimension of an operand whose last
/// dimension is contiguous.
std::optional<unsigned> getContiguousLoop(Value operand, AffineMap map) {
  auto type = dyn_cast<MemRefType>(operand.getType());
  if (!type || type.getRank() == 0 || map.getNumResults() == 0 ||
      !type.areTrailingDimsContiguous(1))
    return std::nullopt;
  if (auto dim = dyn_cast<AffineDimExpr>(map.getResults().back()))
    return dim.getPosition();
  return std::nullopt;
}

std::optional<Contraction> Contraction::match(linalg::LinalgOp op) {
  if (!op.hasPureBufferSemantics() || op.getNumDpsInputs() != 2 ||
      op.getNumDpsInits() != 1 || op.getNumReductionLoops() != 1 ||
      op.hasIndexSemantics() || !isMultiplyAdd(op))
    return std::nullopt;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  for (AffineMap map : maps)
    if (!map.isProjectedPermutation(/*allowZeroInResults=*/true))
      return std::nullopt;

  Contraction c;
  c.op = op;
  c.out = op.getDpsInits()[0];
  if (!cast<MemRefType>(c.out.getType()).getElementType().isF32())
    return std::nullopt;
  c.outMap = maps[2];
  for (bool swapped : {false, true}) {
    c.lhs = op.getDpsInputs()[swapped];
    c.rhs = op.getDpsInputs()[!swapped];
    c.lhsMap = maps[swapped];
    c.rhsMap = maps[!swapped];
    if (!isa<FloatType>(getElementTypeOrSelf(c.lhs.getType())) ||
        !isa<FloatType>(getElementTypeOrSelf(c.rhs.getType())))
      return std::nullopt;
    c.batch.clear();
    c.m.clear();
    LoopDims n, k;
    bool valid = true;
    for (unsigned d = 0, e = op.getNumLoops(); d < e; ++d) {
      bool inLhs = c.lhsMap.isFunctionOfDim(d);
      bool inRhs = c.rhsMap.isFunctionOfDim(d);
      bool inOut = c.outMap.isFunctionOfDim(d);
      if (inLhs && inRhs && inOut)
        c.batch.push_back(d);
      else if (inLhs && inOut)
        c.m.push_back(d);
      else if (inRhs && inOut)
        n.push_back(d);
      else if (inLhs && inRhs)
        k.push_back(d);
      else
        valid = false;
    }
    if (!valid || n.empty() || k.size() != 1)
      continue;
    c.k = k.front();
    std::optional<unsigned> lhsLoop = getContiguousLoop(c.lhs, c.lhsMap);
    std::optional<unsigned> rhsLoop = getContiguousLoop(c.rhs, c.rhsMap);
    std::optional<unsigned> outLoop = getContiguousLoop(c.out, c.outMap);
    // One of several n is the vectorised or blocked one; the rest are outer
    // loops, like batches.
    if (lhsLoop == c.k && rhsLoop == c.k) {
      c.form = Form::Dot;
      c.n = n.back();
    } else if (rhsLoop && rhsLoop == outLoop &&
               llvm::is_contained(n, *rhsLoop)) {
      c.form = Form::Axpy;
      c.n = *rhsLoop;
    } else {
      continue;
    }
    for (unsigned d : n)
      if (d != c.n)
        c.batch.push_back(d);
    return c;
  }
  return std::nullopt;
}

/// Emits the loops of one contraction.
class KernelEmitter {
public:
  KernelEmitter(Contraction &contraction, int64_t vectorWidth, int64_t grain)
      : c(contraction), b(c.op.getLoc(), c.op), width(vectorWidth),
        grain(grain) {
    SmallVector<Range> ranges = c.op.createLoopRanges(b, c.op.getLoc());
    for (Range range : ranges)
      sizes.push_back(range.size);
    ivs.resize(sizes.size());
    lane = VectorType::get(width, b.getF32Type());
  }

  void emit();

private:
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value size(unsigned loop) {
    return getValueOrCreateConstantIndexOp(b, b.getLoc(), sizes[loop]);
  }
  std::optional<int64_t> staticSize(unsigned loop) {
    return getConstantIntValue(sizes[loop]);
  }
  Value add(Value lhs, int64_t rhs) {
    return rhs == 0 ? lhs : b.createOrFold<arith::AddIOp>(lhs, index(rhs));
  }
  Value mul(Value lhs, Value rhs) {
    return b.createOrFold<arith::MulIOp>(lhs, rhs);
  }

  /// The position of an operand's element under the current loop values.
  SmallVector<Value> position(AffineMap map) {
    SmallVector<Value> result;
    for (AffineExpr expr : map.getResults()) {
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        result.push_back(ivs[dim.getPosition()]);
      else
        result.push_back(index(0));
    }
    return result;
  }
  Value extend(Value value) {
    Type wanted = b.getF32Type();
    if (auto type = dyn_cast<VectorType>(value.getType()))
      wanted = type.clone(b.getF32Type());
    if (value.getType() == wanted)
      return value;
    return arith::ExtFOp::create(b, wanted, value);
  }
  /// A vector of `operand` along its last dimension, with zero where masked.
  Value loadVector(Value operand, AffineMap map, Value mask) {
    auto type = VectorType::get(width, getElementTypeOrSelf(operand.getType()));
    if (!mask)
      return extend(vector::LoadOp::create(b, type, operand, position(map)));
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
    return extend(vector::MaskedLoadOp::create(b, type, operand, position(map),
                                               mask, zero));
  }
  Value loadScalar(Value operand, AffineMap map) {
    return extend(memref::LoadOp::create(b, operand, position(map)));
  }
  Value multiplyAdd(Value x, Value y, Value acc) {
    return vector::FMAOp::create(b, x, y, acc);
  }

  /// for (iv = lower; iv < upper; iv += step) body(), with `ivs[loop]` = iv.
  void loop(unsigned dim, Value lower, Value upper, int64_t step,
            function_ref<void()> body) {
    auto op = scf::ForOp::create(b, lower, upper, index(step));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(op.getBody());
    ivs[dim] = op.getInductionVar();
    body();
  }
  /// Blocks of `tile` of loop `dim` while they last, then single ones.
  void tiledLoop(unsigned dim, int64_t tile, function_ref<void(int64_t)> body) {
    Value zero = index(0), upper = size(dim);
    if (tile == 1)
      return loop(dim, zero, upper, 1, [&] { body(1); });
    Value rest = b.createOrFold<arith::RemUIOp>(upper, index(tile));
    Value whole = b.createOrFold<arith::SubIOp>(upper, rest);
    loop(dim, zero, whole, tile, [&] { body(tile); });
    std::optional<int64_t> known = staticSize(dim);
    if (!known || *known % tile != 0)
      loop(dim, whole, upper, 1, [&] { body(1); });
  }
  /// Calls `body(tile)` for all m; `tile` rows from `ivs` on at a time.
  void forRows(int64_t tile, function_ref<void(int64_t)> body,
               size_t level = 0) {
    if (c.m.empty())
      return body(1);
    if (level + 1 == c.m.size())
      return tiledLoop(c.m.back(), tile, body);
    loop(c.m[level], index(0), size(c.m[level]), 1,
         [&] { forRows(tile, body, level + 1); });
  }
  /// Moves `ivs[dim]` on for the duration of a call.
  template <typename Fn>
  auto at(std::optional<unsigned> dim, int64_t offset, Fn fn) {
    if (!dim)
      return fn();
    Value saved = ivs[*dim];
    ivs[*dim] = add(saved, offset);
    auto result = fn();
    ivs[*dim] = saved;
    return result;
  }

  void dotKernel(int64_t rows, int64_t columns);
  void axpyKernel(int64_t rows, int64_t vectors, Value mask);
  void block(int64_t columns, int64_t rowTile);

  Contraction &c;
  ImplicitLocOpBuilder b;
  int64_t width, grain;
  SmallVector<OpFoldResult> sizes;
  SmallVector<Value> ivs;
  VectorType lane;
};

/// out[m+i, n+j] += Σ_k lhs[m+i, k] rhs[n+j, k] for i < rows, j < columns.
void KernelEmitter::dotKernel(int64_t rows, int64_t columns) {
  std::optional<unsigned> m;
  if (!c.m.empty())
    m = c.m.back();
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(lane));
  SmallVector<Value> sums(rows * columns, zero);
  Value depth = size(c.k);

  auto step = [&](ValueRange in, Value mask) {
    SmallVector<Value> x, w, result;
    for (int64_t i = 0; i < rows; ++i)
      x.push_back(at(m, i, [&] { return loadVector(c.lhs, c.lhsMap, mask); }));
    for (int64_t j = 0; j < columns; ++j)
      w.push_back(
          at(c.n, j, [&] { return loadVector(c.rhs, c.rhsMap, mask); }));
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        result.push_back(multiplyAdd(x[i], w[j], in[i * columns + j]));
    return result;
  };

  Value rest = b.createOrFold<arith::RemUIOp>(depth, index(width));
  Value whole = b.createOrFold<arith::SubIOp>(depth, rest);
  auto loopOp = scf::ForOp::create(b, index(0), whole, index(width), sums);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loopOp.getBody());
    ivs[c.k] = loopOp.getInductionVar();
    scf::YieldOp::create(b, step(loopOp.getRegionIterArgs(), Value()));
  }
  sums.assign(loopOp.getResults().begin(), loopOp.getResults().end());
  std::optional<int64_t> known = staticSize(c.k);
  if (!known || *known % width != 0) {
    ivs[c.k] = whole;
    Value mask = vector::CreateMaskOp::create(
        b, VectorType::get(width, b.getI1Type()), rest);
    sums = step(sums, mask);
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      at(m, i, [&] {
        return at(c.n, j, [&] {
          SmallVector<Value> where = position(c.outMap);
          Value old = memref::LoadOp::create(b, c.out, where);
          Value sum = vector::ReductionOp::create(
              b, vector::CombiningKind::ADD, sums[i * columns + j], old,
              arith::FastMathFlags::reassoc);
          memref::StoreOp::create(b, sum, c.out, where);
          return true;
        });
      });
}

/// out[m+i, n+j] += Σ_k lhs[m+i, k] rhs[k, n+j] for i < rows and j over
/// `vectors` vectors, of which a single one may be masked.
void KernelEmitter::axpyKernel(int64_t rows, int64_t vectors, Value mask) {
  std::optional<unsigned> m;
  if (!c.m.empty())
    m = c.m.back();
  SmallVector<Value> sums;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < vectors; ++j)
      sums.push_back(at(m, i, [&] {
        return at(c.n, j * width,
                  [&] { return loadVector(c.out, c.outMap, mask); });
      }));
  auto loopOp = scf::ForOp::create(b, index(0), size(c.k), index(1), sums);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loopOp.getBody());
    ivs[c.k] = loopOp.getInductionVar();
    SmallVector<Value> w, result;
    for (int64_t j = 0; j < vectors; ++j)
      w.push_back(at(c.n, j * width,
                     [&] { return loadVector(c.rhs, c.rhsMap, mask); }));
    for (int64_t i = 0; i < rows; ++i) {
      Value x = at(m, i, [&] { return loadScalar(c.lhs, c.lhsMap); });
      Value splat = vector::BroadcastOp::create(b, lane, x);
      for (int64_t j = 0; j < vectors; ++j)
        result.push_back(multiplyAdd(
            splat, w[j], loopOp.getRegionIterArgs()[i * vectors + j]));
    }
    scf::YieldOp::create(b, result);
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < vectors; ++j)
      at(m, i, [&] {
        return at(c.n, j * width, [&] {
          Value value = loopOp.getResult(i * vectors + j);
          if (mask)
            vector::MaskedStoreOp::create(b, c.out, position(c.outMap), mask,
                                          value);
          else
            vector::StoreOp::create(b, value, c.out, position(c.outMap));
          return true;
        });
      });
}

/// All rows for the block of n from ivs[n] on, which may end early.
void KernelEmitter::block(int64_t columns, int64_t rowTile) {
  Value start = ivs[c.n], limit = size(c.n);
  auto whole = [&] {
    forRows(rowTile, [&](int64_t rows) {
      if (c.form == Contraction::Form::Dot)
        dotKernel(rows, columns);
      else
        axpyKernel(rows, columns / width, Value());
    });
  };
  auto partial = [&] {
    int64_t step = c.form == Contraction::Form::Dot ? 1 : width;
    loop(c.n, start, limit, step, [&] {
      if (c.form == Contraction::Form::Dot)
        return forRows(rowTile, [&](int64_t rows) { dotKernel(rows, 1); });
      Value left = arith::SubIOp::create(b, limit, ivs[c.n]);
      Value mask = vector::CreateMaskOp::create(
          b, VectorType::get(width, b.getI1Type()), left);
      forRows(rowTile, [&](int64_t rows) { axpyKernel(rows, 1, mask); });
    });
    ivs[c.n] = start;
  };
  std::optional<int64_t> known = staticSize(c.n);
  if (known && *known % columns == 0)
    return whole();
  if (known && *known < columns)
    return partial();
  Value end = add(start, columns);
  Value fits = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, end, limit);
  auto choice = scf::IfOp::create(b, fits, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(choice.thenBlock());
  whole();
  b.setInsertionPointToStart(choice.elseBlock());
  partial();
}

void KernelEmitter::emit() {
  // Registers: with one row, many weight rows hide the latency of the adds;
  // with several, a square block needs the fewest loads per product.
  int64_t rowTile = 4;
  if (c.m.empty())
    rowTile = 1;
  else if (std::optional<int64_t> rows = staticSize(c.m.back()))
    rowTile = std::min<int64_t>(rowTile, std::max<int64_t>(*rows, 1));
  int64_t columns;
  if (c.form == Contraction::Form::Dot)
    columns = rowTile == 1 ? 8 : 4;
  else
    columns = width * 4;

  // Iterations: batches times blocks of n.
  Value blocks = b.createOrFold<arith::CeilDivUIOp>(size(c.n), index(columns));
  Value total = blocks;
  for (unsigned d : c.batch)
    total = mul(total, size(d));
  Value work = mul(index(columns), size(c.k));
  for (unsigned d : c.m)
    work = mul(work, size(d));
  // All or nothing: as many iterations as blocks, which threads share evenly,
  // or a single one.
  Value worthIt = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::uge,
                                                mul(total, work), index(grain));
  Value joined = b.createOrFold<arith::SelectOp>(worthIt, index(1), total);
  joined = b.createOrFold<arith::MaxUIOp>(joined, index(1));
  Value chunks = b.createOrFold<arith::CeilDivUIOp>(total, joined);

  auto parallel = scf::ParallelOp::create(
      b, ValueRange{index(0)}, ValueRange{chunks}, ValueRange{index(1)});
  b.setInsertionPointToStart(parallel.getBody());
  Value begin = mul(parallel.getInductionVars()[0], joined);
  Value end = b.createOrFold<arith::AddIOp>(begin, joined);
  end = b.createOrFold<arith::MinUIOp>(end, total);
  auto serial = scf::ForOp::create(b, begin, end, index(1));
  b.setInsertionPointToStart(serial.getBody());
  Value position = serial.getInductionVar();
  if (!c.batch.empty()) {
    Value blockIndex = arith::RemUIOp::create(b, position, blocks);
    Value batches = arith::DivUIOp::create(b, position, blocks);
    for (unsigned d : llvm::reverse(c.batch)) {
      ivs[d] = b.createOrFold<arith::RemUIOp>(batches, size(d));
      batches = b.createOrFold<arith::DivUIOp>(batches, size(d));
    }
    position = blockIndex;
  }
  ivs[c.n] = mul(position, index(columns));
  block(columns, rowTile);
  c.op->erase();
}

struct LinalgToVectorKernels
    : glvq::impl::LinalgToVectorKernelsPassBase<LinalgToVectorKernels> {
  using LinalgToVectorKernelsPassBase::LinalgToVectorKernelsPassBase;

  void runOnOperation() override {
    if (vectorWidth < 1 || grain < 1) {
      getOperation()->emitError(
          "glvq-linalg-to-vector-kernels: vector-width and grain are at "
          "least 1");
      return signalPassFailure();
    }
    SmallVector<linalg::LinalgOp> ops;
    getOperation()->walk([&](linalg::LinalgOp op) { ops.push_back(op); });
    for (linalg::LinalgOp op : ops)
      if (std::optional<Contraction> contraction = Contraction::match(op))
        KernelEmitter(*contraction, vectorWidth, grain).emit();
  }
};

} // namespace

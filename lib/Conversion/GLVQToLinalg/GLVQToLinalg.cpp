// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The reference lowering: every glvq op by its definition, in linalg.

#include "glvq/Conversion/Passes.h"
#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "glvq/Lattice/Hadamard.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include <cmath>
#include <numbers>

namespace mlir::glvq {
#define GEN_PASS_DEF_CONVERTGLVQTOLINALGPASS
#include "glvq/Conversion/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;
using namespace mlir::glvq;

/// The largest factor of a power of two that becomes one matrix.
static constexpr int64_t kLargestPower = 32;
/// Beyond this size a matrix is computed, not written down as a constant.
static constexpr int64_t kLargestConstant = 512;

namespace {

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

struct LowerLinear : OpRewritePattern<LinearOp> {
  using Base::Base;

  LogicalResult matchAndRewrite(LinearOp op,
                                PatternRewriter &rewriter) const override {
    auto parts =
        DisassembleOp::create(rewriter, op.getLoc(), op.getWeight()).getParts();
    rewriter.replaceOpWithNewOp<MatmulOp>(
        op, op->getResultTypes(), op.getInput(), parts.front(),
        parts.drop_front(), op.getInit(), op.getWeight().getType().getCode());
    return success();
  }
};

struct LowerMatmul : OpRewritePattern<MatmulOp> {
  using Base::Base;

  LogicalResult matchAndRewrite(MatmulOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.hasPureTensorSemantics())
      return rewriter.notifyMatchFailure(op, "is on buffers");
    FailureOr<Value> product = buildReferenceProduct(rewriter, op);
    if (failed(product))
      return rewriter.notifyMatchFailure(op,
                                         "the code has no reference decoder");
    rewriter.replaceOp(op, *product);
    return success();
  }
};

struct LowerDecode : OpRewritePattern<DecodeOp> {
  using Base::Base;

  LogicalResult matchAndRewrite(DecodeOp op,
                                PatternRewriter &rewriter) const override {
    WeightType type = op.getWeight().getType();
    auto parts =
        DisassembleOp::create(rewriter, op.getLoc(), op.getWeight()).getParts();
    FailureOr<Value> dense =
        type.getCode().buildDecode(rewriter, op.getLoc(), type, parts);
    if (failed(dense))
      return rewriter.notifyMatchFailure(op,
                                         "the code has no reference decoder");
    rewriter.replaceOp(op, *dense);
    return success();
  }
};

struct LowerEncode : OpRewritePattern<EncodeOp> {
  using Base::Base;

  LogicalResult matchAndRewrite(EncodeOp op,
                                PatternRewriter &rewriter) const override {
    WeightType type = op.getWeight().getType();
    FailureOr<Value> codes = type.getCode().buildEncode(
        rewriter, op.getLoc(), type, op.getDense(), op.getParams());
    if (failed(codes))
      return rewriter.notifyMatchFailure(op,
                                         "the code has no reference encoder");
    SmallVector<Value> parts = {*codes};
    llvm::append_range(parts, op.getParams());
    rewriter.replaceOpWithNewOp<AssembleOp>(op, type, parts);
    return success();
  }
};

struct LowerFold : OpRewritePattern<FoldOp> {
  using Base::Base;

  LogicalResult matchAndRewrite(FoldOp op,
                                PatternRewriter &rewriter) const override {
    FailureOr<Value> folded = op.getCode().buildFold(
        rewriter, op.getLoc(), op.getRun(), op.getInput(), op.getParams());
    if (failed(folded))
      return rewriter.notifyMatchFailure(op, "the code cannot be folded");
    rewriter.replaceOp(op, *folded);
    return success();
  }
};

struct LowerGather : OpRewritePattern<GatherOp> {
  using Base::Base;

  LogicalResult matchAndRewrite(GatherOp op,
                                PatternRewriter &rewriter) const override {
    auto parts =
        DisassembleOp::create(rewriter, op.getLoc(), op.getWeight()).getParts();
    FailureOr<Value> rows = op.buildReference(rewriter, parts, op.getIndices());
    if (failed(rows))
      return failure();
    rewriter.replaceOp(op, *rows);
    return success();
  }
};

/// Loops: token b, row t, tap i.
struct LowerFilter : OpRewritePattern<FilterOp> {
  using Base::Base;

  LogicalResult matchAndRewrite(FilterOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    RankedTensorType type = op.getType();
    int64_t taps = op.getTaps().getType().getDimSize(1);
    Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0));
    Value empty = tensor::EmptyOp::create(
        b,
        ArrayRef<OpFoldResult>{
            tensor::getMixedSize(b, b.getLoc(), op.getInput(), 0),
            b.getIndexAttr(type.getDimSize(1))},
        b.getF32Type());
    Value init = linalg::FillOp::create(b, zero, empty).getResult(0);
    AffineExpr token, row, tap;
    bindDims(b.getContext(), token, row, tap);
    int64_t stride = op.getStride();
    AffineExpr run = b.getAffineConstantExpr(op.getRun());
    AffineMap maps[] = {AffineMap::get(3, 0,
                                       {token, row * stride - tap + (taps - 1)},
                                       b.getContext()),
                        AffineMap::get(3, 0, {run, tap}, b.getContext()),
                        AffineMap::get(3, 0, {token, row}, b.getContext())};
    using utils::IteratorType;
    IteratorType iterators[] = {IteratorType::parallel, IteratorType::parallel,
                                IteratorType::reduction};
    rewriter.replaceOpWithNewOp<linalg::GenericOp>(
        op, TypeRange{type}, ValueRange{op.getInput(), op.getTaps()}, init,
        maps, iterators, [](OpBuilder &nested, Location loc, ValueRange args) {
          ImplicitLocOpBuilder b(loc, nested);
          Value product = arith::MulFOp::create(b, args[0], args[1]);
          linalg::YieldOp::create(
              b, arith::AddFOp::create(b, args[2], product).getResult());
        });
    return success();
  }
};

struct LowerInterleave : OpRewritePattern<InterleaveOp> {
  using Base::Base;

  LogicalResult matchAndRewrite(InterleaveOp op,
                                PatternRewriter &rewriter) const override {
    rewriter.replaceOp(op, op.buildReference(rewriter));
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Rotations
//===----------------------------------------------------------------------===//

/// The factors of a size m 2^k, m odd: m, then powers of two; without ones.
SmallVector<int64_t> factorize(int64_t size) {
  int64_t power = size & -size;
  SmallVector<int64_t> factors;
  if (size != power)
    factors.push_back(size / power);
  for (; power > 1; power /= std::min(power, kLargestPower))
    factors.push_back(std::min(power, kLargestPower));
  return factors;
}

/// An entry of the matrix of one factor: Hartley if it is odd, else
/// Sylvester-Hadamard.
double getEntry(int64_t size, int64_t row, int64_t column) {
  if (size % 2 == 0)
    return (llvm::popcount(static_cast<uint64_t>(row & column)) % 2 ? -1 : 1) /
           std::sqrt(size);
  return ::glvq::lattice::getHartleyEntry(row * column, size) / std::sqrt(size);
}

/// The matrix of a factor, size x size.
Value buildMatrix(ImplicitLocOpBuilder &b, int64_t size, FloatType type) {
  auto tensorType = RankedTensorType::get({size, size}, type);
  if (size <= kLargestConstant) {
    SmallVector<APFloat> entries;
    for (int64_t i = 0; i < size; ++i)
      for (int64_t j = 0; j < size; ++j) {
        bool inexact;
        entries.emplace_back(getEntry(size, i, j))
            .convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                     &inexact);
      }
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(tensorType, ArrayRef(entries)));
  }
  Value empty = tensor::EmptyOp::create(b, tensorType.getShape(), type);
  SmallVector<utils::IteratorType> parallel(2, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b, tensorType, ValueRange(), empty,
             ArrayRef<AffineMap>{b.getMultiDimIdentityMap(2)}, parallel,
             [&](OpBuilder &nested, Location loc, ValueRange) {
               ImplicitLocOpBuilder b(loc, nested);
               auto real = [&](double value) -> Value {
                 return arith::ConstantOp::create(b, b.getF64FloatAttr(value));
               };
               Value product =
                   arith::MulIOp::create(b, linalg::IndexOp::create(b, 0),
                                         linalg::IndexOp::create(b, 1));
               Value step = arith::RemUIOp::create(
                   b, product, arith::ConstantIndexOp::create(b, size));
               step = arith::IndexCastUIOp::create(b, b.getI64Type(), step);
               Value angle = arith::MulFOp::create(
                   b, arith::UIToFPOp::create(b, b.getF64Type(), step),
                   real(2 * std::numbers::pi / size));
               Value sum =
                   arith::AddFOp::create(b, math::CosOp::create(b, angle),
                                         math::SinOp::create(b, angle));
               Value entry =
                   arith::MulFOp::create(b, sum, real(1 / std::sqrt(size)));
               if (type != b.getF64Type())
                 entry = arith::TruncFOp::create(b, type, entry);
               linalg::YieldOp::create(b, entry);
             })
      .getResult(0);
}

/// `value` with its elements cast to `type`, and with signs (if any) applied
/// along `dimension`.
Value castAndSign(ImplicitLocOpBuilder &b, Value value, FloatType type,
                  Value signs, int64_t dimension) {
  auto tensorType = cast<RankedTensorType>(value.getType());
  if (!signs && tensorType.getElementType() == type)
    return value;
  Value empty = tensor::EmptyOp::create(
      b, tensor::getMixedSizes(b, b.getLoc(), value), type);
  AffineMap identity = b.getMultiDimIdentityMap(tensorType.getRank());
  SmallVector<utils::IteratorType> parallel(tensorType.getRank(),
                                            utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b, tensorType.clone(type), value, empty,
             ArrayRef<AffineMap>{identity, identity}, parallel,
             [&](OpBuilder &nested, Location loc, ValueRange args) {
               ImplicitLocOpBuilder b(loc, nested);
               Value x = args[0];
               unsigned width = x.getType().getIntOrFloatBitWidth();
               if (width < type.getWidth())
                 x = arith::ExtFOp::create(b, type, x);
               if (signs) {
                 Value j = linalg::IndexOp::create(b, dimension);
                 Value bits = arith::ConstantIndexOp::create(b, 32);
                 Value word = tensor::ExtractOp::create(
                     b, signs, arith::DivUIOp::create(b, j, bits).getResult());
                 Value shift = arith::IndexCastUIOp::create(
                     b, b.getI32Type(), arith::RemUIOp::create(b, j, bits));
                 Value minus = arith::TruncIOp::create(
                     b, b.getI1Type(), arith::ShRUIOp::create(b, word, shift));
                 x = arith::SelectOp::create(b, minus,
                                             arith::NegFOp::create(b, x), x);
               }
               if (width > type.getWidth())
                 x = arith::TruncFOp::create(b, type, x);
               linalg::YieldOp::create(b, x);
             })
      .getResult(0);
}

/// `value` times the (symmetric) matrix along `dimension`.
Value contract(ImplicitLocOpBuilder &b, Value value, Value matrix,
               int64_t dimension) {
  auto type = cast<RankedTensorType>(value.getType());
  int64_t rank = type.getRank();
  Value zero =
      arith::ConstantOp::create(b, b.getZeroAttr(type.getElementType()));
  Value empty = tensor::EmptyOp::create(
      b, tensor::getMixedSizes(b, b.getLoc(), value), type.getElementType());
  Value init = linalg::FillOp::create(b, zero, empty).getResult(0);
  // The last loop runs over the vector.
  SmallVector<AffineExpr> out;
  for (int64_t i = 0; i < rank; ++i)
    out.push_back(b.getAffineDimExpr(i));
  SmallVector<AffineExpr> in = out;
  in[dimension] = b.getAffineDimExpr(rank);
  SmallVector<AffineExpr> entry = {out[dimension], in[dimension]};
  SmallVector<AffineMap> maps;
  for (const SmallVector<AffineExpr> &exprs : {in, entry, out})
    maps.push_back(AffineMap::get(rank + 1, 0, exprs, b.getContext()));
  SmallVector<utils::IteratorType> iterators(rank,
                                             utils::IteratorType::parallel);
  iterators.push_back(utils::IteratorType::reduction);
  return linalg::GenericOp::create(
             b, TypeRange{type}, ValueRange{value, matrix}, init, maps,
             iterators,
             [](OpBuilder &nested, Location loc, ValueRange args) {
               ImplicitLocOpBuilder b(loc, nested);
               Value product = arith::MulFOp::create(b, args[0], args[1]);
               linalg::YieldOp::create(
                   b, arith::AddFOp::create(b, args[2], product).getResult());
             })
      .getResult(0);
}

struct LowerHadamard : OpRewritePattern<HadamardOp> {
  using Base::Base;

  LogicalResult matchAndRewrite(HadamardOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    RankedTensorType type = op.getInput().getType();
    auto elementType = cast<FloatType>(type.getElementType());
    // Sums are taken in f32 at least.
    FloatType sumType =
        elementType.getWidth() > 32 ? elementType : b.getF32Type();
    int64_t dimension = op.getDimension();
    Value before = op.getInverse() ? Value() : op.getSigns();
    Value after = op.getInverse() ? op.getSigns() : Value();

    Value x = castAndSign(b, op.getInput(), sumType, before, dimension);
    SmallVector<int64_t> factors = factorize(op.getSize());
    SmallVector<ReassociationIndices> groups;
    if (factors.size() > 1) {
      SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), x),
                                expanded;
      SmallVector<int64_t> shape;
      for (int64_t i = 0; i < type.getRank(); ++i) {
        ReassociationIndices &group = groups.emplace_back();
        for (int64_t factor : factors) {
          group.push_back(shape.size());
          shape.push_back(i == dimension ? factor : type.getDimSize(i));
          expanded.push_back(i == dimension ? b.getIndexAttr(factor)
                                            : sizes[i]);
          if (i != dimension)
            break;
        }
      }
      x = tensor::ExpandShapeOp::create(
          b, RankedTensorType::get(shape, sumType), x, groups, expanded);
    }
    for (auto [index, factor] : llvm::enumerate(factors))
      x = contract(b, x, buildMatrix(b, factor, sumType), dimension + index);
    if (factors.size() > 1)
      x = tensor::CollapseShapeOp::create(b, type.clone(sumType), x, groups);
    rewriter.replaceOp(op, castAndSign(b, x, elementType, after, dimension));
    return success();
  }
};

struct ConvertGLVQToLinalgPass
    : mlir::glvq::impl::ConvertGLVQToLinalgPassBase<ConvertGLVQToLinalgPass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populateGLVQToLinalgPatterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    // Nothing of the dialect may be left, as later passes would stumble on it.
    Dialect *glvqDialect = getContext().getLoadedDialect<GLVQDialect>();
    WalkResult result = getOperation()->walk([&](Operation *op) {
      if (op->getDialect() != glvqDialect)
        return WalkResult::advance();
      if (isa<DisassembleOp, AssembleOp>(op))
        op->emitOpError("its weight comes from, or goes to, an op that cannot "
                        "be lowered; run "
                        "glvq-materialize-weights first");
      else if (isa<MatmulOp>(op) &&
               !cast<MatmulOp>(op).hasPureTensorSemantics())
        op->emitOpError("on buffers has no lowering to linalg; convert before "
                        "bufferization");
      else
        op->emitOpError("its code has no reference lowering");
      return WalkResult::interrupt();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace

FailureOr<Value> mlir::glvq::buildReferenceProduct(OpBuilder &builder,
                                                   MatmulOp op) {
  Location loc = op.getLoc();
  FailureOr<Value> weight = op.getCode().buildDecode(
      builder, loc, op.getWeightType(), op.getStorage());
  if (failed(weight))
    return failure();
  AffineExpr m, n, k;
  bindDims(op.getContext(), m, n, k);
  SmallVector<Attribute> maps;
  for (auto [row, column] : {std::pair(m, k), std::pair(n, k), std::pair(m, n)})
    maps.push_back(AffineMapAttr::get(
        AffineMap::get(3, 0, {row, column}, op.getContext())));
  auto matmul = linalg::MatmulOp::create(builder, loc, op->getResultTypes(),
                                         ValueRange{op.getInput(), *weight},
                                         op.getInit());
  matmul.setIndexingMapsAttr(builder.getArrayAttr(maps));
  return matmul->getResult(0);
}

void mlir::glvq::populateGLVQToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerDecode, LowerEncode, LowerFilter, LowerFold, LowerGather,
               LowerHadamard, LowerInterleave, LowerLinear, LowerMatmul>(
      patterns.getContext());
}

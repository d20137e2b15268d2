// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// glvq-fuse-linalg: upstream's elementwise fusion under a control that keeps
// contractions in the form their kernels want.

#include "glvq/Conversion/NativeCPU/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_FUSELINALGPASS
#include "glvq/Conversion/NativeCPU/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;

namespace {

/// Whether `op` only moves elements or casts them between float types: no
/// arithmetic that a contraction would repeat for every use of an element.
bool isMoveOrCast(linalg::LinalgOp op) {
  if (op.getNumDpsInputs() != 1 || op.hasIndexSemantics())
    return false;
  Block *body = op.getBlock();
  Value yielded = body->getTerminator()->getOperand(0);
  if (auto ext = yielded.getDefiningOp<arith::ExtFOp>())
    yielded = ext.getIn();
  return yielded == body->getArgument(0);
}

bool hasReduction(linalg::LinalgOp op) { return op.getNumReductionLoops() > 0; }

bool shouldFuse(OpOperand *operand) {
  auto producer = operand->get().getDefiningOp<linalg::LinalgOp>();
  auto consumer = dyn_cast<linalg::LinalgOp>(operand->getOwner());
  if (!producer || !consumer)
    return false;
  // Moves are free to repeat; for several users of one transposed weight each
  // reads the weight itself.
  if (isMoveOrCast(producer))
    return true;
  if (!producer->hasOneUse())
    return false;
  // A product of sums would recompute its operand for every result.
  return !(hasReduction(consumer) && consumer.getNumDpsInputs() > 1);
}

/// Lets LLVM sum in any order, as every kernel and reference does.
void relaxReduction(linalg::LinalgOp op) {
  if (!hasReduction(op))
    return;
  for (Value yielded : op.getBlock()->getTerminator()->getOperands())
    if (auto add = yielded.getDefiningOp<arith::AddFOp>())
      add.setFastmath(add.getFastmath() | arith::FastMathFlags::reassoc |
                      arith::FastMathFlags::contract);
}

struct FuseLinalg : glvq::impl::FuseLinalgPassBase<FuseLinalg> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<linalg::LinalgOp> named;
    getOperation()->walk([&](linalg::LinalgOp op) {
      if (!isa<linalg::GenericOp, linalg::FillOp>(op.getOperation()))
        named.push_back(op);
    });
    for (linalg::LinalgOp op : named) {
      rewriter.setInsertionPoint(op);
      (void)linalg::generalizeNamedOp(rewriter, op);
    }

    MLIRContext *context = &getContext();
    RewritePatternSet patterns(context);
    tensor::populateDecomposeTensorConcatPatterns(patterns);
    populateMathAlgebraicSimplificationPatterns(patterns);
    linalg::populateElementwiseOpsFusionPatterns(patterns, shouldFuse);
    linalg::populateEraseUnusedOperandsAndResultsPatterns(patterns);
    linalg::GenericOp::getCanonicalizationPatterns(patterns, context);
    affine::AffineApplyOp::getCanonicalizationPatterns(patterns, context);
    context->getLoadedDialect<linalg::LinalgDialect>()
        ->getCanonicalizationPatterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    getOperation()->walk(relaxReduction);
  }
};

} // namespace

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// glvq-fold-generator: products with linear codes become products with packed
// integers. How is the business of the codes; here are only the remarks.

#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "glvq/Dialect/GLVQ/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_FOLDGENERATORPASS
#include "glvq/Dialect/GLVQ/Transforms/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;
using namespace mlir::glvq;

static remark::RemarkOpts getRemark() {
  return remark::RemarkOpts::name("FoldGenerator").category("glvq");
}

/// Why the generator of a product stays where it is, or null.
static const char *getObstacle(MatmulOp op) {
  if (!op.hasPureTensorSemantics())
    return "it is on buffers";
  WeightCodeAttrInterface code = op.getCode();
  if (!code.isLinear())
    return "its weights are no linear function of the codes";
  WeightType type = op.getWeightType();
  if (ShapedType::isDynamic(type.getNumRows()))
    return "the number of rows of its weight is dynamic";
  if (failed(code.getFoldedRuns(type.getNumColumns())))
    return "the fields of its slots do not follow each other without gaps; "
           "make the bits of a group a multiple of 32";
  return nullptr;
}

namespace {
struct FoldGeneratorPass
    : glvq::impl::FoldGeneratorPassBase<FoldGeneratorPass> {
  void runOnOperation() override {
    SmallVector<MatmulOp> products;
    getOperation()->walk([&](MatmulOp op) {
      if (!isa<PackedIntegerAttr>(op.getCode()))
        products.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (MatmulOp op : products) {
      if (const char *obstacle = getObstacle(op)) {
        ++numMissed;
        remark::missed(op.getLoc(), getRemark())
            << ("generator is not folded: " + StringRef(obstacle)).str();
        continue;
      }
      rewriter.setInsertionPoint(op);
      FailureOr<Value> result = op.getCode().buildFoldedProduct(
          rewriter, op.getLoc(), op.getWeightType(), op.getInput(),
          op.getStorage(), op.getInit());
      assert(succeeded(result) && "foldable, yet not folded");
      ++numFolded;
      remark::passed(op.getLoc(), getRemark())
          << "generator folded into the activations";
      rewriter.replaceOp(op, *result);
    }
  }
};
} // namespace

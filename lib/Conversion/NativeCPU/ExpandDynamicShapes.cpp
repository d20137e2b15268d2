// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// glvq-expand-dynamic-shapes: expand_shape of several dynamic sizes in a group.

#include "glvq/Conversion/NativeCPU/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_EXPANDDYNAMICSHAPESPASS
#include "glvq/Conversion/NativeCPU/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;

/// Whether some group has more than one dynamic size.
static bool hasAmbiguousGroup(memref::ExpandShapeOp op) {
  return llvm::any_of(op.getReassociationIndices(), [&](ArrayRef<int64_t> g) {
    return llvm::count_if(g, [&](int64_t i) {
             return op.getResultType().isDynamicDim(i);
           }) > 1;
  });
}

/// The product of two index values, folded where they are known.
static OpFoldResult multiply(OpBuilder &b, Location loc, OpFoldResult lhs,
                             OpFoldResult rhs) {
  AffineExpr x, y;
  bindSymbols(b.getContext(), x, y);
  return affine::makeComposedFoldedAffineApply(b, loc, x * y, {lhs, rhs});
}

static void rewrite(memref::ExpandShapeOp op) {
  OpBuilder b(op);
  Location loc = op.getLoc();
  auto metadata = memref::ExtractStridedMetadataOp::create(b, loc, op.getSrc());
  SmallVector<OpFoldResult> sizes = op.getMixedOutputShape();
  SmallVector<OpFoldResult> strides(sizes.size());
  SmallVector<OpFoldResult> sourceStrides =
      metadata.getConstifiedMixedStrides();
  // Within a group the innermost dimension steps as the source's did.
  for (auto [group, stride] :
       llvm::zip_equal(op.getReassociationIndices(), sourceStrides)) {
    OpFoldResult current = stride;
    for (int64_t i : llvm::reverse(group)) {
      strides[i] = current;
      current = multiply(b, loc, current, sizes[i]);
    }
  }
  // The type says what the op said, static sizes of dynamic values included.
  auto type = op.getResultType();
  Value cast = memref::ReinterpretCastOp::create(
      b, loc, metadata.getBaseBuffer(), metadata.getConstifiedMixedOffset(),
      sizes, strides);
  if (cast.getType() != type)
    cast = memref::CastOp::create(b, loc, type, cast);
  op.replaceAllUsesWith(cast);
  op.erase();
}

namespace {
struct ExpandDynamicShapes
    : glvq::impl::ExpandDynamicShapesPassBase<ExpandDynamicShapes> {
  void runOnOperation() override {
    SmallVector<memref::ExpandShapeOp> ambiguous;
    getOperation()->walk([&](memref::ExpandShapeOp op) {
      if (hasAmbiguousGroup(op))
        ambiguous.push_back(op);
    });
    llvm::for_each(ambiguous, rewrite);
  }
};
} // namespace

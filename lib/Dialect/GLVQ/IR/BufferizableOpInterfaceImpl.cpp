// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// One-shot bufferization of glvq.matmul: the init is updated in place.

#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace mlir::glvq;

namespace {
struct MatmulModel
    : DstBufferizableOpInterfaceExternalModel<MatmulModel, MatmulOp> {
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto matmul = cast<MatmulOp>(op);
    SmallVector<Value> buffers;
    for (Value operand : op->getOperands()) {
      FailureOr<Value> buffer = getBuffer(rewriter, operand, options, state);
      if (failed(buffer))
        return failure();
      buffers.push_back(*buffer);
    }
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(op);
    Value init = buffers.back();
    auto onBuffers = MatmulOp::create(
        rewriter, op->getLoc(), TypeRange(), buffers[0], buffers[1],
        ArrayRef(buffers).drop_front(2).drop_back(), init, matmul.getCode());
    onBuffers->setDiscardableAttrs(op->getDiscardableAttrDictionary());
    replaceOpWithBufferizedValues(rewriter, op, init);
    return success();
  }
};
} // namespace

void glvq::registerBufferizableOpInterfaceExternalModels(
    DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, GLVQDialect *) {
    MatmulOp::attachInterface<MatmulModel>(*context);
  });
}

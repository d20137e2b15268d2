// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// glvq-expand-copies: no call of `memrefCopy`, a symbol of MLIR's runner.

#include "glvq/Conversion/NativeCPU/Passes.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_EXPANDCOPIESPASS
#include "glvq/Conversion/NativeCPU/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;

namespace {
struct ExpandCopies : glvq::impl::ExpandCopiesPassBase<ExpandCopies> {
  void runOnOperation() override {
    getOperation()->walk([](memref::CopyOp copy) {
      if (!isa<MemRefType>(copy.getSource().getType()) ||
          !isa<MemRefType>(copy.getTarget().getType()))
        return;
      OpBuilder b(copy);
      if (copy.getSource() != copy.getTarget())
        linalg::makeMemRefCopyOp(b, copy.getLoc(), copy.getSource(),
                                 copy.getTarget());
      copy.erase();
    });
  }
};
} // namespace

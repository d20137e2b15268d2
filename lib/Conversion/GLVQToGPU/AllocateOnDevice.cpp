//===- AllocateOnDevice.cpp - Buffers that kernels can see ----------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Bufferization and the deallocation of buffers speak of memref.alloc and
// memref.dealloc, whose memory no kernel can reach. This pass runs after both
// and makes device memory of every buffer that meets a kernel.
//
//===----------------------------------------------------------------------===//

#include "glvq/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_ALLOCATEONDEVICEPASS
#include "glvq/Conversion/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;
using namespace mlir::glvq;

/// Whether host code touches what `buffer` points to, or may.
static bool isTouchedByHost(Value buffer) {
  return llvm::any_of(buffer.getUsers(), [&](Operation *user) {
    if (isa<memref::DimOp, memref::DeallocOp,
            memref::ExtractAlignedPointerAsIndexOp>(user))
      return false;
    if (auto view = dyn_cast<ViewLikeOpInterface>(user))
      return isTouchedByHost(view->getResult(0));
    return true;
  });
}

namespace {
struct AllocateOnDevice
    : public glvq::impl::AllocateOnDevicePassBase<AllocateOnDevice> {
  void runOnOperation() override {
    // Without kernels, nothing runs on the device.
    if (getOperation().getOps<gpu::GPUModuleOp>().empty())
      return;
    // All buffers of the module: which of them a deallocation after a branch
    // frees cannot be told.
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<memref::AllocOp, memref::DeallocOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      OpBuilder b(op);
      Location loc = op->getLoc();
      Type token = b.getType<gpu::AsyncTokenType>();
      // Upstream lowers what is not shared with the host in asynchronous form
      // only.
      auto begin = [&]() -> Value {
        return gpu::WaitOp::create(b, loc, token, ValueRange()).getAsyncToken();
      };
      if (auto dealloc = dyn_cast<memref::DeallocOp>(op)) {
        auto freed =
            gpu::DeallocOp::create(b, loc, token, begin(), dealloc.getMemref());
        gpu::WaitOp::create(b, loc, Type(), freed.getAsyncToken());
      } else {
        auto alloc = cast<memref::AllocOp>(op);
        bool shared = isTouchedByHost(alloc.getResult());
        auto allocated = gpu::AllocOp::create(
            b, loc, alloc.getType(), shared ? Type() : token,
            shared ? ValueRange() : ValueRange(begin()),
            alloc.getDynamicSizes(), /*symbolOperands=*/ValueRange(), shared);
        if (!shared)
          gpu::WaitOp::create(b, loc, Type(), allocated.getAsyncToken());
        alloc.getResult().replaceAllUsesWith(allocated.getMemref());
      }
      op->erase();
    }
  }
};
} // namespace

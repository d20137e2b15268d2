// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// `convert-glvq-to-vector`: puts the kernels for CPUs in the place of glvq ops.
// A kernel is one private function for all ops of the same shape and code, so
// that a model has a dozen of them and not one for each of its hundreds of
// weights.

#include "KernelBuilder.h"
#include "glvq/Conversion/Passes.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_CONVERTGLVQTOVECTORPASS
#include "glvq/Conversion/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;
using namespace mlir::glvq;

namespace {
struct ConvertGLVQToVector
    : glvq::impl::ConvertGLVQToVectorPassBase<ConvertGLVQToVector> {
  using ConvertGLVQToVectorPassBase::ConvertGLVQToVectorPassBase;

  void runOnOperation() override {
    if (vectorLength != 8 && vectorLength != 16) {
      emitError(getOperation().getLoc(), "vector-length must be 8 or 16, not ")
          << vectorLength.getValue();
      return signalPassFailure();
    }
    if (activations != "int8" && activations != "f32") {
      emitError(getOperation().getLoc(),
                "activations must be int8 or f32, not ")
          << activations.getValue();
      return signalPassFailure();
    }
    auto instruction = llvm::StringSwitch<std::optional<DotInstruction>>(dot)
                           .Case("vnni512", DotInstruction::VNNI512)
                           .Case("vnni256", DotInstruction::VNNI256)
                           .Case("avx2", DotInstruction::AVX2)
                           .Case("generic", DotInstruction::Generic)
                           .Default(std::nullopt);
    if (!instruction) {
      emitError(getOperation().getLoc(),
                "dot must be vnni512, vnni256, avx2 or generic, not ")
          << dot.getValue();
      return signalPassFailure();
    }
    dotInstruction = *instruction;
    symbols.emplace(getOperation());
    // Collected first: kernels are functions of the same module.
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<MatmulOp, HadamardOp, FoldOp, FilterOp, InterleaveOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      if (auto matmul = dyn_cast<MatmulOp>(op)) {
        // On tensors it waits for bufferization, if there will be a kernel.
        if (matmul.getResult()) {
          if (!hasMatmulKernel(matmul.getCode()))
            lowerByReference(matmul);
          continue;
        }
        if (failed(convert(matmul)))
          return signalPassFailure();
      } else if (auto interleave = dyn_cast<InterleaveOp>(op)) {
        // Codes that glvq-pack-codes could not leave to the writer of weights.
        OpBuilder builder(op);
        interleave.replaceAllUsesWith(interleave.buildReference(builder));
        interleave.erase();
      } else {
        TypeSwitch<Operation *>(op).Case<HadamardOp, FoldOp, FilterOp>(
            [&](auto other) { convert(other); });
      }
    }
    kernels.clear();
    symbols.reset();
  }

private:
  /// The function for the kernel `key`, an attribute with all that it depends
  /// on; built by `build` when it is new.
  func::FuncOp
  getKernel(Attribute key, StringRef name, Location loc, TypeRange types,
            function_ref<void(KernelBuilder &, func::FuncOp)> build) {
    func::FuncOp &kernel = kernels[key];
    if (kernel)
      return kernel;
    OpBuilder builder(&getContext());
    builder.setInsertionPointToEnd(getOperation().getBody());
    auto type = builder.getFunctionType(types, {});
    kernel = func::FuncOp::create(builder, loc, name, type);
    kernel.setPrivate();
    symbols->insert(kernel);
    Block *entry = kernel.addEntryBlock();
    KernelBuilder b(loc, &getContext());
    b.setInsertionPointToStart(entry);
    build(b, kernel);
    func::ReturnOp::create(b);
    return kernel;
  }

  Attribute getKey(ArrayRef<Attribute> parts, TypeRange types) {
    SmallVector<Attribute> key(parts);
    for (Type type : types)
      key.push_back(TypeAttr::get(type));
    return ArrayAttr::get(&getContext(), key);
  }

  LogicalResult convert(MatmulOp op) {
    std::string reason;
    if (failed(checkMatmulKernel(op, reason)))
      return op.emitError("has no CPU kernel: ")
             << reason << "; lower it with convert-glvq-to-linalg";
    int64_t rows = cast<MemRefType>(op.getInit().getType()).getDimSize(1);
    int64_t columns = cast<MemRefType>(op.getInput().getType()).getDimSize(1);
    TypeRange types = op->getOperandTypes();
    func::FuncOp kernel = getKernel(
        getKey(op.getCode(), types),
        ("glvq_matmul_" + Twine(rows) + "x" + Twine(columns)).str(),
        op.getLoc(), types, [&](KernelBuilder &b, func::FuncOp function) {
          if (auto lattice = dyn_cast<LatticeAttr>(op.getCode()))
            buildMatmulKernel(b, lattice, function, vectorLength);
          else if (auto integers = dyn_cast<InterleavedAttr>(op.getCode()))
            buildIntegerMatmulKernel(b, integers.getBits(), function,
                                     dotInstruction, activations == "int8");
          else if (auto trellis = dyn_cast<TrellisAttr>(op.getCode()))
            buildTrellisKernel(b, trellis, function, vectorLength);
          else
            buildPointKernel(b, op.getCode(), function, vectorLength);
        });
    OpBuilder builder(op);
    func::CallOp::create(builder, op.getLoc(), kernel, op->getOperands());
    op.erase();
    return success();
  }

  /// Slow, and right for every code.
  void lowerByReference(MatmulOp op) {
    OpBuilder builder(op);
    FailureOr<Value> product = buildReferenceProduct(builder, op);
    if (failed(product))
      return; // convert() will say that there is no kernel
    remark::missed(
        op.getLoc(),
        remark::RemarkOpts::name("ConvertGLVQToVector").category("glvq"))
        << "weight is decoded in full by every call: its code has no CPU "
           "kernel";
    op.getResult().replaceAllUsesWith(*product);
    op.erase();
  }

  /// The other ops are on tensors only: their operands become buffers here, and
  /// the result gets one, the last operand of the kernel. Its dynamic sizes are
  /// those of the first operand.
  Value callOnBuffers(ImplicitLocOpBuilder &b, ValueRange operands,
                      RankedTensorType resultType, ArrayRef<Attribute> key,
                      StringRef name,
                      function_ref<void(KernelBuilder &, func::FuncOp)> build) {
    SmallVector<Value> buffers;
    for (Value tensor : operands) {
      auto type = cast<RankedTensorType>(tensor.getType());
      buffers.push_back(bufferization::ToBufferOp::create(
          b, MemRefType::get(type.getShape(), type.getElementType()), tensor,
          /*read_only=*/true));
    }
    SmallVector<Value> dynamicSizes;
    for (auto [d, extent] : llvm::enumerate(resultType.getShape()))
      if (ShapedType::isDynamic(extent))
        dynamicSizes.push_back(memref::DimOp::create(b, buffers.front(), d));
    buffers.push_back(memref::AllocOp::create(
        b, MemRefType::get(resultType.getShape(), resultType.getElementType()),
        dynamicSizes, b.getI64IntegerAttr(64)));
    TypeRange types = ValueRange(buffers).getTypes();
    func::FuncOp kernel =
        getKernel(getKey(key, types), name, b.getLoc(), types, build);
    func::CallOp::create(b, kernel, buffers);
    return bufferization::ToTensorOp::create(b, resultType, buffers.back(),
                                             /*restrict=*/true,
                                             /*writable=*/true);
  }

  void convert(HadamardOp op) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    auto tensorType = cast<RankedTensorType>(op.getType());
    // The kernel computes in f32.
    auto workType = tensorType.clone(b.getF32Type());
    SmallVector<Value> operands{castFloats(b, op.getInput(), workType)};
    if (op.getSigns())
      operands.push_back(op.getSigns());
    Value result =
        callOnBuffers(b, operands, workType,
                      {op.getDimensionAttr(), b.getBoolAttr(op.getInverse())},
                      ("glvq_hadamard_" + Twine(op.getSize())).str(),
                      [&](KernelBuilder &kb, func::FuncOp function) {
                        buildHadamardKernel(kb, function, op.getDimension(),
                                            op.getInverse(), vectorLength);
                      });
    op.replaceAllUsesWith(castFloats(b, result, tensorType));
    op.erase();
  }

  void convert(FoldOp op) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    SmallVector<Value> operands{castFloats(
        b, op.getInput(), op.getInput().getType().clone(b.getF32Type()))};
    llvm::append_range(operands, op.getParams());
    Value result = callOnBuffers(
        b, operands, op.getType(), {op.getCode(), op.getRunAttr()},
        ("glvq_fold_" + Twine(op.getInput().getType().getDimSize(1))).str(),
        [&](KernelBuilder &kb, func::FuncOp function) {
          buildFoldKernel(kb, op, function, vectorLength);
        });
    op.replaceAllUsesWith(result);
    op.erase();
  }

  void convert(FilterOp op) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    Value result = callOnBuffers(
        b, {op.getInput(), op.getTaps()}, op.getType(),
        {op.getStrideAttr(), op.getRunAttr()},
        ("glvq_filter_" + Twine(op.getType().getDimSize(1))).str(),
        [&](KernelBuilder &kb, func::FuncOp function) {
          buildFilterKernel(kb, op, function, vectorLength);
        });
    op.replaceAllUsesWith(result);
    op.erase();
  }

  static Value castFloats(ImplicitLocOpBuilder &b, Value value,
                          RankedTensorType type) {
    if (value.getType() == type)
      return value;
    unsigned from =
        getElementTypeOrSelf(value.getType()).getIntOrFloatBitWidth();
    if (from < type.getElementTypeBitWidth())
      return arith::ExtFOp::create(b, type, value);
    return arith::TruncFOp::create(b, type, value);
  }

  DenseMap<Attribute, func::FuncOp> kernels;
  std::optional<SymbolTable> symbols;
  DotInstruction dotInstruction;
};
} // namespace

//===- GLVQToGPU.cpp - Products and rotations to device kernels -----------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
//   glvq.matmul ── integers ─────► quantize kernel ──► product on tensor cores
//               ├─ linear code ──► fold kernel ──► product of packed fields
//               └─ compander ────► decode and multiply
//   glvq.fold ───────────────────► a thread for each folded activation
//   glvq.hadamard ───────────────► a block per vector
//
// This file is the host side: which kernels there are, and their launches.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "glvq/Conversion/Passes.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_CONVERTGLVQTOGPUPASS
#include "glvq/Conversion/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;
using namespace mlir::glvq;
using namespace mlir::glvq::gpukernels;

namespace {
constexpr StringLiteral kernelModuleName = "glvq_kernels";

bool isFloatOfKernels(Type type) {
  return type.isF32() || type.isF16() || type.isBF16();
}

class Lowering {
public:
  /// Without `activations`, products of integers are left.
  Lowering(ModuleOp module, std::optional<Activations> activations)
      : module(module), activations(activations) {}

  LogicalResult lower(MatmulOp op);
  LogicalResult lowerInteger(MatmulOp op, PackedIntegerAttr code);
  LogicalResult lower(FoldOp op);
  LogicalResult lower(HadamardOp op);

private:
  /// The kernel with this identity, built by `build` if it is the first use.
  /// Names are `kind` and a number.
  gpu::GPUFuncOp getKernel(
      Location loc, StringRef kind, const Twine &identity,
      function_ref<void(KernelBuilder &, gpu::GPUModuleOp, StringRef)> build);
  /// A buffer of a tensor that is only read; buffers stay what they are.
  FailureOr<Value> getInput(KernelBuilder &b, Operation *op, Value value);
  Value getPointer(KernelBuilder &b, Value buffer);
  /// Runs `body` unless `count`, of tokens or vectors, is zero: an empty grid
  /// is an error.
  void unlessEmpty(KernelBuilder &b, Value count, function_ref<void()> body);
  void launch(KernelBuilder &b, gpu::GPUFuncOp kernel, Value gridX, Value gridY,
              ArrayRef<Value> operands);

  ModuleOp module;
  std::optional<Activations> activations;
  gpu::GPUModuleOp kernels;
  llvm::StringMap<gpu::GPUFuncOp> byIdentity;
  llvm::StringMap<unsigned> counts;
};
} // namespace

gpu::GPUFuncOp Lowering::getKernel(
    Location loc, StringRef kind, const Twine &identity,
    function_ref<void(KernelBuilder &, gpu::GPUModuleOp, StringRef)> build) {
  gpu::GPUFuncOp &kernel = byIdentity[(kind + " " + identity).str()];
  if (kernel)
    return kernel;
  MLIRContext *context = module.getContext();
  KernelBuilder b(loc, context);
  if (!kernels)
    kernels = module.lookupSymbol<gpu::GPUModuleOp>(kernelModuleName);
  if (!kernels) {
    b.setInsertionPointToStart(module.getBody());
    kernels = gpu::GPUModuleOp::create(b, kernelModuleName);
    module->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                    b.getUnitAttr());
  }
  std::string name;
  do
    name = (kind + "_" + Twine(counts[kind]++)).str();
  while (kernels.lookupSymbol(name));
  build(b, kernels, name);
  return kernel = kernels.lookupSymbol<gpu::GPUFuncOp>(name);
}

FailureOr<Value> Lowering::getInput(KernelBuilder &b, Operation *op,
                                    Value value) {
  if (auto type = dyn_cast<RankedTensorType>(value.getType()))
    return bufferization::ToBufferOp::create(
               b, MemRefType::get(type.getShape(), type.getElementType()),
               value,
               /*read_only=*/true)
        .getResult();
  if (!cast<MemRefType>(value.getType()).getLayout().isIdentity())
    return op->emitOpError("cannot be given a kernel: operand of type ")
           << value.getType()
           << " is not contiguous; kernels take bare pointers to row-major "
              "data";
  return value;
}

Value Lowering::getPointer(KernelBuilder &b, Value buffer) {
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(b, buffer);
  address = arith::IndexCastOp::create(b, b.getI64Type(), address);
  return LLVM::IntToPtrOp::create(
      b, LLVM::LLVMPointerType::get(b.getContext(), globalSpace), address);
}

void Lowering::unlessEmpty(KernelBuilder &b, Value count,
                           function_ref<void()> body) {
  std::optional<int64_t> known = getConstantIntValue(count);
  if (known && *known != 0)
    return body();
  Value some = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, count,
                                     arith::ConstantIndexOp::create(b, 0));
  auto branch = scf::IfOp::create(b, some, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  body();
}

void Lowering::launch(KernelBuilder &b, gpu::GPUFuncOp kernel, Value gridX,
                      Value gridY, ArrayRef<Value> operands) {
  Value one = arith::ConstantIndexOp::create(b, 1);
  Value threads = arith::ConstantIndexOp::create(b, blockSize);
  gpu::LaunchFuncOp::create(b, kernel, gpu::KernelDim3{gridX, gridY, one},
                            gpu::KernelDim3{threads, one, one},
                            /*dynamicSharedMemorySize=*/Value(), operands);
}

/// ceil(value / divisor) of an index.
static Value ceilDiv(KernelBuilder &b, Value value, int64_t divisor) {
  return b.createOrFold<arith::CeilDivUIOp>(
      value, arith::ConstantIndexOp::create(b, divisor));
}

static bool isZero(Value value) {
  auto fill = value.getDefiningOp<linalg::FillOp>();
  return (fill && matchPattern(fill.getInputs()[0], m_AnyZeroFloat())) ||
         matchPattern(value, m_AnyZeroFloat());
}

static std::string toString(Attribute attribute) {
  std::string text;
  llvm::raw_string_ostream(text) << attribute;
  return text;
}

LogicalResult Lowering::lower(MatmulOp op) {
  auto integer = dyn_cast<PackedIntegerAttr>(op.getCode());
  if (integer && activations)
    return lowerInteger(op, integer);
  auto code = dyn_cast<LatticeAttr>(op.getCode());
  if (!code) {
    // The reference lowering takes what is left, on the host.
    remark::missed(op.getLoc(),
                   remark::RemarkOpts::name("ConvertToGPU").category("glvq"))
        << (integer
                ? "product is not for the GPU: integers are multiplied with "
                  "int8 or f16 activations only"
                : "product is not for the GPU: its code has no kernel there "
                  "and is not linear, or was not folded");
    return success();
  }
  int64_t columns = op.getWeightType().getShape()[1];
  auto inputType = cast<ShapedType>(op.getInput().getType());
  auto initType = cast<ShapedType>(op.getInit().getType());
  for (ShapedType type : {inputType, initType})
    if (!isFloatOfKernels(type.getElementType()))
      return op.emitOpError("has no GPU kernel for activations of type ")
             << type.getElementType() << "; supported are f32, f16 and bf16";

  KernelBuilder b(op.getLoc(), op);
  bool onTensors = isa<TensorType>(op.getInit().getType());
  MatmulConfig config = {code,
                         columns,
                         1,
                         inputType.getElementType(),
                         initType.getElementType(),
                         initType.getElementType(),
                         Initial::InPlace};
  if (onTensors)
    config.initial = isZero(op.getInit()) ? Initial::Zero : Initial::Buffer;

  SmallVector<Value> parts;
  for (Value part : op.getStorage()) {
    FailureOr<Value> buffer = getInput(b, op, part);
    if (failed(buffer))
      return failure();
    parts.push_back(*buffer);
  }
  FailureOr<Value> input = getInput(b, op, op.getInput());
  FailureOr<Value> init = failure();
  if (config.initial != Initial::Zero)
    init = getInput(b, op, op.getInit());
  if (failed(input) || (config.initial != Initial::Zero && failed(init)))
    return failure();

  auto getSize = [&](Value buffer) -> Value {
    auto type = cast<MemRefType>(buffer.getType());
    if (type.isDynamicDim(0))
      return memref::DimOp::create(b, buffer, 0);
    return arith::ConstantIndexOp::create(b, type.getDimSize(0));
  };
  Value tokens = getSize(*input), rows = getSize(parts[0]);
  auto allocate = [&](ArrayRef<int64_t> shape, Type elementType) -> Value {
    auto type = MemRefType::get(shape, elementType);
    SmallVector<Value> sizes;
    if (type.isDynamicDim(0))
      sizes.push_back(tokens);
    if (type.isDynamicDim(1))
      sizes.push_back(rows);
    return memref::AllocOp::create(b, type, sizes, b.getI64IntegerAttr(64));
  };
  Value output = onTensors
                     ? allocate(initType.getShape(), initType.getElementType())
                     : *init;

  RowLayout layout = RowLayout::get(code, columns);
  SmallVector<Value> pointers;
  for (Value part : parts)
    pointers.push_back(getPointer(b, part));
  std::string identity = toString(code) + "," + std::to_string(columns) + "," +
                         toString(TypeAttr::get(config.inputType));
  SmallVector<Value> operands;
  int64_t lanes = 32, manyTokens = code.isLinear() ? layout.getManyTokens() : 4;
  if (code.isLinear()) {
    lanes = layout.lanes;
    Value folded = getPointer(
        b, allocate({inputType.getDimSize(0), layout.foldedSize}, b.f32()));
    gpu::GPUFuncOp fold = getKernel(
        op.getLoc(), "fold", identity,
        [&](KernelBuilder &kernel, gpu::GPUModuleOp module, StringRef name) {
          buildFoldKernel(kernel, module, name, code, columns,
                          config.inputType);
        });
    SmallVector<Value> foldOperands = {getPointer(b, *input), pointers[1]};
    if (code.isMixed())
      foldOperands.push_back(pointers[3]);
    foldOperands.push_back(folded);
    unlessEmpty(b, tokens, [&] {
      launch(b, fold, tokens,
             arith::ConstantIndexOp::create(
                 b, llvm::divideCeil(layout.foldedSize, blockSize)),
             foldOperands);
    });
    operands = {folded, pointers[0], pointers[2]};
  } else {
    operands = {getPointer(b, *input)};
    llvm::append_range(operands, pointers);
  }
  if (config.initial == Initial::Buffer)
    operands.push_back(getPointer(b, *init));
  operands.push_back(getPointer(b, output));
  auto toI32 = [&](Value index) -> Value {
    return b.createOrFold<arith::IndexCastUIOp>(b.i32(), index);
  };
  operands.push_back(toI32(tokens));
  operands.push_back(toI32(rows));

  auto launchFor = [&](int64_t tokensAtOnce) {
    config.tokens = tokensAtOnce;
    gpu::GPUFuncOp matmul = getKernel(
        op.getLoc(), code.isLinear() ? "matmul" : "decode_matmul",
        Twine(identity) + "," + toString(TypeAttr::get(config.outputType)) +
            "," + Twine(static_cast<int>(config.initial)) + "," +
            Twine(tokensAtOnce),
        [&](KernelBuilder &kernel, gpu::GPUModuleOp module, StringRef name) {
          if (code.isLinear())
            buildFoldedMatmulKernel(kernel, module, name, config);
          else
            buildDecodedMatmulKernel(kernel, module, name, config);
        });
    launch(b, matmul, ceilDiv(b, rows, blockSize / lanes),
           ceilDiv(b, tokens, tokensAtOnce), operands);
  };
  unlessEmpty(b, tokens, [&] {
    if (!inputType.isDynamicDim(0))
      return launchFor(inputType.getDimSize(0) == 1 ? 1 : manyTokens);
    Value single = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, tokens,
                                         arith::ConstantIndexOp::create(b, 1));
    auto branch = scf::IfOp::create(b, single, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    launchFor(1);
    b.setInsertionPointToStart(branch.elseBlock());
    launchFor(manyTokens);
  });

  if (onTensors) {
    b.setInsertionPoint(op);
    Value result = bufferization::ToTensorOp::create(
        b, initType, output, /*restrict=*/true, /*writable=*/true);
    op->getResult(0).replaceAllUsesWith(result);
  }
  op.erase();
  return success();
}

LogicalResult Lowering::lowerInteger(MatmulOp op, PackedIntegerAttr code) {
  auto inputType = cast<ShapedType>(op.getInput().getType());
  auto initType = cast<ShapedType>(op.getInit().getType());
  for (ShapedType type : {inputType, initType})
    if (!isFloatOfKernels(type.getElementType()))
      return op.emitOpError("has no GPU kernel for activations of type ")
             << type.getElementType() << "; supported are f32, f16 and bf16";
  IntegerLayout layout(code.getBits(), op.getWeightType().getNumColumns(),
                       *activations);
  bool isInt8 = *activations == Activations::Int8;
  if (!layout.isExact())
    return op.emitOpError("has too many columns for sums of 32 bits: ")
           << layout.columns << " of " << layout.bits
           << " bits; split the weight by columns";
  FailureOr<IntegerMatmulConfig> config = getKernelConfig(op, layout);
  if (failed(config))
    return failure();

  KernelBuilder b(op.getLoc(), op);
  bool onTensors = isa<TensorType>(op.getInit().getType());
  config->initType = config->outputType = initType.getElementType();
  config->initial = !onTensors             ? Initial::InPlace
                    : isZero(op.getInit()) ? Initial::Zero
                                           : Initial::Buffer;
  FailureOr<Value> codes = getInput(b, op, op.getCodes());
  FailureOr<Value> input = getInput(b, op, op.getInput());
  FailureOr<Value> init = failure();
  if (config->initial != Initial::Zero)
    init = getInput(b, op, op.getInit());
  if (failed(codes) || failed(input) ||
      (config->initial != Initial::Zero && failed(init)))
    return failure();

  Value tokens = b.createOrFold<memref::DimOp>(*input, 0);
  Value rows = b.createOrFold<memref::DimOp>(*codes, 0);
  auto allocate = [&](ArrayRef<int64_t> shape, Type elementType) -> Value {
    auto type = MemRefType::get(shape, elementType);
    SmallVector<Value> sizes;
    if (type.isDynamicDim(0))
      sizes.push_back(tokens);
    if (type.getRank() > 1 && type.isDynamicDim(1))
      sizes.push_back(rows);
    return memref::AllocOp::create(b, type, sizes, b.getI64IntegerAttr(64));
  };
  Value output = onTensors
                     ? allocate(initType.getShape(), initType.getElementType())
                     : *init;
  int64_t batch = inputType.getDimSize(0);
  Value bytes =
      getPointer(b, allocate({batch, layout.paddedColumns},
                             isInt8 ? b.getI8Type() : Type(b.getF16Type())));
  Value factors = getPointer(b, allocate({batch}, b.f32()));
  Value sums = getPointer(b, allocate({batch}, isInt8 ? b.i32() : b.f32()));

  std::string shape = std::string(isInt8 ? "int8," : "f16,") +
                      std::to_string(layout.bits) + "," +
                      std::to_string(layout.columns) + ",";
  gpu::GPUFuncOp quantize = getKernel(
      op.getLoc(), "quantize",
      shape + toString(TypeAttr::get(inputType.getElementType())),
      [&](KernelBuilder &kernel, gpu::GPUModuleOp module, StringRef name) {
        buildQuantizeKernel(kernel, module, name, layout,
                            inputType.getElementType());
      });
  gpu::GPUFuncOp product = getKernel(
      op.getLoc(), "integer_matmul",
      shape + toString(TypeAttr::get(config->outputType)) + "," +
          Twine(static_cast<int>(config->initial)) + "," +
          Twine(config->tiles) + "," + Twine(config->split) + "," +
          Twine(config->unroll),
      [&](KernelBuilder &kernel, gpu::GPUModuleOp module, StringRef name) {
        buildIntegerMatmulKernel(kernel, module, name, layout, *config);
      });
  SmallVector<Value> operands = {bytes, factors, sums, getPointer(b, *codes)};
  if (config->initial == Initial::Buffer)
    operands.push_back(getPointer(b, *init));
  operands.push_back(getPointer(b, output));
  for (Value size : {tokens, rows})
    operands.push_back(b.createOrFold<arith::IndexCastUIOp>(b.i32(), size));
  SmallVector<Value> quantizeOperands = {getPointer(b, *input), bytes, factors,
                                         sums};
  unlessEmpty(b, tokens, [&] {
    launch(b, quantize, tokens, arith::ConstantIndexOp::create(b, 1),
           quantizeOperands);
    launch(b, product, ceilDiv(b, rows, config->getBlockRows()),
           ceilDiv(b, tokens, 8), operands);
  });

  if (onTensors) {
    b.setInsertionPoint(op);
    Value result = bufferization::ToTensorOp::create(
        b, initType, output, /*restrict=*/true, /*writable=*/true);
    op->getResult(0).replaceAllUsesWith(result);
  }
  op.erase();
  return success();
}

LogicalResult Lowering::lower(FoldOp op) {
  WeightCodeAttrInterface code = op.getCode();
  auto lattice = dyn_cast<LatticeAttr>(code);
  auto trellis = dyn_cast<TrellisAttr>(code);
  RankedTensorType inputType = op.getInput().getType();
  if ((!lattice && !trellis) || !isFloatOfKernels(inputType.getElementType()))
    return success(); // as for products, the reference lowering
  int64_t columns = inputType.getDimSize(1);
  FailureOr<SmallVector<FoldedRun>> runs = code.getFoldedRuns(columns);
  if (failed(runs))
    return op.emitOpError("folds no linear code");
  const FoldedRun &run = (*runs)[op.getRun()];
  int64_t group = lattice ? lattice.getGroup() : trellis.getGroup();

  KernelBuilder b(op.getLoc(), op);
  SmallVector<Value> operands;
  for (Value value : op->getOperands()) {
    FailureOr<Value> buffer = getInput(b, op, value);
    if (failed(buffer))
      return failure();
    operands.push_back(*buffer);
  }
  Value tokens = b.createOrFold<memref::DimOp>(operands[0], 0);
  RankedTensorType type = op.getType();
  SmallVector<Value> sizes;
  if (type.isDynamicDim(0))
    sizes.push_back(tokens);
  Value output = memref::AllocOp::create(
      b, MemRefType::get(type.getShape(), type.getElementType()), sizes,
      b.getI64IntegerAttr(64));
  operands.push_back(output);
  for (Value &operand : operands)
    operand = getPointer(b, operand);
  gpu::GPUFuncOp fold = getKernel(
      op.getLoc(), "fold_only",
      toString(code) + "," + Twine(columns) + "," + Twine(op.getRun()) + "," +
          toString(TypeAttr::get(inputType.getElementType())),
      [&](KernelBuilder &kernel, gpu::GPUModuleOp module, StringRef name) {
        buildFoldOpKernel(kernel, module, name, run, columns, group,
                          /*hasOrder=*/op.getParams().size() > 1,
                          inputType.getElementType());
      });
  unlessEmpty(b, tokens, [&] {
    launch(b, fold, tokens,
           arith::ConstantIndexOp::create(
               b, llvm::divideCeil(run.columns, blockSize)),
           operands);
  });
  Value result = bufferization::ToTensorOp::create(b, type, output,
                                                   /*restrict=*/true,
                                                   /*writable=*/true);
  op.getResult().replaceAllUsesWith(result);
  op.erase();
  return success();
}

LogicalResult Lowering::lower(HadamardOp op) {
  RankedTensorType type = op.getInput().getType();
  if (!isFloatOfKernels(type.getElementType()))
    return op.emitOpError("has no GPU kernel for activations of type ")
           << type.getElementType() << "; supported are f32, f16 and bf16";
  if (op.getSize() > maxSharedHadamard && !type.getElementType().isF32())
    return op.emitOpError("of more than ")
           << maxSharedHadamard << " elements has a GPU kernel for f32 only";

  KernelBuilder b(op.getLoc(), op);
  FailureOr<Value> input = getInput(b, op, op.getInput());
  SmallVector<Value> sizes;
  Value inner = arith::ConstantIndexOp::create(b, 1), vectors = inner;
  for (int64_t i = 0, rank = type.getRank(); i != rank; ++i) {
    Value size = b.createOrFold<memref::DimOp>(*input, i);
    if (type.isDynamicDim(i))
      sizes.push_back(size);
    if (i == static_cast<int64_t>(op.getDimension()))
      continue;
    vectors = b.createOrFold<arith::MulIOp>(vectors, size);
    if (i > static_cast<int64_t>(op.getDimension()))
      inner = b.createOrFold<arith::MulIOp>(inner, size);
  }
  auto bufferType = MemRefType::get(type.getShape(), type.getElementType());
  Value output =
      memref::AllocOp::create(b, bufferType, sizes, b.getI64IntegerAttr(64));
  SmallVector<Value> operands = {getPointer(b, *input)};
  if (op.getSigns())
    operands.push_back(getPointer(b, *getInput(b, op, op.getSigns())));
  operands.push_back(getPointer(b, output));
  operands.push_back(b.createOrFold<arith::IndexCastUIOp>(b.i32(), inner));

  gpu::GPUFuncOp hadamard = getKernel(
      op.getLoc(), "hadamard",
      Twine(op.getSize()) + (op.getInverse() ? ",inverse," : ",") +
          (op.getSigns() ? "signs," : "") +
          toString(TypeAttr::get(type.getElementType())),
      [&](KernelBuilder &kernel, gpu::GPUModuleOp module, StringRef name) {
        buildHadamardKernel(kernel, module, name, op.getSize(), op.getInverse(),
                            op.getSigns() != nullptr, type.getElementType());
      });
  unlessEmpty(b, vectors, [&] {
    launch(b, hadamard, vectors, arith::ConstantIndexOp::create(b, 1),
           operands);
  });
  Value result = bufferization::ToTensorOp::create(b, type, output,
                                                   /*restrict=*/true,
                                                   /*writable=*/true);
  op.getResult().replaceAllUsesWith(result);
  op.erase();
  return success();
}

namespace {
/// Upstream's launch does not say what it does to memory; the deallocation of
/// buffers has to know.
struct LaunchMemoryEffects
    : MemoryEffectOpInterface::ExternalModel<LaunchMemoryEffects,
                                             gpu::LaunchFuncOp> {
  void
  getEffects(Operation *,
             SmallVectorImpl<MemoryEffects::EffectInstance> &effects) const {
    effects.emplace_back(MemoryEffects::Read::get());
    effects.emplace_back(MemoryEffects::Write::get());
  }
};

struct ConvertGLVQToGPU
    : public glvq::impl::ConvertGLVQToGPUPassBase<ConvertGLVQToGPU> {
  using ConvertGLVQToGPUPassBase::ConvertGLVQToGPUPassBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    ConvertGLVQToGPUPassBase::getDependentDialects(registry);
    registry.addExtension(+[](MLIRContext *context, gpu::GPUDialect *) {
      gpu::LaunchFuncOp::attachInterface<LaunchMemoryEffects>(*context);
    });
  }

  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<MatmulOp, FoldOp, HadamardOp>(op))
        ops.push_back(op);
    });
    if (!llvm::is_contained({"int8", "f16", "f32"}, StringRef(activations))) {
      getOperation().emitError("unknown activations '")
          << activations << "', expected int8, f16 or f32";
      return signalPassFailure();
    }
    std::optional<Activations> rounding;
    if (activations != "f32")
      rounding =
          activations == "int8" ? Activations::Int8 : Activations::Float16;
    Lowering lowering(getOperation(), rounding);
    for (Operation *op : ops) {
      LogicalResult lowered =
          llvm::TypeSwitch<Operation *, LogicalResult>(op)
              .Case<MatmulOp, FoldOp, HadamardOp>(
                  [&](auto op) { return lowering.lower(op); });
      if (failed(lowered))
        return signalPassFailure();
    }
  }
};
} // namespace

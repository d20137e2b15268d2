//===- KernelBuilder.h - Short names for what kernels are made of -*- C++ -*-=//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// A builder for device code: pointers to global memory, 32-bit offsets, f32
// arithmetic. Kernels take bare pointers and sizes, so that their interface
// is the same for every host.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LIB_CONVERSION_GLVQTOGPU_KERNELBUILDER_H
#define GLVQ_LIB_CONVERSION_GLVQTOGPU_KERNELBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::glvq::gpukernels {

/// Threads of every block.
inline constexpr int64_t blockSize = 256;
/// Address space of global memory.
inline constexpr unsigned globalSpace = 1;

/// A parameter of a kernel.
struct KernelParameter {
  enum Kind { Input, Output, Size } kind;
};

class KernelBuilder : public ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;

  Type f32() { return getF32Type(); }
  Type i32() { return getI32Type(); }

  /// Starts a kernel at the end of `module`; the builder then stands in its
  /// body, before the return.
  gpu::GPUFuncOp startKernel(gpu::GPUModuleOp module, StringRef name,
                             ArrayRef<KernelParameter> parameters,
                             ArrayRef<Type> workgroup = {}) {
    SmallVector<Type> types;
    for (KernelParameter parameter : parameters)
      types.push_back(
          parameter.kind == KernelParameter::Size
              ? i32()
              : LLVM::LLVMPointerType::get(getContext(), globalSpace));
    setInsertionPointToEnd(module.getBody());
    auto kernel = gpu::GPUFuncOp::create(*this, name,
                                         getFunctionType(types, {}), workgroup);
    kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), getUnitAttr());
    kernel.setKnownBlockSize(ArrayRef<int32_t>{blockSize, 1, 1});
    // LLVM assumes that arrays of no alignment have one for vectors, but PTX is
    // given that of their elements.
    for (unsigned i = 0; i != workgroup.size(); ++i)
      kernel.setWorkgroupAttributionAttr(
          i, LLVM::LLVMDialect::getAlignAttrName(), getI64IntegerAttr(16));
    // Without it ptxas aims at full occupancy, and spills to get there.
    kernel->setAttr("nvvm.minctasm", getI32IntegerAttr(2));
    for (auto [index, parameter] : llvm::enumerate(parameters)) {
      if (parameter.kind == KernelParameter::Size)
        continue;
      kernel.setArgAttr(index, LLVM::LLVMDialect::getNoAliasAttrName(),
                        getUnitAttr());
      if (parameter.kind == KernelParameter::Input)
        kernel.setArgAttr(index, LLVM::LLVMDialect::getReadonlyAttrName(),
                          getUnitAttr());
    }
    setInsertionPointToEnd(&kernel.getBody().front());
    auto end = gpu::ReturnOp::create(*this);
    setInsertionPoint(end);
    return kernel;
  }

  Value constant(int64_t value) {
    return arith::ConstantIntOp::create(*this, i32(), value);
  }
  Value constant(float value) {
    return arith::ConstantFloatOp::create(*this, getF32Type(), APFloat(value));
  }
  Value add(Value a, Value b) { return createOrFold<arith::AddIOp>(a, b); }
  Value add(Value a, int64_t b) { return add(a, constant(b)); }
  Value sub(Value a, Value b) { return createOrFold<arith::SubIOp>(a, b); }
  Value mul(Value a, Value b) { return createOrFold<arith::MulIOp>(a, b); }
  Value mul(Value a, int64_t b) { return mul(a, constant(b)); }
  Value div(Value a, Value b) { return createOrFold<arith::DivUIOp>(a, b); }
  Value div(Value a, int64_t b) { return div(a, constant(b)); }
  Value rem(Value a, Value b) { return createOrFold<arith::RemUIOp>(a, b); }
  Value rem(Value a, int64_t b) { return rem(a, constant(b)); }
  Value min(Value a, Value b) { return createOrFold<arith::MinUIOp>(a, b); }
  Value max(Value a, Value b) { return createOrFold<arith::MaxUIOp>(a, b); }
  Value bitAnd(Value a, int64_t b) {
    return createOrFold<arith::AndIOp>(a, constant(b));
  }
  Value bitOr(Value a, Value b) { return createOrFold<arith::OrIOp>(a, b); }
  Value bitOr(Value a, int64_t b) { return bitOr(a, constant(b)); }
  Value shl(Value a, int64_t b) {
    return b ? createOrFold<arith::ShLIOp>(a, constant(b)) : a;
  }
  Value shr(Value a, int64_t b) {
    return b ? createOrFold<arith::ShRUIOp>(a, constant(b)) : a;
  }
  Value less(Value a, Value b) {
    return createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ult, a, b);
  }
  Value less(Value a, int64_t b) { return less(a, constant(b)); }
  Value equal(Value a, int64_t b) {
    return createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, a,
                                       constant(b));
  }
  Value both(Value a, Value b) { return createOrFold<arith::AndIOp>(a, b); }
  Value select(Value c, Value a, Value b) {
    return createOrFold<arith::SelectOp>(c, a, b);
  }
  Value addf(Value a, Value b) { return createOrFold<arith::AddFOp>(a, b); }
  Value subf(Value a, Value b) { return createOrFold<arith::SubFOp>(a, b); }
  Value mulf(Value a, Value b) { return createOrFold<arith::MulFOp>(a, b); }
  Value fma(Value a, Value b, Value c) {
    return LLVM::FMAOp::create(*this, a, b, c);
  }
  Value widen(Value a) { return createOrFold<arith::ExtUIOp>(getI64Type(), a); }

  Value threadId() {
    return toI32(gpu::ThreadIdOp::create(*this, gpu::Dimension::x));
  }
  Value blockId(gpu::Dimension dimension = gpu::Dimension::x) {
    return toI32(gpu::BlockIdOp::create(*this, dimension));
  }
  Value toI32(Value index) {
    return arith::IndexCastUIOp::create(*this, i32(), index);
  }
  Value toIndex(Value i) {
    return arith::IndexCastUIOp::create(*this, getIndexType(), i);
  }

  /// Address of element `index` (i32 or i64) of an array.
  Value address(Value pointer, Type element, Value index) {
    return LLVM::GEPOp::create(*this, pointer.getType(), element, pointer,
                               ArrayRef<LLVM::GEPArg>{index},
                               LLVM::GEPNoWrapFlags::inbounds);
  }
  /// A scalar of an array, floats extended to f32.
  Value load(Value pointer, Type element, Value index) {
    Value value =
        LLVM::LoadOp::create(*this, element, address(pointer, element, index));
    if (isa<FloatType>(element) && element != f32())
      return arith::ExtFOp::create(*this, f32(), value);
    return value;
  }
  /// `width` consecutive scalars, one load; the address has to be aligned to
  /// the whole.
  SmallVector<Value> loadMany(Value pointer, Type element, Value index,
                              int64_t width) {
    if (width == 1)
      return {load(pointer, element, index)};
    Value vector = LLVM::LoadOp::create(
        *this, VectorType::get({width}, element),
        address(pointer, element, index),
        /*alignment=*/width * element.getIntOrFloatBitWidth() / 8);
    SmallVector<Value> scalars;
    for (int64_t i = 0; i != width; ++i)
      scalars.push_back(
          LLVM::ExtractElementOp::create(*this, vector, constant(i)));
    return scalars;
  }
  /// Stores an f32, rounded to the type of the elements.
  void store(Value value, Value pointer, Type element, Value index) {
    if (element != value.getType())
      value = arith::TruncFOp::create(*this, element, value);
    LLVM::StoreOp::create(*this, value, address(pointer, element, index));
  }

  /// for (i = begin; i < end; i += step) with i32 bounds.
  SmallVector<Value>
  loop(Value begin, Value end, Value step, ValueRange init,
       function_ref<SmallVector<Value>(Value, ValueRange)> body) {
    auto loop = scf::ForOp::create(
        *this, begin, end, step, init,
        [](OpBuilder &, Location, Value, ValueRange) {},
        /*unsignedCmp=*/true);
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToEnd(loop.getBody());
    SmallVector<Value> results =
        body(loop.getInductionVar(), loop.getRegionIterArgs());
    scf::YieldOp::create(*this, results);
    return llvm::to_vector_of<Value>(loop.getResults());
  }
  void ifThen(Value condition, function_ref<void()> body) {
    auto branch = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(branch.thenBlock());
    body();
  }

  /// u + 1/2 - 2^(width-1) for the field u at bit `position` of `word`, as an
  /// f32; exact. The field is or-ed into the mantissa of a power of two whose
  /// last place is at most 1/2, and the power is subtracted: two operations,
  /// and no conversion, which runs at a quarter of their rate.
  Value centredField(Value word, int64_t position, int64_t width) {
    if (position == 0) {
      word = shl(word, 1);
      position = 1;
    } else if (position > 23 - width) {
      word = shr(word, 15);
      position -= 15;
    }
    Value bits = bitAnd(word, ((int64_t(1) << width) - 1) << position);
    bits = bitOr(bits, (127 + 23 - position) << 23);
    float base = static_cast<float>(int64_t(1) << (23 - position)) +
                 static_cast<float>(int64_t(1) << (width - 1)) - 0.5f;
    return subf(arith::BitcastOp::create(*this, f32(), bits), constant(base));
  }
};

} // namespace mlir::glvq::gpukernels

#endif // GLVQ_LIB_CONVERSION_GLVQTOGPU_KERNELBUILDER_H

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// What the kernels for the CPU are written with: a builder with short names
// for index arithmetic, loops and vectors, and the interface between the pass
// and the kernels.

#ifndef GLVQ_LIB_CONVERSION_GLVQTOVECTOR_KERNELBUILDER_H
#define GLVQ_LIB_CONVERSION_GLVQTOVECTOR_KERNELBUILDER_H

#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::glvq {

/// A builder for kernels on memrefs. Offsets and bounds are `index` values;
/// floats are f32.
class KernelBuilder : public ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;

  Value idx(int64_t value) {
    return arith::ConstantIndexOp::create(*this, value);
  }
  Value add(Value lhs, Value rhs) {
    return createOrFold<arith::AddIOp>(lhs, rhs);
  }
  Value add(Value lhs, int64_t rhs) { return rhs ? add(lhs, idx(rhs)) : lhs; }
  Value mul(Value lhs, int64_t rhs) {
    return createOrFold<arith::MulIOp>(lhs, idx(rhs));
  }
  Value dim(Value memref, int64_t dimension) {
    return createOrFold<memref::DimOp>(memref, dimension);
  }

  VectorType vecType(int64_t lanes, Type element) {
    return VectorType::get({lanes}, element);
  }
  VectorType floats(int64_t lanes) { return vecType(lanes, getF32Type()); }
  VectorType ints(int64_t lanes) { return vecType(lanes, getI32Type()); }
  Value scalar(float value) {
    return arith::ConstantOp::create(*this, getF32FloatAttr(value));
  }
  Value constant(ArrayRef<float> values) {
    return arith::ConstantOp::create(
        *this, DenseElementsAttr::get(floats(values.size()), values));
  }
  Value constant(ArrayRef<int32_t> values) {
    return arith::ConstantOp::create(
        *this, DenseElementsAttr::get(ints(values.size()), values));
  }
  Value splat(int64_t lanes, float value) {
    return constant(SmallVector<float>(lanes, value));
  }
  Value splat(int64_t lanes, int32_t value) {
    return constant(SmallVector<int32_t>(lanes, value));
  }
  Value broadcast(int64_t lanes, Value value) {
    return vector::BroadcastOp::create(*this, vecType(lanes, value.getType()),
                                       value);
  }
  Value load(Value memref, ValueRange indices) {
    return memref::LoadOp::create(*this, memref, indices);
  }
  Value loadVector(int64_t lanes, Value memref, ValueRange indices) {
    Type element = cast<MemRefType>(memref.getType()).getElementType();
    return vector::LoadOp::create(*this, vecType(lanes, element), memref,
                                  indices);
  }
  void storeVector(Value value, Value memref, ValueRange indices) {
    vector::StoreOp::create(*this, value, memref, indices);
  }
  Value fma(Value a, Value b, Value c) {
    return vector::FMAOp::create(*this, a, b, c);
  }
  /// Sum of the lanes, in any order: a tree, not a chain.
  Value sum(Value value) {
    return vector::ReductionOp::create(*this, vector::CombiningKind::ADD, value,
                                       arith::FastMathFlags::reassoc);
  }

  /// A loop from `lower` to `upper`; gives what the last `body` returned.
  SmallVector<Value>
  loop(Value lower, Value upper, int64_t step, ValueRange init,
       function_ref<SmallVector<Value>(Value, ValueRange)> body) {
    auto forOp = scf::ForOp::create(
        *this, lower, upper, idx(step), init,
        [&](OpBuilder &nested, Location, Value iv, ValueRange args) {
          OpBuilder::InsertionGuard guard(*this);
          restoreInsertionPoint(nested.saveInsertionPoint());
          scf::YieldOp::create(*this, body(iv, args));
        });
    return llvm::to_vector_of<Value>(forOp.getResults());
  }
  void loop(Value lower, Value upper, int64_t step,
            function_ref<void(Value)> body) {
    loop(lower, upper, step, ValueRange(), [&](Value iv, ValueRange) {
      body(iv);
      return SmallVector<Value>();
    });
  }
  void loop(int64_t lower, int64_t upper, int64_t step,
            function_ref<void(Value)> body) {
    if (lower + step >= upper) {
      if (lower < upper)
        body(idx(lower));
      return;
    }
    loop(idx(lower), idx(upper), step, body);
  }
  /// Independent iterations 0 … count-1; the pipeline gives them to threads.
  void parallel(Value count, function_ref<void(Value)> body) {
    scf::ParallelOp::create(
        *this, ValueRange(idx(0)), ValueRange(count), ValueRange(idx(1)),
        [&](OpBuilder &nested, Location, ValueRange ivs) {
          OpBuilder::InsertionGuard guard(*this);
          restoreInsertionPoint(nested.saveInsertionPoint());
          body(ivs.front());
        });
  }
  void conditional(Value condition, function_ref<void()> then,
                   function_ref<void()> otherwise) {
    auto branch = [&](function_ref<void()> body) {
      return [&, body](OpBuilder &nested, Location) {
        OpBuilder::InsertionGuard guard(*this);
        restoreInsertionPoint(nested.saveInsertionPoint());
        body();
        scf::YieldOp::create(*this);
      };
    };
    auto thenBranch = branch(then), elseBranch = branch(otherwise);
    scf::IfOp::create(*this, condition, thenBranch, elseBranch);
  }

  /// Memory for the duration of a kernel, aligned to cache lines. Kernels free
  /// it themselves; the attribute keeps buffer deallocation, which may run
  /// later, from managing it.
  Value scratch(ArrayRef<int64_t> shape, ValueRange dynamicSizes = {},
                Type element = {}) {
    auto type = MemRefType::get(shape, element ? element : getF32Type());
    auto alloc = memref::AllocOp::create(*this, type, dynamicSizes,
                                         getI64IntegerAttr(64));
    alloc->setAttr(bufferization::BufferizationDialect::kManualDeallocation,
                   getUnitAttr());
    return alloc;
  }
  void release(Value memref) {
    auto dealloc = memref::DeallocOp::create(*this, memref);
    dealloc->setAttr(bufferization::BufferizationDialect::kManualDeallocation,
                     getUnitAttr());
  }
};

/// How four products of bytes are summed into 32 bits.
enum class DotInstruction {
  VNNI512, // vpdpbusd on vectors of 512 bits
  VNNI256, // on vectors of 256 bits
  AVX2,    // vpmaddubsw and vpmaddwd
  Generic, // multiplications of 32 bits, for any target
};

/// Builds the body of a kernel, in a function with the arguments (input, codes,
/// init) of a `glvq.matmul` with `#glvq.interleaved` on buffers. `quantize`:
/// activations are rounded to eight bits, with a factor for each token.
void buildIntegerMatmulKernel(KernelBuilder &b, int64_t bits,
                              func::FuncOp function, DotInstruction dot,
                              bool quantize);

/// Builds the body of a kernel, in a function with the arguments
/// (input, codes, parameters…, init) of a `glvq.matmul` on buffers.
///
/// `vectorLength`: 8 or 16 lanes of 32 bits.
void buildMatmulKernel(KernelBuilder &b, LatticeAttr code,
                       func::FuncOp function, int64_t vectorLength);
/// The same for `#glvq.leech` and `#glvq.e8p`.
void buildPointKernel(KernelBuilder &b, WeightCodeAttrInterface code,
                      func::FuncOp function, int64_t vectorLength);
/// The same for a trellis with additive nodes.
void buildTrellisKernel(KernelBuilder &b, TrellisAttr code,
                        func::FuncOp function, int64_t vectorLength);
/// Whether there are kernels for products with such a code.
bool hasMatmulKernel(WeightCodeAttrInterface code);
/// Why there is no kernel for it, or success.
LogicalResult checkMatmulKernel(MatmulOp op, std::string &reason);

/// Builds the body of a kernel, in a function with the arguments
/// (input, [signs], result), that rotates along `dimension`.
void buildHadamardKernel(KernelBuilder &b, func::FuncOp function,
                         int64_t dimension, bool inverse, int64_t vectorLength);

/// Builds the body of a kernel, in a function with the arguments
/// (input, parameters…, result), for a `glvq.fold`.
void buildFoldKernel(KernelBuilder &b, FoldOp op, func::FuncOp function,
                     int64_t vectorLength);

/// Builds the body of a kernel, in a function with the arguments (input, taps,
/// result), for a `glvq.filter`.
void buildFilterKernel(KernelBuilder &b, FilterOp op, func::FuncOp function,
                       int64_t vectorLength);

} // namespace mlir::glvq

#endif // GLVQ_LIB_CONVERSION_GLVQTOVECTOR_KERNELBUILDER_H

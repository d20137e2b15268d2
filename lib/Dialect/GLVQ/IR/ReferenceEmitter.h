// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// What the reference decoders and encoders of the codes are written with.

#ifndef GLVQ_LIB_DIALECT_GLVQ_IR_REFERENCEEMITTER_H
#define GLVQ_LIB_DIALECT_GLVQ_IR_REFERENCEEMITTER_H

#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::glvq {

/// A builder with short names for arithmetic on tensors.
struct Emitter : ImplicitLocOpBuilder {
  Emitter(Location loc, OpBuilder &builder)
      : ImplicitLocOpBuilder(loc, builder) {}

  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(*this, value);
  }
  Value loop(int64_t dim) { return linalg::IndexOp::create(*this, dim); }
  Value integer(Type type, int64_t value) {
    return arith::ConstantOp::create(*this, getIntegerAttr(type, value));
  }
  Value real(Type type, double value) {
    return arith::ConstantOp::create(*this, getFloatAttr(type, value));
  }
  Value add(Value a, Value b) {
    if (isa<FloatType>(a.getType()))
      return arith::AddFOp::create(*this, a, b);
    return arith::AddIOp::create(*this, a, b);
  }
  Value sub(Value a, Value b) {
    if (isa<FloatType>(a.getType()))
      return arith::SubFOp::create(*this, a, b);
    return arith::SubIOp::create(*this, a, b);
  }
  Value mul(Value a, Value b) {
    if (isa<FloatType>(a.getType()))
      return arith::MulFOp::create(*this, a, b);
    return arith::MulIOp::create(*this, a, b);
  }
  /// Quotient; of integers, both taken as unsigned.
  Value div(Value a, Value b) {
    if (isa<FloatType>(a.getType()))
      return arith::DivFOp::create(*this, a, b);
    return arith::DivUIOp::create(*this, a, b);
  }
  Value rem(Value a, Value b) { return arith::RemUIOp::create(*this, a, b); }
  Value less(Value a, Value b) {
    return arith::CmpIOp::create(*this, arith::CmpIPredicate::ult, a, b);
  }
  Value equal(Value a, Value b) {
    return arith::CmpIOp::create(*this, arith::CmpIPredicate::eq, a, b);
  }
  Value select(Value condition, Value a, Value b) {
    return arith::SelectOp::create(*this, condition, a, b);
  }
  Value castIndex(Type type, Value value) {
    return arith::IndexCastUIOp::create(*this, type, value);
  }
  Value castFloat(Type type, Value value) {
    if (value.getType() == type)
      return value;
    if (value.getType().getIntOrFloatBitWidth() < type.getIntOrFloatBitWidth())
      return arith::ExtFOp::create(*this, type, value);
    return arith::TruncFOp::create(*this, type, value);
  }
  Value extract(Value tensor, ValueRange indices) {
    return tensor::ExtractOp::create(*this, tensor, indices);
  }
  Value empty(ArrayRef<OpFoldResult> shape, Type type) {
    return tensor::EmptyOp::create(*this, shape, type);
  }
  Value filled(ArrayRef<OpFoldResult> shape, Value value) {
    return linalg::FillOp::create(*this, value, empty(shape, value.getType()))
        .getResult(0);
  }
  /// Bit `position` of a row of i32 words, of which there are `numWords`, as
  /// i64: 0 or 1. `at` gives the indices of a word. A position behind the last
  /// word counts as being in it.
  Value bit(Value words, Value position, int64_t numWords,
            function_ref<SmallVector<Value>(Value word)> at) {
    Type i64 = getI64Type();
    Value word = arith::MinUIOp::create(*this, div(position, index(32)),
                                        index(numWords - 1));
    Value value = arith::ExtUIOp::create(*this, i64, extract(words, at(word)));
    Value shift = castIndex(i64, rem(position, index(32)));
    return arith::AndIOp::create(
        *this, arith::ShRUIOp::create(*this, value, shift), integer(i64, 1));
  }
  /// A constant vector of indices.
  Value table(ArrayRef<int64_t> values) {
    auto type = RankedTensorType::get(static_cast<int64_t>(values.size()),
                                      getIndexType());
    return arith::ConstantOp::create(*this,
                                     DenseIntElementsAttr::get(type, values));
  }

  /// A linalg.generic over `numLoops` loops, the last `numReductions` of them
  /// reductions. Operands are indexed by the loops listed for each.
  SmallVector<Value>
  generic(unsigned numLoops, unsigned numReductions, ValueRange ins,
          ValueRange outs, ArrayRef<SmallVector<unsigned>> loops,
          function_ref<SmallVector<Value>(Emitter &, ValueRange)> body) {
    SmallVector<AffineMap> maps;
    for (ArrayRef<unsigned> dims : loops) {
      SmallVector<AffineExpr> exprs;
      for (unsigned dim : dims)
        exprs.push_back(getAffineDimExpr(dim));
      maps.push_back(AffineMap::get(numLoops, 0, exprs, getContext()));
    }
    SmallVector<utils::IteratorType> iterators(numLoops - numReductions,
                                               utils::IteratorType::parallel);
    iterators.append(numReductions, utils::IteratorType::reduction);
    auto op = linalg::GenericOp::create(
        *this, outs.getTypes(), ins, outs, maps, iterators,
        [&](OpBuilder &nested, Location loc, ValueRange args) {
          Emitter e(loc, nested);
          linalg::YieldOp::create(e, body(e, args));
        });
    return SmallVector<Value>(op->getResults());
  }
};

/// The slot of each group, [slots] as i32: the inverse of `order`.
Value invertOrder(Emitter &e, Value order);

/// Weights [m, slot, point, coordinate] as a matrix of `type`: slots change to
/// the place of their groups (if there is an order), and the padding of the
/// last group goes.
Value toMatrix(Emitter &e, WeightType type, Value weights, Value order);

} // namespace mlir::glvq

#endif // GLVQ_LIB_DIALECT_GLVQ_IR_REFERENCEEMITTER_H

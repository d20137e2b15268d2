// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// `#glvq.integer`: packed integers, what folding leaves of a linear code.

#include "ReferenceEmitter.h"
#include "WidthRuns.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace mlir::glvq;

OpAsmDialectInterface::AliasResult
PackedIntegerAttr::getAlias(raw_ostream &os) const {
  os << "integer" << getBits();
  return OpAsmDialectInterface::AliasResult::OverridableAlias;
}

LogicalResult
PackedIntegerAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                          int64_t bits) {
  if (bits < 1 || bits > 8)
    return emitError() << "integers are packed in 1 to 8 bits, got " << bits;
  return success();
}

LogicalResult PackedIntegerAttr::verifyWeight(
    ArrayRef<int64_t> shape, Type elementType,
    function_ref<InFlightDiagnostic()> emitError) const {
  return success();
}

SmallVector<RankedTensorType>
PackedIntegerAttr::getStorageTypes(WeightType type) const {
  return {RankedTensorType::get(
      {type.getNumRows(), getNumWords(type.getNumColumns())},
      Builder(getContext()).getI32Type())};
}

SmallVector<StringRef> PackedIntegerAttr::getStorageNames() const {
  return {"codes"};
}

bool PackedIntegerAttr::isLinear() const { return true; }

FailureOr<WeightCodeAttrInterface> PackedIntegerAttr::sliceStorage(
    OpBuilder &b, Location loc, WeightType type, ValueRange parts,
    ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
    SmallVectorImpl<Value> &slices) const {
  // 32 fields are whole words whatever their width is.
  FailureOr<bool> all =
      checkSlice(offsets[1], sizes[1], type.getNumColumns(), kWordBits);
  if (failed(all))
    return failure();
  int64_t columns = *getConstantIntValue(sizes[1]);
  OpFoldResult word = affine::makeComposedFoldedAffineApply(
      b, loc, b.getAffineDimExpr(0).floorDiv(kWordBits) * getBits(),
      {offsets[1]});
  slices.push_back(takeSlice(b, loc, parts[0], {offsets[0], word},
                             {sizes[0], b.getIndexAttr(getNumWords(columns))}));
  return cast<WeightCodeAttrInterface>(*this);
}

FailureOr<Value> PackedIntegerAttr::buildDecode(OpBuilder &builder,
                                                Location loc, WeightType type,
                                                ValueRange parts) const {
  Emitter e(loc, builder);
  Value codes = parts[0];
  int64_t columns = type.getNumColumns(), bits = getBits();
  Type f32 = e.getF32Type(), i64 = e.getI64Type(),
       elementType = type.getElementType();
  SmallVector<OpFoldResult> shape = {tensor::getMixedSize(e, loc, codes, 0),
                                     e.getIndexAttr(columns)};
  auto unpack = [&](Emitter &e, ValueRange) -> SmallVector<Value> {
    Value first = e.mul(e.loop(1), e.index(bits)), u = e.integer(i64, 0);
    for (int64_t i = 0; i < bits; ++i) {
      Value bit = e.bit(
          codes, e.add(first, e.index(i)), getNumWords(columns),
          [&](Value word) { return SmallVector<Value>{e.loop(0), word}; });
      u = e.add(u, arith::ShLIOp::create(e, bit, e.integer(i64, i)));
    }
    Value center = e.real(f32, 0.5 - static_cast<double>(1 << (bits - 1)));
    Value z = e.add(arith::SIToFPOp::create(e, f32, u), center);
    return {e.castFloat(elementType, z)};
  };
  Value w =
      e.generic(2, 0, {}, e.empty(shape, elementType), {{0, 1}}, unpack)[0];
  if (w.getType() != type.getDecodedType())
    w = tensor::CastOp::create(e, type.getDecodedType(), w);
  return w;
}

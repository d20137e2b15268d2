// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// `#glvq.leech` and `#glvq.e8p`: verification, storage and slices. The layout
// is that of docs/CheckpointFormat.md.

#include "WidthRuns.h"
#include "glvq/Dialect/GLVQ/IR/PointCodes.h"
#include "glvq/Lattice/E8.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::glvq;
using ::glvq::lattice::LeechCodebook;
using ::glvq::lattice::maxLeechShell;
using ::glvq::lattice::PointLayout;

//===----------------------------------------------------------------------===//
// What both share
//===----------------------------------------------------------------------===//

static LogicalResult verifyGroup(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t group, int64_t dim) {
  if (group < 1 || group % dim)
    return emitError() << "a group of " << group
                       << " columns is not a whole number of points of " << dim
                       << "; make `group` a multiple of " << dim;
  return success();
}

/// The types of the codes and of the scales of rows and slots.
static SmallVector<RankedTensorType> getPointTypes(WeightType type,
                                                   const PointLayout &layout) {
  int64_t rows = type.getNumRows();
  Builder b(type.getContext());
  return {RankedTensorType::get({rows, layout.getNumWords()}, b.getI32Type()),
          RankedTensorType::get({rows}, b.getF16Type()),
          RankedTensorType::get({layout.getNumSlots()}, b.getF16Type())};
}

/// Slices of the codes and of the scales of rows and slots. `full` is the
/// layout of the weight, `getLayout` that of other numbers of columns.
static LogicalResult
slicePoints(OpBuilder &b, Location loc, const PointLayout &full,
            function_ref<PointLayout(int64_t)> getLayout, ValueRange parts,
            ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
            SmallVectorImpl<Value> &slices) {
  FailureOr<bool> all =
      checkSlice(offsets[1], sizes[1], full.getColumns(), full.getGroup());
  if (failed(all))
    return failure();
  PointLayout layout = getLayout(*getConstantIntValue(sizes[1]));
  AffineExpr group = b.getAffineDimExpr(0).floorDiv(full.getGroup());
  auto apply = [&](AffineExpr expr) {
    return affine::makeComposedFoldedAffineApply(b, loc, expr, {offsets[1]});
  };
  OpFoldResult slot = apply(group);
  OpFoldResult word = apply(group * (*all ? 0 : full.getWordsPerSlot()));
  slices.push_back(takeSlice(b, loc, parts[0], {offsets[0], word},
                             {sizes[0], b.getIndexAttr(layout.getNumWords())}));
  slices.push_back(takeSlice(b, loc, parts[1], {offsets[0]}, {sizes[0]}));
  slices.push_back(takeSlice(b, loc, parts[2], {slot},
                             {b.getIndexAttr(layout.getNumSlots())}));
  return success();
}

//===----------------------------------------------------------------------===//
// LeechAttr
//===----------------------------------------------------------------------===//

OpAsmDialectInterface::AliasResult LeechAttr::getAlias(raw_ostream &os) const {
  os << "leech";
  if (getFirst())
    os << getFirst() << '_';
  os << getShells();
  if (getGain())
    os << 'x' << getGain();
  if (getResidual())
    os << 'r' << getResidual();
  os << "_g" << getGroup();
  return OpAsmDialectInterface::AliasResult::OverridableAlias;
}

LogicalResult LeechAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                int64_t shells, int64_t group, int64_t first,
                                int64_t gain, int64_t residual) {
  if (shells < 2 || shells > maxLeechShell)
    return emitError() << "points of the Leech lattice are on shells 2 to "
                       << maxLeechShell << ", got shells = " << shells;
  if (first < 0 || first == 1 || first > shells)
    return emitError() << "the first shell is 0 (the origin) or 2 to " << shells
                       << ", got first = " << first;
  if (gain < 0 || gain > 8)
    return emitError() << "a gain is stored in up to 8 bits, got gain = "
                       << gain;
  if (residual && (residual < 2 || residual > maxLeechShell))
    return emitError() << "a residual is stored on one of the shells 2 to "
                       << maxLeechShell << ", got residual = " << residual;
  return verifyGroup(emitError, group, ::glvq::lattice::leechDim);
}

LogicalResult
LeechAttr::verifyWeight(ArrayRef<int64_t> shape, Type elementType,
                        function_ref<InFlightDiagnostic()> emitError) const {
  return success();
}

LeechCodebook mlir::glvq::getCodebook(LeechAttr code) {
  // The origin has no direction.
  int64_t first = code.getGain() && !code.getFirst() ? 2 : code.getFirst();
  return LeechCodebook(first, code.getShells());
}

LeechCodebook mlir::glvq::getResidualCodebook(LeechAttr code) {
  return LeechCodebook(code.getResidual(), code.getResidual());
}

PointLayout mlir::glvq::getPointLayout(LeechAttr code, int64_t columns) {
  std::vector<unsigned> bits = {getCodebook(code).getIndexBits() +
                                static_cast<unsigned>(code.getGain())};
  if (code.getResidual())
    bits.push_back(getResidualCodebook(code).getIndexBits());
  return *PointLayout::create(columns, ::glvq::lattice::leechDim,
                              code.getGroup(), bits);
}

SmallVector<RankedTensorType>
LeechAttr::getStorageTypes(WeightType type) const {
  SmallVector<RankedTensorType> types =
      getPointTypes(type, getPointLayout(*this, type.getNumColumns()));
  Type f32 = Float32Type::get(getContext());
  if (getGain())
    types.push_back(RankedTensorType::get({int64_t(1) << getGain()}, f32));
  if (getResidual())
    types.push_back(RankedTensorType::get({1}, f32));
  return types;
}

SmallVector<StringRef> LeechAttr::getStorageNames() const {
  SmallVector<StringRef> names = {"codes", "scales", "group_scales"};
  if (getGain())
    names.push_back("gains");
  if (getResidual())
    names.push_back("residual_scale");
  return names;
}

bool LeechAttr::isLinear() const { return false; }

FailureOr<WeightCodeAttrInterface>
LeechAttr::sliceStorage(OpBuilder &b, Location loc, WeightType type,
                        ValueRange parts, ArrayRef<OpFoldResult> offsets,
                        ArrayRef<OpFoldResult> sizes,
                        SmallVectorImpl<Value> &slices) const {
  if (failed(slicePoints(
          b, loc, getPointLayout(*this, type.getNumColumns()),
          [&](int64_t columns) { return getPointLayout(*this, columns); },
          parts, offsets, sizes, slices)))
    return failure();
  // Gains and the scale of the residual serve all points.
  llvm::append_range(slices, parts.drop_front(3));
  return cast<WeightCodeAttrInterface>(*this);
}

//===----------------------------------------------------------------------===//
// E8PAttr
//===----------------------------------------------------------------------===//

OpAsmDialectInterface::AliasResult E8PAttr::getAlias(raw_ostream &os) const {
  os << "e8p_g" << getGroup();
  return OpAsmDialectInterface::AliasResult::OverridableAlias;
}

LogicalResult E8PAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                              int64_t group) {
  return verifyGroup(emitError, group, ::glvq::lattice::e8Dim);
}

LogicalResult
E8PAttr::verifyWeight(ArrayRef<int64_t> shape, Type elementType,
                      function_ref<InFlightDiagnostic()> emitError) const {
  return success();
}

PointLayout mlir::glvq::getPointLayout(E8PAttr code, int64_t columns) {
  return *PointLayout::create(columns, ::glvq::lattice::e8Dim, code.getGroup(),
                              {16});
}

SmallVector<RankedTensorType> E8PAttr::getStorageTypes(WeightType type) const {
  return getPointTypes(type, getPointLayout(*this, type.getNumColumns()));
}

SmallVector<StringRef> E8PAttr::getStorageNames() const {
  return {"codes", "scales", "group_scales"};
}

bool E8PAttr::isLinear() const { return false; }

FailureOr<WeightCodeAttrInterface>
E8PAttr::sliceStorage(OpBuilder &b, Location loc, WeightType type,
                      ValueRange parts, ArrayRef<OpFoldResult> offsets,
                      ArrayRef<OpFoldResult> sizes,
                      SmallVectorImpl<Value> &slices) const {
  if (failed(slicePoints(
          b, loc, getPointLayout(*this, type.getNumColumns()),
          [&](int64_t columns) { return getPointLayout(*this, columns); },
          parts, offsets, sizes, slices)))
    return failure();
  return cast<WeightCodeAttrInterface>(*this);
}

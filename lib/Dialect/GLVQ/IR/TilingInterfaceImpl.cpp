// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Tiling of glvq.matmul, on tensors and on buffers. Loops: batch m, rows of the
// weight n, columns of the weight k.

#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::glvq;

static OpFoldResult getSize(OpBuilder &b, Location loc, Value value,
                            int64_t dim) {
  if (isa<MemRefType>(value.getType()))
    return memref::getMixedSize(b, loc, value, dim);
  return tensor::getMixedSize(b, loc, value, dim);
}

SmallVector<utils::IteratorType> MatmulOp::getLoopIteratorTypes() {
  using utils::IteratorType;
  return {IteratorType::parallel, IteratorType::parallel,
          IteratorType::reduction};
}

SmallVector<Range> MatmulOp::getIterationDomain(OpBuilder &b) {
  OpFoldResult zero = b.getIndexAttr(0), one = b.getIndexAttr(1);
  return {{zero, getSize(b, getLoc(), getInit(), 0), one},
          {zero, getSize(b, getLoc(), getInit(), 1), one},
          {zero, getSize(b, getLoc(), getInput(), 1), one}};
}

FailureOr<TilingResult>
MatmulOp::getTiledImplementation(OpBuilder &b, ArrayRef<OpFoldResult> offsets,
                                 ArrayRef<OpFoldResult> sizes) {
  Location loc = getLoc();
  SmallVector<Value> parts;
  FailureOr<WeightCodeAttrInterface> code = getCode().sliceStorage(
      b, loc, getWeightType(), getStorage(), {offsets[1], offsets[2]},
      {sizes[1], sizes[2]}, parts);
  if (failed(code))
    return emitOpError(
        "a tile must hold whole groups of columns of the weight, or with mixed "
        "widths all columns, and of a trellis all rows");
  SmallVector<OpFoldResult> ones(2, b.getIndexAttr(1));
  SmallVector<Operation *> slices;
  for (Value part : parts)
    slices.push_back(part.getDefiningOp());
  auto slice = [&](Value value, unsigned row, unsigned column) -> Value {
    SmallVector<OpFoldResult> o = {offsets[row], offsets[column]};
    SmallVector<OpFoldResult> s = {sizes[row], sizes[column]};
    Operation *op =
        isa<MemRefType>(value.getType())
            ? memref::SubViewOp::create(b, loc, value, o, s, ones)
                  .getOperation()
            : tensor::ExtractSliceOp::create(b, loc, value, o, s, ones)
                  .getOperation();
    slices.push_back(op);
    return op->getResult(0);
  };
  Value input = slice(getInput(), 0, 2), init = slice(getInit(), 0, 1);
  SmallVector<Type> results;
  if (getResult())
    results.push_back(init.getType());
  auto tiled = MatmulOp::create(b, loc, results, input, parts.front(),
                                ValueRange(parts).drop_front(), init, *code);
  tiled->setDiscardableAttrs(getOperation()->getDiscardableAttrDictionary());
  return TilingResult{{tiled}, SmallVector<Value>(tiled->getResults()), slices};
}

LogicalResult MatmulOp::getResultTilePosition(
    OpBuilder &, unsigned, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,
    SmallVector<OpFoldResult> &resultSizes) {
  resultOffsets = {offsets[0], offsets[1]};
  resultSizes = {sizes[0], sizes[1]};
  return success();
}

LogicalResult MatmulOp::getIterationDomainTileFromResultTile(
    OpBuilder &b, unsigned, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVectorImpl<OpFoldResult> &domainOffsets,
    SmallVectorImpl<OpFoldResult> &domainSizes) {
  domainOffsets.assign({offsets[0], offsets[1], b.getIndexAttr(0)});
  domainSizes.assign({sizes[0], sizes[1], getSize(b, getLoc(), getInput(), 1)});
  return success();
}

FailureOr<TilingResult>
MatmulOp::generateResultTileValue(OpBuilder &b, unsigned resultNumber,
                                  ArrayRef<OpFoldResult> offsets,
                                  ArrayRef<OpFoldResult> sizes) {
  SmallVector<OpFoldResult> domainOffsets, domainSizes;
  if (failed(getIterationDomainTileFromResultTile(
          b, resultNumber, offsets, sizes, domainOffsets, domainSizes)))
    return failure();
  return getTiledImplementation(b, domainOffsets, domainSizes);
}

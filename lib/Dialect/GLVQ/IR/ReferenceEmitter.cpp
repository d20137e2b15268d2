// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// From the slots of the storage to the columns of a matrix.

#include "ReferenceEmitter.h"

using namespace mlir;
using namespace mlir::glvq;

Value glvq::invertOrder(Emitter &e, Value order) {
  int64_t slots = cast<RankedTensorType>(order.getType()).getDimSize(0);
  Value zeros = e.filled({e.getIndexAttr(slots)}, e.integer(e.getI32Type(), 0));
  auto find = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
    Value here = e.equal(args[0], e.castIndex(e.getI32Type(), e.loop(0)));
    return {e.select(here, e.castIndex(e.getI32Type(), e.loop(1)), args[1])};
  };
  return e.generic(2, 1, order, zeros, {{1}, {0}}, find)[0];
}

Value glvq::toMatrix(Emitter &e, WeightType type, Value w, Value order) {
  if (order) {
    auto gather = [&](Emitter &e, ValueRange args) -> SmallVector<Value> {
      Value s = e.castIndex(e.getIndexType(), args[0]);
      return {e.extract(w, {e.loop(0), s, e.loop(2), e.loop(3)})};
    };
    Value empty =
        e.empty(tensor::getMixedSizes(e, e.getLoc(), w), type.getElementType());
    w = e.generic(4, 0, invertOrder(e, order), empty, {{1}, {0, 1, 2, 3}},
                  gather)[0];
  }
  SmallVector<ReassociationIndices> matrix = {{0}, {1, 2, 3}};
  OpFoldResult rows = tensor::getMixedSize(e, e.getLoc(), w, 0);
  w = tensor::CollapseShapeOp::create(e, w, matrix);
  int64_t columns = type.getNumColumns();
  if (cast<RankedTensorType>(w.getType()).getDimSize(1) != columns) {
    OpFoldResult zero = e.getIndexAttr(0), one = e.getIndexAttr(1);
    w = tensor::ExtractSliceOp::create(
        e, w, ArrayRef<OpFoldResult>{zero, zero},
        ArrayRef<OpFoldResult>{rows, e.getIndexAttr(columns)},
        ArrayRef<OpFoldResult>{one, one});
  }
  if (w.getType() != type.getDecodedType())
    w = tensor::CastOp::create(e, type.getDecodedType(), w);
  return w;
}

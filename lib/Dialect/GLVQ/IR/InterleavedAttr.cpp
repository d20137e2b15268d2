// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// `#glvq.interleaved`, and glvq.interleave, which makes it: packed integers in
// the order of include/glvq/Lattice/Interleave.h.

#include "ReferenceEmitter.h"
#include "WidthRuns.h"
#include "glvq/Lattice/Interleave.h"

using namespace mlir;
using namespace mlir::glvq;

static constexpr int64_t kRows = ::glvq::lattice::kInterleavedRows;
static constexpr int64_t kBlock = ::glvq::lattice::kInterleavedColumns;

OpAsmDialectInterface::AliasResult
InterleavedAttr::getAlias(raw_ostream &os) const {
  os << "interleaved" << getBits();
  return OpAsmDialectInterface::AliasResult::OverridableAlias;
}

LogicalResult
InterleavedAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                        int64_t bits) {
  if (bits < 1 || bits > 8)
    return emitError() << "integers are packed in 1 to 8 bits, got " << bits;
  return success();
}

LogicalResult InterleavedAttr::verifyWeight(
    ArrayRef<int64_t> shape, Type elementType,
    function_ref<InFlightDiagnostic()> emitError) const {
  return success();
}

/// Codes of so many rows (or kDynamic) and columns.
static RankedTensorType getInterleavedType(MLIRContext *context, int64_t rows,
                                           int64_t columns, int64_t bits) {
  int64_t tiles =
      ShapedType::isDynamic(rows) ? rows : llvm::divideCeil(rows, kRows);
  return RankedTensorType::get(
      {tiles, kRows * ::glvq::lattice::getInterleavedWords(columns, bits)},
      IntegerType::get(context, 32));
}

SmallVector<RankedTensorType>
InterleavedAttr::getStorageTypes(WeightType type) const {
  return {getInterleavedType(getContext(), type.getNumRows(),
                             type.getNumColumns(), getBits())};
}

SmallVector<StringRef> InterleavedAttr::getStorageNames() const {
  return {"codes"};
}

bool InterleavedAttr::isLinear() const { return true; }

FailureOr<Value> InterleavedAttr::buildDecode(OpBuilder &builder, Location loc,
                                              WeightType type,
                                              ValueRange parts) const {
  if (ShapedType::isDynamic(type.getNumRows()))
    return failure();
  Emitter e(loc, builder);
  Value codes = parts[0];
  int64_t bits = getBits();
  Type f32 = e.getF32Type(), i64 = e.getI64Type(),
       elementType = type.getElementType();
  auto body = [&](Emitter &e, ValueRange) -> SmallVector<Value> {
    Value row = e.loop(0), column = e.loop(1);
    Value tile = e.div(row, e.index(kRows)), lane = e.rem(row, e.index(kRows));
    Value block = e.div(column, e.index(kBlock));
    Value step = e.div(e.rem(column, e.index(kBlock)), e.index(4));
    Value stream =
        e.castIndex(i64, e.mul(e.rem(column, e.index(4)), e.index(8)));
    Value place = e.mul(step, e.index(bits));
    Value first = e.div(place, e.index(8));
    // Byte `index` of the stream of this column.
    auto byte = [&](Value index) -> Value {
      Value word = e.add(e.mul(block, e.index(bits)), index);
      Value at = e.add(e.mul(word, e.index(kRows)), lane);
      Value value =
          arith::ExtUIOp::create(e, i64, e.extract(codes, {tile, at}));
      return arith::AndIOp::create(e, arith::ShRUIOp::create(e, value, stream),
                                   e.integer(i64, 255));
    };
    // The byte after the last one counts for nothing.
    Value next =
        arith::MinUIOp::create(e, e.add(first, e.index(1)), e.index(bits - 1));
    Value pair = arith::OrIOp::create(
        e, byte(first),
        arith::ShLIOp::create(e, byte(next), e.integer(i64, 8)));
    Value u = arith::AndIOp::create(
        e,
        arith::ShRUIOp::create(e, pair,
                               e.castIndex(i64, e.rem(place, e.index(8)))),
        e.integer(i64, (1 << bits) - 1));
    Value center = e.real(f32, 0.5 - static_cast<double>(1 << (bits - 1)));
    Value w = e.add(arith::SIToFPOp::create(e, f32, u), center);
    return {e.castFloat(elementType, w)};
  };
  SmallVector<OpFoldResult> shape = {e.getIndexAttr(type.getNumRows()),
                                     e.getIndexAttr(type.getNumColumns())};
  return e.generic(2, 0, {}, e.empty(shape, elementType), {{0, 1}}, body)[0];
}

//===----------------------------------------------------------------------===//
// InterleaveOp
//===----------------------------------------------------------------------===//

void InterleaveOp::build(OpBuilder &b, OperationState &state, Value codes,
                         int64_t columns, int64_t bits) {
  int64_t rows = cast<RankedTensorType>(codes.getType()).getDimSize(0);
  build(b, state, getInterleavedType(b.getContext(), rows, columns, bits),
        codes, columns, bits);
}

LogicalResult InterleaveOp::verify() {
  int64_t columns = getColumns(), bits = getBits();
  RankedTensorType codes = getCodes().getType();
  int64_t words = (columns * bits + kWordBits - 1) / kWordBits;
  if (codes.getDimSize(1) != words)
    return emitOpError() << columns << " fields of " << bits << " bits are "
                         << words << " words, the codes have "
                         << codes.getDimSize(1);
  RankedTensorType expected =
      getInterleavedType(getContext(), codes.getDimSize(0), columns, bits);
  if (getResult().getType() != expected)
    return emitOpError() << "gives a " << expected << ", not a "
                         << getResult().getType();
  return success();
}

Value InterleaveOp::buildReference(OpBuilder &builder) {
  Emitter e(getLoc(), builder);
  Value codes = getCodes();
  int64_t bits = getBits(), words = getCodes().getType().getDimSize(1);
  Type i32 = e.getI32Type(), i64 = e.getI64Type();
  Value rows = tensor::DimOp::create(e, codes, 0);
  auto body = [&](Emitter &e, ValueRange) -> SmallVector<Value> {
    Value row = e.add(e.mul(e.loop(0), e.index(kRows)),
                      e.rem(e.loop(1), e.index(kRows)));
    Value word = e.div(e.loop(1), e.index(kRows));
    Value block = e.div(word, e.index(bits)),
          inBlock = e.rem(word, e.index(bits));
    Value last = e.sub(rows, e.index(1));
    Value source = arith::MinUIOp::create(e, row, last);
    Value result = e.integer(i64, 0);
    for (int64_t bit = 0; bit < kWordBits; ++bit) {
      // Of stream bit / 8 of the block.
      Value place = e.add(e.mul(inBlock, e.index(8)), e.index(bit % 8));
      Value column = e.add(e.mul(block, e.index(kBlock)),
                           e.add(e.mul(e.div(place, e.index(bits)), e.index(4)),
                                 e.index(bit / 8)));
      Value position =
          e.add(e.mul(column, e.index(bits)), e.rem(place, e.index(bits)));
      Value value = e.bit(codes, position, words, [&](Value word) {
        return SmallVector<Value>{source, word};
      });
      Value inside = arith::AndIOp::create(
          e, e.less(position, e.index(words * kWordBits)), e.less(row, rows));
      value = e.select(inside, value, e.integer(i64, 0));
      result = arith::OrIOp::create(
          e, result, arith::ShLIOp::create(e, value, e.integer(i64, bit)));
    }
    return {arith::TruncIOp::create(e, i32, result)};
  };
  SmallVector<OpFoldResult> shape;
  RankedTensorType type = getResult().getType();
  if (type.isDynamicDim(0))
    shape.push_back(
        arith::CeilDivUIOp::create(e, rows, e.index(kRows)).getResult());
  else
    shape.push_back(e.getIndexAttr(type.getDimSize(0)));
  shape.push_back(e.getIndexAttr(type.getDimSize(1)));
  return e.generic(2, 0, {}, e.empty(shape, i32), {{0, 1}}, body)[0];
}

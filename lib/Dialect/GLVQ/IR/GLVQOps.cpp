// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Verifiers, folds and effects of the ops.

#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace mlir::glvq;

#define GET_OP_CLASSES
#include "glvq/Dialect/GLVQ/IR/GLVQOps.cpp.inc"

/// Checks the types of the parts from number `first` on.
static LogicalResult verifyStorage(Operation *op, WeightType weight,
                                   TypeRange parts, unsigned first = 0) {
  WeightCodeAttrInterface code = weight.getCode();
  // Tiles of a product may know less about their rows than its operands do.
  bool exact = !isa<MatmulOp>(op);
  auto types = code.getStorageTypes(weight);
  auto expected = ArrayRef(types).drop_front(first);
  auto names = code.getStorageNames();
  if (parts.size() != expected.size()) {
    InFlightDiagnostic diag = op->emitOpError()
                              << "a weight stored as " << code << " has "
                              << expected.size()
                              << (first ? " parameters (" : " parts (");
    llvm::interleaveComma(ArrayRef(names).drop_front(first), diag);
    return diag << "), got " << parts.size();
  }
  for (auto [name, want, part] :
       llvm::zip(ArrayRef(names).drop_front(first), expected, parts)) {
    auto got = cast<ShapedType>(part);
    if (want.getElementType() != got.getElementType() ||
        (exact
             ? want.getShape() != got.getShape()
             : failed(verifyCompatibleShape(want.getShape(), got.getShape()))))
      return op->emitOpError()
             << "the " << name << " of " << weight << " must be of type "
             << want << ", got " << part;
  }
  return success();
}

/// Checks that init + input * transposed weight is defined.
static LogicalResult verifyProduct(Operation *op, Type inputType,
                                   ArrayRef<int64_t> weight, Type initType) {
  auto input = cast<ShapedType>(inputType), init = cast<ShapedType>(initType);
  if (failed(verifyCompatibleShape({input.getDimSize(1)}, {weight[1]})))
    return op->emitOpError() << "the input has " << input.getDimSize(1)
                             << " columns, but the weight has " << weight[1];
  if (failed(verifyCompatibleShape({init.getDimSize(1)}, {weight[0]})))
    return op->emitOpError()
           << "the init has " << init.getDimSize(1)
           << " columns, but the weight has " << weight[0] << " rows";
  if (failed(
          verifyCompatibleShape({init.getDimSize(0)}, {input.getDimSize(0)})))
    return op->emitOpError()
           << "the input has " << input.getDimSize(0)
           << " rows, but the init has " << init.getDimSize(0);
  return success();
}

//===----------------------------------------------------------------------===//
// AssembleOp, DisassembleOp
//===----------------------------------------------------------------------===//

LogicalResult AssembleOp::verify() {
  return verifyStorage(*this, getWeight().getType(), getParts().getTypes());
}

/// assemble(disassemble(w)) is w.
OpFoldResult AssembleOp::fold(FoldAdaptor) {
  auto disassemble = getParts().front().getDefiningOp<DisassembleOp>();
  if (disassemble &&
      disassemble.getWeight().getType() == getWeight().getType() &&
      llvm::equal(disassemble.getParts(), getParts()))
    return disassemble.getWeight();
  return {};
}

void DisassembleOp::build(OpBuilder &, OperationState &state, Value weight) {
  auto type = cast<WeightType>(weight.getType());
  state.addOperands(weight);
  for (RankedTensorType part : type.getCode().getStorageTypes(type))
    state.addTypes(part);
}

LogicalResult DisassembleOp::verify() {
  return verifyStorage(*this, getWeight().getType(), getParts().getTypes());
}

/// disassemble(assemble(parts)) is parts.
LogicalResult DisassembleOp::fold(FoldAdaptor,
                                  SmallVectorImpl<OpFoldResult> &results) {
  auto assemble = getWeight().getDefiningOp<AssembleOp>();
  if (!assemble || assemble.getParts().getTypes() != getParts().getTypes())
    return failure();
  llvm::append_range(results, assemble.getParts());
  return success();
}

//===----------------------------------------------------------------------===//
// EncodeOp, DecodeOp
//===----------------------------------------------------------------------===//

LogicalResult EncodeOp::verify() {
  WeightType weight = getWeight().getType();
  if (getDense().getType() != weight.getDecodedType())
    return emitOpError() << "a matrix of type " << getDense().getType()
                         << " cannot be encoded as " << weight
                         << ", which stands for " << weight.getDecodedType();
  return verifyStorage(*this, weight, getParams().getTypes(), /*first=*/1);
}

void DecodeOp::build(OpBuilder &b, OperationState &state, Value weight) {
  build(b, state, cast<WeightType>(weight.getType()).getDecodedType(), weight);
}

LogicalResult DecodeOp::verify() {
  RankedTensorType decoded = getWeight().getType().getDecodedType();
  if (getResult().getType() != decoded)
    return emitOpError() << "the weight stands for a " << decoded
                         << ", not for a " << getResult().getType();
  return success();
}

//===----------------------------------------------------------------------===//
// GatherOp
//===----------------------------------------------------------------------===//

/// The rows `indices` of a weight of type `weight`, decoded.
static RankedTensorType getGatheredType(WeightType weight, Type indices) {
  return RankedTensorType::get(
      {cast<RankedTensorType>(indices).getDimSize(0), weight.getNumColumns()},
      weight.getElementType());
}

void GatherOp::build(OpBuilder &b, OperationState &state, Value weight,
                     Value indices) {
  build(b, state,
        getGatheredType(cast<WeightType>(weight.getType()), indices.getType()),
        weight, indices);
}

LogicalResult GatherOp::verify() {
  RankedTensorType expected =
      getGatheredType(getWeight().getType(), getIndices().getType());
  if (getResult().getType() != expected)
    return emitOpError() << "gathers a " << expected << ", not a "
                         << getResult().getType();
  return success();
}

FailureOr<Value> GatherOp::buildReference(OpBuilder &b, ValueRange parts,
                                          Value indices) {
  Location loc = getLoc();
  WeightType type = getWeight().getType();
  OpFoldResult one = b.getIndexAttr(1), zero = b.getIndexAttr(0),
               columns = b.getIndexAttr(type.getNumColumns());
  OpFoldResult count = tensor::getMixedSize(b, loc, indices, 0);
  Value init =
      tensor::EmptyOp::create(b, loc, {count, columns}, type.getElementType());
  Value lower = arith::ConstantIndexOp::create(b, loc, 0);
  Value step = arith::ConstantIndexOp::create(b, loc, 1);
  Value upper = getValueOrCreateConstantIndexOp(b, loc, count);
  auto loop = scf::ForOp::create(b, loc, lower, upper, step, init);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value iv = loop.getInductionVar();
  Value row = tensor::ExtractOp::create(b, loc, indices, iv);
  if (!row.getType().isIndex())
    row = arith::IndexCastOp::create(b, loc, b.getIndexType(), row);
  SmallVector<Value> slices;
  FailureOr<WeightCodeAttrInterface> code = type.getCode().sliceStorage(
      b, loc, type, parts, {row, zero}, {one, columns}, slices);
  if (failed(code))
    return emitError("code ")
           << type.getCode() << " cannot be decoded row by row";
  auto rowType =
      WeightType::get({1, type.getNumColumns()}, type.getElementType(), *code);
  FailureOr<Value> decoded = code->buildDecode(b, loc, rowType, slices);
  if (failed(decoded))
    return emitError("code ") << type.getCode() << " has no reference decoder";
  Value rows = tensor::InsertSliceOp::create(
      b, loc, *decoded, loop.getRegionIterArg(0),
      ArrayRef<OpFoldResult>{iv, zero}, ArrayRef<OpFoldResult>{one, columns},
      ArrayRef<OpFoldResult>{one, one});
  scf::YieldOp::create(b, loc, rows);
  return loop.getResult(0);
}

//===----------------------------------------------------------------------===//
// LinearOp, MatmulOp
//===----------------------------------------------------------------------===//

LogicalResult LinearOp::verify() {
  return verifyProduct(*this, getInput().getType(),
                       getWeight().getType().getShape(), getInit().getType());
}

SmallVector<Value> MatmulOp::getStorage() {
  SmallVector<Value> parts = {getCodes()};
  llvm::append_range(parts, getParams());
  return parts;
}

WeightType MatmulOp::getWeightType() {
  int64_t rows = cast<ShapedType>(getInit().getType()).getDimSize(1);
  int64_t columns = cast<ShapedType>(getInput().getType()).getDimSize(1);
  return WeightType::get({rows, columns}, Float32Type::get(getContext()),
                         getCode());
}

LogicalResult MatmulOp::verify() {
  bool onTensors = isa<TensorType>(getInit().getType());
  for (Type type : getOperandTypes())
    if (isa<TensorType>(type) != onTensors)
      return emitOpError("operands must be all tensors or all memrefs");
  if (onTensors != static_cast<bool>(getResult()) ||
      (getResult() && getResult().getType() != getInit().getType()))
    return emitOpError("on tensors there is one result, of the type of the "
                       "init; on memrefs none");
  int64_t rows = cast<ShapedType>(getInit().getType()).getDimSize(1);
  int64_t columns = cast<ShapedType>(getInput().getType()).getDimSize(1);
  // Not getWeightType(): that one may be invalid here.
  auto weight =
      WeightType::getChecked([&] { return emitOpError(); }, getContext(),
                             ArrayRef<int64_t>{rows, columns},
                             Type(Float32Type::get(getContext())), getCode());
  if (!weight || failed(verifyProduct(*this, getInput().getType(),
                                      {rows, columns}, getInit().getType())))
    return failure();
  SmallVector<Value> parts = getStorage();
  return verifyStorage(*this, weight, ValueRange(parts).getTypes());
}

void MatmulOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  for (OpOperand &operand : getOperation()->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    effects.emplace_back(MemoryEffects::Read::get(), &operand);
    if (isDpsInit(&operand))
      effects.emplace_back(MemoryEffects::Write::get(), &operand);
  }
}

Speculation::Speculatability MatmulOp::getSpeculatability() {
  return hasPureTensorSemantics() ? Speculation::Speculatable
                                  : Speculation::NotSpeculatable;
}

LogicalResult MatmulOp::reifyResultShapes(OpBuilder &b,
                                          ReifiedRankedShapedTypeDims &shapes) {
  if (getResult())
    shapes.push_back(tensor::getMixedSizes(b, getLoc(), getInit()));
  return success();
}

//===----------------------------------------------------------------------===//
// FoldOp, FilterOp
//===----------------------------------------------------------------------===//

FoldedRun FoldOp::getFoldedRun() {
  return (
      *getCode().getFoldedRuns(getInput().getType().getDimSize(1)))[getRun()];
}

LogicalResult FoldOp::verify() {
  int64_t columns = getInput().getType().getDimSize(1);
  if (ShapedType::isDynamic(columns))
    return emitOpError("the number of columns of the input must be static");
  auto weight =
      WeightType::getChecked([&] { return emitOpError(); }, getContext(),
                             ArrayRef<int64_t>{ShapedType::kDynamic, columns},
                             Type(Float32Type::get(getContext())), getCode());
  if (!weight)
    return failure();
  FailureOr<SmallVector<FoldedRun>> runs = getCode().getFoldedRuns(columns);
  if (failed(runs))
    return emitOpError() << "activations cannot be folded for " << getCode()
                         << ": it is not linear, or its slots do not follow "
                            "each other without gaps";
  if (getRun() >= runs->size())
    return emitOpError() << "there is no run " << getRun()
                         << " of equal width; " << getCode() << " has "
                         << runs->size();
  SmallVector<RankedTensorType> types = getCode().getStorageTypes(weight);
  SmallVector<StringRef> names = getCode().getStorageNames();
  SmallVector<unsigned> parts = getCode().getFoldParts();
  if (parts.size() != getParams().size()) {
    InFlightDiagnostic diag = emitOpError()
                              << "folding for " << getCode() << " takes "
                              << parts.size() << " parts (";
    llvm::interleaveComma(parts, diag,
                          [&](unsigned part) { diag << names[part]; });
    return diag << "), got " << getParams().size();
  }
  for (auto [part, value] : llvm::zip_equal(parts, getParams()))
    if (value.getType() != types[part])
      return emitOpError() << "the " << names[part] << " must be of type "
                           << types[part] << ", got " << value.getType();
  RankedTensorType type = getResult().getType();
  if (type.getDimSize(1) != (*runs)[getRun()].columns)
    return emitOpError() << "run " << getRun() << " has "
                         << (*runs)[getRun()].columns
                         << " folded activations, not " << type.getDimSize(1);
  if (type.getDimSize(0) != getInput().getType().getDimSize(0))
    return emitOpError("the result must have as many rows as the input");
  return success();
}

LogicalResult FoldOp::reifyResultShapes(OpBuilder &b,
                                        ReifiedRankedShapedTypeDims &shapes) {
  shapes.push_back({tensor::getMixedSize(b, getLoc(), getInput(), 0),
                    b.getIndexAttr(getResult().getType().getDimSize(1))});
  return success();
}

LogicalResult FilterOp::verify() {
  auto input = getInput().getType(), taps = getTaps().getType(),
       result = getResult().getType();
  int64_t length = taps.getDimSize(1), rows = result.getDimSize(1);
  int64_t stride = getStride();
  if (!taps.hasStaticShape() || ShapedType::isDynamic(rows) ||
      ShapedType::isDynamic(input.getDimSize(1)))
    return emitOpError("the taps and all numbers of columns must be static");
  if (getRun() >= static_cast<uint64_t>(taps.getDimSize(0)))
    return emitOpError() << "there are taps for " << taps.getDimSize(0)
                         << " runs of equal width, none for run " << getRun();
  if (stride > length)
    return emitOpError() << "a window of " << length << " cannot move "
                         << stride << " at once";
  if (input.getDimSize(1) != stride * rows + length - stride)
    return emitOpError() << rows << " results of " << length
                         << " taps at a stride of " << stride << " read "
                         << stride * rows + length - stride << " columns, not "
                         << input.getDimSize(1);
  if (input.getDimSize(0) != result.getDimSize(0))
    return emitOpError("the result must have as many rows as the input");
  return success();
}

LogicalResult FilterOp::reifyResultShapes(OpBuilder &b,
                                          ReifiedRankedShapedTypeDims &shapes) {
  shapes.push_back({tensor::getMixedSize(b, getLoc(), getInput(), 0),
                    b.getIndexAttr(getResult().getType().getDimSize(1))});
  return success();
}

//===----------------------------------------------------------------------===//
// HadamardOp
//===----------------------------------------------------------------------===//

LogicalResult HadamardOp::verify() {
  RankedTensorType type = getInput().getType();
  int64_t dimension = getDimension();
  if (dimension >= type.getRank())
    return emitOpError() << "there is no dimension " << dimension << " in "
                         << type;
  int64_t size = getSize();
  if (ShapedType::isDynamic(size) || size == 0)
    return emitOpError()
           << "a rotation needs a static size of at least 1 along dimension "
           << dimension << " of " << type;
  if (!getSigns())
    return success();
  int64_t words = llvm::divideCeil(size, 32);
  auto signs = cast<RankedTensorType>(getSigns().getType());
  if (signs.getDimSize(0) != words)
    return emitOpError() << size << " signs are stored in " << words
                         << " words of 32, got " << signs;
  return success();
}

/// A rotation undone is no rotation: H is symmetric and orthogonal, so both
/// (D H)(H D) and (H D)(D H) are the identity.
OpFoldResult HadamardOp::fold(FoldAdaptor) {
  auto first = getInput().getDefiningOp<HadamardOp>();
  if (first && first.getSigns() == getSigns() &&
      first.getDimension() == getDimension() &&
      first.getInverse() != getInverse())
    return first.getInput();
  return {};
}

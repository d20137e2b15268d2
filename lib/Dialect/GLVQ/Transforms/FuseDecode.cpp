// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// glvq-fuse-decode: products with a decoded weight become products with the
// encoded one. A walk instead of patterns: every contraction is looked at once,
// so every remark appears once, in the order of the program.

#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "glvq/Dialect/GLVQ/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/IR/LinalgInterfaces.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/IR/Iterators.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_FUSEDECODEPASS
#include "glvq/Dialect/GLVQ/Transforms/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;
using namespace mlir::glvq;

static remark::RemarkOpts getRemark() {
  return remark::RemarkOpts::name("FuseDecode").category("glvq");
}

//===----------------------------------------------------------------------===//
// From an operand back to the weight
//===----------------------------------------------------------------------===//

namespace {
/// A decoded weight as a contraction reads it.
struct TracedWeight {
  DecodeOp decode;
  /// From the loops of the contraction to rows and columns of the weight.
  AffineMap map;
  /// The rotations on the way, the outermost (last executed) first, and the
  /// loop along which each of them goes.
  SmallVector<std::pair<HadamardOp, AffineExpr>> rotations;
};
} // namespace

/// Whether `op` only moves elements of its one input: a linalg transpose,
/// broadcast, or generic that yields it. Then `in` and `out` are the maps.
static bool movesElements(linalg::LinalgOp op, AffineMap &in, AffineMap &out) {
  if (op.getNumDpsInputs() != 1 || op.getNumDpsInits() != 1 ||
      !op.hasPureTensorSemantics())
    return false;
  Block *body = op.getBlock();
  if (body->getTerminator()->getOperand(0) != body->getArgument(0))
    return false;
  in = op.getMatchingIndexingMap(op.getDpsInputOperand(0));
  out = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  return out.isPermutation();
}

/// Source indices of a reshape as functions of the result's, if it does no more
/// than add or drop dimensions of size one; null otherwise.
static AffineMap getUnitReshapeMap(Operation *op) {
  SmallVector<ReassociationIndices> groups;
  RankedTensorType source, result;
  bool expands = isa<tensor::ExpandShapeOp>(op);
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    groups = expand.getReassociationIndices();
    source = expand.getSrcType();
    result = expand.getResultType();
  } else {
    auto collapse = cast<tensor::CollapseShapeOp>(op);
    groups = collapse.getReassociationIndices();
    source = collapse.getSrcType();
    result = collapse.getResultType();
  }
  MLIRContext *context = op->getContext();
  RankedTensorType fine = expands ? result : source;
  SmallVector<AffineExpr> exprs;
  for (auto [coarse, group] : llvm::enumerate(groups)) {
    // The one dimension of the group that matters; if none does, the first.
    int64_t kept = group.front(), numKept = 0;
    for (int64_t i : group)
      if (fine.getDimSize(i) != 1)
        kept = i, ++numKept;
    if (numKept > 1)
      return {};
    if (expands) {
      exprs.push_back(getAffineDimExpr(kept, context));
      continue;
    }
    for (int64_t i : group)
      exprs.push_back(i == kept ? getAffineDimExpr(coarse, context)
                                : getAffineConstantExpr(0, context));
  }
  return AffineMap::get(result.getRank(), 0, exprs, context);
}

/// Follows `value`, read through `map`, to a decode. No decode: not a weight.
static std::optional<TracedWeight> traceWeight(Value value, AffineMap map) {
  TracedWeight weight;
  while (Operation *def = value.getDefiningOp()) {
    if (auto decode = dyn_cast<DecodeOp>(def)) {
      weight.decode = decode;
      weight.map = map;
      return weight;
    }
    if (auto rotation = dyn_cast<HadamardOp>(def)) {
      weight.rotations.emplace_back(rotation,
                                    map.getResult(rotation.getDimension()));
      value = rotation.getInput();
      continue;
    }
    if (auto cast = dyn_cast<tensor::CastOp>(def)) {
      if (!isa<RankedTensorType>(cast.getSource().getType()))
        return std::nullopt;
      value = cast.getSource();
      continue;
    }
    if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(def)) {
      AffineMap reshape = getUnitReshapeMap(def);
      if (!reshape)
        return std::nullopt;
      map = reshape.compose(map);
      value = def->getOperand(0);
      continue;
    }
    auto op = dyn_cast<linalg::LinalgOp>(def);
    AffineMap in, out;
    if (!op || !movesElements(op, in, out))
      return std::nullopt;
    map = in.compose(inversePermutation(out)).compose(map);
    value = op.getDpsInputOperand(0)->get();
  }
  return std::nullopt;
}

/// Whether `value` is all zeros.
static bool isZero(Value value) {
  while (auto *def = value.getDefiningOp()) {
    if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::CastOp>(
            def)) {
      value = def->getOperand(0);
      continue;
    }
    if (auto fill = dyn_cast<linalg::FillOp>(def))
      return matchPattern(fill.getInputs().front(), m_AnyZeroFloat());
    break;
  }
  return matchPattern(value, m_AnyZeroFloat());
}

//===----------------------------------------------------------------------===//
// Matrices out of tensors
//===----------------------------------------------------------------------===//

/// `value` with its dimension i at permutation[i] of the operand.
static Value transpose(OpBuilder &builder, Location loc, Value value,
                       ArrayRef<int64_t> permutation) {
  if (isIdentityPermutation(permutation))
    return value;
  // Transposed inputs are frequent: x is given as xᵀ to a product W xᵀ.
  SmallVector<int64_t> composed(permutation);
  if (auto inner = value.getDefiningOp<linalg::TransposeOp>()) {
    ArrayRef<int64_t> first = inner.getPermutation();
    composed =
        llvm::map_to_vector(permutation, [&](int64_t i) { return first[i]; });
    value = inner.getInput();
    if (isIdentityPermutation(composed))
      return value;
  }
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, value);
  sizes = applyPermutation(sizes, composed);
  Value empty =
      tensor::EmptyOp::create(builder, loc, sizes, getElementTypeOrSelf(value));
  return linalg::TransposeOp::create(builder, loc, value, empty, composed)
      ->getResult(0);
}

/// All dimensions but the last become one: `[.., n]` to `[rows, n]`.
static SmallVector<ReassociationIndices> getMatrixGroups(int64_t rank) {
  SmallVector<ReassociationIndices> groups(2);
  llvm::append_range(groups[0], llvm::seq<int64_t>(rank - 1));
  groups[1].push_back(rank - 1);
  return groups;
}

/// `[.., n]` as a matrix of `n` columns, static where the weight is.
static Value toMatrix(OpBuilder &builder, Location loc, Value value,
                      int64_t columns) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getRank() == 1)
    value = tensor::ExpandShapeOp::create(
        builder, loc,
        RankedTensorType::get({1, type.getDimSize(0)}, type.getElementType()),
        value, ArrayRef<ReassociationIndices>{{0, 1}});
  else if (type.getRank() > 2)
    value = tensor::CollapseShapeOp::create(builder, loc, value,
                                            getMatrixGroups(type.getRank()));
  type = cast<RankedTensorType>(value.getType());
  auto matrix = RankedTensorType::get({type.getDimSize(0), columns},
                                      type.getElementType());
  if (type != matrix)
    value = tensor::CastOp::create(builder, loc, matrix, value);
  return value;
}

/// The inverse of `toMatrix`, given the tensor it came from.
static Value fromMatrix(OpBuilder &builder, Location loc, Value matrix,
                        Value original) {
  auto type = cast<RankedTensorType>(original.getType());
  auto matrixType = cast<RankedTensorType>(matrix.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.back() = matrixType.getDimSize(1);
  auto staticType = RankedTensorType::get(shape, type.getElementType());
  if (type.getRank() == 1)
    matrix =
        tensor::CollapseShapeOp::create(builder, loc, staticType, matrix,
                                        ArrayRef<ReassociationIndices>{{0, 1}});
  else if (type.getRank() > 2) {
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(builder, loc, original);
    sizes.back() = builder.getIndexAttr(shape.back());
    matrix =
        tensor::ExpandShapeOp::create(builder, loc, staticType, matrix,
                                      getMatrixGroups(type.getRank()), sizes);
  }
  if (matrix.getType() != type)
    matrix = tensor::CastOp::create(builder, loc, type, matrix);
  return matrix;
}

/// Zeros of the type of `like`.
static Value createZeros(OpBuilder &builder, Location loc, Value like) {
  Type elementType = getElementTypeOrSelf(like);
  Value zero =
      arith::ConstantOp::create(builder, loc, builder.getZeroAttr(elementType));
  Value empty = tensor::EmptyOp::create(
      builder, loc, tensor::getMixedSizes(builder, loc, like), elementType);
  return linalg::FillOp::create(builder, loc, zero, empty).getResult(0);
}

//===----------------------------------------------------------------------===//
// Fusion
//===----------------------------------------------------------------------===//

/// Positions of the loops `order` among the results of `map`: the permutation
/// that brings the tensor read through `map` into that order. Failure if they
/// are not the same loops.
static FailureOr<SmallVector<int64_t>>
getPermutationTo(AffineMap map, ArrayRef<AffineExpr> order) {
  if (map.getNumResults() != order.size())
    return failure();
  SmallVector<int64_t> permutation;
  for (AffineExpr expr : order) {
    std::optional<unsigned> position = map.getResultPosition(expr);
    if (!position)
      return failure();
    permutation.push_back(*position);
  }
  return permutation;
}

/// Replaces the contraction `op` over `weight`, its operand `weightOperand`.
/// Gives the reason if it cannot.
static std::optional<StringRef> fuse(RewriterBase &rewriter,
                                     linalg::LinalgOp op, TracedWeight weight,
                                     OpOperand *weightOperand) {
  OpOperand *inputOperand =
      op.getDpsInputOperand(1 - weightOperand->getOperandNumber());
  OpOperand *initOperand = op.getDpsInitOperand(0);
  Value input = inputOperand->get(), init = initOperand->get();
  AffineMap inputMap = op.getMatchingIndexingMap(inputOperand),
            outputMap = op.getMatchingIndexingMap(initOperand);
  WeightType type = weight.decode.getWeight().getType();
  if (getElementTypeOrSelf(input) != type.getElementType() ||
      getElementTypeOrSelf(init) != type.getElementType() ||
      getElementTypeOrSelf(weightOperand->get()) != type.getElementType())
    return "element types of input, weight and result differ";
  if (!weight.map.isProjectedPermutation() || weight.map.getNumResults() != 2)
    return "the weight is not read as a matrix, row by column";

  AffineExpr row = weight.map.getResult(0), column = weight.map.getResult(1);
  if (!outputMap.isFunctionOfDim(cast<AffineDimExpr>(row).getPosition()) ||
      outputMap.isFunctionOfDim(cast<AffineDimExpr>(column).getPosition()))
    // W read by columns: the code has no product along its rows.
    return "the product sums over the rows of the weight";
  SmallVector<AffineExpr> inputOrder, outputOrder;
  for (AffineExpr expr : outputMap.getResults())
    if (expr != row)
      outputOrder.push_back(expr);
  inputOrder = outputOrder;
  inputOrder.push_back(column);
  outputOrder.push_back(row);
  FailureOr<SmallVector<int64_t>> inputPermutation =
                                      getPermutationTo(inputMap, inputOrder),
                                  outputPermutation =
                                      getPermutationTo(outputMap, outputOrder);
  if (failed(inputPermutation) || failed(outputPermutation) ||
      outputOrder.size() + 1 != op.getNumLoops())
    return "input and result are not [.., columns] and [.., rows] over the "
           "same batch";
  for (auto [rotation, loop] : weight.rotations)
    if (loop != row && loop != column)
      return "a rotation goes along neither rows nor columns of the weight";

  Location loc = op.getLoc();
  rewriter.setInsertionPoint(op);
  Value x = toMatrix(rewriter, loc,
                     transpose(rewriter, loc, input, *inputPermutation),
                     type.getNumColumns());
  Value transposedInit = transpose(rewriter, loc, init, *outputPermutation);
  Value acc = toMatrix(rewriter, loc, transposedInit, type.getNumRows());
  // Along the columns a rotation A of the weight moves to the input as Aᵀ, and
  // the transpose of a rotation is its inverse: x (W~ Aᵀ)ᵀ = (x A) W~ᵀ.
  SmallVector<HadamardOp> ofRows;
  for (auto [rotation, loop] : weight.rotations) {
    if (loop == row)
      ofRows.push_back(rotation);
    else
      x = HadamardOp::create(rewriter, loc, x.getType(), x, rotation.getSigns(),
                             /*dimension=*/1, !rotation.getInverse());
  }
  // Along the rows it stays as it is, on the result. What is accumulated on is
  // not rotated.
  bool addLater = !ofRows.empty() && !isZero(init);
  Value y = addLater ? createZeros(rewriter, loc, acc) : acc;
  y = LinearOp::create(rewriter, loc, y.getType(), x, weight.decode.getWeight(),
                       y)
          .getResult();
  for (HadamardOp rotation : llvm::reverse(ofRows))
    y = HadamardOp::create(rewriter, loc, y.getType(), y, rotation.getSigns(),
                           /*dimension=*/1, rotation.getInverse());
  if (addLater)
    y = linalg::AddOp::create(rewriter, loc, ValueRange{y, acc},
                              ValueRange{acc})
            .getResult(0);

  y = fromMatrix(rewriter, loc, y, transposedInit);
  y = transpose(rewriter, loc, y, invertPermutationVector(*outputPermutation));
  if (y.getType() != op->getResult(0).getType())
    y = tensor::CastOp::create(rewriter, loc, op->getResult(0).getType(), y);
  rewriter.replaceOp(op, y);
  return std::nullopt;
}

/// Replaces `op` when it does no more than read rows of a decoded weight by
/// numbers it is given, result[.., c] = weight[indices[..], c]: the form of an
/// embedding.
static bool fuseGather(RewriterBase &rewriter, linalg::LinalgOp op) {
  if (op.getNumDpsInputs() != 1 || op.getNumDpsInits() != 1 ||
      !op.hasPureTensorSemantics() || op.getNumReductionLoops() != 0)
    return false;
  Block *body = op.getBlock();
  auto extract =
      body->getTerminator()->getOperand(0).getDefiningOp<tensor::ExtractOp>();
  if (!extract || extract.getIndices().size() != 2)
    return false;
  auto decode = extract.getTensor().getDefiningOp<DecodeOp>();
  Value row = extract.getIndices()[0];
  if (auto cast = row.getDefiningOp<arith::IndexCastOp>())
    row = cast.getIn();
  auto column = extract.getIndices()[1].getDefiningOp<linalg::IndexOp>();
  unsigned numLoops = op.getNumLoops();
  if (!decode || !column || row != body->getArgument(0) ||
      column.getDim() != numLoops - 1)
    return false;
  // The numbers have all loops but the one along the columns.
  AffineMap indicesMap = op.getMatchingIndexingMap(op.getDpsInputOperand(0));
  AffineMap outputMap = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  if (numLoops < 2 || !outputMap.isIdentity() ||
      indicesMap != AffineMap::getMultiDimIdentityMap(numLoops, op.getContext())
                        .getMajorSubMap(numLoops - 1))
    return false;
  WeightType type = decode.getWeight().getType();
  auto result = cast<RankedTensorType>(op->getResult(0).getType());
  if (result.getElementType() != type.getElementType() ||
      result.getDimSize(numLoops - 1) != type.getNumColumns())
    return false;

  Location loc = op.getLoc();
  rewriter.setInsertionPoint(op);
  Value indices = op.getDpsInputOperand(0)->get();
  if (numLoops > 2) {
    SmallVector<ReassociationIndices> all(1);
    llvm::append_range(all[0], llvm::seq<int64_t>(numLoops - 1));
    indices = tensor::CollapseShapeOp::create(rewriter, loc, indices, all);
  }
  Value rows = GatherOp::create(rewriter, loc, decode.getWeight(), indices);
  rewriter.replaceOp(
      op, fromMatrix(rewriter, loc, rows, op.getDpsInitOperand(0)->get()));
  return true;
}

/// Reports the uses of a decoded weight, however moved and rotated, that are no
/// contractions; `reported` has those that are. Returns their number.
static unsigned reportOtherUses(DecodeOp decode,
                                const DenseSet<Operation *> &reported) {
  unsigned count = 0;
  SmallVector<Operation *> worklist(decode->getUsers());
  DenseSet<Operation *> visited;
  while (!worklist.empty()) {
    Operation *user = worklist.pop_back_val();
    if (!visited.insert(user).second || reported.contains(user))
      continue;
    AffineMap in, out;
    auto linalgOp = dyn_cast<linalg::LinalgOp>(user);
    bool passesOn =
        isa<HadamardOp, tensor::CastOp>(user) ||
        (linalgOp && movesElements(linalgOp, in, out)) ||
        (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(user) &&
         getUnitReshapeMap(user));
    if (passesOn) {
      llvm::append_range(worklist, user->getUsers());
      continue;
    }
    ++count;
    remark::missed(user->getLoc(), getRemark())
        << ("weight is decoded in full: '" + user->getName().getStringRef() +
            "' is no product with it")
               .str();
  }
  return count;
}

namespace {
struct FuseDecodePass : glvq::impl::FuseDecodePassBase<FuseDecodePass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<linalg::LinalgOp> contractions, others;
    getOperation()->walk([&](linalg::LinalgOp op) {
      if (!linalg::isaContractionOpInterface(op))
        others.push_back(op);
      else if (op.hasPureTensorSemantics())
        contractions.push_back(op);
    });

    for (linalg::LinalgOp op : others) {
      Location loc = op.getLoc();
      if (!fuseGather(rewriter, op))
        continue;
      ++numFused;
      remark::passed(loc, getRemark()) << "decode fused into glvq.gather";
    }

    DenseSet<Operation *> reported;
    for (linalg::LinalgOp op : contractions) {
      // If both operands are weights, the right one stays encoded.
      std::optional<StringRef> reason;
      for (unsigned i : {1u, 0u}) {
        OpOperand *operand = op.getDpsInputOperand(i);
        std::optional<TracedWeight> weight =
            traceWeight(operand->get(), op.getMatchingIndexingMap(operand));
        if (!weight)
          continue;
        Location loc = op.getLoc();
        reason = fuse(rewriter, op, *weight, operand);
        if (!reason) {
          ++numFused;
          remark::passed(loc, getRemark()) << "decode fused into glvq.linear";
          break;
        }
      }
      if (!reason)
        continue;
      ++numMissed;
      reported.insert(op);
      remark::missed(op.getLoc(), getRemark())
          << ("weight is decoded in full: " + *reason).str();
    }

    // Decodes, rotations and transposes that nothing reads any more.
    getOperation()->walk<WalkOrder::PostOrder, ReverseIterator>(
        [&](Operation *op) {
          if (isOpTriviallyDead(op))
            rewriter.eraseOp(op);
        });
    getOperation()->walk([&](DecodeOp decode) {
      numMissed += reportOtherUses(decode, reported);
    });
  }
};
} // namespace

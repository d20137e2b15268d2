// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// glvq-pack-codes: products with packed integers read them interleaved, and the
// interleaving moves up to the entry points, where the writer of the weights
// does it once and for all.

#include "glvq/Conversion/Passes.h"
#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "glvq/Lattice/Interleave.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Iterators.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_PACKCODESPASS
#include "glvq/Conversion/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;
using namespace mlir::glvq;

static constexpr StringLiteral kNameAttr = "glvq.name";

namespace {
/// How codes come from an argument: through slices and reshapes at static
/// places.
struct Source {
  BlockArgument argument;
  /// From the argument's user on.
  SmallVector<Operation *> path;
};

/// Rows of words within a tensor, counted in words.
struct WordView {
  int64_t offset = 0, stride = 0, rows = 0, words = 0;
};
} // namespace

/// Follows `codes` to an argument of a function.
static std::optional<Source> traceCodes(Value codes) {
  Source source;
  while (Operation *op = codes.getDefiningOp()) {
    if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
      if (!slice.getOffsets().empty() || !slice.getSizes().empty() ||
          !slice.hasUnitStride())
        return std::nullopt;
    } else if (!isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp,
                    tensor::CastOp>(op)) {
      return std::nullopt;
    }
    source.path.push_back(op);
    codes = op->getOperand(0);
  }
  source.argument = cast<BlockArgument>(codes);
  if (!isa<func::FuncOp>(source.argument.getOwner()->getParentOp()))
    return std::nullopt;
  std::reverse(source.path.begin(), source.path.end());
  return source;
}

/// The rows that `path` takes of a tensor; nothing for what is not one
/// rectangle of whole rows' parts.
static std::optional<WordView> getView(RankedTensorType type,
                                       ArrayRef<Operation *> path) {
  if (!type.hasStaticShape())
    return std::nullopt;
  WordView view;
  auto reset = [&](RankedTensorType type) {
    view.words = type.getShape().back();
    view.rows = type.getNumElements() / view.words;
  };
  reset(type);
  view.stride = view.words;
  for (Operation *op : path) {
    auto result = dyn_cast<RankedTensorType>(op->getResult(0).getType());
    if (!result || !result.hasStaticShape())
      return std::nullopt;
    if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
      ArrayRef<int64_t> offsets = slice.getStaticOffsets();
      if (slice.getSourceType().getRank() != result.getRank() ||
          result.getRank() > 2)
        return std::nullopt;
      view.offset += offsets.back();
      if (result.getRank() == 2)
        view.offset += offsets[0] * view.stride;
      reset(result);
      continue;
    }
    // Rows may be cut out of words that follow each other.
    if (view.words != view.stride && view.rows != 1 && !isa<tensor::CastOp>(op))
      return std::nullopt;
    reset(result);
    if (!isa<tensor::CastOp>(op))
      view.stride = view.words;
  }
  return view;
}

namespace {
struct PackCodes : mlir::glvq::impl::PackCodesPassBase<PackCodes> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTableCollection tables;
    SymbolUserMap users(tables, module);

    SmallVector<MatmulOp> products;
    module.walk([&](MatmulOp op) {
      if (isa<PackedIntegerAttr>(op.getCode()) && op.getResult() &&
          !cast<ShapedType>(op.getInput().getType()).isDynamicDim(1))
        products.push_back(op);
    });
    for (MatmulOp op : products) {
      interleave(op);
      ++numPacked;
    }

    // Up through the calls.
    SmallVector<InterleaveOp> worklist;
    module.walk([&](InterleaveOp op) { worklist.push_back(op); });
    llvm::SetVector<func::FuncOp> touched;
    while (!worklist.empty()) {
      InterleaveOp op = worklist.pop_back_val();
      std::optional<Source> source = traceCodes(op.getCodes());
      if (!source)
        continue;
      auto function =
          cast<func::FuncOp>(source->argument.getOwner()->getParentOp());
      bool moved = function.isPublic()
                       ? becomeArgument(function, op, *source)
                       : moveToCallers(function, op, *source, users, worklist);
      if (moved)
        touched.insert(function);
    }
    for (func::FuncOp function : touched)
      if (function.isPublic())
        for (BlockArgument argument : function.getArguments())
          readRowsInterleaved(function, argument, users);
    eraseUnused(touched, users);
    arguments.clear();
  }

private:
  /// Gives a product interleaved codes.
  void interleave(MatmulOp op) {
    OpBuilder b(op);
    int64_t columns =
        cast<RankedTensorType>(op.getInput().getType()).getDimSize(1);
    int64_t bits = cast<PackedIntegerAttr>(op.getCode()).getBits();
    Value codes =
        InterleaveOp::create(b, op.getLoc(), op.getCodes(), columns, bits);
    op.getCodesMutable().assign(codes);
    op.setCodeAttr(InterleavedAttr::get(op.getContext(), bits));
  }

  /// What identifies the result of `op` among those of the same argument.
  Attribute getKey(InterleaveOp op, const Source &source) {
    Builder b(op.getContext());
    SmallVector<Attribute> key = {
        b.getI64IntegerAttr(source.argument.getArgNumber()),
        op.getColumnsAttr(), op.getBitsAttr()};
    for (Operation *step : source.path) {
      key.push_back(step->getName().getIdentifier());
      key.push_back(step->getAttrDictionary());
      key.push_back(step->getPropertiesAsAttribute());
      key.push_back(TypeAttr::get(step->getResult(0).getType()));
    }
    return b.getArrayAttr(key);
  }

  /// Takes the interleaved codes as an argument, and interleaves them in
  /// front of every call.
  bool moveToCallers(func::FuncOp function, InterleaveOp op,
                     const Source &source, SymbolUserMap &users,
                     SmallVectorImpl<InterleaveOp> &worklist) {
    SmallVector<func::CallOp> calls;
    for (Operation *user : users.getUsers(function)) {
      auto call = dyn_cast<func::CallOp>(user);
      if (!call)
        return false;
      calls.push_back(call);
    }
    auto [it, isNew] =
        arguments.try_emplace({function, getKey(op, source)}, Value());
    if (isNew) {
      it->second = addArgument(function, op.getType(), {});
      for (func::CallOp call : calls) {
        OpBuilder b(call);
        IRMapping mapping;
        mapping.map(source.argument,
                    call.getOperand(source.argument.getArgNumber()));
        for (Operation *step : source.path)
          b.clone(*step, mapping);
        auto moved = cast<InterleaveOp>(b.clone(*op, mapping));
        call.getOperandsMutable().append(moved.getResult());
        worklist.push_back(moved);
      }
    }
    op.replaceAllUsesWith(it->second);
    op.erase();
    return true;
  }

  /// Makes the interleaved codes a weight of their own.
  bool becomeArgument(func::FuncOp function, InterleaveOp op,
                      const Source &source) {
    auto type = cast<RankedTensorType>(source.argument.getType());
    auto name = function.getArgAttrOfType<StringAttr>(
        source.argument.getArgNumber(), kNameAttr);
    std::optional<WordView> view = getView(type, source.path);
    if (!name || !view)
      return false;
    auto [it, isNew] =
        arguments.try_emplace({function, getKey(op, source)}, Value());
    if (isNew) {
      Builder b(op.getContext());
      auto number = [&](StringRef key, int64_t value) {
        return b.getNamedAttr(key, b.getI64IntegerAttr(value));
      };
      // Some columns of a weight are a weight of their own.
      std::string packedName = (name.getValue() + ".interleaved").str();
      if (view->rows * view->words != type.getNumElements())
        packedName += std::to_string(view->offset);
      NamedAttrList attrs;
      attrs.set(kNameAttr, b.getStringAttr(packedName));
      attrs.set(
          kPackedAttrName,
          b.getDictionaryAttr(
              {b.getNamedAttr("source", name), number("offset", view->offset),
               number("stride", view->stride), number("rows", view->rows),
               number("words", view->words), number("columns", op.getColumns()),
               number("bits", op.getBits())}));
      it->second = addArgument(function, op.getType(),
                               attrs.getDictionary(op.getContext()));
      ++numArguments;
    }
    op.replaceAllUsesWith(it->second);
    op.erase();
    return true;
  }

  /// A tied embedding is read twice: by rows, and as the head. The words of
  /// fields of eight bits are the same in both orders, only sixteen apart when
  /// they are interleaved. So functions that do no more than take rows of
  /// `codes` take them from the interleaved ones, and the weight is stored
  /// once.
  void readRowsInterleaved(func::FuncOp entry, BlockArgument codes,
                           SymbolUserMap &users) {
    auto name =
        entry.getArgAttrOfType<StringAttr>(codes.getArgNumber(), kNameAttr);
    if (!name || codes.use_empty())
      return;
    auto isWhole = [&](BlockArgument argument) {
      auto packed = entry.getArgAttrOfType<DictionaryAttr>(
          argument.getArgNumber(), kPackedAttrName);
      auto type = dyn_cast<RankedTensorType>(codes.getType());
      return packed && type && type.getRank() == 2 &&
             packed.get("source") == name &&
             packed.getAs<IntegerAttr>("bits").getInt() == 8 &&
             packed.getAs<IntegerAttr>("rows").getInt() == type.getDimSize(0) &&
             packed.getAs<IntegerAttr>("words").getInt() == type.getDimSize(1);
    };
    auto interleaved = llvm::find_if(entry.getArguments(), isWhole);
    if (interleaved == entry.getArguments().end())
      return;

    // Everything is checked before anything changes.
    SmallVector<std::pair<func::FuncOp, unsigned>> readers;
    for (OpOperand &use : codes.getUses()) {
      auto call = dyn_cast<func::CallOp>(use.getOwner());
      auto reader = call ? SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(
                               call, call.getCalleeAttr())
                         : func::FuncOp();
      if (!reader || reader.isPublic() || reader.isExternal() ||
          users.getUsers(reader).size() != 1)
        return;
      BlockArgument rows = reader.getArgument(use.getOperandNumber());
      auto takesRow = [&](Operation *op) {
        auto slice = dyn_cast<tensor::ExtractSliceOp>(op);
        return slice &&
               slice.getStaticSizes() ==
                   ArrayRef<int64_t>{1, slice.getSourceType().getDimSize(1)} &&
               slice.getType().getRank() == 2 && slice.hasUnitStride();
      };
      if (!llvm::all_of(rows.getUsers(), takesRow))
        return;
      readers.emplace_back(reader, use.getOperandNumber());
    }
    for (auto [reader, number] : readers) {
      BlockArgument rows = reader.getArgument(number);
      for (Operation *op : llvm::to_vector(rows.getUsers())) {
        auto slice = cast<tensor::ExtractSliceOp>(op);
        OpBuilder b(slice);
        Location loc = slice.getLoc();
        AffineExpr row = b.getAffineDimExpr(0);
        constexpr int64_t tile = ::glvq::lattice::kInterleavedRows;
        OpFoldResult at = slice.getMixedOffsets()[0];
        OpFoldResult offsets[] = {
            affine::makeComposedFoldedAffineApply(b, loc, row.floorDiv(tile),
                                                  {at}),
            affine::makeComposedFoldedAffineApply(b, loc, row % tile, {at})};
        Value moved = tensor::ExtractSliceOp::create(
            b, loc, slice.getType(), rows, offsets, slice.getMixedSizes(),
            ArrayRef<OpFoldResult>{b.getIndexAttr(1), b.getIndexAttr(tile)});
        slice.replaceAllUsesWith(moved);
        slice.erase();
      }
      rows.setType(interleaved->getType());
      reader.setType(FunctionType::get(reader.getContext(),
                                       reader.getBody().getArgumentTypes(),
                                       reader.getResultTypes()));
      auto call = cast<func::CallOp>(users.getUsers(reader).front());
      call.setOperand(number, *interleaved);
    }
  }

  Value addArgument(func::FuncOp function, Type type, DictionaryAttr attrs) {
    unsigned number = function.getNumArguments();
    // Only a mismatch of the function with its type can fail.
    (void)function.insertArgument(number, type, attrs, function.getLoc());
    return function.getArgument(number);
  }

  /// Slices and arguments that nothing reads any more. A weight of an entry
  /// that is not read would be stored for nothing.
  void eraseUnused(llvm::SetVector<func::FuncOp> functions,
                   SymbolUserMap &users) {
    while (!functions.empty()) {
      func::FuncOp function = functions.pop_back_val();
      function.walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
        if (isa<tensor::TensorDialect>(op->getDialect()) &&
            isOpTriviallyDead(op))
          op->erase();
      });
      llvm::BitVector unused(function.getNumArguments());
      for (BlockArgument argument : function.getArguments())
        if (argument.use_empty() &&
            (function.isPrivate() ||
             function.getArgAttr(argument.getArgNumber(), kNameAttr)))
          unused.set(argument.getArgNumber());
      if (unused.none() || failed(function.eraseArguments(unused)))
        continue;
      if (function.isPublic())
        continue;
      for (Operation *user : users.getUsers(function)) {
        user->eraseOperands(unused);
        functions.insert(user->getParentOfType<func::FuncOp>());
      }
    }
  }

  DenseMap<std::pair<Operation *, Attribute>, Value> arguments;
};
} // namespace

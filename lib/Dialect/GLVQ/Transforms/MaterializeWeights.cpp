// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// glvq-materialize-weights: one value of weight type becomes several tensors,
// everywhere at once. A full conversion, because a weight that were left over
// would go unnoticed through the conversions to LLVM.

#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "glvq/Dialect/GLVQ/Transforms/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/Transforms/StructuralTypeConversions.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Func/Transforms/FuncConversions.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/Patterns.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Transforms/DialectConversion.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_MATERIALIZEWEIGHTSPASS
#include "glvq/Dialect/GLVQ/Transforms/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;
using namespace mlir::glvq;

namespace {

/// A weight is converted to its parts, everything else stays as it is.
struct PartsTypeConverter : TypeConverter {
  PartsTypeConverter() {
    addConversion([](Type type) { return type; });
    addConversion(
        [](WeightType type, SmallVectorImpl<Type> &parts) -> LogicalResult {
          llvm::append_range(parts, type.getCode().getStorageTypes(type));
          return success();
        });
    addSourceMaterialization([](OpBuilder &builder, WeightType type,
                                ValueRange parts, Location loc) -> Value {
      return AssembleOp::create(builder, loc, type, parts);
    });
    addTargetMaterialization([](OpBuilder &builder, TypeRange types,
                                ValueRange inputs,
                                Location loc) -> SmallVector<Value> {
      if (inputs.size() != 1 || !isa<WeightType>(inputs.front().getType()))
        return {};
      return llvm::to_vector_of<Value>(
          DisassembleOp::create(builder, loc, types, inputs.front())
              .getResults());
    });
  }
};

struct ConvertAssemble : OpConversionPattern<AssembleOp> {
  using Base::Base;
  LogicalResult
  matchAndRewrite(AssembleOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithMultiple(op, {adaptor.getParts()});
    return success();
  }
};

struct ConvertDisassemble : OpConversionPattern<DisassembleOp> {
  using Base::Base;
  LogicalResult
  matchAndRewrite(DisassembleOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOp(op, adaptor.getWeight());
    return success();
  }
};

/// The codes come from the reference encoder, the parameters are given.
struct ConvertEncode : OpConversionPattern<EncodeOp> {
  using Base::Base;
  LogicalResult
  matchAndRewrite(EncodeOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    WeightType type = op.getWeight().getType();
    FailureOr<Value> codes = type.getCode().buildEncode(
        rewriter, op.getLoc(), type, adaptor.getDense(), adaptor.getParams());
    if (failed(codes))
      return op.emitError("code ")
             << type.getCode() << " has no reference encoder; encode this "
             << "weight when the checkpoint is made";
    SmallVector<Value> parts{*codes};
    llvm::append_range(parts, adaptor.getParams());
    rewriter.replaceOpWithMultiple(op, {parts});
    return success();
  }
};

/// What fusion left becomes the reference decoder.
struct ConvertDecode : OpConversionPattern<DecodeOp> {
  ConvertDecode(const TypeConverter &converter, MLIRContext *context,
                Pass::Statistic &count)
      : OpConversionPattern(converter, context), count(count) {}

  LogicalResult
  matchAndRewrite(DecodeOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    WeightType type = op.getWeight().getType();
    FailureOr<Value> dense = type.getCode().buildDecode(
        rewriter, op.getLoc(), type, adaptor.getWeight());
    if (failed(dense))
      return op.emitError("code ")
             << type.getCode() << " has no reference decoder";
    ++count;
    rewriter.replaceOp(op, *dense);
    return success();
  }

  Pass::Statistic &count;
};

struct ConvertLinear : OpConversionPattern<LinearOp> {
  ConvertLinear(const TypeConverter &converter, MLIRContext *context,
                Pass::Statistic &count)
      : OpConversionPattern(converter, context), count(count) {}

  LogicalResult
  matchAndRewrite(LinearOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ValueRange parts = adaptor.getWeight();
    rewriter.replaceOpWithNewOp<MatmulOp>(
        op, TypeRange{op.getResult().getType()}, adaptor.getInput().front(),
        parts.front(), parts.drop_front(), adaptor.getInit().front(),
        op.getWeight().getType().getCode());
    ++count;
    return success();
  }

  Pass::Statistic &count;
};

struct ConvertGather : OpConversionPattern<GatherOp> {
  using Base::Base;
  LogicalResult
  matchAndRewrite(GatherOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    FailureOr<Value> rows = op.buildReference(rewriter, adaptor.getWeight(),
                                              adaptor.getIndices().front());
    if (failed(rows))
      return failure();
    rewriter.replaceOp(op, *rows);
    return success();
  }
};

/// Canonicalization makes selects of weights out of scf.if and cf.cond_br.
struct ConvertSelect : OpConversionPattern<arith::SelectOp> {
  using Base::Base;
  LogicalResult
  matchAndRewrite(arith::SelectOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    SmallVector<Value> parts;
    for (auto [ifTrue, ifFalse] :
         llvm::zip_equal(adaptor.getTrueValue(), adaptor.getFalseValue()))
      parts.push_back(arith::SelectOp::create(rewriter, op.getLoc(),
                                              adaptor.getCondition().front(),
                                              ifTrue, ifFalse));
    rewriter.replaceOpWithMultiple(op, {parts});
    return success();
  }
};

/// The signature with its attributes. The upstream pattern leaves argument
/// attributes at their old index, where after an expansion another argument
/// stands; here they follow their argument, and `glvq.name` is completed:
/// `P.weight` is stored as `P.codes`, `P.generators`, ….
struct ConvertFunction : OpInterfaceConversionPattern<FunctionOpInterface> {
  using Base = OpInterfaceConversionPattern<FunctionOpInterface>;
  using Base::Base;

  LogicalResult
  matchAndRewrite(FunctionOpInterface op, ArrayRef<Value>,
                  ConversionPatternRewriter &rewriter) const override {
    SmallVector<Type> inputs, results;
    SmallVector<DictionaryAttr> inputAttrs, resultAttrs;
    for (unsigned i : llvm::seq(op.getNumArguments()))
      if (failed(expand(op.getArgumentTypes()[i], op.getArgAttrDict(i), inputs,
                        inputAttrs)))
        return rewriter.notifyMatchFailure(op, "argument type not convertible");
    for (unsigned i : llvm::seq(op.getNumResults()))
      if (failed(expand(op.getResultTypes()[i], op.getResultAttrDict(i),
                        results, resultAttrs)))
        return rewriter.notifyMatchFailure(op, "result type not convertible");
    if (!op.isExternal() && failed(rewriter.convertRegionTypes(
                                &op.getFunctionBody(), *getTypeConverter())))
      return rewriter.notifyMatchFailure(
          op, "block argument types not convertible");
    rewriter.modifyOpInPlace(op, [&] {
      op.setType(op.cloneTypeWith(inputs, results));
      op.setAllArgAttrs(inputAttrs);
      op.setAllResultAttrs(resultAttrs);
    });
    return success();
  }

private:
  /// Appends what `type` with attributes `attrs` becomes.
  LogicalResult expand(Type type, DictionaryAttr attrs,
                       SmallVectorImpl<Type> &types,
                       SmallVectorImpl<DictionaryAttr> &allAttrs) const {
    if (!attrs)
      attrs = DictionaryAttr::get(getContext());
    auto weight = dyn_cast<WeightType>(type);
    if (!weight) {
      allAttrs.push_back(attrs);
      return getTypeConverter()->convertType(type, types);
    }
    if (failed(getTypeConverter()->convertType(type, types)))
      return failure();
    for (StringRef part : weight.getCode().getStorageNames()) {
      NamedAttrList list(attrs);
      // The shape described the weight; each part carries its own in its type.
      list.erase("glvq.shape");
      if (auto name = dyn_cast_or_null<StringAttr>(list.get("glvq.name"))) {
        StringRef prefix = name.getValue();
        prefix.consume_back(".weight");
        list.set("glvq.name",
                 StringAttr::get(getContext(), prefix + "." + part));
      }
      allAttrs.push_back(list.getDictionary(getContext()));
    }
    return success();
  }
};

struct MaterializeWeightsPass
    : glvq::impl::MaterializeWeightsPassBase<MaterializeWeightsPass> {
  void runOnOperation() override {
    MLIRContext *context = &getContext();
    PartsTypeConverter converter;
    RewritePatternSet patterns(context);
    patterns.add<ConvertAssemble, ConvertDisassemble, ConvertEncode,
                 ConvertGather, ConvertSelect, ConvertFunction>(converter,
                                                                context);
    patterns.add<ConvertDecode>(converter, context, numDecoded);
    patterns.add<ConvertLinear>(converter, context, numMatmuls);
    populateCallOpTypeConversionPattern(patterns, converter);
    populateReturnOpTypeConversionPattern(patterns, converter);
    scf::populateSCFStructuralTypeConversions(converter, patterns);
    cf::populateCFStructuralTypeConversions(converter, patterns);

    ConversionTarget target(*context);
    target.markUnknownOpDynamicallyLegal([&](Operation *op) {
      if (auto function = dyn_cast<FunctionOpInterface>(op))
        if (!converter.isLegal(function.getArgumentTypes()) ||
            !converter.isLegal(function.getResultTypes()))
          return false;
      return converter.isLegal(op) &&
             llvm::all_of(op->getRegions(), [&](Region &region) {
               return converter.isLegal(&region);
             });
    });
    if (failed(
            applyFullConversion(getOperation(), target, std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// glvq-parallel-loops-to-calls: scf.parallel on the host's thread pool. Done by
// ourselves because a model library may need nothing but libc and libm: the
// pool belongs to the host and comes in through one variable.

#include "glvq/Conversion/NativeCPU/Passes.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/Transforms/RegionUtils.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_PARALLELLOOPSTOCALLSPASS
#include "glvq/Conversion/NativeCPU/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;

namespace {

constexpr StringLiteral kDispatch = "glvq_dispatch";

struct ParallelLoopsToCalls
    : glvq::impl::ParallelLoopsToCallsPassBase<ParallelLoopsToCalls> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    LLVMTypeConverter converter(&getContext());
    SymbolTable symbols(module);
    bodies.clear();

    SmallVector<scf::ParallelOp> loops;
    module.walk<WalkOrder::PreOrder>([&](scf::ParallelOp loop) {
      if (loop.getNumReductions() == 0)
        loops.push_back(loop);
      return WalkResult::skip();
    });
    for (scf::ParallelOp loop : loops)
      if (failed(outline(loop, symbols, converter)))
        return signalPassFailure();
    if (!loops.empty() && !module.lookupSymbol(kDispatch))
      addDispatch(module);
  }

  /// %v as the LLVM type that travels through memory, and back.
  static Value cast(OpBuilder &b, Location loc, Value value, Type type) {
    if (value.getType() == type)
      return value;
    return UnrealizedConversionCastOp::create(b, loc, type, value).getResult(0);
  }

  LogicalResult outline(scf::ParallelOp loop, SymbolTable &symbols,
                        const LLVMTypeConverter &converter) {
    Location loc = loop.getLoc();
    auto parent = loop->getParentOfType<FunctionOpInterface>();
    OpBuilder b(loop);
    Type pointer = LLVM::LLVMPointerType::get(&getContext());
    Type i64 = b.getI64Type();
    Type index = b.getIndexType();

    // What the body takes from outside: constants are made again inside.
    llvm::SetVector<Value> used;
    getUsedValuesDefinedAbove(loop.getRegion(), used);
    for (ValueRange range :
         {ValueRange(loop.getLowerBound()), ValueRange(loop.getUpperBound()),
          ValueRange(loop.getStep())})
      used.insert(range.begin(), range.end());
    SmallVector<Value> captured;
    SmallVector<Operation *> constants;
    SmallVector<Type> loweredTypes;
    for (Value value : used) {
      Operation *def = value.getDefiningOp();
      if (def && def->hasTrait<OpTrait::ConstantLike>()) {
        constants.push_back(def);
        continue;
      }
      Type lowered = converter.convertType(value.getType());
      if (!lowered)
        return loop.emitOpError("uses a value of type ")
               << value.getType() << ", which cannot reach another thread";
      captured.push_back(value);
      loweredTypes.push_back(lowered);
    }
    auto contextType =
        LLVM::LLVMStructType::getLiteral(&getContext(), loweredTypes);

    // The body, over iterations [begin, end) of the outermost dimension.
    b.setInsertionPoint(parent);
    auto body = func::FuncOp::create(
        b, loc, (parent.getName() + "_parallel").str(),
        b.getFunctionType({pointer, i64, i64}, TypeRange()));
    body.setPrivate();
    Block *entry = body.addEntryBlock();
    b.setInsertionPointToStart(entry);
    IRMapping mapping;
    for (Operation *op : constants)
      b.clone(*op, mapping);
    for (auto [i, value] : llvm::enumerate(captured)) {
      Value address = LLVM::GEPOp::create(
          b, loc, pointer, contextType, entry->getArgument(0),
          ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(i)});
      Value loaded = LLVM::LoadOp::create(b, loc, loweredTypes[i], address);
      mapping.map(value, cast(b, loc, loaded, value.getType()));
    }
    Value begin =
        arith::IndexCastOp::create(b, loc, index, entry->getArgument(1));
    Value end =
        arith::IndexCastOp::create(b, loc, index, entry->getArgument(2));
    Value one = arith::ConstantIndexOp::create(b, loc, 1);
    auto outer = scf::ForOp::create(b, loc, begin, end, one);
    func::ReturnOp::create(b, loc);
    b.setInsertionPointToStart(outer.getBody());
    Value lower = mapping.lookup(loop.getLowerBound()[0]);
    Value step = mapping.lookup(loop.getStep()[0]);
    Value scaled = arith::MulIOp::create(b, loc, outer.getInductionVar(), step);
    mapping.map(loop.getInductionVars()[0],
                arith::AddIOp::create(b, loc, lower, scaled));
    for (unsigned d = 1, e = loop.getNumLoops(); d < e; ++d) {
      auto inner =
          scf::ForOp::create(b, loc, mapping.lookup(loop.getLowerBound()[d]),
                             mapping.lookup(loop.getUpperBound()[d]),
                             mapping.lookup(loop.getStep()[d]));
      mapping.map(loop.getInductionVars()[d], inner.getInductionVar());
      b.setInsertionPointToStart(inner.getBody());
    }
    for (Operation &op : loop.getBody()->without_terminator())
      b.clone(op, mapping);
    // Scratch of one iteration serves all: in the loop it would pile up on
    // the stack until the function returns.
    outer.walk([&](memref::AllocaOp scratch) {
      if (scratch.getType().hasStaticShape() && scratch->getNumOperands() == 0)
        scratch->moveBefore(outer);
    });
    body = deduplicate(body, symbols);

    // The context lives in the entry block: a loop around must not grow the
    // stack.
    b.setInsertionPointToStart(&parent.getFunctionBody().front());
    Value oneI64 =
        LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(1));
    Value context =
        LLVM::AllocaOp::create(b, loc, pointer, contextType, oneI64);
    b.setInsertionPoint(loop);
    for (auto [i, value] : llvm::enumerate(captured)) {
      Value address = LLVM::GEPOp::create(
          b, loc, pointer, contextType, context,
          ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(i)});
      LLVM::StoreOp::create(b, loc, cast(b, loc, value, loweredTypes[i]),
                            address);
    }
    Value span = arith::SubIOp::create(b, loc, loop.getUpperBound()[0],
                                       loop.getLowerBound()[0]);
    Value count = arith::CeilDivSIOp::create(b, loc, span, loop.getStep()[0]);
    Value function = func::ConstantOp::create(b, loc, body.getFunctionType(),
                                              SymbolRefAttr::get(body));
    func::CallOp::create(
        b, loc, kDispatch, TypeRange(),
        ValueRange{cast(b, loc, function, pointer), context,
                   arith::IndexCastOp::create(b, loc, i64, count)});
    loop.erase();
    return success();
  }

  /// One function for bodies that are equal but for their names: layers of
  /// one shape share their code, in the caches too.
  func::FuncOp deduplicate(func::FuncOp body, SymbolTable &symbols) {
    llvm::hash_code hash = llvm::hash_value(0);
    body.getBody().walk([&](Operation *op) {
      hash = llvm::hash_combine(hash, op->getName().getAsOpaquePointer(),
                                op->getAttrDictionary());
      for (Type type : op->getResultTypes())
        hash = llvm::hash_combine(hash, type.getAsOpaquePointer());
    });
    for (func::FuncOp other : bodies[hash])
      if (OperationEquivalence::isRegionEquivalentTo(
              &body.getBody(), &other.getBody(),
              OperationEquivalence::IgnoreLocations)) {
        body.erase();
        return other;
      }
    bodies[hash].push_back(body);
    body->remove();
    symbols.insert(body);
    return body;
  }

  /// func glvq_dispatch(body, context, count):
  ///   hook = glvq_parallel_for
  ///   hook && count > 1 ? hook(body, context, count) : body(context, 0, count)
  void addDispatch(ModuleOp module) {
    Location loc = module.getLoc();
    OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
    MLIRContext *context = &getContext();
    Type pointer = LLVM::LLVMPointerType::get(context);
    Type i64 = b.getI64Type();
    Type none = LLVM::LLVMVoidType::get(context);

    auto hookVariable = LLVM::GlobalOp::create(
        b, loc, pointer, /*isConstant=*/false, LLVM::Linkage::External,
        glvq::kParallelForSymbol, Attribute());
    {
      OpBuilder::InsertionGuard guard(b);
      b.createBlock(&hookVariable.getInitializerRegion());
      LLVM::ReturnOp::create(b, loc, LLVM::ZeroOp::create(b, loc, pointer));
    }

    auto dispatch = func::FuncOp::create(
        b, loc, kDispatch,
        b.getFunctionType({pointer, pointer, i64}, TypeRange()));
    dispatch.setPrivate();
    Block *entry = dispatch.addEntryBlock();
    Value body = entry->getArgument(0), data = entry->getArgument(1),
          count = entry->getArgument(2);
    b.setInsertionPointToStart(entry);
    Value address = LLVM::AddressOfOp::create(b, loc, hookVariable);
    Value hook = LLVM::LoadOp::create(b, loc, pointer, address);
    Value null = LLVM::ZeroOp::create(b, loc, pointer);
    Value hasHook =
        LLVM::ICmpOp::create(b, loc, LLVM::ICmpPredicate::ne, hook, null);
    Value one = LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(1));
    Value zero = LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(0));
    Value many =
        LLVM::ICmpOp::create(b, loc, LLVM::ICmpPredicate::sgt, count, one);
    Value both = LLVM::AndOp::create(b, loc, hasHook, many);
    auto choice = scf::IfOp::create(b, loc, both, /*withElseRegion=*/true);
    func::ReturnOp::create(b, loc);
    b.setInsertionPointToStart(choice.thenBlock());
    LLVM::CallOp::create(
        b, loc, LLVM::LLVMFunctionType::get(none, {pointer, pointer, i64}),
        ValueRange{hook, body, data, count});
    b.setInsertionPointToStart(choice.elseBlock());
    LLVM::CallOp::create(b, loc,
                         LLVM::LLVMFunctionType::get(none, {pointer, i64, i64}),
                         ValueRange{body, data, zero, count});
  }

  llvm::DenseMap<size_t, SmallVector<func::FuncOp>> bodies;
};

} // namespace

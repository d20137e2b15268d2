// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// glvq-emit-entry-points: `void glvq_entry_<name>(void **)` of
// docs/ArtefactFormat.md.

#include "glvq/Conversion/NativeCPU/Passes.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_EMITENTRYPOINTSPASS
#include "glvq/Conversion/NativeCPU/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;

namespace {
struct EmitEntryPoints : glvq::impl::EmitEntryPointsPassBase<EmitEntryPoints> {
  void runOnOperation() override {
    SmallVector<func::FuncOp> entries;
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (func->hasAttr(glvq::kEntryArgumentsAttrName))
        entries.push_back(func);
    LLVMTypeConverter converter(&getContext());
    for (func::FuncOp entry : entries)
      if (failed(emit(entry, converter)))
        return signalPassFailure();
  }

  LogicalResult emit(func::FuncOp entry, const LLVMTypeConverter &converter) {
    Location loc = entry.getLoc();
    OpBuilder b(&getContext());
    b.setInsertionPointAfter(entry);
    Type pointer = LLVM::LLVMPointerType::get(&getContext());
    auto wrapper = func::FuncOp::create(
        b, loc, (glvq::kEntrySymbolPrefix + entry.getName()).str(),
        b.getFunctionType(pointer, TypeRange()));
    // The manifest is about the symbol that is called.
    wrapper->setAttr(glvq::kEntryArgumentsAttrName,
                     entry->removeAttr(glvq::kEntryArgumentsAttrName));
    entry.setPrivate();
    // LLVM IR knows no attributes of ours on arguments.
    for (unsigned i = 0, e = entry.getNumArguments(); i < e; ++i)
      if (DictionaryAttr attrs = entry.getArgAttrDict(i))
        for (NamedAttribute attr : attrs)
          if (attr.getName().getValue().starts_with("glvq."))
            entry.removeArgAttr(i, attr.getName());

    Block *body = wrapper.addEntryBlock();
    b.setInsertionPointToStart(body);
    SmallVector<Value> arguments;
    for (auto [i, type] : llvm::enumerate(entry.getArgumentTypes())) {
      Type lowered = converter.convertType(type);
      if (!lowered)
        return entry.emitOpError("argument #")
               << i << " of an entry has type " << type
               << ", which has no C form";
      Value slot =
          LLVM::GEPOp::create(b, loc, pointer, pointer, body->getArgument(0),
                              ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(i)});
      Value address = LLVM::LoadOp::create(b, loc, pointer, slot);
      Value value = LLVM::LoadOp::create(b, loc, lowered, address);
      if (lowered != type)
        value = UnrealizedConversionCastOp::create(b, loc, type, value)
                    .getResult(0);
      arguments.push_back(value);
    }
    func::CallOp::create(b, loc, entry, arguments);
    func::ReturnOp::create(b, loc);
    return success();
  }
};
} // namespace

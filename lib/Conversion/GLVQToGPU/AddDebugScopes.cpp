//===- AddDebugScopes.cpp - Locations that survive to LLVM IR -------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "glvq/Conversion/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/BinaryFormat/Dwarf.h"
#include "llvm/Support/Path.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_ADDDEBUGSCOPESPASS
#include "glvq/Conversion/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;
using namespace mlir::glvq;

namespace {
struct AddDebugScopes
    : public glvq::impl::AddDebugScopesPassBase<AddDebugScopes> {
  void runOnOperation() override {
    MLIRContext *context = &getContext();
    auto type = LLVM::DISubroutineTypeAttr::get(context, {});
    for (auto function : getOperation().getOps<LLVM::LLVMFuncOp>()) {
      Location loc = function.getLoc();
      if (function.isExternal() ||
          loc->findInstanceOf<FusedLocWith<LLVM::DISubprogramAttr>>())
        continue;
      auto line = loc->findInstanceOf<FileLineColLoc>();
      StringRef path = line ? line.getFilename().getValue() : "<unknown>";
      unsigned number = line ? line.getLine() : 1;
      auto file =
          LLVM::DIFileAttr::get(context, llvm::sys::path::filename(path),
                                llvm::sys::path::parent_path(path));
      auto unit = LLVM::DICompileUnitAttr::get(
          DistinctAttr::create(UnitAttr::get(context)), llvm::dwarf::DW_LANG_C,
          file, StringAttr::get(context, "glvq"), /*isOptimized=*/true,
          LLVM::DIEmissionKind::LineTablesOnly);
      auto name = function.getNameAttr();
      auto scope = LLVM::DISubprogramAttr::get(
          context, DistinctAttr::create(UnitAttr::get(context)), unit, file,
          name, name, file, number, number,
          LLVM::DISubprogramFlags::Definition |
              LLVM::DISubprogramFlags::Optimized,
          type, /*retainedNodes=*/{}, /*annotations=*/{});
      function->setLoc(FusedLoc::get(context, {loc}, scope));
    }
  }
};
} // namespace

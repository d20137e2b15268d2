//===- AttachNVVMTarget.cpp - For which GPU kernels are compiled ----------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Upstream's nvvm-attach-target takes any text for a chip, and the back end
// aborts upon those it does not know. Here they are errors, and so is a tool
// that will be missing later.
//
//===----------------------------------------------------------------------===//

#include "glvq/Conversion/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"

namespace mlir::glvq {
#define GEN_PASS_DEF_ATTACHNVVMTARGETPASS
#include "glvq/Conversion/Passes.h.inc"
} // namespace mlir::glvq

using namespace mlir;
using namespace mlir::glvq;

static constexpr StringLiteral chips[] = {"sm_80", "sm_89", "sm_90", "sm_100",
                                          "sm_120"};
static constexpr StringLiteral formats[] = {"llvm", "isa", "bin", "fatbin"};

/// Whether the serializer will find `tool`, which looks where this does.
static bool findTool(StringRef tool) {
  if (llvm::sys::Process::FindInEnvPath("PATH", tool))
    return true;
  for (const char *variable : {"CUDA_ROOT", "CUDA_HOME", "CUDA_PATH"})
    if (std::optional<std::string> root =
            llvm::sys::Process::GetEnv(variable)) {
      // Only the first variable that is set counts.
      SmallString<128> path(*root);
      llvm::sys::path::append(path, "bin", tool);
      return llvm::sys::fs::can_execute(path);
    }
  return false;
}

namespace {
struct AttachNVVMTarget
    : public glvq::impl::AttachNVVMTargetPassBase<AttachNVVMTarget> {
  using AttachNVVMTargetPassBase::AttachNVVMTargetPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto check = [&](StringRef what, StringRef value,
                     ArrayRef<StringLiteral> accepted) {
      if (llvm::is_contained(accepted, value))
        return success();
      InFlightDiagnostic error = module.emitError("unknown ")
                                 << what << " '" << value
                                 << "', expected one of ";
      llvm::interleaveComma(accepted, error);
      return LogicalResult(error);
    };
    if (failed(check("chip", chip, chips)) ||
        failed(check("format", format, formats)))
      return signalPassFailure();

    SmallVector<StringRef> tools;
    if (format == "bin" || format == "fatbin")
      tools.push_back("ptxas");
    if (format == "fatbin")
      tools.push_back("fatbinary");
    for (StringRef tool : tools)
      if (!findTool(tool)) {
        module.emitError("format '")
            << format << "' needs " << tool
            << " of the CUDA toolkit, which is neither in PATH nor in bin of "
               "CUDA_ROOT, CUDA_HOME or CUDA_PATH; install it, set one of "
               "these, "
               "or ask for format=isa";
        return signalPassFailure();
      }

    // The oldest PTX version that knows the chip, so that old drivers load it.
    auto target = NVVM::NVVMTargetAttr::get(&getContext(), /*optLevel=*/3,
                                            "nvptx64-nvidia-cuda", chip,
                                            /*features=*/"");
    for (auto kernels : module.getOps<gpu::GPUModuleOp>())
      if (!kernels.getTargetsAttr())
        kernels.setTargetsAttr(ArrayAttr::get(&getContext(), {target}));
  }
};
} // namespace

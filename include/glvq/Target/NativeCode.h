// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// From a module in the llvm dialect to a shared library: translation, LLVM's
// optimizer, object code, link.

#ifndef GLVQ_TARGET_NATIVECODE_H
#define GLVQ_TARGET_NATIVECODE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>
#include <vector>

namespace llvm {
class LLVMContext;
class Module;
class TargetMachine;
} // namespace llvm

namespace mlir {
class DialectRegistry;

namespace glvq {

/// A CPU to compile for.
struct NativeTarget {
  std::string triple;
  /// As LLVM names it: "znver5", "x86-64-v4", ….
  std::string cpu;
  /// What the code may use beyond the least x86-64, without signs, sorted:
  /// "avx512f", …. What a machine must have to run it.
  std::vector<std::string> features;
  /// What `cpu` stands for and this machine lacks all the same, since a virtual
  /// machine or a kernel hides it; sorted. The code must not use it.
  std::vector<std::string> hidden;

  /// Elements of f32 in one vector register.
  int64_t getVectorWidth() const;
  /// The best dot product of bytes, as `lower-glvq-to-llvm{dot=…}` names it.
  llvm::StringRef getDotProduct() const;
  /// The features as LLVM takes them: "+avx2,+fma,-sha".
  std::string getFeatureString() const;
};

/// The target that `cpu` names: "native" (this machine), "generic" (the least
/// x86-64), or a CPU name of LLVM such as "x86-64-v3". An unknown name is an
/// error that says what is accepted.
llvm::Expected<NativeTarget> getNativeTarget(llvm::StringRef cpu);

/// The target for a machine whose processor LLVM calls `cpu` and that has the
/// features mapped to true. A CPU name stands for all features of its model,
/// so those that the machine does not have are switched off.
llvm::Expected<NativeTarget>
getTargetOfHost(llvm::StringRef cpu, const llvm::StringMap<bool> &features);

/// Registers what translating a lowered module to LLVM IR needs.
void registerNativeCodeTranslations(DialectRegistry &registry);

/// Translates a module in the llvm dialect, internalizes all but its public
/// symbols, and optimizes for `target`. With `optimize` false the IR is as
/// translated.
llvm::Expected<std::unique_ptr<llvm::Module>>
translateToLLVMIR(ModuleOp module, llvm::LLVMContext &context,
                  const NativeTarget &target, bool optimize = true);

/// Writes `module` as a relocatable object file.
llvm::Error emitObject(llvm::Module &module, const NativeTarget &target,
                       llvm::StringRef path);

/// Links objects into a shared library that needs libc and libm only, with
/// clang and lld of the LLVM this was built with, or from PATH.
llvm::Error linkSharedLibrary(llvm::ArrayRef<std::string> objects,
                              llvm::StringRef path);

/// All of the above: from the llvm dialect to the library at `path`.
llvm::Error emitSharedLibrary(ModuleOp module, const NativeTarget &target,
                              llvm::StringRef path);

} // namespace glvq
} // namespace mlir

#endif // GLVQ_TARGET_NATIVECODE_H

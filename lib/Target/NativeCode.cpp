// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Code generation for CPUs by LLVM's libraries; the link by its tools.

#include "glvq/Target/NativeCode.h"
#include "glvq/Conversion/NativeCPU/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Analysis/TargetTransformInfo.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include <mutex>

using namespace mlir;
using llvm::createStringError;

namespace {

void initializeTargets() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
}

llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createTargetMachine(const glvq::NativeTarget &target) {
  initializeTargets();
  llvm::Triple triple(target.triple);
  std::string error;
  const llvm::Target *llvmTarget =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!llvmTarget)
    return createStringError("no code generator for " + target.triple + ": " +
                             error);
  llvm::TargetOptions options;
  // A product and the sum after it round once, as in the kernels' own fma.
  options.AllowFPOpFusion = llvm::FPOpFusion::Fast;
  std::unique_ptr<llvm::TargetMachine> machine(llvmTarget->createTargetMachine(
      triple, target.cpu, target.getFeatureString(), options, llvm::Reloc::PIC_,
      std::nullopt, llvm::CodeGenOptLevel::Default));
  if (!machine)
    return createStringError("LLVM cannot generate code for " + target.triple);
  return machine;
}

/// `name` beside this LLVM's tools, or in PATH.
llvm::Expected<std::string> findTool(StringRef name) {
  for (StringRef directory : {StringRef(GLVQ_LLVM_TOOLS_DIR), StringRef()}) {
    llvm::ErrorOr<std::string> path =
        directory.empty() ? llvm::sys::findProgramByName(name)
                          : llvm::sys::findProgramByName(name, {directory});
    if (path)
      return *path;
  }
  return createStringError(name + " was found neither in " GLVQ_LLVM_TOOLS_DIR
                                  " nor in PATH; it links the compiled model "
                                  "(Debian: packages clang-22 and lld-22)");
}

} // namespace

int64_t glvq::NativeTarget::getVectorWidth() const {
  auto has = [&](StringRef feature) {
    return llvm::is_contained(features, feature);
  };
  return has("avx512f") ? 16 : has("avx") ? 8 : 4;
}

StringRef glvq::NativeTarget::getDotProduct() const {
  auto has = [&](StringRef feature) {
    return llvm::is_contained(features, feature);
  };
  if (has("avx512vnni"))
    return "vnni512";
  if (has("avxvnni"))
    return "vnni256";
  return has("avx2") ? "avx2" : "generic";
}

std::string glvq::NativeTarget::getFeatureString() const {
  std::string result;
  for (const std::string &feature : features)
    result += (result.empty() ? "+" : ",+") + feature;
  for (const std::string &feature : hidden)
    result += (result.empty() ? "-" : ",-") + feature;
  return result;
}

static llvm::Expected<const llvm::Target *>
getHostBackend(const llvm::Triple &triple) {
  initializeTargets();
  std::string error;
  const llvm::Target *backend =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!backend)
    return createStringError("no code generator for this machine: " + error);
  return backend;
}

llvm::Expected<glvq::NativeTarget>
glvq::getTargetOfHost(StringRef cpu, const llvm::StringMap<bool> &features) {
  NativeTarget target;
  target.triple = llvm::sys::getDefaultTargetTriple();
  target.cpu = cpu.str();
  llvm::Triple triple(target.triple);
  llvm::Expected<const llvm::Target *> backend = getHostBackend(triple);
  if (!backend)
    return backend.takeError();
  for (auto &[name, present] : features)
    if (present)
      target.features.push_back(name.str());
  std::unique_ptr<llvm::MCSubtargetInfo> least(
      (*backend)->createMCSubtargetInfo(triple, "", ""));
  if (!least || !least->isCPUStringValid(target.cpu))
    return createStringError("LLVM does not know this machine's CPU, '" + cpu +
                             "'; name one like it with cpu:<name>");
  std::unique_ptr<llvm::MCSubtargetInfo> model(
      (*backend)->createMCSubtargetInfo(triple, target.cpu, ""));
  for (const llvm::SubtargetFeatureKV &feature :
       model->getEnabledProcessorFeatures())
    if (auto it = features.find(feature.Key);
        it != features.end() && !it->second)
      target.hidden.push_back(feature.Key);
  llvm::sort(target.features);
  llvm::sort(target.hidden);
  return target;
}

llvm::Expected<glvq::NativeTarget> glvq::getNativeTarget(StringRef cpu) {
  if (cpu == "native")
    return getTargetOfHost(llvm::sys::getHostCPUName(),
                           llvm::sys::getHostCPUFeatures());
  NativeTarget target;
  target.triple = llvm::sys::getDefaultTargetTriple();
  llvm::Triple triple(target.triple);
  llvm::Expected<const llvm::Target *> backend = getHostBackend(triple);
  if (!backend)
    return backend.takeError();
  const llvm::Target *llvmTarget = *backend;
  target.cpu = cpu == "generic" && triple.isX86() ? "x86-64" : cpu.str();
  std::unique_ptr<llvm::MCSubtargetInfo> least(
      llvmTarget->createMCSubtargetInfo(triple, "", ""));
  if (!least || !least->isCPUStringValid(target.cpu))
    return createStringError(
        "unknown CPU '" + cpu +
        "'; use native, generic, x86-64-v2, x86-64-v3, x86-64-v4, or a name "
        "that `llc -mcpu=help` lists");
  std::unique_ptr<llvm::MCSubtargetInfo> subtarget(
      llvmTarget->createMCSubtargetInfo(triple, target.cpu, ""));
  // Only what a machine must have, not how code is best scheduled for it: the
  // names that the host's detection knows.
  llvm::StringMap<bool> known = llvm::sys::getHostCPUFeatures();
  for (const llvm::SubtargetFeatureKV &feature :
       subtarget->getEnabledProcessorFeatures())
    if (known.contains(feature.Key))
      target.features.push_back(feature.Key);
  llvm::sort(target.features);
  return target;
}

void glvq::registerNativeCodeTranslations(DialectRegistry &registry) {
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

llvm::Expected<std::unique_ptr<llvm::Module>>
glvq::translateToLLVMIR(ModuleOp module, llvm::LLVMContext &context,
                        const NativeTarget &target, bool optimize) {
  DialectRegistry registry;
  registerNativeCodeTranslations(registry);
  module->getContext()->appendDialectRegistry(registry);

  std::unique_ptr<llvm::Module> llvmModule =
      translateModuleToLLVMIR(module, context);
  if (!llvmModule)
    return createStringError("the module could not be translated to LLVM IR; "
                             "it must be in the llvm dialect "
                             "(lower-glvq-to-llvm)");
  auto machine = createTargetMachine(target);
  if (!machine)
    return machine.takeError();
  llvmModule->setTargetTriple((*machine)->getTargetTriple());
  llvmModule->setDataLayout((*machine)->createDataLayout());

  for (llvm::Function &function : *llvmModule) {
    if (function.isDeclaration())
      continue;
    if (module.lookupSymbol<LLVM::LLVMFuncOp>(function.getName())
            .getSymVisibility()
            .value_or("public") == "private")
      function.setLinkage(llvm::GlobalValue::InternalLinkage);
    function.addFnAttr("target-cpu", target.cpu);
    function.addFnAttr("target-features", target.getFeatureString());
    function.addFnAttr("prefer-vector-width",
                       std::to_string(target.getVectorWidth() * 32));
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
  if (!optimize)
    return llvmModule;

  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager callGraph;
  llvm::ModuleAnalysisManager modules;
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = true;
  tuning.SLPVectorization = false;
  llvm::PassBuilder builder(machine->get(), tuning);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(callGraph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, callGraph, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2)
      .run(*llvmModule, modules);
  return llvmModule;
}

llvm::Error glvq::emitObject(llvm::Module &module, const NativeTarget &target,
                             StringRef path) {
  auto machine = createTargetMachine(target);
  if (!machine)
    return machine.takeError();
  std::error_code error;
  llvm::raw_fd_ostream stream(path, error, llvm::sys::fs::OF_None);
  if (error)
    return llvm::createFileError(path, error);
  llvm::legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, stream, nullptr,
                                      llvm::CodeGenFileType::ObjectFile))
    return createStringError("LLVM cannot write object files for " +
                             target.triple);
  passes.run(module);
  stream.flush();
  if (stream.has_error()) {
    error = stream.error();
    stream.clear_error();
    return llvm::createFileError(path, error);
  }
  return llvm::Error::success();
}

llvm::Error glvq::linkSharedLibrary(ArrayRef<std::string> objects,
                                    StringRef path) {
  llvm::Expected<std::string> clang = findTool("clang");
  if (!clang)
    return clang.takeError();
  llvm::Expected<std::string> lld = findTool("ld.lld");
  if (!lld)
    return lld.takeError();

  // Beside the library, so that it goes where the library goes on an interrupt.
  std::string log = (path + ".log").str();
  llvm::scope_exit removeLog([&] { llvm::sys::fs::remove(log); });

  std::string linker = "--ld-path=" + *lld;
  std::string output = path.str();
  // Own symbols bind to this library even if the host has the same names; no
  // build id or path makes equal inputs differ.
  SmallVector<StringRef> arguments = {*clang,
                                      "-shared",
                                      linker,
                                      "-Wl,-Bsymbolic,--build-id=none,-s",
                                      "-Wl,-z,noexecstack,-z,defs",
                                      "-o",
                                      output};
  for (const std::string &object : objects)
    arguments.push_back(object);
  arguments.push_back("-lm");
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(log),
                                          StringRef(log)};
  std::string message;
  int status = llvm::sys::ExecuteAndWait(*clang, arguments, std::nullopt,
                                         redirects, 0, 0, &message);
  if (status == 0)
    return llvm::Error::success();
  std::string detail = message;
  if (auto buffer = llvm::MemoryBuffer::getFile(log))
    detail += (*buffer)->getBuffer().str();
  return createStringError("linking " + path + " failed: " + detail);
}

llvm::Error glvq::emitSharedLibrary(ModuleOp module, const NativeTarget &target,
                                    StringRef path) {
  llvm::LLVMContext context;
  auto llvmModule = translateToLLVMIR(module, context, target);
  if (!llvmModule)
    return llvmModule.takeError();
  std::string object = (path + ".o").str();
  llvm::scope_exit removeObject([&] { llvm::sys::fs::remove(object); });
  if (llvm::Error error = emitObject(**llvmModule, target, object))
    return error;
  return linkSharedLibrary({object}, path);
}

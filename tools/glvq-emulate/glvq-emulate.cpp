// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Runs a function whose kernels are for a GPU, on a machine that has none.

#include "../glvq-run/Npy.h"
#include "glvq/Emulator/Emulator.h"
#include "glvq/InitAllDialects.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/ExecutionEngine/ExecutionEngine.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/WithColor.h"

#include <cstring>
#include <exception>

using namespace mlir;
namespace cl = llvm::cl;
namespace emulator = ::glvq::emulator;
using ::glvq::NpyArray;

namespace {
constexpr StringLiteral kOverview =
    R"(run GPU kernels on this machine's CPU

  glvq-opt model.mlir --lower-glvq-to-nvvm=format=llvm -o lowered.mlir
  glvq-emulate lowered.mlir --entry=f x.npy 5 -o y.npy

Executes a function of a module whose kernels are a gpu.binary of LLVM bitcode. The
function's arrays are .npy files, its scalars are numbers. Errors that a GPU would not
forgive, races on shared memory among them, end the run with a message that names the
instruction and the thread.
)";

struct CommandLine {
  cl::OptionCategory category{"glvq-emulate options"};
  cl::opt<std::string> input{cl::Positional, cl::desc("<lowered.mlir>"),
                             cl::init("-"), cl::cat(category)};
  cl::list<std::string> arguments{cl::Positional,
                                  cl::desc("[arguments of the function]"),
                                  cl::cat(category)};
  cl::opt<std::string> entry{"entry", cl::init("main"),
                             cl::desc("The function to run"),
                             cl::cat(category)};
  cl::list<std::string> outputs{"o", cl::desc("A .npy file for each result"),
                                cl::value_desc("file.npy"), cl::cat(category)};
  cl::list<std::string> sharedLibs{
      "shared-libs", cl::CommaSeparated,
      cl::desc("Libraries of functions that the host code calls"),
      cl::cat(category)};
};

LogicalResult fail(const Twine &message) {
  llvm::WithColor::error(llvm::errs(), "glvq-emulate") << message << '\n';
  return failure();
}
LogicalResult fail(llvm::Error error) {
  return fail(llvm::toString(std::move(error)));
}

/// The type of elements of .npy files, if they can have it.
std::optional<glvq_dtype> getDtype(Type type) {
  if (type.isF32())
    return GLVQ_F32;
  if (type.isF16())
    return GLVQ_F16;
  if (type.isBF16())
    return GLVQ_BF16;
  if (type.isF64())
    return GLVQ_F64;
  if (type.isInteger(1))
    return GLVQ_BOOL;
  if (type.isInteger(8))
    return GLVQ_I8;
  if (type.isInteger(16))
    return GLVQ_I16;
  if (type.isInteger(32))
    return GLVQ_I32;
  if (type.isInteger(64))
    return GLVQ_I64;
  return std::nullopt;
}

/// What the C interface knows of a memref: two pointers, an offset, sizes and
/// strides.
using Descriptor = SmallVector<int64_t>;

Descriptor describe(void *data, ArrayRef<int64_t> shape) {
  auto address = static_cast<int64_t>(reinterpret_cast<intptr_t>(data));
  Descriptor descriptor = {address, address, 0};
  llvm::append_range(descriptor, shape);
  size_t first = descriptor.size();
  descriptor.resize(first + shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- != 0; stride *= shape[i])
    descriptor[first + i] = stride;
  return descriptor;
}

/// A value of the caller for one parameter of the function.
LogicalResult makeArgument(StringRef text, unsigned index, Type type,
                           Descriptor &words) {
  auto memref = dyn_cast<MemRefType>(type);
  if (!memref) {
    if (type.isIntOrIndex()) {
      int64_t value;
      if (text.getAsInteger(0, value))
        return fail("argument " + Twine(index) + ": '" + text +
                    "' is not an integer");
      words = {value};
      return success();
    }
    return fail("argument " + Twine(index) +
                ": only arrays and integers can be given, not " +
                (type.isF32() ? "floats" : "this type"));
  }
  NpyArray array = ::glvq::readNpy(text.str());
  std::optional<glvq_dtype> dtype = getDtype(memref.getElementType());
  bool fits = dtype && *dtype == array.dtype &&
              memref.getLayout().isIdentity() &&
              static_cast<size_t>(memref.getRank()) == array.shape.size();
  for (size_t i = 0; fits && i != array.shape.size(); ++i)
    fits = memref.isDynamicDim(i) || memref.getDimSize(i) == array.shape[i];
  if (!fits) {
    std::string wanted;
    llvm::raw_string_ostream(wanted) << memref;
    return fail("argument " + Twine(index) + ": " + text + " does not fit " +
                wanted);
  }
  void *data = emulator::getHostMemory().allocate(
      array.data.size(), ("argument " + Twine(index) + ", " + text).str());
  std::memcpy(data, array.data.data(), array.data.size());
  words = describe(data, array.shape);
  return success();
}

/// Lowers what is not in the kernels.
LogicalResult lowerHost(ModuleOp module) {
  PassManager pm(module->getContext());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createConvertBufferizationToMemRefPass());
  pm.addPass(createGpuToLLVMConversionPass());
  pm.addPass(createConvertToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  return pm.run(module);
}

/// Gives the module's constants names that can be looked up: kernels may read
/// them, and nothing beyond them.
std::vector<std::pair<std::string, uint64_t>>
exportConstants(llvm::Module &module) {
  std::vector<std::pair<std::string, uint64_t>> constants;
  for (llvm::GlobalVariable &variable : module.globals()) {
    if (!variable.hasInitializer() || variable.getName().starts_with("llvm.") ||
        !(variable.hasLocalLinkage() || variable.hasExternalLinkage()))
      continue;
    std::string name = ("glvq.constant." + variable.getName()).str();
    variable.setName(name);
    variable.setLinkage(llvm::GlobalValue::ExternalLinkage);
    constants.emplace_back(
        name, module.getDataLayout().getTypeAllocSize(variable.getValueType()));
  }
  return constants;
}

LogicalResult run(CommandLine &options) {
  DialectRegistry registry;
  ::mlir::glvq::registerAllDialects(registry);
  MLIRContext context(registry);
  OwningOpRef<ModuleOp> module =
      parseSourceFile<ModuleOp>(options.input, &context);
  if (!module)
    return failure();
  auto entry = module->lookupSymbol<func::FuncOp>(options.entry);
  if (!entry || entry.isExternal())
    return fail("the module has no function '" + options.entry + "'");
  FunctionType type = entry.getFunctionType();
  if (type.getNumInputs() != options.arguments.size())
    return fail("'" + options.entry + "' takes " + Twine(type.getNumInputs()) +
                " arguments, " + Twine(options.arguments.size()) +
                " are given");
  if (!options.outputs.empty() &&
      options.outputs.size() != type.getNumResults())
    return fail("'" + options.entry + "' has " + Twine(type.getNumResults()) +
                " results, but -o is given " + Twine(options.outputs.size()) +
                " times");
  entry->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(),
                 UnitAttr::get(&context));
  if (failed(lowerHost(*module)))
    return failure();

  std::vector<std::pair<std::string, uint64_t>> constants;
  ExecutionEngineOptions engineOptions;
  engineOptions.jitCodeGenOptLevel = llvm::CodeGenOptLevel::None;
  auto translate =
      [&](Operation *op,
          llvm::LLVMContext &llvmContext) -> std::unique_ptr<llvm::Module> {
    std::unique_ptr<llvm::Module> translated =
        translateModuleToLLVMIR(op, llvmContext);
    if (translated)
      constants = exportConstants(*translated);
    return translated;
  };
  engineOptions.llvmModuleBuilder = translate;
  SmallVector<StringRef> libraries(options.sharedLibs.begin(),
                                   options.sharedLibs.end());
  engineOptions.sharedLibPaths = libraries;
  auto engine = ExecutionEngine::create(*module, engineOptions);
  if (!engine)
    return fail(engine.takeError());
  (*engine)->registerSymbols([](llvm::orc::MangleAndInterner interner) {
    llvm::orc::SymbolMap symbols;
    for (auto [name, address] : emulator::getHostFunctions())
      symbols[interner(name)] = {llvm::orc::ExecutorAddr::fromPtr(address),
                                 llvm::JITSymbolFlags::Exported};
    return symbols;
  });
  (*engine)->initialize();
  for (auto &[name, bytes] : constants) {
    auto address = (*engine)->lookup(name);
    if (!address)
      return fail(address.takeError());
    emulator::getHostMemory().add(
        *address, bytes, StringRef(name).drop_front(strlen("glvq.constant.")));
  }

  // The C interface takes pointers to descriptors; results come first, as one
  // structure of descriptors.
  SmallVector<Descriptor> values(type.getNumInputs());
  for (auto [index, text, valueType] :
       llvm::enumerate(options.arguments, type.getInputs()))
    if (failed(makeArgument(text, index, valueType, values[index])))
      return failure();
  SmallVector<int64_t> results;
  for (Type result : type.getResults()) {
    auto memref = dyn_cast<MemRefType>(result);
    if (!memref || !getDtype(memref.getElementType()))
      return fail("results have to be arrays");
    results.append(3 + 2 * memref.getRank(), 0);
  }
  SmallVector<void *> pointers, packed;
  if (!results.empty())
    pointers.push_back(results.data());
  for (auto [value, valueType] : llvm::zip_equal(values, type.getInputs()))
    pointers.push_back(isa<MemRefType>(valueType)
                           ? static_cast<void *>(value.data())
                           : reinterpret_cast<void *>(value.front()));
  for (auto [index, pointer] : llvm::enumerate(pointers)) {
    size_t argument = index - !results.empty();
    bool isScalar = index >= size_t(!results.empty()) &&
                    !isa<MemRefType>(type.getInput(argument));
    packed.push_back(isScalar ? static_cast<void *>(values[argument].data())
                              : static_cast<void *>(&pointer));
  }
  if (llvm::Error error = (*engine)->invokePacked(
          "_mlir_ciface_" + options.entry.getValue(), packed))
    return fail(std::move(error));

  const int64_t *descriptor = results.data();
  for (auto [index, result] : llvm::enumerate(type.getResults())) {
    auto memref = cast<MemRefType>(result);
    int64_t rank = memref.getRank();
    NpyArray array;
    array.dtype = *getDtype(memref.getElementType());
    array.shape.assign(descriptor + 3, descriptor + 3 + rank);
    size_t bytes = glvq_dtype_size(array.dtype);
    for (int64_t size : array.shape)
      bytes *= size;
    auto *data = reinterpret_cast<const char *>(descriptor[1]) +
                 descriptor[2] * glvq_dtype_size(array.dtype);
    array.data.assign(data, data + bytes);
    if (!options.outputs.empty())
      ::glvq::writeNpy(options.outputs[index], array);
    descriptor += 3 + 2 * rank;
  }
  return success();
}
} // namespace

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  CommandLine options;
  cl::HideUnrelatedOptions(options.category);
  cl::ParseCommandLineOptions(argc, argv, kOverview);
  try {
    return succeeded(run(options)) ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const std::exception &error) {
    (void)fail(error.what());
    return EXIT_FAILURE;
  }
}

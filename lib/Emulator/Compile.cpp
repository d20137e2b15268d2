//===- Compile.cpp - NVPTX IR to functions of the host --------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
//   kernels (ptx_kernel)      ──► entries that take cuLaunchKernel's parameters
//   llvm.nvvm.*               ──► calls of the functions of Intrinsics.cpp
//   globals in address space 3 ─► offsets into the block's shared memory
//   loads, stores, atomics    ──► a check before each
//
// Global and constant memory stay what they are: x86 ignores the address spaces
// that NVPTX gives them.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/ModuleSlotTracker.h"
#include "llvm/IR/ReplaceConstant.h"
#include "llvm/IR/Verifier.h"
#include "llvm/IRReader/IRReader.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace glvq::emulator;

static constexpr unsigned sharedSpace = 3;

// What the compiled kernels call besides intrinsics.
static void checkAccess(const char *address, uint64_t bytes, uint64_t alignment,
                        uint32_t access, uint32_t space, Site site) {
  Machine::get().check(address, bytes, alignment, static_cast<Access>(access),
                       space, site);
}
static char *getShared() { return Machine::get().getShared(); }

// bfloat16 conversions that the back end calls where the CPU has none; not
// every libgcc has them.
static uint32_t floatBits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}
#if defined(__x86_64__)
/// Small floats are returned in vector registers.
using HalfRegister = float;
static HalfRegister truncateToBFloat(float value) {
  uint32_t bits = floatBits(value);
  if ((bits & 0x7fffffff) <= 0x7f800000)
    bits += 0x7fff + (bits >> 16 & 1);
  bits >>= 16;
  float result;
  memcpy(&result, &bits, sizeof(bits));
  return result;
}
#endif

namespace {
class Retargeter {
public:
  explicit Retargeter(Module &module)
      : module(module), context(module.getContext()),
        pointer(PointerType::get(context, 0)), i32(Type::getInt32Ty(context)),
        slots(&module) {}

  Error run();
  std::vector<std::pair<std::string, Kernel>> kernels;
  /// Symbols that the JIT has to define.
  std::vector<std::pair<std::string, void *>> symbols;
  /// Global variables that are memory of the device.
  std::vector<std::pair<std::string, uint64_t>> globals;

private:
  /// A constant of the module that says where and what `instruction` is.
  Value *getSite(Instruction &instruction);
  Value *getSite(CallBase &call, StringRef text);
  void addChecks(Function &function);
  Error replaceIntrinsics();
  void replaceCall(CallInst &call, StringRef name, void *implementation);
  Error replaceSharedMemory();
  void addEntry(Function &function);
  FunctionCallee declare(StringRef name, FunctionType *type, void *address);

  Module &module;
  LLVMContext &context;
  PointerType *pointer;
  IntegerType *i32;
  ModuleSlotTracker slots;
  StringSet<> declared;
  DenseMap<Instruction *, Value *> sites;
  SetVector<Function *> entries;
  /// Static shared memory of each kernel.
  DenseMap<Function *, uint64_t> sharedBytes;
};
} // namespace

Value *Retargeter::getSite(Instruction &instruction) {
  std::string text;
  raw_string_ostream os(text);
  if (const DebugLoc &location = instruction.getDebugLoc()) {
    os << location->getFilename() << ':' << location.getLine() << ':'
       << location.getCol() << ": ";
  }
  std::string printed;
  raw_string_ostream printer(printed);
  slots.incorporateFunction(*instruction.getFunction());
  instruction.print(printer, slots);
  // Without the numbers of metadata and attributes.
  os << StringRef(printed).trim().split(", !").first.split(" #").first;
  return IRBuilder<>(&instruction).CreateGlobalString(text, "site");
}

FunctionCallee Retargeter::declare(StringRef name, FunctionType *type,
                                   void *address) {
  FunctionCallee callee = module.getOrInsertFunction(name, type);
  cast<Function>(callee.getCallee())->setDoesNotThrow();
  if (declared.insert(name).second)
    symbols.emplace_back(name.str(), address);
  return callee;
}

void Retargeter::addChecks(Function &function) {
  const DataLayout &layout = module.getDataLayout();
  IRBuilder<> b(context);
  FunctionCallee check = declare(
      "glvq.check",
      FunctionType::get(
          b.getVoidTy(),
          {pointer, b.getInt64Ty(), b.getInt64Ty(), i32, i32, pointer}, false),
      reinterpret_cast<void *>(checkAccess));
  for (Instruction &instruction :
       llvm::make_early_inc_range(instructions(function))) {
    Value *address = nullptr;
    Type *type = nullptr;
    Align alignment;
    Access access = Access::Load;
    if (auto *load = dyn_cast<LoadInst>(&instruction)) {
      address = load->getPointerOperand();
      type = load->getType();
      alignment = load->getAlign();
    } else if (auto *store = dyn_cast<StoreInst>(&instruction)) {
      address = store->getPointerOperand();
      type = store->getValueOperand()->getType();
      alignment = store->getAlign();
      access = Access::Store;
    } else if (auto *update = dyn_cast<AtomicRMWInst>(&instruction)) {
      address = update->getPointerOperand();
      type = update->getType();
      alignment = update->getAlign();
      access = Access::Atomic;
    } else if (auto *exchange = dyn_cast<AtomicCmpXchgInst>(&instruction)) {
      address = exchange->getPointerOperand();
      type = exchange->getNewValOperand()->getType();
      alignment = exchange->getAlign();
      access = Access::Atomic;
    } else {
      continue;
    }
    if (isa<AllocaInst>(address->stripInBoundsOffsets()))
      continue;
    Value *site = getSite(instruction);
    b.SetInsertPoint(&instruction);
    unsigned space = address->getType()->getPointerAddressSpace();
    b.CreateCall(check, {b.CreateAddrSpaceCast(address, pointer),
                         b.getInt64(layout.getTypeStoreSize(type)),
                         b.getInt64(alignment.value()),
                         b.getInt32(static_cast<uint32_t>(access)),
                         b.getInt32(space), site});
  }
}

/// Whether values of the type travel as an integer of their size.
static bool isSmallVector(Type *type) {
  return type->isHalfTy() || type->isBFloatTy() ||
         (type->isVectorTy() && type->getPrimitiveSizeInBits() <= 64);
}

void Retargeter::replaceCall(CallInst &call, StringRef name,
                             void *implementation) {
  IRBuilder<> b(&call);
  auto lower = [&](Type *type) -> Type * {
    if (type->isPointerTy())
      return pointer;
    if (isSmallVector(type))
      return b.getIntNTy(type->getPrimitiveSizeInBits());
    return type;
  };
  SmallVector<Value *> arguments;
  SmallVector<Type *> types;
  Type *result = call.getType();
  AllocaInst *results = nullptr;
  if (result->isStructTy()) {
    BasicBlock &entry = call.getFunction()->getEntryBlock();
    results = IRBuilder<>(&entry, entry.begin()).CreateAlloca(result);
    arguments.push_back(results);
  }
  for (Value *argument : call.args()) {
    Type *type = lower(argument->getType());
    if (type->isPointerTy())
      argument = b.CreateAddrSpaceCast(argument, pointer);
    else if (type->isIntegerTy() && type->getIntegerBitWidth() < 16)
      argument = b.CreateZExt(argument, i32);
    else if (type != argument->getType())
      argument = b.CreateBitCast(argument, type);
    arguments.push_back(argument);
  }
  arguments.push_back(sites.lookup(&call));
  for (Value *argument : arguments)
    types.push_back(argument->getType());
  Type *lowered = results ? b.getVoidTy() : lower(result);
  FunctionCallee callee =
      declare(("glvq." + name).str(), FunctionType::get(lowered, types, false),
              implementation);
  if (call.isConvergent())
    cast<Function>(callee.getCallee())->setConvergent();
  Value *value = b.CreateCall(callee, arguments);
  if (results)
    value = b.CreateLoad(result, results);
  else if (lowered != result)
    value = b.CreateBitCast(value, result);
  call.replaceAllUsesWith(value);
  call.eraseFromParent();
}

Error Retargeter::replaceIntrinsics() {
  SmallVector<std::string> missing;
  for (Function &function : llvm::make_early_inc_range(module)) {
    if (!function.isDeclaration())
      continue;
    StringRef name = function.getName();
    if (!name.consume_front("llvm.nvvm.")) {
      // What is left is an intrinsic of all targets, or a function that the
      // device would lack too.
      if (!function.isIntrinsic() && !name.starts_with("glvq."))
        missing.push_back(name.str());
      continue;
    }
    void *implementation = lookupIntrinsic(name);
    if (!implementation) {
      missing.push_back(function.getName().str());
      continue;
    }
    std::string copy = name.str();
    for (User *user : llvm::make_early_inc_range(function.users()))
      replaceCall(*cast<CallInst>(user), copy, implementation);
    function.eraseFromParent();
  }
  if (missing.empty())
    return Error::success();
  return createStringError("the emulator has no function for " +
                           llvm::join(missing, ", ") +
                           "; add it to lib/Emulator/Intrinsics.cpp");
}

Error Retargeter::replaceSharedMemory() {
  const DataLayout &layout = module.getDataLayout();
  SmallVector<GlobalVariable *> variables;
  for (GlobalVariable &variable : module.globals())
    if (variable.getAddressSpace() == sharedSpace)
      variables.push_back(&variable);
  SmallVector<Constant *> constants(variables.begin(), variables.end());
  convertUsersOfConstantsToInstructions(constants);

  // The kernel that a variable belongs to; null for those that several
  // functions share, or a function that several kernels call.
  DenseMap<GlobalVariable *, Function *> owners;
  for (GlobalVariable *variable : variables) {
    SmallPtrSet<Function *, 2> users;
    for (User *user : variable->users()) {
      auto *instruction = dyn_cast<Instruction>(user);
      if (!instruction)
        return createStringError("the address of shared memory '" +
                                 variable->getName() + "' is in a constant");
      users.insert(instruction->getFunction());
    }
    Function *owner = users.size() == 1 ? *users.begin() : nullptr;
    owners[variable] = owner && entries.contains(owner) ? owner : nullptr;
  }
  // Common ones come first; dynamic shared memory, of no size of its own, after
  // all else.
  auto size = [&](GlobalVariable *variable) -> uint64_t {
    return layout.getTypeAllocSize(variable->getValueType());
  };
  llvm::sort(variables, [&](GlobalVariable *a, GlobalVariable *b) {
    auto key = [&](GlobalVariable *v) {
      return std::make_tuple(size(v) == 0, owners[v] != nullptr, v->getName());
    };
    return key(a) < key(b);
  });

  FunctionCallee base =
      declare("glvq.shared", FunctionType::get(pointer, {}, false),
              reinterpret_cast<void *>(getShared));
  auto *function = cast<Function>(base.getCallee());
  function->setDoesNotAccessMemory();
  function->setWillReturn();
  uint64_t common = 0;
  for (GlobalVariable *variable : variables) {
    Function *owner = owners[variable];
    uint64_t end = owner ? std::max(common, sharedBytes.lookup(owner)) : common;
    if (!owner && !size(variable))
      for (auto &[kernel, bytes] : sharedBytes)
        end = std::max(end, bytes);
    uint64_t alignment =
        variable->getAlign()
            .value_or(layout.getABITypeAlign(variable->getValueType()))
            .value();
    // Never better aligned than promised, so that wider accesses are noticed.
    uint64_t offset = alignTo(end, alignment);
    if (alignment < 16 && offset % (2 * alignment) == 0)
      offset += alignment;
    DenseMap<Function *, Value *> addresses;
    for (Use &use : llvm::make_early_inc_range(variable->uses())) {
      auto *user = cast<Instruction>(use.getUser());
      Value *&address = addresses[user->getFunction()];
      if (!address) {
        BasicBlock &entry = user->getFunction()->getEntryBlock();
        IRBuilder<> b(&entry, entry.getFirstInsertionPt());
        address = b.CreateAddrSpaceCast(
            b.CreateConstGEP1_64(b.getInt8Ty(), b.CreateCall(base), offset),
            variable->getType());
      }
      use.set(address);
    }
    (owner ? sharedBytes[owner] : common) = offset + size(variable);
  }
  for (Function *kernel : entries)
    sharedBytes[kernel] = std::max(common, sharedBytes.lookup(kernel));
  for (GlobalVariable *variable : variables)
    variable->eraseFromParent();
  return Error::success();
}

void Retargeter::addEntry(Function &function) {
  IRBuilder<> b(context);
  std::string name = "glvq.entry." + function.getName().str();
  auto *entry =
      Function::Create(FunctionType::get(b.getVoidTy(), {pointer}, false),
                       Function::ExternalLinkage, name, module);
  b.SetInsertPoint(BasicBlock::Create(context, "", entry));
  SmallVector<Value *> arguments;
  for (Argument &argument : function.args()) {
    Value *slot =
        b.CreateConstGEP1_32(pointer, entry->getArg(0), argument.getArgNo());
    arguments.push_back(
        b.CreateLoad(argument.getType(), b.CreateLoad(pointer, slot)));
  }
  b.CreateCall(&function, arguments);
  b.CreateRetVoid();
  function.setLinkage(GlobalValue::InternalLinkage);

  Kernel kernel;
  kernel.name = function.getName().str();
  kernel.staticSharedBytes = sharedBytes.lookup(&function);
  if (Attribute limit = function.getFnAttribute("nvvm.maxntid");
      limit.isValid()) {
    // Sizes along x, y and z.
    SmallVector<StringRef> sizes;
    limit.getValueAsString().split(sizes, ',');
    uint32_t product = 1, value;
    for (StringRef size : sizes)
      if (!size.getAsInteger(10, value))
        product *= value;
    kernel.maxThreads = product;
  }
  kernels.emplace_back(name, kernel);
}

Error Retargeter::run() {
  for (Function &function : module) {
    if (function.getCallingConv() == CallingConv::PTX_Kernel)
      entries.insert(&function);
    // What was written for another processor does not bind this one.
    function.removeFnAttr("target-cpu");
    function.removeFnAttr("target-features");
    if (function.getCallingConv() == CallingConv::PTX_Kernel ||
        function.getCallingConv() == CallingConv::PTX_Device) {
      function.setCallingConv(CallingConv::C);
      for (User *user : function.users())
        if (auto *call = dyn_cast<CallBase>(user))
          call->setCallingConv(CallingConv::C);
    }
  }
  // Messages show the instructions as they were.
  for (Function &function : module)
    for (Instruction &instruction : instructions(function))
      if (auto *call = dyn_cast<CallInst>(&instruction);
          call && call->getCalledFunction() &&
          call->getCalledFunction()->getName().starts_with("llvm.nvvm."))
        sites[call] = getSite(*call);
  for (Function &function : module)
    if (!function.isDeclaration())
      addChecks(function);
  if (Error error = replaceIntrinsics())
    return error;
  if (Error error = replaceSharedMemory())
    return error;
  for (Function *function : entries)
    addEntry(*function);
  for (GlobalVariable &variable : module.globals()) {
    unsigned space = variable.getAddressSpace();
    if (space != 1 && space != 4)
      continue;
    variable.setLinkage(GlobalValue::ExternalLinkage);
    globals.emplace_back(
        variable.getName(),
        module.getDataLayout().getTypeAllocSize(variable.getValueType()));
  }
  std::string broken;
  raw_string_ostream os(broken);
  if (verifyModule(module, &os))
    return createStringError("retargeting made invalid IR: " + broken);
  return Error::success();
}

static void optimize(Module &module, TargetMachine &machine) {
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager graph;
  ModuleAnalysisManager modules;
  PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graph, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O1)
      .run(module, modules);
}

struct KernelModule::Implementation {
  std::unique_ptr<orc::LLJIT> jit;
  StringMap<Kernel> kernels;
  Memory *memory = nullptr;
  std::vector<void *> globals;
};

KernelModule::KernelModule(std::unique_ptr<Implementation> implementation)
    : implementation(std::move(implementation)) {}

KernelModule::~KernelModule() {
  for (void *global : implementation->globals)
    implementation->memory->remove(global);
}

const Kernel *KernelModule::lookup(StringRef name) const {
  auto it = implementation->kernels.find(name);
  return it == implementation->kernels.end() ? nullptr : &it->second;
}

Expected<std::unique_ptr<KernelModule>> KernelModule::load(MemoryBufferRef ir,
                                                           Memory &memory) {
  static const bool initialized = [] {
    InitializeNativeTarget();
    InitializeNativeTargetAsmPrinter();
    return true;
  }();
  (void)initialized;

  auto context = std::make_unique<LLVMContext>();
  SMDiagnostic diagnostic;
  std::unique_ptr<Module> module = parseIR(ir, diagnostic, *context);
  if (!module) {
    std::string message;
    raw_string_ostream os(message);
    diagnostic.print("emulator", os, /*ShowColors=*/false);
    return createStringError(StringRef(message).trim());
  }
  Expected<orc::JITTargetMachineBuilder> host =
      orc::JITTargetMachineBuilder::detectHost();
  if (!host)
    return host.takeError();
  Expected<std::unique_ptr<TargetMachine>> machine =
      host->createTargetMachine();
  if (!machine)
    return machine.takeError();
  module->setTargetTriple((*machine)->getTargetTriple());
  module->setDataLayout((*machine)->createDataLayout());

  Retargeter retargeter(*module);
  if (Error error = retargeter.run())
    return error;
  optimize(*module, **machine);

  Expected<std::unique_ptr<orc::LLJIT>> jit =
      orc::LLJITBuilder().setJITTargetMachineBuilder(*host).create();
  if (!jit)
    return jit.takeError();
  orc::JITDylib &library = (*jit)->getMainJITDylib();
  auto process = orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(
      (*jit)->getDataLayout().getGlobalPrefix());
  if (!process)
    return process.takeError();
  library.addGenerator(std::move(*process));
#if defined(__x86_64__)
  retargeter.symbols.emplace_back("__truncsfbf2",
                                  reinterpret_cast<void *>(truncateToBFloat));
#endif
  orc::SymbolMap symbols;
  for (auto &[name, address] : retargeter.symbols)
    symbols[(*jit)->mangleAndIntern(name)] = {
        orc::ExecutorAddr::fromPtr(address), JITSymbolFlags::Exported};
  if (Error error = library.define(orc::absoluteSymbols(std::move(symbols))))
    return error;
  if (Error error = (*jit)->addIRModule(
          orc::ThreadSafeModule(std::move(module), std::move(context))))
    return error;

  auto implementation = std::make_unique<Implementation>();
  implementation->memory = &memory;
  for (auto &[symbol, kernel] : retargeter.kernels) {
    Expected<orc::ExecutorAddr> address = (*jit)->lookup(symbol);
    if (!address)
      return address.takeError();
    kernel.entry = address->toPtr<void (*)(void **)>();
    implementation->kernels[kernel.name] = kernel;
  }
  for (auto &[name, bytes] : retargeter.globals) {
    Expected<orc::ExecutorAddr> address = (*jit)->lookup(name);
    if (!address)
      return address.takeError();
    memory.add(address->toPtr<void *>(), bytes, name);
    implementation->globals.push_back(address->toPtr<void *>());
  }
  implementation->jit = std::move(*jit);
  return std::unique_ptr<KernelModule>(
      new KernelModule(std::move(implementation)));
}

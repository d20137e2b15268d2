//===- HostFunctions.cpp - What host code calls ---------------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// The interface of MLIR's CUDA runtime wrappers (mgpu*), on the emulator. All
// streams are one: work is done before the call returns.
//
//===----------------------------------------------------------------------===//

#include "glvq/Emulator/Emulator.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>
#include <cstring>

using namespace glvq::emulator;

Memory &glvq::emulator::getHostMemory() {
  static Memory memory;
  return memory;
}

[[noreturn]] static void fail(const llvm::Twine &message) {
  llvm::outs().flush();
  llvm::errs() << "glvq emulator: " << message << '\n';
  // Not exit(): the host code of the JIT is on the stack.
  std::_Exit(1);
}

static void *moduleLoad(void *data, size_t size) {
  auto module = KernelModule::load(
      llvm::MemoryBufferRef(
          llvm::StringRef(static_cast<const char *>(data), size), "gpu.binary"),
      getHostMemory());
  if (!module)
    fail(llvm::toString(module.takeError()));
  return module->release();
}
static void moduleUnload(void *module) {
  delete static_cast<KernelModule *>(module);
}
static void *moduleGetFunction(void *module, const char *name) {
  const Kernel *kernel = static_cast<KernelModule *>(module)->lookup(name);
  if (!kernel)
    fail(llvm::Twine("the module has no kernel named '") + name + "'");
  return const_cast<Kernel *>(kernel);
}
static void launchKernel(void *kernel, intptr_t gridX, intptr_t gridY,
                         intptr_t gridZ, intptr_t blockX, intptr_t blockY,
                         intptr_t blockZ, int32_t sharedBytes, void *,
                         void **parameters, void **, size_t) {
  auto size = [](intptr_t x, intptr_t y, intptr_t z) {
    return Dim3{static_cast<uint32_t>(x), static_cast<uint32_t>(y),
                static_cast<uint32_t>(z)};
  };
  if (llvm::Error error =
          launch(*static_cast<Kernel *>(kernel), size(gridX, gridY, gridZ),
                 size(blockX, blockY, blockZ), sharedBytes, parameters,
                 getHostMemory()))
    fail(llvm::toString(std::move(error)));
}
static void *streamCreate() { return nullptr; }
static void streamDo(void *) {}
static void *eventCreate() { return nullptr; }
static void eventRecord(void *, void *) {}

static void *memAlloc(uint64_t bytes, void *, bool) {
  static unsigned count = 0;
  void *pointer = getHostMemory().allocate(
      bytes, ("device allocation " + llvm::Twine(count++)).str());
  if (!pointer)
    fail("out of memory: " + llvm::Twine(bytes) + " bytes");
  return pointer;
}
static void memFree(void *pointer, void *) {
  if (pointer && !getHostMemory().release(pointer))
    fail("free of memory that is not a device allocation");
}
static void memcpyAny(void *target, void *source, size_t bytes, void *) {
  std::memcpy(target, source, bytes);
}
static void memset32(void *target, uint32_t value, size_t count, void *) {
  std::fill_n(static_cast<uint32_t *>(target), count, value);
}
static void memset16(void *target, uint16_t value, size_t count, void *) {
  std::fill_n(static_cast<uint16_t *>(target), count, value);
}

llvm::ArrayRef<std::pair<llvm::StringLiteral, void *>>
glvq::emulator::getHostFunctions() {
#define GLVQ_ENTRY(name, function)                                             \
  {                                                                            \
    llvm::StringLiteral(name), reinterpret_cast<void *>(function)              \
  }
  static const std::pair<llvm::StringLiteral, void *> functions[] = {
      GLVQ_ENTRY("mgpuModuleLoad", moduleLoad),
      GLVQ_ENTRY("mgpuModuleUnload", moduleUnload),
      GLVQ_ENTRY("mgpuModuleGetFunction", moduleGetFunction),
      GLVQ_ENTRY("mgpuLaunchKernel", launchKernel),
      GLVQ_ENTRY("mgpuStreamCreate", streamCreate),
      GLVQ_ENTRY("mgpuStreamDestroy", streamDo),
      GLVQ_ENTRY("mgpuStreamSynchronize", streamDo),
      GLVQ_ENTRY("mgpuStreamWaitEvent", eventRecord),
      GLVQ_ENTRY("mgpuEventCreate", eventCreate),
      GLVQ_ENTRY("mgpuEventDestroy", streamDo),
      GLVQ_ENTRY("mgpuEventSynchronize", streamDo),
      GLVQ_ENTRY("mgpuEventRecord", eventRecord),
      GLVQ_ENTRY("mgpuMemAlloc", memAlloc),
      GLVQ_ENTRY("mgpuMemFree", memFree),
      GLVQ_ENTRY("mgpuMemcpy", memcpyAny),
      GLVQ_ENTRY("mgpuMemset32", memset32),
      GLVQ_ENTRY("mgpuMemset16", memset16),
  };
#undef GLVQ_ENTRY
  return functions;
}

//===- Emulator.h - GPU kernels on the host ---------------------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// Executes kernels from the LLVM IR that the NVPTX back end would get, so that
// every kernel runs in the tests of any machine. The threads of a block are
// fibers that meet at collective operations (barriers, shuffles, mma.sync, …).
//
// What hardware does not forgive ends the launch with an error that names the
// instruction, its location, the block and the thread: accesses outside of
// every allocation, misaligned ones, barriers that not all threads reach,
// shuffles with inactive lanes, races on shared memory, and reads of shared
// memory that nobody has written or that cp.async is still writing.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_EMULATOR_EMULATOR_H
#define GLVQ_EMULATOR_EMULATOR_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBufferRef.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace glvq::emulator {

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t(x) * y * z; }
};

/// The memory that kernels may touch, byte ranges with names for messages.
/// Addresses are those of the host.
class Memory {
public:
  struct Range {
    uintptr_t end;
    std::string name;
  };

  ~Memory();
  /// Uninitialised memory, filled with a pattern that is a NaN in every float
  /// format. Aligned to 256 bytes, as on a device.
  void *allocate(size_t bytes, llvm::StringRef name);
  /// False if `allocate` has not given out `pointer`.
  bool release(void *pointer);
  /// Lets kernels see memory of the host.
  void add(const void *pointer, size_t bytes, llvm::StringRef name);
  void remove(const void *pointer);

  /// The range that holds `address`, or else the last one before it; null if
  /// there is none. `begin` is where it begins.
  const Range *find(uintptr_t address, uintptr_t &begin) const;

private:
  std::map<uintptr_t, Range> ranges;
  std::vector<void *> owned;
};

/// A kernel of a module, ready to run.
struct Kernel {
  std::string name;
  /// Runs one thread. `arguments` are pointers to the values of the
  /// parameters, as for cuLaunchKernel.
  void (*entry)(void **arguments) = nullptr;
  uint32_t staticSharedBytes = 0;
  uint32_t maxThreads = 1024;
};

/// The kernels of one module, compiled for the host.
class KernelModule {
public:
  /// Compiles LLVM IR or bitcode for nvptx64. Fails upon invalid IR and upon
  /// functions that the emulator does not have, naming them. `memory` gets the
  /// global variables of the module.
  static llvm::Expected<std::unique_ptr<KernelModule>>
  load(llvm::MemoryBufferRef ir, Memory &memory);
  ~KernelModule();

  /// Null if there is no kernel of that name.
  const Kernel *lookup(llvm::StringRef name) const;

private:
  struct Implementation;
  explicit KernelModule(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation;
};

/// Runs all blocks of a grid, one after the other. The error of the first
/// fault; memory then holds what was stored before it.
llvm::Error launch(const Kernel &kernel, Dim3 grid, Dim3 block,
                   uint32_t dynamicSharedBytes, void **arguments,
                   const Memory &memory);

/// The functions that host code of MLIR calls to load and launch kernels
/// (mgpuModuleLoad, mgpuLaunchKernel, mgpuMemAlloc, …), by name. They work on
/// one memory; a fault is printed, and ends the process with status 1.
llvm::ArrayRef<std::pair<llvm::StringLiteral, void *>> getHostFunctions();
/// The memory that they work on.
Memory &getHostMemory();

} // namespace glvq::emulator

#endif // GLVQ_EMULATOR_EMULATOR_H

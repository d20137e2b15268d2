//===- Machine.h - One block of threads -------------------------*- C++ -*-===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//
//
// The threads of a block as fibers of one thread of the host, where they wait
// for each other, and what is known of every byte of shared memory.
//
//===----------------------------------------------------------------------===//

#ifndef GLVQ_LIB_EMULATOR_MACHINE_H
#define GLVQ_LIB_EMULATOR_MACHINE_H

#include "glvq/Emulator/Emulator.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace glvq::emulator {

inline constexpr uint32_t warpSize = 32;

/// Where the execution of a fiber stands.
struct Context {
#if defined(__x86_64__)
  void *stackPointer = nullptr;
#else
  ucontext_t context;
#endif
};

/// An instruction, for messages: "file:line:column: text". A string with the
/// lifetime of its module; its address identifies the instruction.
using Site = const char *;

/// An asynchronous copy to shared memory that has not arrived.
struct PendingCopy {
  char *target;
  const char *source;
  uint32_t bytes;  ///< of the target
  uint32_t copied; ///< the rest becomes zero
};

struct Thread {
  enum State : uint8_t { Running, InWarp, InBarrier, Exited };

  Context context;
  uint32_t id = 0; ///< linear within the block
  Dim3 index;
  State state = Running;
  /// While it waits: for what, and with which operands.
  Site site = nullptr;
  uint32_t mask = 0;
  uint32_t in[16] = {};
  uint32_t out[8] = {};
  llvm::SmallVector<PendingCopy, 4> openCopies;
  llvm::SmallVector<llvm::SmallVector<PendingCopy, 4>, 4> copyGroups;

  uint32_t lane() const { return id % warpSize; }
  uint32_t warp() const { return id / warpSize; }
};

enum class Access { Load, Store, Atomic };

class Machine {
public:
  Machine(const Kernel &kernel, Dim3 grid, Dim3 block, uint32_t sharedBytes,
          void **arguments, const Memory &memory);
  ~Machine();

  /// The machine that runs on this thread of the host.
  static Machine &get();
  /// Runs one block; false upon a fault.
  bool run(Dim3 index);
  const std::string &getFault() const { return fault; }

  // What follows is called by the kernel, from a fiber.

  Thread &thread() { return threads[running]; }
  char *getShared() { return shared; }
  /// Checks an access to memory in an address space of NVPTX.
  void check(const char *address, uint64_t bytes, uint64_t alignment,
             Access access, uint32_t space, Site site);
  /// Waits for all threads of the block.
  void barrier(Site site);
  /// Waits until the lanes of `mask` are at `site`; the last one to arrive
  /// calls `execute` with the lanes of the warp.
  void collective(Site site, uint32_t mask,
                  llvm::function_ref<void(Thread *)> execute);
  /// The lanes of a warp see each other's stores from now on.
  void orderWarp(uint32_t warp) { ++warpEpochs[warp]; }

  void copyAsync(char *target, const char *source, uint32_t bytes,
                 uint32_t copied, Site site);
  void commitCopies();
  void waitForCopies(size_t groupsLeft);

  /// Ends the launch with a message about the running thread, or about
  /// another one. Does not return, nor are the frames of the fiber unwound:
  /// what its caller keeps on the heap leaks, once.
  [[noreturn]] void fail(Site site, const std::string &what,
                         const Thread *who = nullptr);

  const Dim3 grid, block;
  Dim3 blockIndex;

private:
  /// What is known of a byte of shared memory. Epochs count barriers; those
  /// of a warp count its bar.warp.sync. They never start again, so that what a
  /// former block left is merely old.
  struct ShadowByte {
    uint32_t writeEpoch = 0, readEpoch = 0;
    uint32_t writeWarpEpoch = 0, readWarpEpoch = 0;
    uint16_t writer = 0, reader = 0;
    bool pending = false, byAtomic = false;
  };
  // Instead of the number of a thread: lanes of one warp, or of several.
  static constexpr uint16_t manyLanes = 0x8000, manyWarps = 0xffff;
  static uint32_t warpOf(uint16_t who);

  static void threadMain();
  void switchTo(uint32_t next);
  /// A thread to go on with, the same warp first; -1 if all wait.
  int64_t pick() const;
  /// Lets others run until the running thread may go on.
  void yield();
  [[noreturn]] void leaveBlock();
  [[noreturn]] void reportDeadlock();
  void checkShared(const char *address, uint64_t bytes, Access access,
                   Site site);
  bool isConcurrent(uint16_t other, uint32_t epoch, uint32_t warpEpoch) const;
  [[noreturn]] void failRace(Site site, Access access, uint64_t offset,
                             llvm::StringRef otherAccess, uint16_t other);

  const Kernel &kernel;
  void **arguments;
  const Memory &memory;
  std::vector<Thread> threads;
  std::vector<uint32_t> arrived, warpEpochs;
  std::vector<ShadowByte> shadow;
  char *stacks = nullptr, *sharedStorage = nullptr, *shared = nullptr;
  uint32_t sharedBytes;
  uint32_t running = 0, inBarrier = 0, exited = 0;
  uint32_t epoch = 0, firstEpoch = 0;
  uintptr_t lastBegin = 1, lastEnd = 0; ///< range of the last access
  Context outside;
  bool abandoned = false;
  std::string fault;
};

/// The functions that stand for intrinsics of NVPTX, by the name of the
/// intrinsic, overloading suffixes of pointers left out; null if there is none.
/// Their parameters are those of the intrinsic and a Site; vectors and small
/// floats travel as integers of their size, structs are written to a pointer
/// that comes first.
void *lookupIntrinsic(llvm::StringRef name);

} // namespace glvq::emulator

#endif // GLVQ_LIB_EMULATOR_MACHINE_H

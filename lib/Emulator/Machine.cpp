//===- Machine.cpp - One block of threads ---------------------------------===//
//
// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

using namespace glvq::emulator;
using llvm::formatv;

//===----------------------------------------------------------------------===//
// Fibers
//===----------------------------------------------------------------------===//

static constexpr size_t stackSize = 64 * 1024;

#if defined(__x86_64__)
// Saves the callee-saved registers of the System V ABI on one stack and takes
// them from another. The floating-point control words stay what they are.
extern "C" void glvqEmulatorSwitch(void **from, void *to);
asm(R"(
  .text
  .type glvqEmulatorSwitch, @function
glvqEmulatorSwitch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size glvqEmulatorSwitch, .-glvqEmulatorSwitch
)");

static void switchContext(Context &from, Context &to) {
  glvqEmulatorSwitch(&from.stackPointer, to.stackPointer);
}

static void prepareContext(Context &context, char *stack, void (*entry)()) {
  // As if `entry` had been called: its return address, which is not used, on
  // top of a stack that was aligned to 16 bytes.
  auto *top = reinterpret_cast<void **>(stack + stackSize);
  *--top = nullptr;
  *--top = reinterpret_cast<void *>(entry);
  for (int i = 0; i != 6; ++i)
    *--top = nullptr;
  context.stackPointer = top;
}
#else
static void switchContext(Context &from, Context &to) {
  swapcontext(&from.context, &to.context);
}

static void prepareContext(Context &context, char *stack, void (*entry)()) {
  getcontext(&context.context);
  context.context.uc_stack.ss_sp = stack;
  context.context.uc_stack.ss_size = stackSize;
  context.context.uc_link = nullptr;
  makecontext(&context.context, entry, 0);
}
#endif

static thread_local Machine *current = nullptr;

Machine &Machine::get() { return *current; }

Machine::Machine(const Kernel &kernel, Dim3 grid, Dim3 block,
                 uint32_t sharedBytes, void **arguments, const Memory &memory)
    : grid(grid), block(block), kernel(kernel), arguments(arguments),
      memory(memory), threads(block.count()),
      arrived(llvm::divideCeil(block.count(), warpSize)),
      warpEpochs(arrived.size()), shadow(sharedBytes),
      sharedBytes(sharedBytes) {
  void *area = mmap(nullptr, stackSize * threads.size(), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED)
    llvm::report_bad_alloc_error("emulator: no memory for stacks");
  stacks = static_cast<char *>(area);
  constexpr size_t alignment = 1024;
  sharedStorage = static_cast<char *>(
      std::aligned_alloc(alignment, llvm::alignTo(sharedBytes + 1, alignment)));
  shared = sharedStorage;
  for (uint32_t i = 0; i != threads.size(); ++i) {
    threads[i].id = i;
    threads[i].index = {i % block.x, i / block.x % block.y,
                        i / block.x / block.y};
  }
}

Machine::~Machine() {
  munmap(stacks, stackSize * threads.size());
  std::free(sharedStorage);
}

void Machine::threadMain() {
  Machine &machine = get();
  machine.kernel.entry(machine.arguments);
  Thread &thread = machine.thread();
  // Copies that nobody waits for still end.
  machine.commitCopies();
  machine.waitForCopies(0);
  thread.state = Thread::Exited;
  ++machine.exited;
  int64_t next = machine.pick();
  if (next < 0) {
    if (machine.exited != machine.threads.size())
      machine.reportDeadlock();
    machine.leaveBlock();
  }
  machine.switchTo(next);
  llvm_unreachable("an exited thread runs");
}

bool Machine::run(Dim3 index) {
  blockIndex = index;
  ++epoch;
  firstEpoch = epoch;
  exited = inBarrier = 0;
  std::fill(arrived.begin(), arrived.end(), 0);
  std::memset(shared, 0xff, sharedBytes);
  for (ShadowByte &byte : shadow)
    byte.pending = false;
  for (uint32_t i = 0; i != threads.size(); ++i) {
    threads[i].state = Thread::Running;
    prepareContext(threads[i].context, stacks + i * stackSize, threadMain);
  }
  Machine *outer = current;
  current = this;
  running = 0;
  switchContext(outside, threads[0].context);
  current = outer;
  return !abandoned;
}

void Machine::switchTo(uint32_t next) {
  uint32_t previous = running;
  if (previous == next)
    return;
  running = next;
  switchContext(threads[previous].context, threads[next].context);
}

int64_t Machine::pick() const {
  uint32_t count = threads.size(), warp = running / warpSize * warpSize;
  for (uint32_t i = 1; i <= warpSize; ++i) {
    uint32_t candidate = warp + (running + i) % warpSize;
    if (candidate < count && threads[candidate].state == Thread::Running)
      return candidate;
  }
  for (uint32_t i = 1; i < count; ++i) {
    uint32_t candidate = (running + i) % count;
    if (threads[candidate].state == Thread::Running)
      return candidate;
  }
  return -1;
}

void Machine::yield() {
  if (thread().state == Thread::Running)
    return;
  int64_t next = pick();
  if (next < 0)
    reportDeadlock();
  switchTo(next);
}

void Machine::leaveBlock() {
  switchContext(threads[running].context, outside);
  llvm_unreachable("a block that has ended runs");
}

//===----------------------------------------------------------------------===//
// Collective operations
//===----------------------------------------------------------------------===//

void Machine::barrier(Site site) {
  thread().site = site;
  thread().state = Thread::InBarrier;
  if (++inBarrier == threads.size()) {
    // Barriers are `.aligned`: a warp has to execute the same one.
    for (const Thread &other : threads) {
      const Thread &first = threads[other.warp() * warpSize];
      if (other.site != first.site)
        fail(other.site,
             formatv("divergent barrier: another lane of the warp is in the "
                     "barrier at {0}",
                     first.site),
             &other);
    }
    for (Thread &other : threads)
      other.state = Thread::Running;
    inBarrier = 0;
    ++epoch;
  }
  yield();
}

void Machine::collective(Site site, uint32_t mask,
                         llvm::function_ref<void(Thread *)> execute) {
  Thread &self = thread();
  self.site = site;
  self.mask = mask;
  if (!(mask >> self.lane() & 1))
    fail(site, formatv("the lane is not in its own mask {0:x8}", mask));
  uint32_t &lanes = arrived[self.warp()];
  lanes |= uint32_t(1) << self.lane();
  self.state = Thread::InWarp;
  if ((lanes & mask) != mask)
    return yield();
  Thread *warp = &threads[self.warp() * warpSize];
  for (uint32_t lane = 0; lane != warpSize; ++lane) {
    if (!(mask >> lane & 1))
      continue;
    if (warp[lane].site != site)
      fail(site, formatv("divergent warp: lane {0} waits at {1}", lane,
                         warp[lane].site));
    if (warp[lane].mask != mask)
      fail(site, formatv("lane {0} has another mask: {1:x8}, not {2:x8}", lane,
                         warp[lane].mask, mask));
  }
  execute(warp);
  lanes &= ~mask;
  for (uint32_t lane = 0; lane != warpSize; ++lane)
    if (mask >> lane & 1)
      warp[lane].state = Thread::Running;
}

void Machine::reportDeadlock() {
  // Somebody waits for a thread that will never come. A warp that does not get
  // together is the cause; the block's barrier may then be the consequence.
  const Thread *waiting = nullptr;
  for (const Thread &candidate : threads)
    if (candidate.state == Thread::InWarp ||
        (!waiting && candidate.state == Thread::InBarrier))
      if (waiting = &candidate; candidate.state == Thread::InWarp)
        break;
  bool inWarp = waiting->state == Thread::InWarp;
  const Thread *missing = nullptr;
  for (const Thread &candidate : threads) {
    bool needed = !inWarp || (candidate.warp() == waiting->warp() &&
                              waiting->mask >> candidate.lane() & 1);
    if (needed && !(candidate.state == waiting->state &&
                    candidate.site == waiting->site)) {
      missing = &candidate;
      break;
    }
  }
  std::string what = inWarp ? "divergent warp" : "divergent barrier";
  if (!missing)
    // The mask names lanes that the block does not have.
    what += ": its mask has lanes beyond the threads of the block";
  else if (missing->state == Thread::Exited)
    what +=
        formatv(": thread {0} never reaches it, it has returned", missing->id);
  else
    what += formatv(": thread {0} never reaches it, it waits at {1}",
                    missing->id, missing->site);
  fail(waiting->site, what, waiting);
}

void Machine::fail(Site site, const std::string &what, const Thread *who) {
  {
    const Thread &thread = who ? *who : this->thread();
    fault = formatv("kernel '{0}', block ({1}, {2}, {3}), thread ({4}, {5}, "
                    "{6}): {7}\n  at {8}",
                    kernel.name, blockIndex.x, blockIndex.y, blockIndex.z,
                    thread.index.x, thread.index.y, thread.index.z, what,
                    site ? site : "an unknown instruction");
  }
  abandoned = true;
  leaveBlock();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

static const char *toString(Access access) {
  switch (access) {
  case Access::Load:
    return "load";
  case Access::Store:
    return "store";
  case Access::Atomic:
    return "atomic access";
  }
  llvm_unreachable("unknown access");
}

void Machine::check(const char *address, uint64_t bytes, uint64_t alignment,
                    Access access, uint32_t space, Site site) {
  auto begin = reinterpret_cast<uintptr_t>(address);
  auto sharedBegin = reinterpret_cast<uintptr_t>(shared);
  bool isShared =
      begin >= sharedBegin && begin + bytes <= sharedBegin + sharedBytes;
  if (begin % alignment != 0)
    fail(site, formatv("misaligned {0} of {1} bytes: the address is {2} past a "
                       "multiple of {3}",
                       toString(access), bytes, begin % alignment, alignment));
  constexpr uint32_t generic = 0, sharedSpace = 3;
  if (isShared && (space == generic || space == sharedSpace))
    return checkShared(address, bytes, access, site);
  if (space == sharedSpace)
    fail(site, formatv("out-of-bounds {0} of {1} bytes at offset {2} of the "
                       "{3} bytes of shared memory",
                       toString(access), bytes,
                       static_cast<int64_t>(begin - sharedBegin), sharedBytes));
  if (begin >= lastBegin && begin + bytes <= lastEnd)
    return;
  auto stackBegin = reinterpret_cast<uintptr_t>(stacks);
  if (space == generic && begin >= stackBegin &&
      begin < stackBegin + threads.size() * stackSize)
    return;
  uintptr_t rangeBegin = 0;
  const Memory::Range *range = memory.find(begin, rangeBegin);
  // What is far from an allocation is not an index that went too far.
  constexpr uintptr_t near = 1 << 20;
  if (!range || begin >= range->end + near)
    fail(site,
         formatv("out-of-bounds {0} of {1} bytes at {2:x}, which is in no "
                 "allocation of the device",
                 toString(access), bytes, begin));
  if (begin + bytes > range->end)
    fail(site, formatv("out-of-bounds {0} of {1} bytes at offset {2} of '{3}', "
                       "which has {4} bytes",
                       toString(access), bytes, begin - rangeBegin, range->name,
                       range->end - rangeBegin));
  lastBegin = rangeBegin;
  lastEnd = range->end;
}

bool Machine::isConcurrent(uint16_t other, uint32_t otherEpoch,
                           uint32_t warpEpoch) const {
  if (otherEpoch != epoch || other == running)
    return false;
  if (other == manyWarps || warpOf(other) != running / warpSize)
    return true;
  return warpEpoch == warpEpochs[running / warpSize];
}

uint32_t Machine::warpOf(uint16_t who) {
  return who & manyLanes ? who & ~manyLanes : who / warpSize;
}

void Machine::failRace(Site site, Access access, uint64_t offset,
                       llvm::StringRef otherAccess, uint16_t other) {
  std::string who = "several warps";
  if (other & manyLanes && other != manyWarps)
    who = formatv("several lanes of warp {0}", warpOf(other));
  else if (other != manyWarps)
    who = formatv("thread {0}", other);
  fail(site, formatv("race on byte {0} of shared memory: this {1} and a {2} of "
                     "{3} with no barrier between them",
                     offset, toString(access), otherAccess, who));
}

void Machine::checkShared(const char *address, uint64_t bytes, Access access,
                          Site site) {
  uint64_t offset = address - shared;
  uint32_t warpEpoch = warpEpochs[running / warpSize];
  for (uint64_t i = offset; i != offset + bytes; ++i) {
    ShadowByte &byte = shadow[i];
    if (byte.pending)
      fail(site, formatv("{0} of byte {1} of shared memory, which cp.async is "
                         "still writing: a wait is missing",
                         toString(access), i));
    bool bothAtomic = access == Access::Atomic && byte.byAtomic;
    if (!bothAtomic &&
        isConcurrent(byte.writer, byte.writeEpoch, byte.writeWarpEpoch))
      failRace(site, access, i, "store", byte.writer);
    if (access != Access::Store && byte.writeEpoch < firstEpoch)
      fail(site, formatv("uninitialised read: nobody has written byte {0} of "
                         "shared memory",
                         i));
    if (access == Access::Load) {
      // Readers that a later store is not ordered with, as far as one can say
      // in two bytes.
      bool sameWarp =
          byte.reader != manyWarps && warpOf(byte.reader) == running / warpSize;
      if (byte.readEpoch != epoch ||
          (sameWarp && byte.readWarpEpoch != warpEpoch))
        byte.reader = running;
      else if (!sameWarp)
        byte.reader = manyWarps;
      else if (byte.reader != running)
        byte.reader = manyLanes | running / warpSize;
      byte.readEpoch = epoch;
      byte.readWarpEpoch = warpEpoch;
      continue;
    }
    if (isConcurrent(byte.reader, byte.readEpoch, byte.readWarpEpoch))
      failRace(site, access, i, "load", byte.reader);
    byte.writer = running;
    byte.writeEpoch = epoch;
    byte.writeWarpEpoch = warpEpoch;
    byte.byAtomic = access == Access::Atomic;
  }
}

void Machine::copyAsync(char *target, const char *source, uint32_t bytes,
                        uint32_t copied, Site site) {
  constexpr uint32_t globalSpace = 1, sharedSpace = 3;
  if (copied)
    check(source, copied, bytes, Access::Load, globalSpace, site);
  check(target, bytes, bytes, Access::Store, sharedSpace, site);
  for (uint32_t i = 0; i != bytes; ++i)
    shadow[target - shared + i].pending = true;
  thread().openCopies.push_back({target, source, bytes, copied});
}

void Machine::commitCopies() {
  Thread &self = thread();
  self.copyGroups.push_back(std::move(self.openCopies));
  self.openCopies.clear();
}

void Machine::waitForCopies(size_t groupsLeft) {
  Thread &self = thread();
  while (self.copyGroups.size() > groupsLeft) {
    for (const PendingCopy &copy : self.copyGroups.front()) {
      std::memcpy(copy.target, copy.source, copy.copied);
      std::memset(copy.target + copy.copied, 0, copy.bytes - copy.copied);
      for (uint32_t i = 0; i != copy.bytes; ++i) {
        ShadowByte &byte = shadow[copy.target - shared + i];
        byte.pending = false;
        byte.writer = running;
        byte.writeEpoch = epoch;
        byte.writeWarpEpoch = warpEpochs[running / warpSize];
        byte.byAtomic = false;
      }
    }
    self.copyGroups.erase(self.copyGroups.begin());
  }
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

llvm::Error glvq::emulator::launch(const Kernel &kernel, Dim3 grid, Dim3 block,
                                   uint32_t dynamicSharedBytes,
                                   void **arguments, const Memory &memory) {
  auto fail = [&](const std::string &what) {
    return llvm::createStringError("kernel '" + kernel.name + "': " + what);
  };
  // The limits of every GPU since sm_30.
  if (!grid.count() || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535)
    return fail(
        formatv("bad grid ({0}, {1}, {2}): 1 to 2^31-1, 65535 and 65535 "
                "blocks are possible",
                grid.x, grid.y, grid.z));
  if (!block.count() || block.count() > kernel.maxThreads || block.z > 64)
    return fail(formatv("bad block ({0}, {1}, {2}): 1 to {3} threads are "
                        "possible",
                        block.x, block.y, block.z, kernel.maxThreads));
  constexpr uint32_t maxStatic = 48 * 1024, maxShared = 99 * 1024;
  uint32_t sharedBytes = kernel.staticSharedBytes + dynamicSharedBytes;
  if (kernel.staticSharedBytes > maxStatic || sharedBytes > maxShared)
    return fail(formatv("{0} bytes of shared memory, of them {1} static: at "
                        "most {2} and {3} are possible on every chip",
                        sharedBytes, kernel.staticSharedBytes, maxShared,
                        maxStatic));
  Machine machine(kernel, grid, block, sharedBytes, arguments, memory);
  for (uint32_t z = 0; z != grid.z; ++z)
    for (uint32_t y = 0; y != grid.y; ++y)
      for (uint32_t x = 0; x != grid.x; ++x)
        if (!machine.run({x, y, z}))
          return llvm::createStringError(machine.getFault());
  return llvm::Error::success();
}

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Runs device kernels on the host: their LLVM IR, retargeted, is linked with
// this file, which stands for the hardware and for the launch functions that
// MLIR's host code calls. The threads of a block are fibers; one runs until it
// reaches a shuffle or a barrier. Both end the program when not all threads
// arrive that have to. Blocks run one after the other, so that shared memory
// is a plain array.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { maxThreads = 1024, warpSize = 32, stackSize = 64 * 1024 };
enum State { Running, InShuffle, InBarrier, Finished };

struct Fiber {
  ucontext_t context;
  enum State state;
  float value;
  int32_t offset;
};

// Written by the driver: the kernels of the module.
struct Kernel {
  const char *name;
  void (*call)(void **arguments);
};
extern const struct Kernel emulatedKernels[];

static struct Fiber fibers[maxThreads];
static char stacks[maxThreads][stackSize];
static ucontext_t scheduler;
static unsigned current;
static int64_t block[3], grid[3];
static const struct Kernel *kernel;
static void **arguments;

static void fail(const char *what) {
  fprintf(stderr, "emulator: %s: %s in block %ld %ld\n", kernel->name, what,
          (long)block[0], (long)block[1]);
  exit(1);
}
static void suspend(enum State state) {
  fibers[current].state = state;
  swapcontext(&fibers[current].context, &scheduler);
}
static void fiberMain(void) {
  kernel->call(arguments);
  suspend(Finished);
}

uint32_t nvvm_read_ptx_sreg_tid_x(void) { return current; }
uint32_t nvvm_read_ptx_sreg_ctaid_x(void) { return block[0]; }
uint32_t nvvm_read_ptx_sreg_ctaid_y(void) { return block[1]; }
void nvvm_barrier_cta_sync_aligned_all(uint32_t id) { suspend(InBarrier); }
float nvvm_shfl_sync_bfly_f32(uint32_t mask, float value, uint32_t offset,
                              uint32_t clamp) {
  if (mask != UINT32_MAX)
    fail("shuffle among less than a warp");
  fibers[current].value = value;
  fibers[current].offset = offset;
  suspend(InShuffle);
  return fibers[current].value;
}
float nvvm_ex2_approx_f32(float x) { return __builtin_exp2f(x); }
float nvvm_lg2_approx_f(float x) { return __builtin_log2f(x); }

static unsigned count(unsigned begin, unsigned end, enum State state) {
  unsigned n = 0;
  for (unsigned i = begin; i < end; ++i)
    n += fibers[i].state == state;
  return n;
}

static void runBlock(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) {
    getcontext(&fibers[i].context);
    fibers[i].context.uc_stack.ss_sp = stacks[i];
    fibers[i].context.uc_stack.ss_size = stackSize;
    fibers[i].state = Running;
    makecontext(&fibers[i].context, fiberMain, 0);
  }
  while (count(0, threads, Finished) != threads) {
    for (current = 0; current < threads; ++current)
      if (fibers[current].state == Running)
        swapcontext(&scheduler, &fibers[current].context);
    for (unsigned w = 0; w < threads; w += warpSize) {
      unsigned inShuffle = count(w, w + warpSize, InShuffle);
      if (!inShuffle)
        continue;
      if (inShuffle != warpSize)
        fail("not all lanes reach a shuffle");
      float values[warpSize];
      for (unsigned l = 0; l < warpSize; ++l)
        values[l] = fibers[w + (l ^ fibers[w + l].offset)].value;
      for (unsigned l = 0; l < warpSize; ++l) {
        fibers[w + l].value = values[l];
        fibers[w + l].state = Running;
      }
    }
    unsigned inBarrier = count(0, threads, InBarrier);
    if (inBarrier == threads)
      for (unsigned i = 0; i < threads; ++i)
        fibers[i].state = Running;
    else if (inBarrier && !count(0, threads, Running))
      fail("not all threads reach a barrier");
  }
}

void *mgpuModuleLoad(void *data, size_t size) { return data; }
void mgpuModuleUnload(void *module) {}
void *mgpuModuleGetFunction(void *module, const char *name) {
  for (const struct Kernel *k = emulatedKernels; k->name; ++k)
    if (!strcmp(k->name, name))
      return (void *)k;
  fprintf(stderr, "emulator: no kernel named %s\n", name);
  exit(1);
}
void *mgpuStreamCreate(void) { return NULL; }
void mgpuStreamSynchronize(void *stream) {}
void mgpuStreamDestroy(void *stream) {}

void mgpuLaunchKernel(void *function, intptr_t gridX, intptr_t gridY,
                      intptr_t gridZ, intptr_t blockX, intptr_t blockY,
                      intptr_t blockZ, int32_t sharedMemory, void *stream,
                      void **parameters, void **extra, size_t parameterCount) {
  kernel = function;
  arguments = parameters;
  if (gridX < 1 || gridX > INT32_MAX || gridY < 1 || gridY > 65535 ||
      gridZ != 1 || blockX % warpSize || blockX > maxThreads || blockY != 1 ||
      blockZ != 1)
    fail("bad launch dimensions");
  for (block[1] = 0; block[1] < gridY; ++block[1])
    for (block[0] = 0; block[0] < gridX; ++block[0])
      runBlock(blockX);
}

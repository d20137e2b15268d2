// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// A token of a small model has hundreds of short loops, so a thread that waits
// for the next one spins for a while before it sleeps.

#include "ThreadPool.h"

#include <algorithm>
#include <sched.h>
#include <utility>

using namespace glvq;

static thread_local ThreadPool *currentPool = nullptr;

static void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Waits until `value` is no longer `old`: some 50 µs awake, then asleep.
static void waitWhile(const std::atomic<uint32_t> &value, uint32_t old) {
  for (int spin = 0; spin < 2000; ++spin) {
    if (value.load(std::memory_order_acquire) != old)
      return;
    relax();
  }
  value.wait(old, std::memory_order_acquire);
}

ThreadPool::ThreadPool(int32_t threads) {
  workers.reserve(threads - 1);
  try {
    for (int32_t i = 1; i < threads; ++i)
      workers.emplace_back([this, i] { work(i); });
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stopping = true;
  generation.fetch_add(1, std::memory_order_release);
  generation.notify_all();
  for (std::thread &worker : workers)
    worker.join();
  workers.clear();
}

void ThreadPool::runPart(int32_t index) const {
  // 128 bits: count · n must not overflow.
  __int128 n = size();
  auto begin = static_cast<int64_t>(count * __int128(index) / n);
  auto end = static_cast<int64_t>(count * __int128(index + 1) / n);
  if (begin < end)
    body(context, begin, end);
}

void ThreadPool::work(int32_t index) {
  for (uint32_t seen = 0;;) {
    waitWhile(generation, seen);
    uint32_t now = generation.load(std::memory_order_acquire);
    if (now == seen)
      continue; // woken without a reason
    seen = now;
    if (stopping)
      return;
    runPart(index);
    if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1)
      pending.notify_one();
  }
}

void ThreadPool::parallelFor(Body newBody, void *newContext, int64_t newCount) {
  if (newCount <= 0)
    return;
  if (workers.empty() || newCount == 1) {
    newBody(newContext, 0, newCount);
    return;
  }
  body = newBody;
  context = newContext;
  count = newCount;
  pending.store(static_cast<uint32_t>(workers.size()),
                std::memory_order_relaxed);
  generation.fetch_add(1, std::memory_order_release);
  generation.notify_all();
  runPart(0);
  while (uint32_t left = pending.load(std::memory_order_acquire))
    waitWhile(pending, left);
}

ThreadPool::Scope::Scope(ThreadPool *pool)
    : previous(std::exchange(currentPool, pool)) {}
ThreadPool::Scope::~Scope() { currentPool = previous; }

void ThreadPool::hook(Body body, void *context, int64_t count) {
  ThreadPool *pool = currentPool;
  if (!pool) {
    if (count > 0)
      body(context, 0, count);
    return;
  }
  Scope nested(nullptr);
  pool->parallelFor(body, context, count);
}

int32_t glvq::availableCpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

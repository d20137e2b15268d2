// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The threads of a session, and the function behind the `glvq_parallel_for`
// hook of compiled code (docs/ArtefactFormat.md).

#ifndef GLVQ_RUNTIME_THREADPOOL_H
#define GLVQ_RUNTIME_THREADPOOL_H

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace glvq {

/// Runs loop bodies on a fixed set of threads with a static partition: thread t
/// of n takes [t·count/n, (t+1)·count/n), so that a thread meets the same
/// weights at each call. One loop at a time.
class ThreadPool {
public:
  using Body = void (*)(void *context, int64_t begin, int64_t end);

  /// `threads` ≥ 1 counts the calling thread. Throws std::system_error when
  /// threads cannot be had.
  explicit ThreadPool(int32_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int32_t size() const { return static_cast<int32_t>(workers.size()) + 1; }
  void parallelFor(Body body, void *context, int64_t count);

  /// Makes a pool the one that `hook` uses on this thread.
  class Scope {
  public:
    explicit Scope(ThreadPool *pool);
    ~Scope();

  private:
    ThreadPool *previous;
  };

  /// What compiled code calls. Without a pool on this thread (inside a body:
  /// loops do not nest), the loop runs on the calling thread.
  static void hook(Body body, void *context, int64_t count);

private:
  void work(int32_t index);
  void runPart(int32_t index) const;
  void stop();

  std::vector<std::thread> workers;
  // The loop in progress; written before `generation` is raised.
  Body body = nullptr;
  void *context = nullptr;
  int64_t count = 0;
  bool stopping = false;
  // On lines of their own: workers spin on the one, the caller on the other.
  alignas(64) std::atomic<uint32_t> generation{0};
  alignas(64) std::atomic<uint32_t> pending{0};
};

/// CPUs that this process may use.
int32_t availableCpus();

} // namespace glvq

#endif // GLVQ_RUNTIME_THREADPOOL_H

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// A session: the states of one user of an artefact and the threads of its
// calls.

#ifndef GLVQ_RUNTIME_SESSION_H
#define GLVQ_RUNTIME_SESSION_H

#include "Artefact.h"

#include <map>
#include <span>

namespace glvq {

/// Zeroed memory that the system provides when it is touched.
class LazyMemory {
public:
  explicit LazyMemory(size_t bytes);
  LazyMemory(LazyMemory &&other) noexcept
      : data(std::exchange(other.data, nullptr)), size(other.size) {}
  LazyMemory &operator=(LazyMemory &&) = delete;
  ~LazyMemory();
  void clear();
  void *get() const { return data; }

private:
  void *data = nullptr;
  size_t size;
};

} // namespace glvq

struct glvq_session {
  glvq_session(glvq::ArtefactRef artefact, int64_t capacity, int32_t threads);

  void reset();
  void run(std::string_view entry, std::span<const glvq_tensor> inputs,
           std::span<const glvq_tensor> outputs);
  std::vector<int64_t> outputShape(std::string_view entry,
                                   std::span<const glvq_tensor> inputs,
                                   std::string_view output) const;

  glvq::ArtefactRef artefact;
  int64_t capacity;
  glvq::ThreadPool pool;

private:
  struct State {
    glvq_dtype dtype;
    std::vector<int64_t> shape;
    glvq::LazyMemory memory;
  };
  void addState(const glvq::Argument &argument);

  std::map<std::string, State, std::less<>> states;
  std::atomic<bool> busy{false};
};

#endif // GLVQ_RUNTIME_SESSION_H

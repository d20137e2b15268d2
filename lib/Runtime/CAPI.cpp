// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The C interface over the classes: exceptions become a status and a message.

#include "Session.h"

#include <algorithm>
#include <new>
#include <system_error>

using namespace glvq;

static thread_local std::string lastError;

int32_t glvq_abi_version(void) { return GLVQ_ABI_VERSION; }

const char *glvq_last_error(void) { return lastError.c_str(); }

/// Runs `action`; on an exception stores its message and returns its status.
template <typename Action>
static glvq_status guarded(Action action) {
  try {
    lastError.clear();
    action();
    return GLVQ_OK;
  } catch (const Error &error) {
    lastError = error.what();
    return error.status;
  } catch (const std::system_error &error) {
    lastError = std::string("cannot start threads: ") + error.what();
    return GLVQ_ERROR_MEMORY;
  } catch (const std::bad_alloc &) {
    lastError = "out of memory";
    return GLVQ_ERROR_MEMORY;
  } catch (const std::exception &error) {
    lastError = error.what();
    return GLVQ_ERROR_FORMAT;
  }
}

template <typename T>
static T *nonNull(T *pointer, const char *what) {
  if (!pointer)
    throw Error(GLVQ_ERROR_ARGUMENT, std::string(what) + " is null");
  return pointer;
}

//===----------------------------------------------------------------------===//
// Artefacts
//===----------------------------------------------------------------------===//

glvq_status glvq_artefact_open(const char *path,
                               const glvq_open_options *options,
                               glvq_artefact **artefact) {
  return guarded([&] {
    *nonNull(artefact, "artefact") = nullptr;
    auto opened = std::make_shared<glvq_artefact>(
        nonNull(path, "path"), !(options && options->skip_checksums));
    // The handle is a share of its own, given back by glvq_artefact_close;
    // sessions hold further ones.
    opened->handle = opened;
    *artefact = opened.get();
  });
}

void glvq_artefact_close(glvq_artefact *artefact) {
  if (artefact)
    std::shared_ptr<glvq_artefact> last = std::move(artefact->handle);
}

const char *glvq_artefact_model(const glvq_artefact *artefact) {
  return artefact->model.c_str();
}

size_t glvq_artefact_entry_count(const glvq_artefact *artefact) {
  return artefact->entries.size();
}

const glvq_entry *glvq_artefact_entry(const glvq_artefact *artefact,
                                      size_t index) {
  return index < artefact->entries.size() ? &artefact->entries[index] : nullptr;
}

const glvq_entry *glvq_artefact_find_entry(const glvq_artefact *artefact,
                                           const char *name) {
  const glvq_entry *entry = nullptr;
  guarded([&] {
    entry = &nonNull(artefact, "artefact")->entry(nonNull(name, "name"));
  });
  return entry;
}

const char *glvq_entry_name(const glvq_entry *entry) {
  return entry->name.c_str();
}

size_t glvq_entry_argument_count(const glvq_entry *entry) {
  return entry->arguments.size();
}

glvq_status glvq_entry_argument(const glvq_entry *entry, size_t index,
                                glvq_argument *argument) {
  return guarded([&] {
    if (index >= nonNull(entry, "entry")->arguments.size())
      throw Error(GLVQ_ERROR_ARGUMENT,
                  "entry '" + entry->name + "' has only " +
                      std::to_string(entry->arguments.size()) + " arguments");
    *nonNull(argument, "argument") = entry->arguments[index].view();
  });
}

//===----------------------------------------------------------------------===//
// Sessions
//===----------------------------------------------------------------------===//

glvq_status glvq_session_create(glvq_artefact *artefact,
                                const glvq_session_options *options,
                                glvq_session **session) {
  return guarded([&] {
    *nonNull(session, "session") = nullptr;
    glvq_session_options chosen = options ? *options : glvq_session_options{};
    if (chosen.capacity < 0 || chosen.threads < 0 || chosen.threads > 4096)
      throw Error(GLVQ_ERROR_ARGUMENT,
                  "capacity must not be negative, and threads lie in 0 … 4096; "
                  "given " +
                      std::to_string(chosen.capacity) + " and " +
                      std::to_string(chosen.threads));
    *session = new glvq_session(nonNull(artefact, "artefact")->handle,
                                chosen.capacity, chosen.threads);
  });
}

void glvq_session_destroy(glvq_session *session) { delete session; }

glvq_status glvq_session_reset(glvq_session *session) {
  return guarded([&] { nonNull(session, "session")->reset(); });
}

int64_t glvq_session_capacity(const glvq_session *session) {
  return session->capacity;
}

int32_t glvq_session_threads(const glvq_session *session) {
  return session->pool.size();
}

static std::span<const glvq_tensor> tensors(const glvq_tensor *begin,
                                            size_t count) {
  return count ? std::span(nonNull(begin, "tensor list"), count)
               : std::span<const glvq_tensor>();
}

glvq_status glvq_session_output_shape(const glvq_session *session,
                                      const char *entry,
                                      const glvq_tensor *inputs,
                                      size_t input_count, const char *output,
                                      int32_t *rank, int64_t *shape) {
  return guarded([&] {
    std::vector<int64_t> sizes =
        nonNull(session, "session")
            ->outputShape(nonNull(entry, "entry"), tensors(inputs, input_count),
                          nonNull(output, "output"));
    *nonNull(rank, "rank") = static_cast<int32_t>(sizes.size());
    if (shape)
      std::copy(sizes.begin(), sizes.end(), shape);
  });
}

glvq_status glvq_session_run(glvq_session *session, const char *entry,
                             const glvq_tensor *inputs, size_t input_count,
                             const glvq_tensor *outputs, size_t output_count) {
  return guarded([&] {
    nonNull(session, "session")
        ->run(nonNull(entry, "entry"), tensors(inputs, input_count),
              tensors(outputs, output_count));
  });
}

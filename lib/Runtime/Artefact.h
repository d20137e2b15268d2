// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The objects behind the handles of glvq_runtime.h. Inside the runtime, errors
// are exceptions; CAPI.cpp turns them into statuses.

#ifndef GLVQ_RUNTIME_ARTEFACT_H
#define GLVQ_RUNTIME_ARTEFACT_H

#include "ThreadPool.h"
#include "glvq/Runtime/SafeTensors.h"
#include "glvq/Runtime/glvq_runtime.h"

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace glvq {

/// What went wrong, for the caller of the C API.
struct Error : std::runtime_error {
  Error(glvq_status status, const std::string &message)
      : std::runtime_error(message), status(status) {}
  glvq_status status;
};

/// The manifest's spelling ("f32") to the enumerator; throws FORMAT.
glvq_dtype parseDtype(const std::string &name);
/// The spelling of safetensors ("F32").
std::string safeTensorsName(glvq_dtype dtype);
/// "f32[1, tokens, 64]", for messages.
std::string describe(const glvq_argument &argument);
std::string describe(glvq_dtype dtype, int32_t rank, const int64_t *shape);

/// The name of the dimension whose size the session chooses.
inline constexpr const char *capacityDimension = "capacity";

/// The least and the largest of something, both included.
struct Range {
  int64_t least = 0, largest = 0;
};

/// One argument of an entry, as in the manifest.
struct Argument {
  std::string name;
  glvq_role role = GLVQ_INPUT;
  glvq_dtype dtype = GLVQ_F32;
  bool scalar = false;
  std::vector<int64_t> shape;               // -1: dynamic
  std::vector<std::string> dimensions;      // "": static
  std::vector<const char *> dimensionNames; // of `dimensions`, for the C API
  const std::byte *weight = nullptr;        // in the mapped file

  glvq_argument view() const {
    return {name.c_str(), role,
            dtype,        static_cast<int32_t>(shape.size()),
            shape.data(), dimensionNames.data()};
  }
};

/// A loaded `model.so`.
class Library {
public:
  Library() = default;
  explicit Library(const std::string &path);
  ~Library();
  Library(Library &&other) noexcept
      : handle(std::exchange(other.handle, nullptr)) {}
  Library &operator=(Library &&other) noexcept {
    std::swap(handle, other.handle);
    return *this;
  }
  /// Null when there is none.
  void *symbol(const char *name) const;

private:
  void *handle = nullptr;
};

} // namespace glvq

// The C API names these classes: a handle is a pointer to one.
struct glvq_entry {
  std::string name;
  void (*function)(void **) = nullptr;
  std::vector<glvq::Argument> arguments;
};

struct glvq_artefact {
  glvq_artefact(const std::string &path, bool checksums);

  const glvq_entry &entry(std::string_view name) const;

  std::string path;
  std::string model; // JSON text
  int64_t contextLength = 0;
  int64_t vocabSize = 0;
  /// What the code takes for granted, by the name of a dimension and of an
  /// integer input.
  std::map<std::string, glvq::Range, std::less<>> sizeRanges, valueRanges;
  std::vector<glvq_entry> entries;
  /// The share of the artefact that its handle stands for; null once it is
  /// closed.
  std::shared_ptr<glvq_artefact> handle;

private:
  void bindWeights(glvq_entry &entry);

  glvq::SafeTensors weights;
  glvq::Library library;
};

namespace glvq {
/// Sessions share the artefact with its handle.
using ArtefactRef = std::shared_ptr<const glvq_artefact>;
} // namespace glvq

#endif // GLVQ_RUNTIME_ARTEFACT_H

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Checks a call against the manifest and makes the arguments of compiled code
// from it (docs/ArtefactFormat.md, "Binary interface").

#include "Session.h"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>

using namespace glvq;

//===----------------------------------------------------------------------===//
// States
//===----------------------------------------------------------------------===//

LazyMemory::LazyMemory(size_t bytes) : size(bytes ? bytes : 1) {
  data = mmap(nullptr, size, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    data = nullptr;
    throw Error(GLVQ_ERROR_MEMORY, "cannot reserve " + std::to_string(size) +
                                       " bytes for the states of a session (" +
                                       std::strerror(errno) +
                                       "); ask for a smaller capacity");
  }
}

LazyMemory::~LazyMemory() {
  if (data)
    munmap(data, size);
}

// Pages of a private anonymous mapping read as zero after this.
void LazyMemory::clear() { madvise(data, size, MADV_DONTNEED); }

/// Bytes of a tensor; throws when they cannot be addressed.
static size_t byteSize(const std::string &name, glvq_dtype dtype,
                       const std::vector<int64_t> &shape) {
  size_t bytes = glvq_dtype_size(dtype);
  for (int64_t size : shape)
    if (__builtin_mul_overflow(bytes, static_cast<size_t>(size), &bytes) ||
        bytes > PTRDIFF_MAX)
      throw Error(GLVQ_ERROR_MEMORY,
                  "'" + name + "' is too large: " +
                      describe(dtype, shape.size(), shape.data()));
  return bytes;
}

glvq_session::glvq_session(ArtefactRef ref, int64_t wantedCapacity,
                           int32_t threads)
    : artefact(std::move(ref)), capacity(wantedCapacity),
      pool(threads > 0 ? threads : availableCpus()) {
  if (capacity == 0)
    capacity = artefact->contextLength > 0 ? artefact->contextLength : 2048;
  for (const glvq_entry &entry : artefact->entries)
    for (const Argument &argument : entry.arguments)
      if (argument.role == GLVQ_STATE)
        addState(argument);
}

void glvq_session::addState(const Argument &argument) {
  std::vector<int64_t> shape = argument.shape;
  for (int64_t &size : shape)
    size = size < 0 ? capacity : size;
  // Entries share the states they name alike.
  if (auto it = states.find(argument.name); it != states.end()) {
    if (it->second.dtype != argument.dtype || it->second.shape != shape)
      throw Error(GLVQ_ERROR_FORMAT,
                  "entries disagree on the type or shape of state '" +
                      argument.name + "'");
    return;
  }
  LazyMemory memory(byteSize(argument.name, argument.dtype, shape));
  states.emplace(argument.name,
                 State{argument.dtype, std::move(shape), std::move(memory)});
}

void glvq_session::reset() {
  if (busy.exchange(true, std::memory_order_acquire))
    throw Error(GLVQ_ERROR_BUSY,
                "the session is running a call; reset it afterwards");
  for (auto &[name, state] : states)
    state.memory.clear();
  busy.store(false, std::memory_order_release);
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

namespace {

/// Sizes of the named dimensions of one call.
class Dimensions {
public:
  explicit Dimensions(int64_t capacity) {
    sizes.emplace(capacityDimension, capacity);
  }

  /// Checks `tensor` against `argument` and learns the sizes of its dimensions.
  void bind(const Argument &argument, const glvq_tensor &tensor);
  /// The size of dimension i of `argument`; -1 when it is not known.
  int64_t size(const Argument &argument, size_t i) const {
    if (argument.shape[i] >= 0)
      return argument.shape[i];
    auto it = sizes.find(argument.dimensions[i]);
    return it == sizes.end() ? -1 : it->second;
  }

private:
  std::map<std::string, int64_t> sizes;
};

/// Memory of the memref descriptors of a call. Each is {allocated, aligned,
/// offset, sizes[rank], strides[rank]}: pointers and int64_t have one size
/// here.
class Descriptors {
public:
  explicit Descriptors(const glvq_entry &entry) {
    size_t words = 0;
    for (const Argument &argument : entry.arguments)
      words += 3 + 2 * argument.shape.size();
    storage.reserve(words); // pointers into it are kept
  }

  void *add(const void *data, std::span<const int64_t> shape) {
    size_t begin = storage.size(), rank = shape.size();
    auto address = static_cast<int64_t>(reinterpret_cast<uintptr_t>(data));
    storage.insert(storage.end(), {address, address, 0});
    storage.insert(storage.end(), shape.begin(), shape.end());
    storage.resize(begin + 3 + 2 * rank);
    int64_t stride = 1;
    for (size_t i = rank; i-- > 0;) {
      storage[begin + 3 + rank + i] = stride;
      stride *= shape[i];
    }
    return &storage[begin];
  }

private:
  static_assert(sizeof(void *) == sizeof(int64_t));
  std::vector<int64_t> storage;
};

} // namespace

static const char *roleName(glvq_role role) {
  return role == GLVQ_INPUT ? "input" : "output";
}

void Dimensions::bind(const Argument &argument, const glvq_tensor &tensor) {
  auto refuse = [&](const std::string &why) {
    throw Error(GLVQ_ERROR_ARGUMENT, std::string(roleName(argument.role)) +
                                         " '" + argument.name + "': " + why);
  };
  if (tensor.rank < 0 || (tensor.rank > 0 && !tensor.shape))
    refuse("the tensor has no shape");
  std::string given = describe(tensor.dtype, tensor.rank, tensor.shape);
  if (tensor.dtype != argument.dtype ||
      size_t(tensor.rank) != argument.shape.size())
    refuse("is " + given + ", the entry takes " + describe(argument.view()));
  bool empty = false;
  for (size_t i = 0; i < argument.shape.size(); ++i) {
    int64_t actual = tensor.shape[i], expected = size(argument, i);
    if (actual < 0)
      refuse("is " + given + ": a size is negative");
    if (expected < 0)
      sizes.emplace(argument.dimensions[i], actual);
    else if (actual != expected)
      refuse("is " + given + ", the entry takes " + describe(argument.view()) +
             (argument.shape[i] < 0 ? " where " + argument.dimensions[i] +
                                          " is " + std::to_string(expected)
                                    : ""));
    empty |= actual == 0;
  }
  if (!tensor.data && !empty)
    refuse("data is null");
  if (reinterpret_cast<uintptr_t>(tensor.data) %
          glvq_dtype_size(tensor.dtype) !=
      0)
    refuse("data is not aligned to its element type");
}

/// The tensor of this name; throws when it is missing or given twice.
static const glvq_tensor &findTensor(std::span<const glvq_tensor> tensors,
                                     const Argument &argument,
                                     const std::string &entry) {
  const glvq_tensor *found = nullptr;
  for (const glvq_tensor &tensor : tensors) {
    if (!tensor.name || argument.name != tensor.name)
      continue;
    if (found)
      throw Error(GLVQ_ERROR_ARGUMENT, std::string(roleName(argument.role)) +
                                           " '" + argument.name +
                                           "' is given twice");
    found = &tensor;
  }
  if (!found)
    throw Error(GLVQ_ERROR_ARGUMENT,
                "entry '" + entry + "' needs the " + roleName(argument.role) +
                    " '" + argument.name + "': " + describe(argument.view()));
  return *found;
}

/// Refuses tensors that the entry does not have.
static void checkNames(const glvq_entry &entry,
                       std::span<const glvq_tensor> tensors, glvq_role role) {
  for (const glvq_tensor &tensor : tensors) {
    std::string known;
    bool found = false;
    for (const Argument &argument : entry.arguments) {
      if (argument.role != role)
        continue;
      found |= tensor.name && argument.name == tensor.name;
      known += (known.empty() ? "" : ", ") + argument.name;
    }
    if (!found)
      throw Error(GLVQ_ERROR_ARGUMENT,
                  "entry '" + entry.name + "' has no " + roleName(role) + " '" +
                      (tensor.name ? tensor.name : "") + "'; it has: " + known);
  }
}

/// What a decoder-only model takes for granted (docs/ModelModule.md) and would
/// otherwise answer with wild memory accesses.
static void checkDecoderCall(const glvq_entry &entry,
                             std::span<const glvq_tensor> inputs,
                             int64_t capacity, int64_t vocabSize) {
  const glvq_tensor *tokens = nullptr, *position = nullptr;
  for (const glvq_tensor &tensor : inputs) {
    if (std::strcmp(tensor.name, "tokens") == 0 && tensor.dtype == GLVQ_I64 &&
        tensor.rank == 2)
      tokens = &tensor;
    if (std::strcmp(tensor.name, "position") == 0 && tensor.dtype == GLVQ_I64 &&
        tensor.rank == 0)
      position = &tensor;
  }
  if (!tokens || !position)
    return;
  int64_t count = tokens->shape[0] * tokens->shape[1];
  int64_t begin = *static_cast<const int64_t *>(position->data);
  if (count == 0)
    throw Error(GLVQ_ERROR_ARGUMENT,
                "entry '" + entry.name + "' needs at least one token");
  if (begin < 0 || begin > capacity - tokens->shape[1])
    throw Error(GLVQ_ERROR_ARGUMENT,
                "position " + std::to_string(begin) + " and " +
                    std::to_string(tokens->shape[1]) +
                    " tokens do not fit the session's capacity of " +
                    std::to_string(capacity));
  if (vocabSize > 0)
    for (int64_t id :
         std::span(static_cast<const int64_t *>(tokens->data), size_t(count)))
      if (id < 0 || id >= vocabSize)
        throw Error(GLVQ_ERROR_ARGUMENT, "token id " + std::to_string(id) +
                                             " is not in the vocabulary of " +
                                             std::to_string(vocabSize));
}

/// The values of integers, where the artefact bounds them: indices of tables,
/// which compiled code does not check. Throws for the first beyond.
static void checkValues(const std::string &name, const glvq_tensor &tensor,
                        Range range) {
  size_t count = 1;
  for (int32_t i = 0; i < tensor.rank; ++i)
    count *= static_cast<size_t>(tensor.shape[i]);
  auto check = [&]<typename T>(const T *values) {
    for (T value : std::span(values, count))
      if (value < range.least || value > range.largest)
        throw Error(GLVQ_ERROR_ARGUMENT,
                    "input '" + name + "': " + std::to_string(value) +
                        " is not among " + std::to_string(range.least) +
                        " to " + std::to_string(range.largest));
  };
  if (tensor.dtype == GLVQ_I64)
    check(static_cast<const int64_t *>(tensor.data));
  else if (tensor.dtype == GLVQ_I32)
    check(static_cast<const int32_t *>(tensor.data));
}

/// Holds a call to what the artefact says of sizes and values.
static void checkRanges(const glvq_artefact &artefact, const glvq_entry &entry,
                        const Dimensions &dimensions,
                        std::span<const glvq_tensor> inputs) {
  for (const Argument &argument : entry.arguments) {
    if (argument.role != GLVQ_INPUT)
      continue;
    for (size_t i = 0; i < argument.shape.size(); ++i) {
      auto it = artefact.sizeRanges.find(argument.dimensions[i]);
      if (argument.shape[i] >= 0 || it == artefact.sizeRanges.end())
        continue;
      int64_t size = dimensions.size(argument, i);
      if (size < it->second.least || size > it->second.largest)
        throw Error(GLVQ_ERROR_ARGUMENT,
                    "input '" + argument.name + "': size '" + it->first +
                        "' is " + std::to_string(size) + ", the model takes " +
                        std::to_string(it->second.least) + " to " +
                        std::to_string(it->second.largest));
    }
    if (auto it = artefact.valueRanges.find(argument.name);
        it != artefact.valueRanges.end())
      checkValues(argument.name, findTensor(inputs, argument, entry.name),
                  it->second);
  }
}

std::vector<int64_t>
glvq_session::outputShape(std::string_view entryName,
                          std::span<const glvq_tensor> inputs,
                          std::string_view output) const {
  const glvq_entry &entry = artefact->entry(entryName);
  checkNames(entry, inputs, GLVQ_INPUT);
  Dimensions dimensions(capacity);
  for (const Argument &argument : entry.arguments)
    if (argument.role == GLVQ_INPUT)
      dimensions.bind(argument, findTensor(inputs, argument, entry.name));
  for (const Argument &argument : entry.arguments) {
    if (argument.role != GLVQ_OUTPUT || argument.name != output)
      continue;
    std::vector<int64_t> shape;
    for (size_t i = 0; i < argument.shape.size(); ++i) {
      shape.push_back(dimensions.size(argument, i));
      if (shape.back() < 0)
        throw Error(GLVQ_ERROR_ARGUMENT,
                    "size '" + argument.dimensions[i] + "' of output '" +
                        argument.name + "' does not follow from the inputs");
    }
    return shape;
  }
  throw Error(GLVQ_ERROR_ARGUMENT, "entry '" + entry.name +
                                       "' has no output '" +
                                       std::string(output) + "'");
}

void glvq_session::run(std::string_view entryName,
                       std::span<const glvq_tensor> inputs,
                       std::span<const glvq_tensor> outputs) {
  const glvq_entry &entry = artefact->entry(entryName);
  checkNames(entry, inputs, GLVQ_INPUT);
  checkNames(entry, outputs, GLVQ_OUTPUT);

  Dimensions dimensions(capacity);
  Descriptors descriptors(entry);
  std::vector<void *> arguments;
  arguments.reserve(entry.arguments.size());
  for (const Argument &argument : entry.arguments) {
    switch (argument.role) {
    case GLVQ_INPUT:
    case GLVQ_OUTPUT: {
      const glvq_tensor &tensor = findTensor(
          argument.role == GLVQ_INPUT ? inputs : outputs, argument, entry.name);
      dimensions.bind(argument, tensor);
      arguments.push_back(
          argument.scalar
              ? tensor.data
              : descriptors.add(tensor.data,
                                {tensor.shape, size_t(tensor.rank)}));
      break;
    }
    case GLVQ_STATE: {
      const State &state = states.find(argument.name)->second;
      arguments.push_back(descriptors.add(state.memory.get(), state.shape));
      break;
    }
    case GLVQ_WEIGHT:
      arguments.push_back(descriptors.add(argument.weight, argument.shape));
      break;
    }
  }
  checkDecoderCall(entry, inputs, capacity, artefact->vocabSize);
  checkRanges(*artefact, entry, dimensions, inputs);

  if (busy.exchange(true, std::memory_order_acquire))
    throw Error(
        GLVQ_ERROR_BUSY,
        "the session is running a call already; use a session a thread");
  {
    ThreadPool::Scope scope(&pool);
    entry.function(arguments.data());
  }
  busy.store(false, std::memory_order_release);
}

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The Python module glvq._runtime: the C API of the runtime for numpy arrays.
// Thin: every check is the runtime's.

#include "glvq/Runtime/glvq_runtime.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <stdexcept>
#include <vector>

namespace nb = nanobind;

/// Turns a status into the Python exception that fits.
static void check(glvq_status status) {
  switch (status) {
  case GLVQ_OK:
    return;
  case GLVQ_ERROR_ARGUMENT:
    throw nb::value_error(glvq_last_error());
  case GLVQ_ERROR_MEMORY:
    throw std::bad_alloc();
  default:
    throw std::runtime_error(glvq_last_error());
  }
}

/// numpy's spelling; bf16 has none and travels as its bits.
static const char *numpyName(glvq_dtype dtype) {
  static constexpr const char *names[] = {
      "bool",  "int8",    "uint8",  "int16",   "int32",
      "int64", "float16", "uint16", "float32", "float64"};
  return names[dtype];
}

namespace {

struct Artefact {
  glvq_artefact *handle = nullptr;
  int threads;

  Artefact(const std::string &path, int threads, bool verify)
      : threads(threads) {
    glvq_open_options options{!verify};
    glvq_status status;
    {
      nb::gil_scoped_release release;
      status = glvq_artefact_open(path.c_str(), &options, &handle);
    }
    check(status);
  }
  ~Artefact() { glvq_artefact_close(handle); }
  Artefact(const Artefact &) = delete;

  nb::object model() const {
    return nb::module_::import_("json").attr("loads")(
        glvq_artefact_model(handle));
  }
  nb::list entries() const;
};

class Session {
public:
  Session(const Artefact &artefact, int64_t capacity, int threads)
      : artefact(artefact.handle) {
    glvq_session_options options{capacity,
                                 threads ? threads : artefact.threads};
    check(glvq_session_create(artefact.handle, &options, &handle));
  }
  ~Session() { glvq_session_destroy(handle); }
  Session(const Session &) = delete;

  nb::dict run(const std::string &entry, const nb::kwargs &inputs);
  void reset() { check(glvq_session_reset(handle)); }
  int64_t capacity() const { return glvq_session_capacity(handle); }
  int threads() const { return glvq_session_threads(handle); }

private:
  glvq_artefact *artefact; // the session shares it
  glvq_session *handle = nullptr;
};

/// One input: a C-contiguous numpy array of the entry's type, and its shape.
struct Input {
  nb::object array; // keeps the data
  std::string name;
  std::vector<int64_t> shape;
};

} // namespace

static glvq_argument argumentOf(const glvq_entry *entry, size_t index) {
  glvq_argument argument;
  check(glvq_entry_argument(entry, index, &argument));
  return argument;
}

nb::list Artefact::entries() const {
  static constexpr const char *roles[] = {"input", "state", "weight", "output"};
  nb::list result;
  for (size_t i = 0; i < glvq_artefact_entry_count(handle); ++i) {
    const glvq_entry *entry = glvq_artefact_entry(handle, i);
    nb::list arguments;
    for (size_t j = 0; j < glvq_entry_argument_count(entry); ++j) {
      glvq_argument argument = argumentOf(entry, j);
      nb::list shape;
      for (int32_t d = 0; d < argument.rank; ++d) {
        if (argument.dimensions[d])
          shape.append(argument.dimensions[d]);
        else
          shape.append(argument.shape[d]);
      }
      nb::dict description;
      description["name"] = argument.name;
      description["role"] = roles[argument.role];
      description["dtype"] = glvq_dtype_name(argument.dtype);
      description["shape"] = shape;
      arguments.append(description);
    }
    nb::dict description;
    description["name"] = glvq_entry_name(entry);
    description["arguments"] = arguments;
    result.append(description);
  }
  return result;
}

nb::dict Session::run(const std::string &entryName,
                      const nb::kwargs &keywords) {
  const glvq_entry *entry =
      glvq_artefact_find_entry(artefact, entryName.c_str());
  if (!entry)
    throw nb::value_error(glvq_last_error());
  size_t count = glvq_entry_argument_count(entry);

  nb::module_ numpy = nb::module_::import_("numpy");
  std::vector<Input> inputs;
  std::vector<glvq_tensor> inputTensors, outputTensors;
  inputs.reserve(keywords.size()); // tensors point into it
  for (auto [key, value] : keywords) {
    Input &input = inputs.emplace_back();
    input.name = nb::cast<std::string>(key);
    const char *wanted = nullptr;
    glvq_tensor tensor{input.name.c_str(), GLVQ_F32, 0, nullptr, nullptr};
    for (size_t i = 0; i < count; ++i) {
      glvq_argument argument = argumentOf(entry, i);
      if (argument.role == GLVQ_INPUT && input.name == argument.name) {
        tensor.dtype = argument.dtype;
        wanted = numpyName(argument.dtype);
      }
    }
    if (wanted) {
      // Numbers of Python take the entry's type; arrays must have a type that
      // converts without loss, so that a mistake does not pass silently.
      // Other frameworks' tensors come through DLPack, without a copy.
      nb::object array = nb::borrow(value);
      if (!nb::isinstance(value, numpy.attr("ndarray")) &&
          nb::hasattr(value, "__dlpack__"))
        array = numpy.attr("from_dlpack")(value);
      bool isArray = nb::isinstance(array, numpy.attr("ndarray"));
      array = numpy.attr("asarray")(array);
      if (isArray && !nb::cast<bool>(numpy.attr("can_cast")(array.attr("dtype"),
                                                            wanted, "safe")))
        throw nb::type_error(
            ("input '" + input.name + "' is an array of " +
             nb::cast<std::string>(array.attr("dtype").attr("name")) +
             "; the entry takes " + wanted)
                .c_str());
      input.array = numpy.attr("require")(array, wanted, "CA");
      // `require` may give a scalar one dimension.
      input.array = input.array.attr("reshape")(array.attr("shape"));
      for (nb::handle size : input.array.attr("shape"))
        input.shape.push_back(nb::cast<int64_t>(size));
      tensor.rank = static_cast<int32_t>(input.shape.size());
      tensor.shape = input.shape.data();
      tensor.data = reinterpret_cast<void *>(
          nb::cast<uintptr_t>(input.array.attr("ctypes").attr("data")));
    }
    // An unknown name goes on to the runtime, which says what the entry has.
    inputTensors.push_back(tensor);
  }

  nb::dict results;
  std::vector<std::vector<int64_t>> shapes;
  shapes.reserve(count); // tensors point into it
  for (size_t i = 0; i < count; ++i) {
    glvq_argument argument = argumentOf(entry, i);
    if (argument.role != GLVQ_OUTPUT)
      continue;
    std::vector<int64_t> &shape = shapes.emplace_back(argument.rank);
    int32_t rank;
    check(glvq_session_output_shape(handle, entryName.c_str(),
                                    inputTensors.data(), inputTensors.size(),
                                    argument.name, &rank, shape.data()));
    nb::list sizes;
    for (int64_t size : shape)
      sizes.append(size);
    nb::object array =
        numpy.attr("empty")(nb::tuple(sizes), numpyName(argument.dtype));
    results[argument.name] = array;
    outputTensors.push_back(
        {argument.name, argument.dtype, argument.rank, shape.data(),
         reinterpret_cast<void *>(
             nb::cast<uintptr_t>(array.attr("ctypes").attr("data")))});
  }
  glvq_status status;
  {
    nb::gil_scoped_release release;
    status = glvq_session_run(handle, entryName.c_str(), inputTensors.data(),
                              inputTensors.size(), outputTensors.data(),
                              outputTensors.size());
  }
  check(status);
  return results;
}

NB_MODULE(_runtime, module) {
  module.doc() =
      "Runs glvq artefacts. Needs numpy; neither torch nor a compiler.";

  nb::class_<Artefact>(
      module, "Artefact",
      "An opened artefact: code loaded, weights mapped into memory.")
      .def(nb::init<const std::string &, int, bool>(), nb::arg("path"),
           nb::arg("threads") = 0, nb::arg("verify") = true,
           "Opens the folder `path`. threads: of each call, 0 for one per CPU. "
           "verify: whether "
           "checksums are checked.\n\nRaises RuntimeError with the reason when "
           "it is refused.")
      .def_prop_ro("entries", &Artefact::entries,
                   "The entry points: a list of {name, arguments: [{name, "
                   "role, dtype, shape}]}.")
      .def_prop_ro("model", &Artefact::model,
                   "What the artefact says about its model: a dict.")
      .def(
          "session",
          [](const Artefact &artefact, int64_t capacity, int threads) {
            return new Session(artefact, capacity, threads);
          },
          nb::rv_policy::take_ownership, nb::arg("capacity") = 0,
          nb::arg("threads") = 0,
          "A new session with empty states that hold `capacity` tokens (0: the "
          "model's context).");

  nb::class_<Session>(module, "Session", "The states of one conversation.")
      .def("run", &Session::run, nb::arg("entry"),
           nb::arg("inputs").noconvert(),
           "Runs an entry, its inputs given by name as numbers or arrays; "
           "returns {name: array}.\n\n"
           "Raises ValueError when an input does not fit. Other Python threads "
           "run meanwhile.")
      .def("reset", &Session::reset, "Empties the states.")
      .def_prop_ro("capacity", &Session::capacity)
      .def_prop_ro("threads", &Session::threads);
}

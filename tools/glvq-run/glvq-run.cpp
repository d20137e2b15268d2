// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Runs any entry of an artefact on numpy files: the runtime's C API as a
// command.

#include "Npy.h"
#include "glvq/Runtime/glvq_runtime.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace glvq;

static constexpr const char *help =
    R"TEXT(glvq-run: run an entry point of a compiled model

usage: glvq-run ARTEFACT --list
       glvq-run ARTEFACT --entry NAME [--input NAME=VALUE]... [--output NAME=FILE.npy]...

An artefact is the folder that glvq-compile (or `glvq compile`) writes. Its entry
points are functions from named tensors to named tensors; --list shows them. A
language model has two: `prefill` takes any number of tokens, `decode` takes one.

  --list                  print the entries with their inputs, states and outputs
  --entry NAME            the entry to run
  --input NAME=FILE.npy   a tensor, from a numpy file of the very type and shape
  --input NAME=NUMBER     a scalar
  --output NAME=FILE.npy  where to write an output; others are computed and dropped
  --threads N             threads to use (default: one per CPU)
  --capacity N            tokens a state can hold (default: the model's context)
  --repeat N              run N times
  --time                  print the times of the runs to standard error
  --no-verify             do not read whole files to check their checksums
  --help                  this text

Examples:
  python -c "import numpy; numpy.save('ids.npy', numpy.array([[504, 3575, 282]]))"
  glvq-run smollm2.glvq --entry prefill --input tokens=ids.npy --input position=0 \
           --output logits=logits.npy
  glvq-run smollm2.glvq --entry decode --input tokens=id.npy --input position=0 --repeat 20 --time

Exit status: 0 success, 1 an error in the input, 2 wrong usage.
)TEXT";

namespace {

/// Wrong usage: exit status 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Binding = std::pair<std::string, std::string>;

struct Options {
  std::string artefact;
  std::string entry;
  std::vector<Binding> inputs, outputs;
  int64_t threads = 0, capacity = 0, repeat = 1;
  bool list = false, time = false, verify = true;
};

struct CloseArtefact {
  void operator()(glvq_artefact *artefact) const {
    glvq_artefact_close(artefact);
  }
};
struct DestroySession {
  void operator()(glvq_session *session) const {
    glvq_session_destroy(session);
  }
};

} // namespace

static void check(glvq_status status) {
  if (status != GLVQ_OK)
    throw std::runtime_error(glvq_last_error());
}

static int64_t parseCount(const std::string &option, std::string_view text,
                          int64_t least) {
  int64_t value = 0;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least)
    throw UsageError(option + " takes a number of at least " +
                     std::to_string(least) + ", not '" + std::string(text) +
                     "'");
  return value;
}

static Options parse(int argc, char **argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (!argument.starts_with("-")) {
      if (!options.artefact.empty())
        throw UsageError("one artefact is expected, got '" + options.artefact +
                         "' and '" + argument + "'");
      options.artefact = argument;
      continue;
    }
    std::string value;
    bool hasValue = false;
    if (size_t equals = argument.find('='); equals != std::string::npos) {
      value = argument.substr(equals + 1);
      argument.resize(equals);
      hasValue = true;
    }
    auto need = [&]() -> const std::string & {
      if (!hasValue) {
        if (++i == argc)
          throw UsageError(argument + " needs a value");
        value = argv[i];
      }
      return value;
    };
    auto binding = [&]() -> Binding {
      const std::string &text = need();
      size_t equals = text.find('=');
      if (equals == std::string::npos || equals == 0 ||
          equals + 1 == text.size())
        throw UsageError(argument + " takes NAME=VALUE, not '" + text + "'");
      return {text.substr(0, equals), text.substr(equals + 1)};
    };
    if (argument == "--list")
      options.list = true;
    else if (argument == "--time")
      options.time = true;
    else if (argument == "--no-verify")
      options.verify = false;
    else if (argument == "--entry")
      options.entry = need();
    else if (argument == "--input")
      options.inputs.push_back(binding());
    else if (argument == "--output")
      options.outputs.push_back(binding());
    else if (argument == "--threads")
      options.threads = parseCount(argument, need(), 1);
    else if (argument == "--capacity")
      options.capacity = parseCount(argument, need(), 1);
    else if (argument == "--repeat")
      options.repeat = parseCount(argument, need(), 1);
    else
      throw UsageError("unknown option " + argument);
  }
  if (options.artefact.empty())
    throw UsageError("no artefact given");
  if (options.list == !options.entry.empty())
    throw UsageError("give --list or --entry NAME");
  return options;
}

static std::string describe(const glvq_argument &argument) {
  std::string text = glvq_dtype_name(argument.dtype);
  if (argument.rank == 0)
    return text;
  text += '[';
  for (int32_t i = 0; i < argument.rank; ++i) {
    text += i ? ", " : "";
    text += argument.dimensions[i] ? argument.dimensions[i]
                                   : std::to_string(argument.shape[i]);
  }
  return text + ']';
}

static std::vector<glvq_argument> argumentsOf(const glvq_entry *entry) {
  std::vector<glvq_argument> arguments(glvq_entry_argument_count(entry));
  for (size_t i = 0; i < arguments.size(); ++i)
    check(glvq_entry_argument(entry, i, &arguments[i]));
  return arguments;
}

static void list(const glvq_artefact *artefact) {
  for (size_t i = 0; const glvq_entry *entry = glvq_artefact_entry(artefact, i);
       ++i) {
    std::printf("%s\n", glvq_entry_name(entry));
    size_t weights = 0;
    int64_t weightBytes = 0;
    for (const glvq_argument &argument : argumentsOf(entry)) {
      if (argument.role == GLVQ_WEIGHT) {
        int64_t bytes = static_cast<int64_t>(glvq_dtype_size(argument.dtype));
        for (int32_t d = 0; d < argument.rank; ++d)
          bytes *= argument.shape[d];
        weightBytes += bytes;
        ++weights;
        continue;
      }
      static constexpr const char *roles[] = {"input ", "state ", "weight",
                                              "output"};
      std::printf("  %s %s: %s\n", roles[argument.role], argument.name,
                  describe(argument).c_str());
    }
    std::printf("  %zu weights, %.1f MB\n", weights,
                static_cast<double>(weightBytes) / 1e6);
  }
}

/// A scalar written on the command line, as an element of `dtype`.
static NpyArray parseScalar(const glvq_argument &argument,
                            const std::string &text) {
  NpyArray array;
  array.dtype = argument.dtype;
  array.data.resize(glvq_dtype_size(argument.dtype));
  auto parseAs = [&](auto value) {
    auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
      throw std::runtime_error(
          "input '" + std::string(argument.name) + "' is a scalar of type " +
          glvq_dtype_name(argument.dtype) + ", not '" + text + "'");
    std::memcpy(array.data.data(), &value, sizeof(value));
  };
  switch (argument.dtype) {
  case GLVQ_I8:
    parseAs(int8_t());
    break;
  case GLVQ_U8:
  case GLVQ_BOOL:
    parseAs(uint8_t());
    break;
  case GLVQ_I16:
    parseAs(int16_t());
    break;
  case GLVQ_I32:
    parseAs(int32_t());
    break;
  case GLVQ_I64:
    parseAs(int64_t());
    break;
  case GLVQ_F32:
    parseAs(float());
    break;
  case GLVQ_F64:
    parseAs(double());
    break;
  case GLVQ_F16:
  case GLVQ_BF16:
    throw std::runtime_error("input '" + std::string(argument.name) +
                             "' of type " + glvq_dtype_name(argument.dtype) +
                             " cannot be given as a number; give a .npy file");
  }
  return array;
}

static void run(const Options &options, glvq_artefact *artefact) {
  const glvq_entry *entry =
      glvq_artefact_find_entry(artefact, options.entry.c_str());
  if (!entry)
    throw std::runtime_error(glvq_last_error());
  std::vector<glvq_argument> arguments = argumentsOf(entry);
  for (const auto &[name, file] : options.outputs)
    if (std::none_of(arguments.begin(), arguments.end(),
                     [&](const glvq_argument &argument) {
                       return argument.role == GLVQ_OUTPUT &&
                              name == argument.name;
                     }))
      throw std::runtime_error("entry '" + options.entry + "' has no output '" +
                               name + "'; glvq-run --list shows them");

  glvq_session_options sessionOptions{options.capacity,
                                      static_cast<int32_t>(options.threads)};
  glvq_session *rawSession = nullptr;
  check(glvq_session_create(artefact, &sessionOptions, &rawSession));
  std::unique_ptr<glvq_session, DestroySession> session(rawSession);

  std::vector<NpyArray> inputArrays, outputArrays;
  inputArrays.reserve(options.inputs.size()); // tensors point into both
  outputArrays.reserve(arguments.size());
  std::vector<glvq_tensor> inputs, outputs;
  for (const auto &[name, text] : options.inputs) {
    auto it = std::find_if(
        arguments.begin(), arguments.end(), [&](const glvq_argument &argument) {
          return argument.role == GLVQ_INPUT && name == argument.name;
        });
    bool isNumber =
        it != arguments.end() && it->rank == 0 && !text.ends_with(".npy");
    NpyArray &array = inputArrays.emplace_back(isNumber ? parseScalar(*it, text)
                                                        : readNpy(text));
    // numpy has no bf16: its bits are what the file holds.
    if (it != arguments.end() && it->dtype != GLVQ_BF16 &&
        array.dtype == GLVQ_BF16)
      throw std::runtime_error(text + ": elements are uint16; input '" + name +
                               "' is " + describe(*it));
    inputs.push_back({name.c_str(), array.dtype,
                      static_cast<int32_t>(array.shape.size()),
                      array.shape.data(), array.data.data()});
  }
  for (const glvq_argument &argument : arguments) {
    if (argument.role != GLVQ_OUTPUT)
      continue;
    NpyArray &array = outputArrays.emplace_back();
    array.dtype = argument.dtype;
    array.shape.resize(argument.rank);
    int32_t rank = 0;
    check(glvq_session_output_shape(session.get(), options.entry.c_str(),
                                    inputs.data(), inputs.size(), argument.name,
                                    &rank, array.shape.data()));
    size_t bytes = glvq_dtype_size(argument.dtype);
    for (int64_t size : array.shape)
      bytes *= static_cast<size_t>(size);
    array.data.resize(bytes);
    outputs.push_back({argument.name, argument.dtype, rank, array.shape.data(),
                       array.data.data()});
  }

  std::vector<double> milliseconds;
  for (int64_t i = 0; i < options.repeat; ++i) {
    auto start = std::chrono::steady_clock::now();
    check(glvq_session_run(session.get(), options.entry.c_str(), inputs.data(),
                           inputs.size(), outputs.data(), outputs.size()));
    milliseconds.push_back(std::chrono::duration<double, std::milli>(
                               std::chrono::steady_clock::now() - start)
                               .count());
  }
  if (options.time) {
    std::sort(milliseconds.begin(), milliseconds.end());
    std::fprintf(stderr,
                 "%s: %zu runs, %d threads: least %.3f ms, median %.3f ms\n",
                 options.entry.c_str(), milliseconds.size(),
                 glvq_session_threads(session.get()), milliseconds.front(),
                 milliseconds[milliseconds.size() / 2]);
  }
  for (const auto &[name, file] : options.outputs)
    for (size_t i = 0; i < outputs.size(); ++i)
      if (name == outputs[i].name)
        writeNpy(file, outputArrays[i]);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--help") == 0 ||
        std::strcmp(argv[i], "-h") == 0) {
      std::fputs(help, stdout);
      return 0;
    }
  }
  try {
    Options options = parse(argc, argv);
    glvq_open_options openOptions{!options.verify};
    glvq_artefact *rawArtefact = nullptr;
    check(glvq_artefact_open(options.artefact.c_str(), &openOptions,
                             &rawArtefact));
    std::unique_ptr<glvq_artefact, CloseArtefact> artefact(rawArtefact);
    if (options.list)
      list(artefact.get());
    else
      run(options, artefact.get());
    return 0;
  } catch (const UsageError &error) {
    std::fprintf(stderr, "glvq-run: error: %s (glvq-run --help explains)\n",
                 error.what());
    return 2;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "glvq-run: error: %s\n", error.what());
    return 1;
  }
}

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Opens an artefact. Order of the checks: version first (nothing else of the
// manifest is understood otherwise), then the files, the machine, the
// arguments, and only then is code loaded.

#include "Artefact.h"

#include "glvq/Runtime/CpuFeatures.h"

#include <algorithm>
#include <dlfcn.h>
#include <nlohmann/json.hpp>

using namespace glvq;
using nlohmann::json;

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

namespace {
struct DtypeInfo {
  const char *name;
  const char *safeTensors;
  size_t size;
};
} // namespace

// Indexed by glvq_dtype.
static constexpr DtypeInfo dtypes[] = {
    {"bool", "BOOL", 1}, {"i8", "I8", 1},     {"u8", "U8", 1},
    {"i16", "I16", 2},   {"i32", "I32", 4},   {"i64", "I64", 8},
    {"f16", "F16", 2},   {"bf16", "BF16", 2}, {"f32", "F32", 4},
    {"f64", "F64", 8},
};

static const DtypeInfo *dtypeInfo(glvq_dtype dtype) {
  auto index = static_cast<size_t>(dtype);
  return index < std::size(dtypes) ? &dtypes[index] : nullptr;
}

const char *glvq_dtype_name(glvq_dtype dtype) {
  const DtypeInfo *info = dtypeInfo(dtype);
  return info ? info->name : nullptr;
}

size_t glvq_dtype_size(glvq_dtype dtype) {
  const DtypeInfo *info = dtypeInfo(dtype);
  return info ? info->size : 0;
}

glvq_dtype glvq::parseDtype(const std::string &name) {
  for (size_t i = 0; i < std::size(dtypes); ++i)
    if (name == dtypes[i].name)
      return static_cast<glvq_dtype>(i);
  throw Error(GLVQ_ERROR_FORMAT, "unknown dtype '" + name + "'");
}

std::string glvq::safeTensorsName(glvq_dtype dtype) {
  return dtypeInfo(dtype)->safeTensors;
}

std::string glvq::describe(const glvq_argument &argument) {
  std::string text = glvq_dtype_name(argument.dtype);
  text += '[';
  for (int32_t i = 0; i < argument.rank; ++i) {
    text += i ? ", " : "";
    if (argument.dimensions[i])
      text += argument.dimensions[i];
    else
      text += std::to_string(argument.shape[i]);
  }
  return text + ']';
}

std::string glvq::describe(glvq_dtype dtype, int32_t rank,
                           const int64_t *shape) {
  const char *name = glvq_dtype_name(dtype);
  std::string text = name ? name : "unknown dtype";
  text += '[';
  for (int32_t i = 0; i < rank; ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ']';
}

//===----------------------------------------------------------------------===//
// Code
//===----------------------------------------------------------------------===//

Library::Library(const std::string &path)
    : handle(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (!handle)
    throw Error(GLVQ_ERROR_IO, path + ": cannot load: " + dlerror());
}

Library::~Library() {
  if (handle)
    dlclose(handle);
}

void *Library::symbol(const char *name) const { return dlsym(handle, name); }

//===----------------------------------------------------------------------===//
// Manifest
//===----------------------------------------------------------------------===//

/// The member `key` of a JSON object; throws when it is absent.
static const json &member(const json &object, const char *key) {
  auto it = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || it == object.end())
    throw Error(GLVQ_ERROR_FORMAT,
                "manifest.json: '" + std::string(key) + "' is missing");
  return *it;
}

static std::string stringMember(const json &object, const char *key) {
  const json &value = member(object, key);
  if (!value.is_string())
    throw Error(GLVQ_ERROR_FORMAT,
                "manifest.json: '" + std::string(key) + "' is not a string");
  return value.get<std::string>();
}

static glvq_role parseRole(const std::string &role) {
  if (role == "input")
    return GLVQ_INPUT;
  if (role == "state")
    return GLVQ_STATE;
  if (role == "weight")
    return GLVQ_WEIGHT;
  if (role == "output")
    return GLVQ_OUTPUT;
  throw Error(GLVQ_ERROR_FORMAT, "manifest.json: unknown role '" + role +
                                     "' (input, state, weight or output)");
}

static Argument parseArgument(const json &object) {
  Argument argument;
  argument.name = stringMember(object, "name");
  argument.role = parseRole(stringMember(object, "role"));
  argument.dtype = parseDtype(stringMember(object, "dtype"));
  argument.scalar = object.value("scalar", false);
  auto refuse = [&](const std::string &why) {
    throw Error(GLVQ_ERROR_FORMAT,
                "manifest.json: argument '" + argument.name + "': " + why);
  };
  if (argument.scalar) {
    if (argument.role != GLVQ_INPUT)
      refuse("only an input can be a scalar");
    return argument;
  }
  const json &shape = member(object, "shape");
  if (!shape.is_array())
    refuse("shape is not a list");
  for (const json &size : shape) {
    if (size.is_string() && !size.get<std::string>().empty()) {
      argument.shape.push_back(-1);
      argument.dimensions.push_back(size.get<std::string>());
    } else if (size.is_number_unsigned() && size.get<uint64_t>() <= INT32_MAX) {
      argument.shape.push_back(size.get<int64_t>());
      argument.dimensions.emplace_back();
    } else {
      refuse("a size is a number or the name of a dimension, not " +
             size.dump());
    }
    const std::string &name = argument.dimensions.back();
    if (argument.role == GLVQ_WEIGHT && !name.empty())
      refuse("a weight cannot have the dynamic dimension '" + name + "'");
    if (argument.role == GLVQ_STATE && !name.empty() &&
        name != capacityDimension)
      refuse("a state's only dynamic dimension is 'capacity', not '" + name +
             "'");
  }
  return argument;
}

/// Sets the pointers that the C API hands out; the strings must not move after
/// it.
static void finishArgument(Argument &argument) {
  for (const std::string &name : argument.dimensions)
    argument.dimensionNames.push_back(name.empty() ? nullptr : name.c_str());
}

/// Refuses an artefact for another architecture or for CPU features missing
/// here.
static void checkTarget(const json &target) {
  std::string device = stringMember(target, "device");
  if (device != "cpu")
    throw Error(GLVQ_ERROR_TARGET, "it is compiled for device '" + device +
                                       "'; this runtime runs 'cpu'");
  std::string triple = stringMember(target, "triple");
  std::string arch = triple.substr(0, triple.find('-'));
  if (arch != hostArchitecture())
    throw Error(GLVQ_ERROR_TARGET, "it is compiled for " + arch +
                                       ", this machine is " +
                                       std::string(hostArchitecture()) +
                                       "; compile it again for this machine");
  std::string missing;
  for (const json &feature : member(target, "features")) {
    if (!feature.is_string())
      throw Error(GLVQ_ERROR_FORMAT,
                  "manifest.json: a CPU feature is not a string");
    auto name = feature.get<std::string>();
    if (!hostHasFeature(name))
      missing += (missing.empty() ? "" : ", ") + name;
  }
  if (!missing.empty())
    throw Error(
        GLVQ_ERROR_TARGET,
        "it is compiled for " + target.value("cpu", std::string("a CPU")) +
            " and needs CPU features that this machine lacks: " + missing +
            "; compile it again with --target cpu or cpu:x86-64-v3");
}

/// Checks size and checksum of a file of the artefact.
static void checkFile(const std::string &folder, const std::string &name,
                      const json &entry, bool checksums) {
  if (name.empty() || name.find('/') != std::string::npos || name == "..")
    throw Error(GLVQ_ERROR_FORMAT,
                "manifest.json: '" + name + "' is not a file name");
  std::string error;
  std::optional<MappedFile> file = MappedFile::open(folder + "/" + name, error);
  if (!file)
    throw Error(GLVQ_ERROR_IO, error);
  const json &bytes = member(entry, "bytes");
  if (!bytes.is_number_unsigned())
    throw Error(GLVQ_ERROR_FORMAT,
                "manifest.json: size of '" + name + "' is not a number");
  if (bytes.get<uint64_t>() != file->bytes().size())
    throw Error(GLVQ_ERROR_CORRUPT,
                name + " has " + std::to_string(file->bytes().size()) +
                    " bytes instead of " +
                    std::to_string(bytes.get<uint64_t>()) +
                    "; the artefact is incomplete, copy or compile it again");
  std::string expected = stringMember(entry, "xxh64");
  if (checksums && xxh64Hex(file->bytes()) != expected)
    throw Error(
        GLVQ_ERROR_CORRUPT,
        name + " has another checksum than the manifest says; the artefact is "
               "corrupt, copy or compile it again");
}

static int64_t integerOr(const json &object, const char *key,
                         int64_t otherwise) {
  auto it = object.find(key);
  return it != object.end() && it->is_number_integer() ? it->get<int64_t>()
                                                       : otherwise;
}

/// The ranges in `model[key]`: {name: [least, largest], ...}.
static std::map<std::string, Range, std::less<>> parseRanges(const json &model,
                                                             const char *key) {
  std::map<std::string, Range, std::less<>> ranges;
  auto it = model.find(key);
  if (it == model.end())
    return ranges;
  auto refuse = [&] {
    throw Error(GLVQ_ERROR_FORMAT, std::string("manifest.json: '") + key +
                                       "' of the model does not map names to "
                                       "[least, largest]");
  };
  if (!it->is_object())
    refuse();
  for (const auto &[name, bounds] : it->items()) {
    if (!bounds.is_array() || bounds.size() != 2 ||
        !bounds[0].is_number_integer() || !bounds[1].is_number_integer())
      refuse();
    ranges[name] = {bounds[0].get<int64_t>(), bounds[1].get<int64_t>()};
  }
  return ranges;
}

void glvq_artefact::bindWeights(glvq_entry &entry) {
  for (Argument &argument : entry.arguments) {
    if (argument.role != GLVQ_WEIGHT)
      continue;
    const TensorView *view = weights.find(argument.name);
    if (!view)
      throw Error(GLVQ_ERROR_WEIGHT,
                  "weights.safetensors: tensor '" + argument.name +
                      "' is missing, entry '" + entry.name + "' needs it");
    if (view->dtype != safeTensorsName(argument.dtype) ||
        view->shape != argument.shape) {
      std::string found = view->dtype + "[";
      for (size_t i = 0; i < view->shape.size(); ++i)
        found += (i ? ", " : "") + std::to_string(view->shape[i]);
      throw Error(GLVQ_ERROR_WEIGHT,
                  "weights.safetensors: tensor '" + argument.name + "' is " +
                      found + "], entry '" + entry.name + "' needs " +
                      describe(argument.view()));
    }
    // Compiled code loads whole elements.
    if (reinterpret_cast<uintptr_t>(view->bytes.data()) %
            glvq_dtype_size(argument.dtype) !=
        0)
      throw Error(GLVQ_ERROR_WEIGHT, "weights.safetensors: tensor '" +
                                         argument.name + "' is not aligned");
    argument.weight = view->bytes.data();
  }
}

glvq_artefact::glvq_artefact(const std::string &folder, bool checksums)
    : path(folder) {
  std::string error;
  std::optional<MappedFile> file =
      MappedFile::open(folder + "/manifest.json", error);
  if (!file)
    throw Error(GLVQ_ERROR_IO, "not an artefact: " + error);
  json manifest =
      json::parse(file->text(), nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object() ||
      manifest.value("format", json()) != "glvq-artefact")
    throw Error(GLVQ_ERROR_FORMAT,
                folder + ": manifest.json is not one of a glvq artefact");
  try {
    const json &version = member(manifest, "version");
    if (version != GLVQ_ARTEFACT_VERSION)
      throw Error(GLVQ_ERROR_VERSION,
                  "it has format version " + version.dump() +
                      ", this runtime reads version " +
                      std::to_string(GLVQ_ARTEFACT_VERSION) +
                      "; compile it again with this version of glvq");
    checkTarget(member(manifest, "target"));

    const json &files = member(manifest, "files");
    if (!files.is_object())
      throw Error(GLVQ_ERROR_FORMAT, "manifest.json: 'files' is not an object");
    for (const char *needed : {"model.so", "weights.safetensors"})
      member(files, needed);
    for (const auto &[name, entry] : files.items())
      checkFile(folder, name, entry, checksums);
    std::optional<SafeTensors> tensors =
        SafeTensors::open(folder + "/weights.safetensors", error);
    if (!tensors)
      throw Error(GLVQ_ERROR_CORRUPT, error);
    weights = std::move(*tensors);

    json modelObject = manifest.value("model", json::object());
    if (!modelObject.is_object())
      throw Error(GLVQ_ERROR_FORMAT, "manifest.json: 'model' is not an object");
    model = modelObject.dump();
    contextLength = integerOr(modelObject, "context_length", 0);
    vocabSize = integerOr(modelObject, "vocab_size", 0);
    sizeRanges = parseRanges(modelObject, "sizes");
    valueRanges = parseRanges(modelObject, "values");

    const json &entryList = member(manifest, "entries");
    if (!entryList.is_array() || entryList.empty())
      throw Error(GLVQ_ERROR_FORMAT,
                  "manifest.json: 'entries' is not a list of entry points");
    std::vector<std::string> symbols;
    for (const json &object : entryList) {
      glvq_entry &entry = entries.emplace_back();
      entry.name = stringMember(object, "name");
      symbols.push_back(stringMember(object, "symbol"));
      for (const json &argument : member(object, "arguments"))
        entry.arguments.push_back(parseArgument(argument));
    }
    for (glvq_entry &entry : entries) {
      for (Argument &argument : entry.arguments)
        finishArgument(argument);
      bindWeights(entry);
    }

    library = Library(folder + "/model.so");
    for (size_t i = 0; i < entries.size(); ++i) {
      entries[i].function = reinterpret_cast<void (*)(void **)>(
          library.symbol(symbols[i].c_str()));
      if (!entries[i].function)
        throw Error(GLVQ_ERROR_CORRUPT, "model.so has no symbol '" +
                                            symbols[i] + "' for entry '" +
                                            entries[i].name + "'");
    }
    // Absent in code without parallel loops. Several artefacts may share a
    // loaded library; all store the same function.
    using Hook = void (*)(ThreadPool::Body, void *, int64_t);
    if (auto *hook = static_cast<Hook *>(library.symbol("glvq_parallel_for")))
      __atomic_store_n(hook, &ThreadPool::hook, __ATOMIC_RELEASE);
  } catch (const Error &problem) {
    throw Error(problem.status,
                "cannot open artefact " + folder + ": " + problem.what());
  } catch (const json::exception &problem) {
    throw Error(GLVQ_ERROR_FORMAT,
                "cannot open artefact " + folder +
                    ": manifest.json is malformed: " + problem.what());
  }
}

const glvq_entry &glvq_artefact::entry(std::string_view name) const {
  std::string known;
  for (const glvq_entry &entry : entries) {
    if (entry.name == name)
      return entry;
    known += (known.empty() ? "" : ", ") + entry.name;
  }
  throw Error(GLVQ_ERROR_ARGUMENT, "the artefact has no entry '" +
                                       std::string(name) + "'; it has " +
                                       known);
}

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The file: u64 length N, N bytes of JSON {name: {dtype, shape, data_offsets}},
// then the data, which offsets count from. Nothing of it is trusted.
// https://github.com/huggingface/safetensors#format

#include "glvq/Runtime/SafeTensors.h"

#include <cstring>
#include <nlohmann/json.hpp>

using namespace glvq;
using nlohmann::json;

size_t glvq::safeTensorsElementSize(std::string_view dtype) {
  if (dtype == "BOOL" || dtype == "U8" || dtype == "I8" || dtype == "F8_E4M3" ||
      dtype == "F8_E5M2")
    return 1;
  if (dtype == "I16" || dtype == "U16" || dtype == "F16" || dtype == "BF16")
    return 2;
  if (dtype == "I32" || dtype == "U32" || dtype == "F32")
    return 4;
  if (dtype == "I64" || dtype == "U64" || dtype == "F64")
    return 8;
  return 0;
}

/// Reads one header entry; returns what is wrong with it, or "".
static std::string readView(const json &entry, std::span<const std::byte> data,
                            TensorView &view) {
  if (!entry.is_object() || !entry.contains("dtype") ||
      !entry["dtype"].is_string() || !entry.contains("shape") ||
      !entry["shape"].is_array() || !entry.contains("data_offsets") ||
      !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2)
    return "its header entry needs dtype, shape and data_offsets";
  view.dtype = entry["dtype"].get<std::string>();
  size_t elementSize = safeTensorsElementSize(view.dtype);
  if (elementSize == 0)
    return "unknown dtype " + view.dtype;
  uint64_t count = elementSize;
  for (const json &size : entry["shape"]) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > INT64_MAX)
      return "its shape is not a list of sizes";
    if (__builtin_mul_overflow(count, size.get<uint64_t>(), &count))
      return "its shape overflows";
    view.shape.push_back(size.get<int64_t>());
  }
  const json &offsets = entry["data_offsets"];
  if (!offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    return "its data_offsets are not byte offsets";
  uint64_t begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
  if (begin > end || end > data.size())
    return "its data ends at byte " + std::to_string(end) + " of " +
           std::to_string(data.size()) + ": the file is truncated or corrupt";
  if (end - begin != count)
    return "its data has " + std::to_string(end - begin) +
           " bytes, its shape needs " + std::to_string(count);
  view.bytes = data.subspan(begin, count);
  return "";
}

std::optional<SafeTensors> SafeTensors::open(const std::string &path,
                                             std::string &error) {
  std::optional<MappedFile> file = MappedFile::open(path, error);
  if (!file)
    return std::nullopt;
  SafeTensors result;
  result.mapped = std::move(*file);
  std::span<const std::byte> bytes = result.mapped.bytes();
  uint64_t length = 0;
  if (bytes.size() < sizeof(length)) {
    error =
        path + ": truncated: a safetensors file starts with an 8-byte length";
    return std::nullopt;
  }
  std::memcpy(&length, bytes.data(), sizeof(length));
  if (length > bytes.size() - sizeof(length)) {
    error = path + ": truncated or not a safetensors file: its header of " +
            std::to_string(length) + " bytes does not fit the file of " +
            std::to_string(bytes.size());
    return std::nullopt;
  }
  const char *text =
      reinterpret_cast<const char *>(bytes.data()) + sizeof(length);
  json header =
      json::parse(text, text + length, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) {
    error = path + ": not a safetensors file: its header is not a JSON object";
    return std::nullopt;
  }
  std::span<const std::byte> data = bytes.subspan(sizeof(length) + length);
  for (const auto &[name, entry] : header.items()) {
    if (name == "__metadata__")
      continue;
    TensorView view;
    if (std::string problem = readView(entry, data, view); !problem.empty()) {
      error = path + ": tensor '" + name + "': " + problem;
      return std::nullopt;
    }
    result.views.emplace(name, std::move(view));
  }
  return result;
}

const TensorView *SafeTensors::find(std::string_view name) const {
  auto it = views.find(name);
  return it == views.end() ? nullptr : &it->second;
}

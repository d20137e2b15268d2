// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Checkpoint to weights.safetensors. Readers of safetensors demand that the
// data has no holes, so the space before an aligned tensor is a tensor of its
// own.

#include "glvq/Target/WeightsWriter.h"

#include "glvq/Lattice/Interleave.h"
#include "glvq/Runtime/SafeTensors.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <cstring>

using namespace mlir;
using namespace mlir::glvq;
using ::glvq::SafeTensors;
using ::glvq::TensorView;

namespace {

constexpr uint64_t kAlignment = 64;

/// All safetensors files of a checkpoint.
class Checkpoint {
public:
  static llvm::Expected<Checkpoint> open(StringRef folder);

  const TensorView *find(StringRef name) const {
    for (const SafeTensors &file : files)
      if (const TensorView *view = file.find(std::string_view(name)))
        return view;
    return nullptr;
  }

private:
  std::vector<SafeTensors> files;
};

/// A weight to write.
struct Weight {
  const EntryArgument *argument;
  const TensorView *source;
  size_t count;
  size_t bytes;
};

} // namespace

template <typename... Args>
static llvm::Error makeError(const Args &...parts) {
  std::string text;
  llvm::raw_string_ostream os(text);
  (os << ... << parts);
  return llvm::createStringError(llvm::inconvertibleErrorCode(), text);
}

llvm::Expected<Checkpoint> Checkpoint::open(StringRef folder) {
  SmallString<256> index(folder), single(folder);
  llvm::sys::path::append(index, "model.safetensors.index.json");
  llvm::sys::path::append(single, "model.safetensors");
  std::vector<std::string> paths;
  if (llvm::sys::fs::exists(single)) {
    paths.push_back(single.str().str());
  } else if (auto buffer = llvm::MemoryBuffer::getFile(index)) {
    llvm::Expected<llvm::json::Value> root =
        llvm::json::parse((*buffer)->getBuffer());
    if (!root)
      return makeError(index, ": ", llvm::toString(root.takeError()));
    llvm::json::Object *object = root->getAsObject();
    llvm::json::Object *map =
        object ? object->getObject("weight_map") : nullptr;
    if (!map)
      return makeError(index, ": has no weight_map");
    llvm::StringSet<> seen;
    for (const auto &[name, shard] : *map) {
      std::optional<StringRef> file = shard.getAsString();
      if (!file || file->empty() || llvm::sys::path::filename(*file) != *file)
        return makeError(index, ": the shard of '", StringRef(name),
                         "' is not a file name");
      if (!seen.insert(*file).second)
        continue;
      SmallString<256> path(folder);
      llvm::sys::path::append(path, *file);
      paths.push_back(path.str().str());
    }
    llvm::sort(paths);
  } else {
    return makeError(
        "checkpoint ", folder,
        " has neither model.safetensors nor model.safetensors.index.json");
  }

  Checkpoint checkpoint;
  for (const std::string &path : paths) {
    std::string error;
    std::optional<SafeTensors> file = SafeTensors::open(path, error);
    if (!file)
      return makeError(error);
    checkpoint.files.push_back(std::move(*file));
  }
  return checkpoint;
}

/// The spelling of safetensors.
static std::string upper(StringRef dtype) { return dtype.upper(); }

/// Whether every value of type `from` is one of type `to`.
static bool widens(StringRef from, StringRef to) {
  if (from == to)
    return true;
  if (to == "F32")
    return from == "F16" || from == "BF16";
  if (to == "F64")
    return from == "F16" || from == "BF16" || from == "F32";
  return false;
}

static double loadFloat(StringRef dtype, const std::byte *data) {
  using namespace llvm;
  if (dtype == "F32") {
    float value;
    std::memcpy(&value, data, sizeof(value));
    return value;
  }
  uint16_t bits = support::endian::read16le(data);
  if (dtype == "BF16")
    return bit_cast<float>(uint32_t(bits) << 16);
  // F16: sign, 5 bits of exponent, 10 of mantissa.
  int exponent = bits >> 10 & 31;
  int mantissa = bits & 1023;
  double magnitude = exponent == 31 ? (mantissa ? NAN : INFINITY)
                     : exponent == 0
                         ? std::ldexp(mantissa, -24)
                         : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

/// Writes `source` as elements of type `to` (F32 or F64), a block at a time.
static void writeWidened(llvm::raw_ostream &os, const TensorView &source,
                         StringRef to) {
  size_t fromSize = ::glvq::safeTensorsElementSize(source.dtype);
  size_t count = source.bytes.size() / fromSize;
  constexpr size_t blockSize = 1 << 16;
  auto write = [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> block(std::min(count, blockSize));
    for (size_t begin = 0; begin < count; begin += blockSize) {
      size_t n = std::min(blockSize, count - begin);
      for (size_t i = 0; i < n; ++i)
        block[i] = static_cast<T>(loadFloat(
            source.dtype, source.bytes.data() + (begin + i) * fromSize));
      os.write(reinterpret_cast<const char *>(block.data()), n * sizeof(T));
    }
  };
  if (to == "F32")
    write(float());
  else
    write(double());
}

/// Writes the fields of `source` interleaved, some tiles at a time.
static void writeInterleaved(llvm::raw_ostream &os, const TensorView &source,
                             const EntryArgument::Packed &packed) {
  namespace lattice = ::glvq::lattice;
  constexpr int64_t blockRows = 64 * lattice::kInterleavedRows;
  const auto *words =
      reinterpret_cast<const uint32_t *>(source.bytes.data()) + packed.offset;
  int64_t rowWords = lattice::getInterleavedWords(packed.columns, packed.bits);
  std::vector<uint32_t> block;
  for (int64_t row = 0; row < packed.rows; row += blockRows) {
    int64_t rows = std::min(blockRows, packed.rows - row);
    block.resize(llvm::alignTo(rows, lattice::kInterleavedRows) * rowWords);
    lattice::interleave(words + row * packed.stride, rows, packed.words,
                        packed.stride, packed.columns, packed.bits,
                        block.data());
    os.write(reinterpret_cast<const char *>(block.data()),
             block.size() * sizeof(uint32_t));
  }
}

static std::string describe(StringRef dtype, ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << dtype.lower() << '[';
  llvm::interleaveComma(shape, os);
  os << ']';
  return text;
}

/// The weights of all entries, each once, in the order of first use, checked.
static llvm::Expected<std::vector<Weight>>
selectWeights(ArrayRef<EntryPoint> entries, const Checkpoint &checkpoint,
              StringRef folder) {
  llvm::MapVector<StringRef, const EntryArgument *> arguments;
  for (const EntryPoint &entry : entries) {
    for (const EntryArgument &argument : entry.arguments) {
      if (argument.role != "weight")
        continue;
      auto [it, inserted] = arguments.try_emplace(argument.name, &argument);
      if (inserted)
        continue;
      bool equal =
          it->second->dtype == argument.dtype &&
          it->second->packed.has_value() == argument.packed.has_value() &&
          llvm::equal(
              it->second->shape, argument.shape,
              [](const auto &a, const auto &b) { return a.size == b.size; });
      if (!equal)
        return makeError("entries disagree on the type of weight '",
                         argument.name, "'");
    }
  }

  std::vector<Weight> weights;
  for (const auto &[name, argument] : arguments) {
    SmallVector<int64_t> shape;
    for (const EntryArgument::Dimension &dimension : argument->shape)
      shape.push_back(dimension.size);
    std::string to = upper(argument->dtype);
    if (const auto &packed = argument->packed) {
      const TensorView *source = checkpoint.find(packed->source);
      if (!source)
        return makeError("checkpoint ", folder, " has no tensor '",
                         packed->source, "'");
      size_t end =
          packed->offset + (packed->rows - 1) * packed->stride + packed->words;
      if (source->dtype != "I32" || source->bytes.size() / 4 < end)
        return makeError("checkpoint ", folder, ": tensor '", packed->source,
                         "' is ", describe(source->dtype, source->shape),
                         "; the model needs i32 and ", end, " elements");
      size_t count = shape[0] * shape[1];
      weights.push_back({argument, source, count, count * sizeof(uint32_t)});
      continue;
    }
    const TensorView *source = checkpoint.find(name);
    if (!source)
      return makeError("checkpoint ", folder, " has no tensor '", name,
                       "'; the model needs ", describe(to, shape));
    if (ArrayRef(source->shape) != ArrayRef(shape) ||
        !widens(source->dtype, to))
      return makeError("checkpoint ", folder, ": tensor '", name, "' is ",
                       describe(source->dtype, source->shape),
                       "; the model needs ", describe(to, shape));
    size_t count =
        source->bytes.size() / ::glvq::safeTensorsElementSize(source->dtype);
    weights.push_back(
        {argument, source, count, count * ::glvq::safeTensorsElementSize(to)});
  }
  return weights;
}

/// One line of the header; `rank` sizes are in `shape`.
static void addToHeader(llvm::json::Object &header, StringRef name,
                        StringRef dtype, llvm::json::Array shape,
                        uint64_t begin, uint64_t end) {
  header[name.str()] =
      llvm::json::Object{{"dtype", dtype.str()},
                         {"shape", std::move(shape)},
                         {"data_offsets", llvm::json::Array{begin, end}}};
}

llvm::Error mlir::glvq::writeWeights(ArrayRef<EntryPoint> entries,
                                     StringRef folder, StringRef path) {
  llvm::Expected<Checkpoint> checkpoint = Checkpoint::open(folder);
  if (!checkpoint)
    return checkpoint.takeError();
  llvm::Expected<std::vector<Weight>> weights =
      selectWeights(entries, *checkpoint, folder);
  if (!weights)
    return weights.takeError();

  llvm::json::Object header;
  uint64_t offset = 0;
  for (const Weight &weight : *weights) {
    uint64_t begin = llvm::alignTo(offset, kAlignment);
    if (begin != offset)
      addToHeader(header, "glvq.padding." + std::to_string(offset), "U8",
                  llvm::json::Array{begin - offset}, offset, begin);
    llvm::json::Array shape;
    for (const EntryArgument::Dimension &dimension : weight.argument->shape)
      shape.push_back(dimension.size);
    offset = begin + weight.bytes;
    addToHeader(header, weight.argument->name, upper(weight.argument->dtype),
                std::move(shape), begin, offset);
  }
  std::string text;
  llvm::raw_string_ostream(text) << llvm::json::Value(std::move(header));
  text.resize(llvm::alignTo(sizeof(uint64_t) + text.size(), kAlignment) -
                  sizeof(uint64_t),
              ' ');

  std::error_code code;
  llvm::raw_fd_ostream os(path, code);
  if (code)
    return makeError("cannot write ", path, ": ", code.message());
  char length[8];
  llvm::support::endian::write64le(length, text.size());
  os.write(length, sizeof(length));
  os << text;
  offset = 0;
  for (const Weight &weight : *weights) {
    uint64_t begin = llvm::alignTo(offset, kAlignment);
    os.write_zeros(begin - offset);
    std::string to = upper(weight.argument->dtype);
    if (weight.argument->packed)
      writeInterleaved(os, *weight.source, *weight.argument->packed);
    else if (weight.source->dtype == to)
      os.write(reinterpret_cast<const char *>(weight.source->bytes.data()),
               weight.bytes);
    else
      writeWidened(os, *weight.source, to);
    offset = begin + weight.bytes;
    if (os.has_error()) // a full disk: stop early
      break;
  }
  os.close();
  if (os.has_error()) {
    code = os.error();
    os.clear_error(); // it is reported here, not by the destructor
    return makeError("cannot write ", path, ": ", code.message());
  }
  return llvm::Error::success();
}

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The format: "\x93NUMPY", two version bytes, the header's length (2 or 4
// bytes), a Python dictionary with descr, fortran_order and shape, then the
// data. https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

#include "Npy.h"

#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string_view>

using namespace glvq;

namespace {
struct Type {
  const char *descr;
  glvq_dtype dtype;
};
} // namespace

// bf16 has no name in numpy; it is written as its bits.
static constexpr Type types[] = {
    {"|b1", GLVQ_BOOL}, {"|i1", GLVQ_I8},   {"|u1", GLVQ_U8},
    {"<i2", GLVQ_I16},  {"<i4", GLVQ_I32},  {"<i8", GLVQ_I64},
    {"<f2", GLVQ_F16},  {"<u2", GLVQ_BF16}, {"<f4", GLVQ_F32},
    {"<f8", GLVQ_F64},
};

/// The text after `'key':` in a header, without leading blanks.
static std::string_view valueOf(std::string_view header, std::string_view key,
                                const std::string &path) {
  std::string quoted = "'" + std::string(key) + "':";
  size_t at = header.find(quoted);
  if (at == std::string_view::npos)
    throw std::runtime_error(path + ": its header has no '" + std::string(key) +
                             "'");
  header.remove_prefix(at + quoted.size());
  while (!header.empty() && header.front() == ' ')
    header.remove_prefix(1);
  return header;
}

static std::vector<int64_t> parseShape(std::string_view text,
                                       const std::string &path) {
  std::vector<int64_t> shape;
  size_t close = text.find(')');
  if (text.empty() || text.front() != '(' || close == std::string_view::npos)
    throw std::runtime_error(path + ": its shape is malformed");
  text = text.substr(1, close - 1);
  while (!text.empty()) {
    if (!std::isdigit(static_cast<unsigned char>(text.front()))) {
      if (text.front() != ' ' && text.front() != ',')
        throw std::runtime_error(path + ": its shape is malformed");
      text.remove_prefix(1);
      continue;
    }
    int64_t size = 0;
    while (!text.empty() &&
           std::isdigit(static_cast<unsigned char>(text.front()))) {
      if (__builtin_mul_overflow(size, 10, &size) ||
          __builtin_add_overflow(size, text.front() - '0', &size))
        throw std::runtime_error(path + ": its shape is too large");
      text.remove_prefix(1);
    }
    shape.push_back(size);
  }
  return shape;
}

NpyArray glvq::readNpy(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw std::runtime_error(path + ": cannot open: " + std::strerror(errno));
  std::string bytes{std::istreambuf_iterator<char>(file),
                    std::istreambuf_iterator<char>()};
  if (bytes.size() < 12 || bytes.compare(0, 6, "\x93NUMPY") != 0)
    throw std::runtime_error(path + ": not a .npy file");
  int version = bytes[6];
  size_t lengthBytes = version == 1 ? 2 : 4, length = 0;
  for (size_t i = 0; i < lengthBytes; ++i)
    length |= size_t(static_cast<unsigned char>(bytes[8 + i])) << (8 * i);
  size_t begin = 8 + lengthBytes;
  if (version < 1 || version > 3 || length > bytes.size() - begin)
    throw std::runtime_error(
        path + ": its header is truncated or of an unknown version");
  std::string_view header = std::string_view(bytes).substr(begin, length);

  NpyArray array;
  std::string_view descr = valueOf(header, "descr", path);
  const Type *type = nullptr;
  for (const Type &candidate : types)
    if (descr.size() >= 5 && descr.substr(1, 3) == candidate.descr)
      type = &candidate;
  if (!type)
    throw std::runtime_error(
        path + ": unsupported element type " +
        std::string(descr.substr(0, descr.find(','))) +
        "; use little-endian float16/32/64, int8/16/32/64 or bool");
  array.dtype = type->dtype;
  array.shape = parseShape(valueOf(header, "shape", path), path);
  size_t needed = glvq_dtype_size(array.dtype);
  for (int64_t size : array.shape)
    if (__builtin_mul_overflow(needed, size_t(size), &needed))
      throw std::runtime_error(path + ": its shape is too large");
  if (valueOf(header, "fortran_order", path).starts_with("True") &&
      array.shape.size() > 1)
    throw std::runtime_error(
        path +
        ": is in column-major order; save numpy.ascontiguousarray of it");
  begin += length;
  if (bytes.size() - begin != needed)
    throw std::runtime_error(
        path + ": truncated: has " + std::to_string(bytes.size() - begin) +
        " bytes of data instead of " + std::to_string(needed));
  array.data.assign(bytes.begin() + begin, bytes.end());
  return array;
}

void glvq::writeNpy(const std::string &path, const NpyArray &array) {
  const char *descr = nullptr;
  for (const Type &type : types)
    if (type.dtype == array.dtype)
      descr = type.descr;
  std::string header = "{'descr': '" + std::string(descr) +
                       "', 'fortran_order': False, 'shape': (";
  for (int64_t size : array.shape)
    header += std::to_string(size) + ",";
  header += "), }";
  // The data starts at a multiple of 64.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8);
  file.put(static_cast<char>(header.size() & 255));
  file.put(static_cast<char>(header.size() >> 8));
  file << header;
  file.write(array.data.data(),
             static_cast<std::streamsize>(array.data.size()));
  file.close();
  if (!file)
    throw std::runtime_error(path + ": cannot write: " + std::strerror(errno));
}

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// A read-only file in memory, shared with every process that maps it.

#ifndef GLVQ_RUNTIME_MAPPEDFILE_H
#define GLVQ_RUNTIME_MAPPEDFILE_H

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace glvq {

class MappedFile {
public:
  /// Maps the regular file `path`; on failure says why, naming the file.
  static std::optional<MappedFile> open(const std::string &path,
                                        std::string &error);

  MappedFile() = default;
  MappedFile(MappedFile &&other) noexcept { swap(other); }
  MappedFile &operator=(MappedFile &&other) noexcept {
    swap(other);
    return *this;
  }
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data, size}; }
  std::string_view text() const {
    return {reinterpret_cast<const char *>(data), size};
  }

private:
  void swap(MappedFile &other) noexcept {
    std::swap(data, other.data);
    std::swap(size, other.size);
  }

  const std::byte *data = nullptr;
  size_t size = 0;
};

/// The xxHash64 (seed 0) of `bytes` as 16 lower-case hexadecimal digits.
std::string xxh64Hex(std::span<const std::byte> bytes);

} // namespace glvq

#endif // GLVQ_RUNTIME_MAPPEDFILE_H

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Maps files read-only, and their checksums.

#include "glvq/Runtime/MappedFile.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace glvq;

std::optional<MappedFile> MappedFile::open(const std::string &path,
                                           std::string &error) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    error = path + ": cannot open: " + std::strerror(errno);
    return std::nullopt;
  }
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    error = path + ": not a regular file";
    close(fd);
    return std::nullopt;
  }
  MappedFile file;
  file.size = static_cast<size_t>(info.st_size);
  // An empty mapping is an error for mmap; an empty file is not one for us.
  if (file.size != 0) {
    void *memory = mmap(nullptr, file.size, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
      error = path + ": cannot map: " + std::strerror(errno);
      close(fd);
      return std::nullopt;
    }
    file.data = static_cast<const std::byte *>(memory);
  }
  close(fd);
  return file;
}

MappedFile::~MappedFile() {
  if (data)
    munmap(const_cast<std::byte *>(data), size);
}

std::string glvq::xxh64Hex(std::span<const std::byte> bytes) {
  char digits[17];
  std::snprintf(
      digits, sizeof(digits), "%016llx",
      static_cast<unsigned long long>(XXH64(bytes.data(), bytes.size(), 0)));
  return digits;
}

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Atomicity: write beside the destination, fsync files and folder, rename. An
// artefact that is replaced is exchanged in one step, then removed; a process
// that has it open keeps its files.

#include "glvq/Target/ArtefactWriter.h"

#include "glvq/Runtime/MappedFile.h"
#include "glvq/Runtime/glvq_runtime.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace mlir;
using namespace mlir::glvq;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

static llvm::Error makeError(const llvm::Twine &text) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), text);
}

static std::string join(StringRef folder, StringRef name) {
  SmallString<256> joined(folder);
  path::append(joined, name);
  return joined.str().str();
}

//===----------------------------------------------------------------------===//
// Interrupts
//===----------------------------------------------------------------------===//

namespace {
/// Paths of folders that are being written; more than these at once in one
/// process stay behind when it is interrupted.
std::array<std::atomic<char *>, 16> unfinished;
} // namespace

static void remember(const std::string &folder) {
  char *copy = strdup(folder.c_str());
  for (std::atomic<char *> &slot : unfinished) {
    char *expected = nullptr;
    if (slot.compare_exchange_strong(expected, copy))
      return;
  }
  free(copy);
}

static void forget(const std::string &folder) {
  for (std::atomic<char *> &slot : unfinished) {
    char *path = slot.load();
    // Leaks a few bytes: a handler may be reading them.
    if (path && folder == path)
      slot.store(nullptr);
  }
}

/// Removes the files in a folder. `readdir` allocates, so the system call.
static void removeFiles(int folder) {
  alignas(uint64_t) char buffer[4096];
  lseek(folder, 0, SEEK_SET);
  for (;;) {
    long bytes = syscall(SYS_getdents64, folder, buffer, sizeof(buffer));
    if (bytes <= 0)
      return;
    for (long at = 0; at < bytes;) {
      auto *entry = reinterpret_cast<dirent64 *>(buffer + at);
      unlinkat(folder, entry->d_name, 0); // "." and ".." refuse
      at += entry->d_reclen;
    }
  }
}

void mlir::glvq::removeUnfinishedArtefacts() {
  for (std::atomic<char *> &slot : unfinished) {
    const char *path = slot.load();
    if (!path)
      continue;
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
      continue;
    // A linker that runs may still add a file.
    for (int attempt = 0; attempt < 8; ++attempt) {
      removeFiles(folder);
      if (rmdir(path) == 0 || errno != ENOTEMPTY)
        break;
    }
    close(folder);
  }
}

//===----------------------------------------------------------------------===//
// ArtefactWriter
//===----------------------------------------------------------------------===//

llvm::Expected<ArtefactWriter> ArtefactWriter::create(StringRef given,
                                                      bool force) {
  SmallString<256> destination(given);
  if (std::error_code code = fs::make_absolute(destination))
    return makeError(given + ": " + code.message());
  path::remove_dots(destination, /*remove_dot_dot=*/true);
  if (fs::exists(destination)) {
    if (!force)
      return makeError(given + " exists; remove it or pass --force");
    // Never replace a folder that is not ours.
    if (!fs::exists(join(destination, "manifest.json")))
      return makeError(given +
                       " exists and is not an artefact; choose another place");
  }
  StringRef parent = path::parent_path(destination);
  if (std::error_code code = fs::create_directories(parent))
    return makeError("cannot create the folder " + parent + ": " +
                     code.message());
  std::string folder =
      join(parent, ("." + path::filename(destination) + ".XXXXXX").str());
  if (!mkdtemp(folder.data()))
    return makeError("cannot create a folder in " + parent + ": " +
                     std::strerror(errno));
  remember(folder);
  chmod(folder.c_str(), 0755);
  return ArtefactWriter(destination.str().str(), folder);
}

ArtefactWriter::ArtefactWriter(ArtefactWriter &&other)
    : destination(std::move(other.destination)),
      folder(std::move(other.folder)), files(std::move(other.files)) {
  other.folder.clear();
}

ArtefactWriter::~ArtefactWriter() {
  if (folder.empty())
    return;
  fs::remove_directories(folder);
  forget(folder);
}

std::string ArtefactWriter::addFile(StringRef name) {
  files.push_back(name.str());
  return join(folder, name);
}

llvm::Error ArtefactWriter::attach(StringRef source) {
  StringRef name = path::filename(source);
  if (name == "manifest.json" || llvm::is_contained(files, name))
    return makeError("cannot attach " + source +
                     ": the artefact has a file of this name already");
  if (!fs::is_regular_file(source))
    return makeError("cannot attach " + source + ": not a file");
  if (std::error_code code = fs::copy_file(source, addFile(name)))
    return makeError("cannot attach " + source + ": " + code.message());
  return llvm::Error::success();
}

/// Waits until `file`, a file or folder, is on the disk.
static llvm::Error synchronize(const std::string &file) {
  int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return makeError(file + ": " + std::strerror(errno));
  int result = fsync(fd);
  int code = errno;
  close(fd);
  // File systems that cannot do it say so; that is no reason to fail.
  if (result != 0 && code != EINVAL && code != ENOTSUP)
    return makeError("cannot write " + file + ": " + std::strerror(code));
  return llvm::Error::success();
}

static llvm::Error writeText(const std::string &file, StringRef text) {
  std::error_code code;
  llvm::raw_fd_ostream os(file, code);
  if (code)
    return makeError("cannot write " + file + ": " + code.message());
  os << text;
  os.close();
  if (os.has_error()) {
    code = os.error();
    os.clear_error();
    return makeError("cannot write " + file + ": " + code.message());
  }
  return llvm::Error::success();
}

llvm::Error ArtefactWriter::commit(llvm::json::Object manifest) {
  llvm::json::Object fileTable;
  for (const std::string &name : files) {
    std::string error;
    std::optional<::glvq::MappedFile> file =
        ::glvq::MappedFile::open(join(folder, name), error);
    if (!file)
      return makeError(error);
    fileTable[name] = llvm::json::Object{
        {"bytes", static_cast<uint64_t>(file->bytes().size())},
        {"xxh64", ::glvq::xxh64Hex(file->bytes())}};
    if (llvm::Error failure = synchronize(join(folder, name)))
      return failure;
  }
  manifest["format"] = "glvq-artefact";
  manifest["version"] = GLVQ_ARTEFACT_VERSION;
  manifest["producer"] = "glvq " GLVQ_VERSION;
  manifest["files"] = std::move(fileTable);
  std::string text;
  llvm::raw_string_ostream(text)
      << llvm::formatv("{0:2}\n", llvm::json::Value(std::move(manifest)));
  std::string manifestPath = join(folder, "manifest.json");
  if (llvm::Error failure = writeText(manifestPath, text))
    return failure;
  if (llvm::Error failure = synchronize(manifestPath))
    return failure;
  if (llvm::Error failure = synchronize(folder))
    return failure;

  if (rename(folder.c_str(), destination.c_str()) != 0) {
    // Something is there. After an exchange `folder` is the old artefact, which
    // the destructor removes.
    if ((errno != ENOTEMPTY && errno != EEXIST) ||
        renameat2(AT_FDCWD, folder.c_str(), AT_FDCWD, destination.c_str(),
                  RENAME_EXCHANGE) != 0)
      return makeError("cannot put the artefact in place at " + destination +
                       ": " + std::strerror(errno));
  } else {
    forget(folder);
    folder.clear();
  }
  return synchronize(path::parent_path(destination).str());
}

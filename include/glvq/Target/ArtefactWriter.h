// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Puts an artefact in place, whole or not at all.

#ifndef GLVQ_TARGET_ARTEFACTWRITER_H
#define GLVQ_TARGET_ARTEFACTWRITER_H

#include "mlir/Support/LLVM.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <string>
#include <vector>

namespace mlir::glvq {

/// Collects the files of an artefact in a folder beside the destination and
/// gives it the destination's name at the end. Whatever happens before leaves
/// nothing behind and an artefact that was there untouched.
class ArtefactWriter {
public:
  /// Fails when `destination` exists and `force` is false, or when it is
  /// something else than an artefact.
  static llvm::Expected<ArtefactWriter> create(StringRef destination,
                                               bool force);

  ArtefactWriter(ArtefactWriter &&other);
  ArtefactWriter &operator=(ArtefactWriter &&) = delete;
  ~ArtefactWriter();

  /// The path to write the file `name` of the artefact to.
  std::string addFile(StringRef name);
  /// Copies a file into the artefact under its own name.
  llvm::Error attach(StringRef path);
  /// Completes `manifest` with format, version, producer and the files' sizes
  /// and checksums, writes everything to the disk and puts the artefact in
  /// place.
  llvm::Error commit(llvm::json::Object manifest);

private:
  ArtefactWriter(std::string destination, std::string folder)
      : destination(std::move(destination)), folder(std::move(folder)) {}

  std::string destination;
  std::string folder; // "" once it is in place
  std::vector<std::string> files;
};

/// Removes the folders of all writers that have not committed, for handlers of
/// signals that end the process: uses async-signal-safe functions only.
void removeUnfinishedArtefacts();

} // namespace mlir::glvq

#endif // GLVQ_TARGET_ARTEFACTWRITER_H

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The entry points of a lowered module, as the manifest describes them.

#ifndef GLVQ_TARGET_ENTRYPOINTS_H
#define GLVQ_TARGET_ENTRYPOINTS_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"
#include "llvm/Support/JSON.h"

#include <optional>
#include <string>
#include <vector>

namespace mlir::glvq {
struct NativeTarget;

/// One argument of an entry's binary interface (docs/ArtefactFormat.md).
struct EntryArgument {
  /// A size, or the name of a dimension.
  struct Dimension {
    int64_t size = ShapedType::kDynamic;
    std::string name;
  };

  /// Where a weight's words are in the checkpoint, when they are stored
  /// interleaved: `rows` rows of `words` words, `stride` apart, from `offset`
  /// on in the tensor `source`, hold `columns` fields of `bits` bits each.
  struct Packed {
    std::string source;
    int64_t offset, stride, rows, words, columns, bits;
  };

  std::string role; // "input", "state", "weight", "output"
  std::string name;
  std::string dtype; // "f32", "i64", …
  bool scalar = false;
  std::vector<Dimension> shape;
  std::optional<Packed> packed;
};

struct EntryPoint {
  std::string name;   // "decode"
  std::string symbol; // "glvq_entry_decode"
  std::vector<EntryArgument> arguments;
};

/// Reads the interfaces that `lower-glvq-to-llvm` left on the entry points of
/// `module`. An interface that the manifest cannot express is an error, as is a
/// module without entry points.
FailureOr<std::vector<EntryPoint>> collectEntryPoints(ModuleOp module);

llvm::json::Value toJSON(const EntryPoint &entry);
/// What the runtime compares with its machine: of the target's features those
/// whose instructions the code may contain.
llvm::json::Value toJSON(const NativeTarget &target);
/// Numbers, strings, booleans, arrays and dictionaries; failure for others.
FailureOr<llvm::json::Value> toJSON(Attribute attribute);

} // namespace mlir::glvq

#endif // GLVQ_TARGET_ENTRYPOINTS_H

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// What config.json of a quantized checkpoint says about its weights
// (docs/CheckpointFormat.md).

#ifndef GLVQ_LIB_DIALECT_GLVQ_TRANSFORMS_QUANTIZATIONCONFIG_H
#define GLVQ_LIB_DIALECT_GLVQ_TRANSFORMS_QUANTIZATIONCONFIG_H

#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "llvm/ADT/MapVector.h"
#include <string>

namespace mlir::glvq {

/// One encoded weight of a checkpoint.
struct QuantizedWeight {
  /// [out_features, in_features], whichever way the model uses it.
  SmallVector<int64_t, 2> shape;
  WeightCodeAttrInterface code;
  /// The model uses the weight as [in_features, out_features].
  bool transposed = false;
  /// Names of the tensors of signs, or null: rotations of columns and of rows.
  StringAttr signsIn, signsOut;
};

/// The weights by their checkpoint names, in the order of their names.
using QuantizationConfig = llvm::MapVector<StringAttr, QuantizedWeight>;

/// Reads `quantization_config` from config.json in the folder `checkpoint`.
/// Errors go to `emitError`, and name the file and the weight.
FailureOr<QuantizationConfig>
readQuantizationConfig(MLIRContext *context, StringRef checkpoint,
                       function_ref<InFlightDiagnostic()> emitError);

} // namespace mlir::glvq

#endif // GLVQ_LIB_DIALECT_GLVQ_TRANSFORMS_QUANTIZATIONCONFIG_H

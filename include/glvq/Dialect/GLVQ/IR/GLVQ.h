// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Everything of the glvq dialect: its attributes, types, ops and interfaces.

#ifndef GLVQ_DIALECT_GLVQ_IR_GLVQ_H
#define GLVQ_DIALECT_GLVQ_IR_GLVQ_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/TilingInterface.h"

namespace mlir::glvq {
/// A run of slots of the same width, `width / denominator` bits for a weight in
/// lowest terms. `slots` is 0 in the one run of a code that has one width for
/// all groups.
struct WidthRun {
  int64_t width;
  int64_t slots;
  int64_t denominator = 1;

  bool operator==(const WidthRun &) const = default;
};
inline llvm::hash_code hash_value(const WidthRun &run) {
  return llvm::hash_combine(run.width, run.slots, run.denominator);
}

/// The slots of one width of a weight.
struct SlotRun {
  WidthRun bits;
  int64_t first, count; ///< Which slots.
  int64_t columns;      ///< Columns of all of them.
};

/// A run of slots after folding. In each slot points of `dim` columns became
/// `fields` activations; from one slot to the next they lie `stride` apart, and
/// what is between is zero.
struct FoldedRun {
  SlotRun slots;
  int64_t bits; ///< Width of the integers.
  int64_t dim, fields, stride;
  int64_t columns; ///< Folded activations of the run.
};

/// On an argument of an entry point that is stored in another order than the
/// checkpoint has (glvq-pack-codes).
inline constexpr llvm::StringLiteral kPackedAttrName = "glvq.packed";

class WeightCodeAttrInterface;
class WeightType;

namespace detail {
double getBitsPerWeight(WeightCodeAttrInterface code, WeightType type);
} // namespace detail

/// Makes `glvq.matmul` bufferizable.
void registerBufferizableOpInterfaceExternalModels(DialectRegistry &registry);
} // namespace mlir::glvq

#include "glvq/Dialect/GLVQ/IR/GLVQDialect.h.inc"
#include "glvq/Dialect/GLVQ/IR/GLVQEnums.h.inc"

// The interface takes weight types by value, so they come first.
#define GET_TYPEDEF_CLASSES
#include "glvq/Dialect/GLVQ/IR/GLVQTypes.h.inc"

#include "glvq/Dialect/GLVQ/IR/GLVQInterfaces.h.inc"

#define GET_ATTRDEF_CLASSES
#include "glvq/Dialect/GLVQ/IR/GLVQAttrs.h.inc"

#define GET_OP_CLASSES
#include "glvq/Dialect/GLVQ/IR/GLVQOps.h.inc"

#endif // GLVQ_DIALECT_GLVQ_IR_GLVQ_H

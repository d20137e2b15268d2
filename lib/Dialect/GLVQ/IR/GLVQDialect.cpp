// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The dialect, its type, and what all families of codes share.

#include "WidthRuns.h"
#include "glvq/Dialect/GLVQ/IR/GLVQ.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Transforms/InliningUtils.h"
#include "llvm/ADT/TypeSwitch.h"

#include <numeric>

using namespace mlir;
using namespace mlir::glvq;

/// `2` or `3/2`; put into lowest terms.
static ParseResult parseWidth(AsmParser &parser, WidthRun &run) {
  run.denominator = 1;
  if (parser.parseInteger(run.width))
    return failure();
  if (failed(parser.parseOptionalSlash()))
    return success();
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseInteger(run.denominator))
    return failure();
  if (run.denominator < 1)
    return parser.emitError(loc, "a width has a positive denominator, got ")
           << run.denominator;
  int64_t common = std::gcd(run.width, run.denominator);
  run.width /= common;
  run.denominator /= common;
  return success();
}

/// Widths of a code: `2`, or runs `[3/2 : 4, 2 : 24]`.
static ParseResult parseWidths(AsmParser &parser, SmallVector<WidthRun> &runs) {
  if (failed(parser.parseOptionalLSquare()))
    return parseWidth(parser, runs.emplace_back());
  auto parseRun = [&]() -> ParseResult {
    WidthRun &run = runs.emplace_back();
    SMLoc loc = parser.getCurrentLocation();
    if (parseWidth(parser, run) || parser.parseColon() ||
        parser.parseInteger(run.slots))
      return failure();
    if (run.slots < 1)
      return parser.emitError(
                 loc, "a run of widths must hold at least one group, got ")
             << run.slots;
    return success();
  };
  return failure(parser.parseCommaSeparatedList(parseRun) ||
                 parser.parseRSquare());
}

static void printWidths(AsmPrinter &printer, ArrayRef<WidthRun> runs) {
  if (runs.size() == 1 && runs.front().slots == 0) {
    printer << formatWidth(runs.front());
    return;
  }
  printer << '[';
  llvm::interleaveComma(runs, printer, [&](const WidthRun &run) {
    printer << formatWidth(run) << " : " << run.slots;
  });
  printer << ']';
}

#include "glvq/Dialect/GLVQ/IR/GLVQDialect.cpp.inc"
#include "glvq/Dialect/GLVQ/IR/GLVQEnums.cpp.inc"
#include "glvq/Dialect/GLVQ/IR/GLVQInterfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "glvq/Dialect/GLVQ/IR/GLVQAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "glvq/Dialect/GLVQ/IR/GLVQTypes.cpp.inc"

namespace {
/// All ops may be inlined anywhere: they are plain functions of their operands.
struct GLVQInlinerInterface : DialectInlinerInterface {
  using DialectInlinerInterface::DialectInlinerInterface;
  bool isLegalToInline(Operation *, Region *, bool, IRMapping &) const final {
    return true;
  }
};
} // namespace

void GLVQDialect::initialize() {
  addInterfaces<GLVQInlinerInterface>();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "glvq/Dialect/GLVQ/IR/GLVQAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "glvq/Dialect/GLVQ/IR/GLVQTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "glvq/Dialect/GLVQ/IR/GLVQOps.cpp.inc"
      >();
}

double glvq::detail::getBitsPerWeight(WeightCodeAttrInterface code,
                                      WeightType type) {
  double bits = 0;
  for (RankedTensorType part : code.getStorageTypes(type))
    bits += static_cast<double>(part.getNumElements()) *
            part.getElementTypeBitWidth();
  return bits / type.getDecodedType().getNumElements();
}

//===----------------------------------------------------------------------===//
// WeightType
//===----------------------------------------------------------------------===//

RankedTensorType WeightType::getDecodedType() const {
  return RankedTensorType::get(getShape(), getElementType());
}

LogicalResult WeightType::verify(function_ref<InFlightDiagnostic()> emitError,
                                 ArrayRef<int64_t> shape, Type elementType,
                                 WeightCodeAttrInterface code) {
  if (shape.size() != 2)
    return emitError() << "an encoded weight is a matrix (rows x columns), got "
                       << shape.size() << " dimensions";
  if (!isa<Float16Type, BFloat16Type, Float32Type>(elementType))
    return emitError()
           << "an encoded weight stands for f16, bf16 or f32 numbers, not "
           << elementType;
  if (ShapedType::isDynamic(shape[1]))
    return emitError() << "the number of columns of an encoded weight must be "
                          "static: its code "
                          "counts groups of columns";
  if (shape[0] == 0 || shape[1] == 0)
    return emitError() << "an encoded weight cannot be empty";
  return code.verifyWeight(shape, elementType, emitError);
}

Type WeightType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  Type elementType;
  WeightCodeAttrInterface code;
  if (parser.parseLess())
    return {};
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseDimensionList(shape) || parser.parseType(elementType) ||
      parser.parseComma() || parser.parseAttribute(code) ||
      parser.parseGreater())
    return {};
  return parser.getChecked<WeightType>(loc, parser.getContext(), shape,
                                       elementType, code);
}

void WeightType::print(AsmPrinter &printer) const {
  printer << '<';
  printer.printDimensionList(getShape());
  printer << 'x' << getElementType() << ", ";
  printer.printAttribute(getCode());
  printer << '>';
}

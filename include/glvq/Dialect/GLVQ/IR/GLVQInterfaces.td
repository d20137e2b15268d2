// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The interface every family of weight codes implements. A new family is one
// attribute with this interface, an encoder and a decoder; no op changes.

#ifndef GLVQ_DIALECT_GLVQ_IR_GLVQINTERFACES_TD
#define GLVQ_DIALECT_GLVQ_IR_GLVQINTERFACES_TD

include "mlir/IR/Interfaces.td"

def GLVQ_WeightCodeAttrInterface : AttrInterface<"WeightCodeAttrInterface"> {
  let cppNamespace = "::mlir::glvq";
  let description = [{
    How a weight matrix is stored: into which tensors (the *parts*), and what
    they mean. The first part always holds the codes; the others are the
    *parameters* of the code.

    A weight has `rows` x `columns` = out_features x in_features. The number of
    columns is static; rows may be dynamic (a tile of a weight).
  }];
  let methods = [
    InterfaceMethod<[{
        Types of the tensors that store a weight of this type, in order.
      }], "::llvm::SmallVector<::mlir::RankedTensorType>", "getStorageTypes",
      (ins "::mlir::glvq::WeightType":$type)>,
    InterfaceMethod<[{
        Names of the parts, in the same order: `codes`, `generators`, …. They
        name arguments and checkpoint tensors.
      }], "::llvm::SmallVector<::llvm::StringRef>", "getStorageNames">,
    InterfaceMethod<[{
        Storage per weight in bits, all parts included. The rows must be
        static.
      }], "double", "getBitsPerWeight", (ins "::mlir::glvq::WeightType":$type),
      [{}], [{ return detail::getBitsPerWeight($_attr, type); }]>,
    InterfaceMethod<[{
        Whether the decoded weight is a linear function of its codes, so that
        the generator can be moved to the activations.
      }], "bool", "isLinear">,
    InterfaceMethod<[{
        Checks that a weight of `shape` and `elementType` can be stored so.
      }], "::llvm::LogicalResult", "verifyWeight",
      (ins "::llvm::ArrayRef<int64_t>":$shape, "::mlir::Type":$elementType,
           "::llvm::function_ref<::mlir::InFlightDiagnostic()>":$emitError)>,
    InterfaceMethod<[{
        Builds the reference decoder, in linalg, arith, math and tensor: the
        matrix `type.getDecodedType()` from its parts. Failure if the family
        has none.
      }], "::llvm::FailureOr<::mlir::Value>", "buildDecode",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc,
           "::mlir::glvq::WeightType":$type, "::mlir::ValueRange":$parts),
      [{}], [{ return ::llvm::failure(); }]>,
    InterfaceMethod<[{
        Builds the reference encoder, in linalg, arith, math, scf and tensor:
        the codes of the matrix `dense`, given the other parts. Failure if the
        family has none.
      }], "::llvm::FailureOr<::mlir::Value>", "buildEncode",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc,
           "::mlir::glvq::WeightType":$type, "::mlir::Value":$dense,
           "::mlir::ValueRange":$params),
      [{}], [{ return ::llvm::failure(); }]>,
    InterfaceMethod<[{
        Whether a slice of `sizes` columns from `offset` can be taken out of
        the storage: then builds the slices of the parts (tensors or memrefs)
        and gives the code of the slice. Nothing is built upon failure.
        `offsets` and `sizes` are those of rows and columns.
      }], "::llvm::FailureOr<::mlir::glvq::WeightCodeAttrInterface>", "sliceStorage",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc,
           "::mlir::glvq::WeightType":$type, "::mlir::ValueRange":$parts,
           "::llvm::ArrayRef<::mlir::OpFoldResult>":$offsets,
           "::llvm::ArrayRef<::mlir::OpFoldResult>":$sizes,
           "::llvm::SmallVectorImpl<::mlir::Value> &":$slices),
      [{}], [{ return ::llvm::failure(); }]>,
    InterfaceMethod<[{
        What is left of the codes of a weight with so many columns when the
        generator moves to the activations: for each run of slots of one width
        packed integers, `#glvq.integer`, that follow each other without gaps.
        Failure if the code is not linear, or the fields of a slot do not begin
        at a multiple of their width.
      }], "::llvm::FailureOr<::llvm::SmallVector<::mlir::glvq::FoldedRun>>", "getFoldedRuns",
      (ins "int64_t":$columns), [{}], [{ return ::llvm::failure(); }]>,
    InterfaceMethod<[{
        Which parts `glvq.fold` needs: their places among all parts.
      }], "::llvm::SmallVector<unsigned>", "getFoldParts", (ins), [{}], [{ return {}; }]>,
    InterfaceMethod<[{
        Builds the reference of `glvq.fold` for one run: the folded activations,
        f32 [batch, columns of the run], from the input and the parts that
        getFoldParts() lists.
      }], "::llvm::FailureOr<::mlir::Value>", "buildFold",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "unsigned":$run,
           "::mlir::Value":$input, "::mlir::ValueRange":$params),
      [{}], [{ return ::llvm::failure(); }]>,
    InterfaceMethod<[{
        Builds init + input * transposed weight with `glvq.fold`, products with
        packed integers, and what follows them. Nothing is built upon failure.
        The rows of the weight are static.
      }], "::llvm::FailureOr<::mlir::Value>", "buildFoldedProduct",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc,
           "::mlir::glvq::WeightType":$type, "::mlir::Value":$input,
           "::mlir::ValueRange":$parts, "::mlir::Value":$init),
      [{}], [{ return ::llvm::failure(); }]>,
  ];
}

#endif // GLVQ_DIALECT_GLVQ_IR_GLVQINTERFACES_TD

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The type of an encoded weight.

#ifndef GLVQ_DIALECT_GLVQ_IR_GLVQTYPES_TD
#define GLVQ_DIALECT_GLVQ_IR_GLVQTYPES_TD

include "glvq/Dialect/GLVQ/IR/GLVQDialect.td"
include "mlir/IR/AttrTypeBase.td"

def GLVQ_WeightType : TypeDef<GLVQ_Dialect, "Weight"> {
  let mnemonic = "weight";
  let summary = "An encoded weight matrix";
  let description = [{
    A value of this type stands for a matrix of out_features x in_features
    floats, stored as the code says. It is opaque: only `glvq` ops, functions,
    calls and control flow accept it, so that no pass reads codes as numbers.
    `glvq-materialize-weights` replaces it by the tensors that store it.

    ```mlir
    !glvq.weight<1536x576xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>
    ```
  }];
  let parameters = (ins
    ArrayRefParameter<"int64_t", "rows and columns">:$shape,
    "::mlir::Type":$elementType,
    "::mlir::glvq::WeightCodeAttrInterface":$code
  );
  let builders = [
    TypeBuilderWithInferredContext<(ins "::llvm::ArrayRef<int64_t>":$shape,
        "::mlir::Type":$elementType, "::mlir::glvq::WeightCodeAttrInterface":$code), [{
      return $_get(elementType.getContext(), shape, elementType, code);
    }]>
  ];
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t getNumRows() const { return getShape()[0]; }
    int64_t getNumColumns() const { return getShape()[1]; }
    /// The tensor type the weight stands for.
    ::mlir::RankedTensorType getDecodedType() const;
  }];
}

#endif // GLVQ_DIALECT_GLVQ_IR_GLVQTYPES_TD

// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The glvq dialect itself.

#ifndef GLVQ_DIALECT_GLVQ_IR_GLVQDIALECT_TD
#define GLVQ_DIALECT_GLVQ_IR_GLVQDIALECT_TD

include "mlir/IR/DialectBase.td"

def GLVQ_Dialect : Dialect {
  let name = "glvq";
  let cppNamespace = "::mlir::glvq";
  let summary = "Lattice-quantized weights";
  let description = [{
    The dialect carries weight matrices of neural networks that are stored as
    points of learned lattices ("grouped lattice vector quantization"), through
    all stages of a compiler:

    * an encoded weight is *one* SSA value of type `!glvq.weight`, whose second
      parameter, an attribute implementing `WeightCodeAttrInterface`, says how
      it is stored. Nothing but the ops of this dialect accepts such a value,
      so no pass can mistake it for a tensor of numbers;
    * `glvq.decode` gives the matrix it stands for, `glvq.linear` multiplies by
      it without ever decoding it as a whole;
    * `glvq.matmul` is the same product on the tensors that store the weight,
      ready for tiling, bufferization and the kernel lowerings.

    Learned numbers (codes, generators, scales) are always tensors, never
    attributes.

    ```mlir
    #w2 = #glvq.lattice<dim = 8, bits = 2, group = 96>
    // as imported
    %d = glvq.decode %w : !glvq.weight<1536x576xf32, #w2> to tensor<1536x576xf32>
    %y = linalg.matmul indexing_maps = [#mk, #nk, #mn]
           ins(%x, %d : tensor<?x576xf32>, tensor<1536x576xf32>)
           outs(%zero : tensor<?x1536xf32>) -> tensor<?x1536xf32>
    // fused: the decoded matrix does not exist any more
    %y = glvq.linear ins(%x, %w : tensor<?x576xf32>, !glvq.weight<1536x576xf32, #w2>)
                     outs(%zero : tensor<?x1536xf32>) -> tensor<?x1536xf32>
    // on storage
    %y = glvq.matmul ins(%x : tensor<?x576xf32>) codes(%c : tensor<1536x36xi32>)
                     params(%g, %s : tensor<6x8x8xf16>, tensor<1536xf16>)
                     outs(%zero : tensor<?x1536xf32>) {code = #w2} -> tensor<?x1536xf32>
    ```
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  // What the canonicalizations and the tiling of this dialect create.
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::memref::MemRefDialect", "::mlir::tensor::TensorDialect",
  ];
}

#endif // GLVQ_DIALECT_GLVQ_IR_GLVQDIALECT_TD

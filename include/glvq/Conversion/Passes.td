// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Conversions out of the glvq dialect.

#ifndef GLVQ_CONVERSION_PASSES_TD
#define GLVQ_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertGLVQToLinalgPass : Pass<"convert-glvq-to-linalg"> {
  let summary = "Lower glvq ops to linalg, by the definition of the codes";
  let description = [{
    The reference lowering: weights are decoded in full, then multiplied. It is
    the oracle that kernels are tested against, and the way of targets that have
    none. No `glvq` op is left; a weight that enters as an argument must have
    been taken apart by `glvq-materialize-weights` before.

    ```mlir
    %y = glvq.matmul ins(%x : tensor<?x576xf32>) codes(%c : tensor<1536x36xi32>)
                     params(%g, %s : tensor<6x8x8xf16>, tensor<1536xf16>)
                     outs(%zero : tensor<?x1536xf32>) {code = #w2} -> tensor<?x1536xf32>
    ```
    becomes
    ```mlir
    %z = linalg.generic … outs(%0 : tensor<1536x6x12x8xf32>)             // unpack the fields
    %p = linalg.generic … ins(%g, %z : …) outs(%1 : tensor<1536x6x12x8xf32>) // G (z + 1/2)
    %q = linalg.generic … ins(%p, %s : …) outs(%2 : tensor<1536x6x12x8xf32>) // scales, companders
    %w = tensor.collapse_shape %q [[0], [1, 2, 3]] : … into tensor<1536x576xf32>
    %y = linalg.matmul indexing_maps = [#mk, #nk, #mn] ins(%x, %w : …) outs(%zero : …)
    ```
    Rotations become one contraction with a constant matrix for each factor of
    their size: the odd part, and powers of two up to 32.
  }];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect",
  ];
}

#endif // GLVQ_CONVERSION_PASSES_TD

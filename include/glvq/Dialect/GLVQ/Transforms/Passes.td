// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Passes on the glvq dialect, in the order in which a model meets them.

#ifndef GLVQ_DIALECT_GLVQ_TRANSFORMS_PASSES_TD
#define GLVQ_DIALECT_GLVQ_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def QuantizeWeightsPass : Pass<"glvq-quantize-weights", "::mlir::ModuleOp"> {
  let summary = "Retype the weights that a quantized checkpoint stores encoded";
  let description = [{
    Reads `quantization_config` from `config.json` of the checkpoint. Arguments
    of public functions whose `glvq.name` is listed there become
    `!glvq.weight`; the signs of their rotations become further arguments, one
    for each name. Where such an argument was used stands the matrix the
    checkpoint describes, `W = D_out H_out W~ H_in D_in`, so that the module
    means the same with the new weights, before anything is optimized.

    ```mlir
    func.func @forward(%x: tensor<4x576xf32>, %w: tensor<64x576xf32> {glvq.name = "up.weight"}) {
      "use"(%w) : (tensor<64x576xf32>) -> ()
    ```
    becomes
    ```mlir
    func.func @forward(%x: tensor<4x576xf32>,
                       %w: !glvq.weight<64x576xf32, #w2> {glvq.name = "up.weight"},
                       %in: tensor<18xi32> {glvq.name = "glvq.signs.576"},
                       %out: tensor<2xi32> {glvq.name = "glvq.signs.64"}) {
      %0 = glvq.decode %w : !glvq.weight<64x576xf32, #w2> to tensor<64x576xf32>
      %1 = glvq.hadamard %0 signs(%in : tensor<18xi32>) dimension 1 inverse : tensor<64x576xf32>
      %2 = glvq.hadamard %1 signs(%out : tensor<2xi32>) dimension 0 inverse : tensor<64x576xf32>
      "use"(%2) : (tensor<64x576xf32>) -> ()
    ```

    A function that is called with weights is specialised: cloned once for each
    combination of codes, shapes and shared signs that reaches it, and removed
    when nothing calls it any more. So all layers with the same codes still
    share one function. The types of results do not change.
  }];
  let options = [
    Option<"checkpoint", "checkpoint", "std::string", "\"\"",
           "Folder of the quantized checkpoint">,
  ];
  let statistics = [
    Statistic<"numWeights", "num-weights", "Arguments of entry points that became weights">,
    Statistic<"numSpecialised", "num-specialised", "Functions cloned for the codes of their weights">,
  ];
  let dependentDialects = [
    "::mlir::glvq::GLVQDialect", "::mlir::func::FuncDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect",
  ];
}

def FuseDecodePass : Pass<"glvq-fuse-decode"> {
  let summary = "Turn contractions over a decoded weight into glvq.linear";
  let description = [{
    Follows the operands of contractions backwards, through ops that only move
    elements (transposes, broadcasts, reshapes by unit dimensions, generics that
    yield their input) and through rotations, to a `glvq.decode`. The indexing
    maps on the way are composed, so that all forms of the same product are one
    case: `x W^T`, `W x^T`, batches with a broadcast weight, vectors, and
    weights that are stored transposed.

    Rotations of the weight move to the activations: `H D x` instead of
    `W~ H D`, once for each input, which CSE shares among the products that read
    it, and the inverse on the result.

    ```mlir
    %0 = glvq.decode %w : !glvq.weight<64x576xf32, #w2> to tensor<64x576xf32>
    %1 = glvq.hadamard %0 signs(%s : tensor<18xi32>) dimension 1 inverse : tensor<64x576xf32>
    %t = linalg.transpose ins(%1 : tensor<64x576xf32>) outs(%e : tensor<576x64xf32>) permutation = [1, 0]
    %y = linalg.matmul ins(%x, %t : tensor<?x576xf32>, tensor<576x64xf32>)
                       outs(%acc : tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
    becomes
    ```mlir
    %0 = glvq.hadamard %x signs(%s : tensor<18xi32>) dimension 1 : tensor<?x576xf32>
    %y = glvq.linear ins(%0, %w : tensor<?x576xf32>, !glvq.weight<64x576xf32, #w2>)
                     outs(%acc : tensor<?x64xf32>) -> tensor<?x64xf32>
    ```

    Reading single rows by number, as embeddings do, becomes `glvq.gather`.

    A decode that is left is correct, and slow; a missed remark of category
    `glvq` says why it was left.
  }];
  let statistics = [
    Statistic<"numFused", "num-fused", "Uses that became glvq.linear or glvq.gather">,
    Statistic<"numMissed", "num-missed", "Uses of a decoded weight that were left">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::tensor::TensorDialect",
  ];
}

def MaterializeWeightsPass : Pass<"glvq-materialize-weights", "::mlir::ModuleOp"> {
  let summary = "Replace every weight by the tensors that store it";
  let description = [{
    A full conversion: functions, calls, branches and loops pass the parts
    instead of the weight, `glvq.linear` becomes `glvq.matmul`, `glvq.gather` a
    loop that decodes one row at a time, and what is left of `glvq.decode` and `glvq.encode` becomes the reference code of the family.
    No `!glvq.weight` remains.

    ```mlir
    func.func @f(%x: tensor<?x576xf32>, %w: !glvq.weight<64x576xf32, #w2> {glvq.name = "up.weight"},
                 %acc: tensor<?x64xf32>) -> tensor<?x64xf32> {
      %y = glvq.linear ins(%x, %w : tensor<?x576xf32>, !glvq.weight<64x576xf32, #w2>)
                       outs(%acc : tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
    becomes
    ```mlir
    func.func @f(%x: tensor<?x576xf32>,
                 %c: tensor<64x36xi32> {glvq.name = "up.codes"},
                 %g: tensor<6x8x8xf16> {glvq.name = "up.generators"},
                 %s: tensor<64xf16> {glvq.name = "up.scales"},
                 %acc: tensor<?x64xf32>) -> tensor<?x64xf32> {
      %y = glvq.matmul ins(%x : tensor<?x576xf32>) codes(%c : tensor<64x36xi32>)
                       params(%g, %s : tensor<6x8x8xf16>, tensor<64xf16>)
                       outs(%acc : tensor<?x64xf32>) {code = #w2} -> tensor<?x64xf32>
    ```
  }];
  let statistics = [
    Statistic<"numMatmuls", "num-matmuls", "Products that now read the parts">,
    Statistic<"numDecoded", "num-decoded", "Weights that are decoded in full">,
  ];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect",
    "::mlir::glvq::GLVQDialect",
  ];
}

def FoldGeneratorPass : Pass<"glvq-fold-generator"> {
  let summary = "Move generators of linear codes onto the activations";
  let description = [{
    What a linear code stores is w = B u, with u packed integers around zero.
    So x . w = (B^T x) . u: the generator is applied to the activations, once
    for all rows of the weight, and what is left of each `glvq.matmul` is a
    product with `#glvq.integer`, the only one that must be fast.

    ```mlir
    %y = glvq.matmul ins(%x : tensor<?x576xf32>) codes(%c : tensor<1536x36xi32>)
                     params(%g, %s : tensor<6x8x8xf16>, tensor<1536xf16>)
                     outs(%zero : tensor<?x1536xf32>) {code = #w2} -> tensor<?x1536xf32>
    ```
    becomes
    ```mlir
    %f = glvq.fold ins(%x : tensor<?x576xf32>) params(%g : tensor<6x8x8xf16>)
                   {code = #w2} -> tensor<?x576xf32>
    %u = glvq.matmul ins(%f : tensor<?x576xf32>) codes(%c : tensor<1536x36xi32>)
                     outs(%zero : tensor<?x1536xf32>) {code = #glvq.integer<bits = 2>} -> tensor<?x1536xf32>
    %y = linalg.generic … ins(%u, %s : …) // u s
    ```

    | code      | folded activations          | integers             | after the product                |
    |-----------|-----------------------------|----------------------|----------------------------------|
    | `lattice` | G^T x per point             | the fields           | y = scales u                     |
    | `binary`  | group_scale B^T x per point | the bits             | y = 2 scales u                   |
    | `trellis` | group_scale x               | k M + L - k bit rows | y = 2 scales (taps filter of u)  |

    With runs of widths there is one product for each. A trellis runs down the
    rows, so its filter runs once over the results (`glvq.filter`).

    Products that read the same activations with the same generator share one
    `glvq.fold` after CSE. A product that is left says why in a missed remark of
    category `glvq`.
  }];
  let statistics = [
    Statistic<"numFolded", "num-folded", "Products whose generator moved to the activations">,
    Statistic<"numMissed", "num-missed", "Products that were left">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::tensor::TensorDialect",
  ];
}

#endif // GLVQ_DIALECT_GLVQ_TRANSFORMS_PASSES_TD

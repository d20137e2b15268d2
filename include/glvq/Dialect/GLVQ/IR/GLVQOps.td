// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The ops of the glvq dialect.

#ifndef GLVQ_DIALECT_GLVQ_IR_GLVQOPS_TD
#define GLVQ_DIALECT_GLVQ_IR_GLVQOPS_TD

include "glvq/Dialect/GLVQ/IR/GLVQAttrs.td"
include "glvq/Dialect/GLVQ/IR/GLVQTypes.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/TilingInterface.td"

class GLVQ_Op<string mnemonic, list<Trait> traits = []>
    : Op<GLVQ_Dialect, mnemonic, traits>;

def GLVQ_FloatTensor : RankedTensorOf<[AnyFloat]>;
def GLVQ_FloatMatrix : TensorRankOf<[AnyFloat], [2]>;
def GLVQ_FloatMatrixOrBuffer : AnyTypeOf<[GLVQ_FloatMatrix, MemRefRankOf<[AnyFloat], [2]>]>;
def GLVQ_Codes : AnyTypeOf<[TensorRankOf<[I32], [1, 2]>, MemRefRankOf<[I32], [1, 2]>]>;
def GLVQ_Part : AnyTypeOf<[AnyRankedTensor, AnyMemRef]>;

def GLVQ_AssembleOp : GLVQ_Op<"assemble", [Pure]> {
  let summary = "An encoded weight from the tensors that store it";
  let description = [{
    The parts are those the code asks for: first the codes, then the parameters.
    Assembling costs nothing; it says how plain tensors are to be read.

    ```mlir
    %w = glvq.assemble %codes, %generators, %scales
      : tensor<1536x36xi32>, tensor<6x8x8xf16>, tensor<1536xf16>
      to !glvq.weight<1536x576xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>
    ```
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$parts);
  let results = (outs GLVQ_WeightType:$weight);
  let assemblyFormat = "$parts attr-dict `:` type($parts) `to` qualified(type($weight))";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def GLVQ_DisassembleOp : GLVQ_Op<"disassemble", [Pure]> {
  let summary = "The tensors that store an encoded weight";
  let description = [{
    The inverse of `glvq.assemble`.

    ```mlir
    %codes, %generators, %scales = glvq.disassemble %w
      : !glvq.weight<1536x576xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>
      to tensor<1536x36xi32>, tensor<6x8x8xf16>, tensor<1536xf16>
    ```
  }];
  let arguments = (ins GLVQ_WeightType:$weight);
  let results = (outs Variadic<AnyRankedTensor>:$parts);
  let assemblyFormat = "$weight attr-dict `:` qualified(type($weight)) `to` type($parts)";
  let builders = [OpBuilder<(ins "::mlir::Value":$weight)>];
  let hasVerifier = 1;
  let hasFolder = 1;
}

def GLVQ_EncodeOp : GLVQ_Op<"encode", [Pure]> {
  let summary = "Quantize a matrix with given parameters";
  let description = [{
    The parameters are all parts but the codes. Lattice codes are found by
    Babai rounding, run of `dim` columns by run:

    u = clamp(round(G^-1 F(w / scale) - 1/2) + 2^(bits-1), 0, 2^bits - 1)

    with ties to even, and F(0) where a scale is zero. Parameters are learned
    and better codes searched for by the quantizers; this op is for formats,
    tests and weights that change at run time.

    ```mlir
    %w = glvq.encode %dense, %generators, %scales
      : tensor<1536x576xf32>, tensor<6x8x8xf16>, tensor<1536xf16>
      to !glvq.weight<1536x576xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>
    ```
  }];
  let arguments = (ins GLVQ_FloatMatrix:$dense, Variadic<AnyRankedTensor>:$params);
  let results = (outs GLVQ_WeightType:$weight);
  let assemblyFormat = [{
    $dense (`,` $params^)? attr-dict `:` type($dense) (`,` type($params)^)? `to` qualified(type($weight))
  }];
  let hasVerifier = 1;
}

def GLVQ_DecodeOp : GLVQ_Op<"decode", [Pure]> {
  let summary = "The matrix an encoded weight stands for";
  let description = [{
    ```mlir
    %d = glvq.decode %w
      : !glvq.weight<1536x576xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>
      to tensor<1536x576xf32>
    ```
  }];
  let arguments = (ins GLVQ_WeightType:$weight);
  let results = (outs GLVQ_FloatMatrix:$result);
  let assemblyFormat = "$weight attr-dict `:` qualified(type($weight)) `to` type($result)";
  let builders = [OpBuilder<(ins "::mlir::Value":$weight)>];
  let hasVerifier = 1;
}

def GLVQ_GatherOp : GLVQ_Op<"gather", [Pure]> {
  let summary = "Some rows of an encoded weight, decoded";
  let description = [{
    result[i] = weight[indices[i]]: how an embedding reads its table. Only the
    rows asked for are decoded. Indices are within the rows of the weight.

    ```mlir
    %rows = glvq.gather %w[%tokens]
      : !glvq.weight<49152x576xf32, #glvq.lattice<dim = 1, bits = 8, group = 576>>
      , tensor<?xi64> to tensor<?x576xf32>
    ```
  }];
  let arguments = (ins GLVQ_WeightType:$weight, 1DTensorOf<[AnySignlessInteger, Index]>:$indices);
  let results = (outs GLVQ_FloatMatrix:$result);
  let assemblyFormat = [{
    $weight `[` $indices `]` attr-dict `:` qualified(type($weight)) `,` type($indices)
    `to` type($result)
  }];
  let builders = [OpBuilder<(ins "::mlir::Value":$weight, "::mlir::Value":$indices)>];
  let extraClassDeclaration = [{
    /// The same as a loop that slices one row after the other from the parts of
    /// the weight and decodes it. Failure, with an error, if the code has no
    /// slices or no reference decoder.
    ::llvm::FailureOr<::mlir::Value> buildReference(::mlir::OpBuilder &builder,
                                                    ::mlir::ValueRange parts,
                                                    ::mlir::Value indices);
  }];
  let hasVerifier = 1;
}

def GLVQ_LinearOp : GLVQ_Op<"linear", [Pure, DestinationStyleOpInterface,
    AllTypesMatch<["init", "result"]>]> {
  let summary = "Multiply by an encoded weight: init + input * transposed weight";
  let description = [{
    y[b, m] = init[b, m] + sum_k input[b, k] weight[m, k]. The weight is decoded
    to f32, and products are summed in the element type of `init`.

    ```mlir
    %y = glvq.linear ins(%x, %w : tensor<?x576xf32>, !glvq.weight<1536x576xf32, #w2>)
                     outs(%zero : tensor<?x1536xf32>) -> tensor<?x1536xf32>
    ```
    is, on storage,
    ```mlir
    %c, %g, %s = glvq.disassemble %w : …
    %y = glvq.matmul ins(%x : tensor<?x576xf32>) codes(%c : tensor<1536x36xi32>)
                     params(%g, %s : tensor<6x8x8xf16>, tensor<1536xf16>)
                     outs(%zero : tensor<?x1536xf32>) {code = #w2} -> tensor<?x1536xf32>
    ```
  }];
  let arguments = (ins GLVQ_FloatMatrix:$input, GLVQ_WeightType:$weight, GLVQ_FloatMatrix:$init);
  let results = (outs GLVQ_FloatMatrix:$result);
  let assemblyFormat = [{
    `ins` `(` $input `,` $weight `:` type($input) `,` qualified(type($weight)) `)`
    `outs` `(` $init `:` type($init) `)` attr-dict `->` type($result)
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getInitMutable(); }
  }];
  let hasVerifier = 1;
}

def GLVQ_MatmulOp : GLVQ_Op<"matmul", [DestinationStyleOpInterface,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
    DeclareOpInterfaceMethods<ConditionallySpeculatable>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
    DeclareOpInterfaceMethods<TilingInterface, [
      "getIterationDomain", "getLoopIteratorTypes", "getTiledImplementation",
      "getResultTilePosition", "generateResultTileValue",
      "getIterationDomainTileFromResultTile"]>]> {
  let summary = "Multiply by a weight given by its storage: init + input * transposed weight";
  let description = [{
    `glvq.linear` with the weight taken apart, on tensors or on buffers. The
    loops are the batch m, the rows n of the weight, and the columns k:

    out[m, n] = init[m, n] + sum_k input[m, k] weight[n, k]

    Tiles take any rows of the batch and of the weight, but whole groups of
    columns; with mixed widths all columns. Tiling by rows slices the codes and
    the scales, and leaves the generators alone:

    ```mlir
    %y = glvq.matmul ins(%x : tensor<?x576xf32>) codes(%c : tensor<1536x36xi32>)
                     params(%g, %s : tensor<6x8x8xf16>, tensor<1536xf16>)
                     outs(%zero : tensor<?x1536xf32>) {code = #w2} -> tensor<?x1536xf32>
    ```
  }];
  let arguments = (ins GLVQ_FloatMatrixOrBuffer:$input, GLVQ_Codes:$codes,
    Variadic<GLVQ_Part>:$params, GLVQ_FloatMatrixOrBuffer:$init,
    GLVQ_WeightCodeAttrInterface:$code);
  let results = (outs Optional<GLVQ_FloatMatrix>:$result);
  let assemblyFormat = [{
    `ins` `(` $input `:` type($input) `)` `codes` `(` $codes `:` type($codes) `)`
    (`params` `(` $params^ `:` type($params) `)`)?
    `outs` `(` $init `:` type($init) `)` attr-dict (`->` type($result)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getInitMutable(); }
    /// All parts of the weight: codes, then parameters.
    ::llvm::SmallVector<::mlir::Value> getStorage();
    /// The weight; its elements are f32, whatever the activations are.
    ::mlir::glvq::WeightType getWeightType();
  }];
  let hasVerifier = 1;
}

def GLVQ_FoldOp : GLVQ_Op<"fold", [Pure,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>]> {
  let summary = "Move the generator of a linear code onto the activations";
  let description = [{
    With w = B u for the integers u of a code, x . w = (B^T x) . u. The result
    holds B^T x for the slots of run number `run` of equal width, in the order
    in which the storage has the integers; zeros stand for its padding.

    | code      | result, for each slot (its columns x of the input)              |
    |-----------|------------------------------------------------------------------|
    | `lattice` | G^T x for each point of `dim` columns                            |
    | `binary`  | group_scale B^T x for each point of `dim` columns                |
    | `trellis` | group_scale x                                                    |

    Columns of a last point beyond those of the weight count as zero.

    ```mlir
    %f = glvq.fold ins(%x : tensor<?x576xf32>) params(%g : tensor<6x8x8xf16>)
           {code = #glvq.lattice<dim = 8, bits = 2, group = 96>} -> tensor<?x576xf32>
    ```
  }];
  let arguments = (ins GLVQ_FloatMatrix:$input, Variadic<AnyRankedTensor>:$params,
    GLVQ_WeightCodeAttrInterface:$code, DefaultValuedAttr<I64Attr, "0">:$run);
  let results = (outs TensorRankOf<[F32], [2]>:$result);
  let assemblyFormat = [{
    `ins` `(` $input `:` type($input) `)` `params` `(` $params `:` type($params) `)`
    attr-dict `->` type($result)
  }];
  let extraClassDeclaration = [{
    /// The run that is folded.
    ::mlir::glvq::FoldedRun getFoldedRun();
  }];
  let hasVerifier = 1;
}

def GLVQ_FilterOp : GLVQ_Op<"filter", [Pure,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>]> {
  let summary = "Combine the rows of bits of a trellis to those of the weight";
  let description = [{
    result[b, t] = sum_i taps[run, i] input[b, stride t + L - 1 - i],  i = 0 … L - 1

    The input is the product of activations with the rows of bits of a trellis
    code, the result that with the rows of its weight (but for scales): the
    filter runs once over the outputs and not over the weights.

    ```mlir
    %y = glvq.filter %u taps(%h : tensor<1x12xf32>) stride 2 : tensor<?x138xf32> to tensor<?x64xf32>
    ```
  }];
  let arguments = (ins TensorRankOf<[F32], [2]>:$input, TensorRankOf<[F32], [2]>:$taps,
    ConfinedAttr<I64Attr, [IntPositive]>:$stride, DefaultValuedAttr<I64Attr, "0">:$run);
  let results = (outs TensorRankOf<[F32], [2]>:$result);
  let assemblyFormat = [{
    $input `taps` `(` $taps `:` type($taps) `)` `stride` $stride attr-dict
    `:` type($input) `to` type($result)
  }];
  let hasVerifier = 1;
}

def GLVQ_InterleaveOp : GLVQ_Op<"interleave", [Pure]> {
  let summary = "Packed integers in the order that CPU kernels read";
  let description = [{
    From the codes of `#glvq.integer<bits>`, for a weight of `columns` columns,
    to those of `#glvq.interleaved<bits>`.

    ```mlir
    %p = glvq.interleave %c columns 576 bits 2 : tensor<1536x36xi32> to tensor<96x576xi32>
    ```
  }];
  let arguments = (ins TensorRankOf<[I32], [2]>:$codes,
    ConfinedAttr<I64Attr, [IntPositive]>:$columns,
    ConfinedAttr<I64Attr, [IntPositive, IntMaxValue<8>]>:$bits);
  let results = (outs TensorRankOf<[I32], [2]>:$result);
  let assemblyFormat = [{
    $codes `columns` $columns `bits` $bits attr-dict `:` type($codes) `to` type($result)
  }];
  let builders = [OpBuilder<(ins "::mlir::Value":$codes, "int64_t":$columns, "int64_t":$bits)>];
  let extraClassDeclaration = [{
    /// The same in linalg and arith.
    ::mlir::Value buildReference(::mlir::OpBuilder &builder);
  }];
  let hasVerifier = 1;
}

def GLVQ_HadamardOp : GLVQ_Op<"hadamard", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Rotate along one dimension by a random orthogonal matrix";
  let description = [{
    Multiplies every vector along `dimension`, of static size n = m 2^k with m
    odd, by T = H D, or with `inverse` by its inverse D H: D is the diagonal of
    the signs (all +1 without `signs`), and H = C_m (x) H_{2^k} is symmetric and
    orthogonal, of the discrete Hartley matrix

    C_m[i, j] = (cos(2 pi i j / m) + sin(2 pi i j / m)) / sqrt(m)

    and the Sylvester-Hadamard matrix H_{2^k}[i, j] = (-1)^popcount(i & j) / sqrt(2^k).
    Element a 2^k + b has index a for C_m, and b for H.

    Bit j mod 32 of word j / 32 of the signs set means that sign j is -1.

    ```mlir
    %y = glvq.hadamard %x signs(%s : tensor<18xi32>) dimension 1 : tensor<?x576xf32>
    %z = glvq.hadamard %y signs(%s : tensor<18xi32>) dimension 1 inverse : tensor<?x576xf32>
    // %z folds to %x
    ```
  }];
  let arguments = (ins GLVQ_FloatTensor:$input, Optional<TensorRankOf<[I32], [1]>>:$signs,
    ConfinedAttr<I64Attr, [IntNonNegative]>:$dimension, UnitAttr:$inverse);
  let results = (outs GLVQ_FloatTensor:$result);
  let assemblyFormat = [{
    $input (`signs` `(` $signs^ `:` type($signs) `)`)? `dimension` $dimension
    (`inverse` $inverse^)? attr-dict `:` type($input)
  }];
  let extraClassDeclaration = [{
    /// Length of the rotated vectors.
    int64_t getSize() { return getInput().getType().getDimSize(getDimension()); }
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
}

#endif // GLVQ_DIALECT_GLVQ_IR_GLVQOPS_TD

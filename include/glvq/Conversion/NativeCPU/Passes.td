// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The passes of the native CPU path.

#ifndef GLVQ_CONVERSION_NATIVECPU_PASSES_TD
#define GLVQ_CONVERSION_NATIVECPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def BindEntryBuffersPass : Pass<"glvq-bind-entry-buffers", "ModuleOp"> {
  let summary = "Give every output of an entry a buffer of the caller, and update states in place";
  let description = [{
    Entries are the public functions whose arguments carry `glvq.name`,
    `glvq.input` or `glvq.state` (docs/ModelModule.md). Their tensors become
    buffers: an output is written into an argument appended for it, the new
    value of a state into the argument that held the old one. What each argument
    is stays on the function as `glvq.entry_arguments`, for the manifest.

    ```mlir
    func.func @decode(%x: tensor<1x8xf32> {glvq.input = "x"},
                      %c: tensor<4xf32> {glvq.state = "cache"})
        -> (tensor<1x8xf32> {glvq.output = "y"}, tensor<4xf32> {glvq.state = "cache"})
    ```
    becomes
    ```mlir
    func.func @decode(%x: memref<1x8xf32> …, %c: memref<4xf32> …, %y: memref<1x8xf32> {glvq.output = "y"})
    ```
    with `bufferization.to_tensor … restrict` at the top (`writable` for states only: weights
    and inputs are never written) and `bufferization.materialize_in_destination` at the end.
    Other public functions stay as they are.
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect",
                           "::mlir::memref::MemRefDialect"];
}

def FuseLinalgPass : Pass<"glvq-fuse-linalg", "func::FuncOp"> {
  let summary = "Fuse elementwise linalg, and move transposes and extensions into contractions";
  let description = [{
    Named ops become generic ones (except fills), elementwise producers are fused into their
    single consumer, results that nobody uses go away, concatenations become insertions,
    integer powers become products. A contraction takes in only what costs its inner loop nothing:
    permutations, broadcasts, and a cast of the element type. Reductions of floats may be reassociated.

    ```mlir
    %t = linalg.transpose ins(%w : tensor<64x32xf32>) … permutation = [1, 0]
    %y = linalg.matmul ins(%x, %t : tensor<?x32xf32>, tensor<32x64xf32>) …
    ```
    becomes one `linalg.generic` whose maps read `%w` by rows, (t, m, k) -> (m, k).
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
                           "::mlir::tensor::TensorDialect"];
}

def ExpandCopiesPass : Pass<"glvq-expand-copies"> {
  let summary = "Turn memref copies into loops that LLVM understands";
  let description = [{
    `memref.copy` of strided buffers calls a function of MLIR's runner library, which native code
    must not need. Every copy becomes a `linalg.generic`; LLVM makes contiguous ones `memcpy` again.
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

def ExpandDynamicShapesPass : Pass<"glvq-expand-dynamic-shapes"> {
  let summary = "Spell out expand_shape where several sizes of a group are dynamic";
  let description = [{
    `memref.expand_shape` may split one dimension into several dynamic ones, since it is given their sizes;
    `expand-strided-metadata` of MLIR 22 derives the single dynamic size of a group from the others and
    does not get along with two. They become `memref.reinterpret_cast` before it:

    ```mlir
    %y = memref.expand_shape %x [[0, 1], [2]] output_shape [%b, %n, 32] : memref<?x32xf32> into memref<?x?x32xf32>
    // becomes, with %s = %n * 32
    %y = memref.reinterpret_cast %base to offset: [0], sizes: [%b, %n, 32], strides: [%s, 32, 1]
    ```
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::memref::MemRefDialect"];
}

def LinalgToVectorKernelsPass : Pass<"glvq-linalg-to-vector-kernels"> {
  let summary = "Lower contractions on buffers to register-blocked vector loops";
  let description = [{
    A contraction `out[b, m, n] += Σ_k lhs[b, m, k] · rhs[b, n, k]` of f32 results becomes loops
    around a kernel that keeps a block of results in registers. Two forms, by what is contiguous:

    * *dot* (k last in both operands: a weight stored by output rows, queries times keys): vectors run
      along k and are summed at the end;
    * *axpy* (n last in the right operand and the result: weights stored by input rows, attention
      probabilities times values): vectors run along n.

    Sizes may be dynamic; what is left over after whole vectors is masked. One row at a time is read
    straight through (decode); several rows are blocked four at a time (prefill). Blocks of n and batches
    are iterations of one `scf.parallel`; a product of fewer than `grain` multiply-adds is a single iteration,
    so that it stays on its thread. Operands of narrower floats are
    extended as they are loaded. What has neither form stays as it is.
  }];
  let options = [
    Option<"vectorWidth", "vector-width", "int64_t", "16",
           "Elements of f32 in one vector register">,
    Option<"grain", "grain", "int64_t", "65536",
           "Multiply-adds from which a product is worth several threads">,
  ];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def ParallelLoopsToCallsPass : Pass<"glvq-parallel-loops-to-calls", "ModuleOp"> {
  let summary = "Run parallel loops on the host's thread pool";
  let description = [{
    The body of each outermost `scf.parallel` becomes a function over a range of iterations, and
    the loop a call of the function that the variable `glvq_parallel_for` points to
    (docs/ArtefactFormat.md); null, or one iteration, runs it in place. Equal bodies become one function.
    Values from outside travel in a structure on the caller's stack.

    ```mlir
    scf.parallel (%i) = (%c0) to (%n) step (%c1) { use %i, %buffer }
    ```
    becomes
    ```mlir
    llvm.store %captured, %context : !llvm.struct<(…)>, !llvm.ptr
    llvm.call @glvq_dispatch(%body, %context, %n) : (!llvm.ptr, !llvm.ptr, i64) -> ()
    ```
    Loops with reductions stay loops.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::scf::SCFDialect"];
}

def EmitEntryPointsPass : Pass<"glvq-emit-entry-points", "ModuleOp"> {
  let summary = "Give entries their C interface";
  let description = [{
    For every function with `glvq.entry_arguments` adds `glvq_entry_<name>(ptr)`, which reads
    one pointer per argument (to a memref descriptor, or to a scalar) and calls the function,
    now private. Runs after bufferization, before the conversion to LLVM.
  }];
  let dependentDialects = ["::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect"];
}

#endif // GLVQ_CONVERSION_NATIVECPU_PASSES_TD

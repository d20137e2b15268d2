// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// Conversions out of the glvq dialect.

#ifndef GLVQ_CONVERSION_PASSES_TD
#define GLVQ_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertGLVQToGPUPass : Pass<"convert-glvq-to-gpu", "::mlir::ModuleOp"> {
  let summary = "Give products and rotations device kernels, and launch them";
  let description = [{
    Every `glvq.matmul` and `glvq.hadamard` becomes launches of kernels in the
    `gpu.module` `@glvq_kernels`; equal ones share a kernel. Kernels take bare
    pointers to row-major arrays, aligned to 16 bytes, and sizes as `i32`.

    A product with a linear code takes two kernels. The first moves the
    generators onto the activations, x' = G^T x for each group; the second
    multiplies x' by the packed fields themselves. Lanes read the codes of a row
    in units of whole words (128-bit loads where rows are aligned so), and x' is
    stored in the order in which they do. With a compander, lanes decode lattice
    points. Where the number of tokens is dynamic, a single token and many have
    kernels of their own.

    ```mlir
    %y = glvq.matmul ins(%x : tensor<?x576xf32>) codes(%c : tensor<1536x36xi32>)
                     params(%g, %s : tensor<6x8x8xf16>, tensor<1536xf16>)
                     outs(%zero : tensor<?x1536xf32>) {code = #w2} -> tensor<?x1536xf32>
    ```
    becomes
    ```mlir
    gpu.launch_func @glvq_kernels::@fold_0 blocks in (%n, %2, %1) threads in (%256, %1, %1)
      args(%px : !llvm.ptr<1>, %pg : !llvm.ptr<1>, %folded : !llvm.ptr<1>)
    scf.if %single {
      gpu.launch_func @glvq_kernels::@matmul_0 … args(%folded : !llvm.ptr<1>,
        %pc : !llvm.ptr<1>, %ps : !llvm.ptr<1>, %py : !llvm.ptr<1>, %tokens : i32, %rows : i32)
    } else {
      …
    }
    %y = bufferization.to_tensor %out restrict writable : memref<?x1536xf32> to tensor<?x1536xf32>
    ```

    A product with `#glvq.integer` rounds the activations to bytes, with a factor
    for each token, and multiplies on tensor cores (`mma.sync.m16n8k32`): the
    sums are exact. With `activations=f16` it rounds them to halves
    (`mma.sync.m16n8k16`), with `f32` it is left alone, as are products of codes
    that have no kernel; `convert-glvq-to-linalg` takes them. How a block shares the work is the product's
    `glvq.kernel_config`, see `glvq-select-kernel-config`.

    Run it on tensors, before bufferization, or on buffers (products only).
  }];
  let options = [
    Option<"activations", "activations", "std::string", "\"int8\"",
      "what products of packed integers round activations to: int8, f16, or f32, which has no kernel">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::gpu::GPUDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
    "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect",
  ];
}

def AddDebugScopesPass : Pass<"glvq-add-debug-scopes", "::mlir::gpu::GPUModuleOp"> {
  let summary = "Let the LLVM IR of kernels say from which line it is";
  let description = [{
    LLVM IR has locations only within functions that have a debug scope. Gives
    one to every `llvm.func` of the module, for line tables; upstream's pass of
    the kind visits builtin modules only.

    ```mlir
    llvm.func @matmul_0(…) { … } loc("model.mlir":7:3)
    ```
    becomes
    ```mlir
    llvm.func @matmul_0(…) { … } loc(fused<#llvm.di_subprogram<…, line = 7, …>>["model.mlir":7:3])
    ```
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def SelectKernelConfigPass : Pass<"glvq-select-kernel-config"> {
  let summary = "Choose how kernels share their work";
  let description = [{
    Writes `glvq.kernel_config` to every product with packed integers, for
    `convert-glvq-to-gpu`; what is there already stays:

    - `tiles`: tiles of 16 rows that a warp multiplies at once, 1 to 4; they
      share the loads of the activations
    - `split`: warps of a block that share the columns of a row: 1, 2, 4 or 8;
      the block has (8 / split) * tiles * 16 rows
    - `unroll`: steps of one trip of the loop, 1 to 8; their loads are in flight
      together

    ```mlir
    %y = glvq.matmul ins(%x : tensor<?x4096xf32>) codes(%c : tensor<4096x256xi32>)
           outs(%zero : tensor<?x4096xf32>) {code = #integer2} -> tensor<?x4096xf32>
    ```
    becomes
    ```mlir
    %y = glvq.matmul … {code = #integer2,
           glvq.kernel_config = {split = 8 : i64, tiles = 2 : i64, unroll = 2 : i64}} …
    ```
  }];
}

def AllocateOnDevicePass : Pass<"glvq-allocate-on-device", "::mlir::ModuleOp"> {
  let summary = "Allocate buffers where kernels can see them";
  let description = [{
    In a module with kernels, `memref.alloc` becomes `gpu.alloc`, and
    `memref.dealloc` `gpu.dealloc`. A buffer that only kernels touch lies in the
    memory of the device; one that host code touches as well, or returns, is
    `host_shared`.

    ```mlir
    %folded = memref.alloc(%n) : memref<?x576xf32>
    ```
    becomes
    ```mlir
    %0 = gpu.wait async
    %folded, %1 = gpu.alloc async [%0] (%n) : memref<?x576xf32>
    gpu.wait [%1]
    ```

    Run it after the deallocation of buffers, which knows only the ops of memref.
  }];
  let dependentDialects = ["::mlir::gpu::GPUDialect"];
}

def AttachNVVMTargetPass : Pass<"glvq-attach-nvvm-target", "::mlir::ModuleOp"> {
  let summary = "Say for which GPU the kernels of the module are compiled";
  let description = [{
    Gives every `gpu.module` without a target an `#nvvm.target`, and makes sure
    that the rest of the compilation can succeed: the chip and the format are
    known, and formats that need `ptxas` find it.

    ```mlir
    gpu.module @glvq_kernels { … }
    ```
    becomes
    ```mlir
    gpu.module @glvq_kernels [#nvvm.target<O = 3, chip = "sm_90">] { … }
    ```
  }];
  let options = [
    Option<"chip", "chip", "std::string", "\"sm_80\"",
      "GPU to compile for: sm_80, sm_89, sm_90, sm_100 or sm_120">,
    Option<"format", "format", "std::string", "\"fatbin\"",
      "what the binary will hold: llvm, isa, bin or fatbin">,
  ];
  let dependentDialects = ["::mlir::gpu::GPUDialect", "::mlir::NVVM::NVVMDialect"];
}

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

def ConvertGLVQToVectorPass : Pass<"convert-glvq-to-vector", "::mlir::ModuleOp"> {
  let summary = "Replace glvq ops by calls of kernels for CPUs";
  let description = [{
    Products `glvq.matmul` on buffers, and `glvq.hadamard`, `glvq.fold` and
    `glvq.filter` on tensors, become calls of private functions that this pass
    writes: one for all ops of the same shape and code. Products on tensors are
    left alone; so a pipeline runs the pass before bufferization for the other
    ops and after it for the products. A product on tensors whose code has no
    kernel takes its reference lowering, and a missed remark says so.

    ```mlir
    glvq.matmul ins(%x : memref<?x576xf32>) codes(%c : memref<1536x36xi32>)
                params(%g, %s : memref<6x8x8xf16>, memref<1536xf16>)
                outs(%y : memref<?x1536xf32>) {code = #w2}
    ```
    becomes
    ```mlir
    call @glvq_matmul_1536x576(%x, %c, %g, %s, %y) : (…) -> ()

    func.func private @glvq_matmul_1536x576(…) {
      scf.parallel (%token) = …      // Gᵀ x: a linear code's generators go to the activations
      scf.parallel (%block) = … {    // of eight rows
        %0:8 = scf.for %slot = … {   // the fields of a vector at a time, in their place
          %word = memref.load %codes[…]
          %all = vector.broadcast %word : i32 to vector<16xi32>
          %fields = arith.andi %all, %mask
          %u = arith.uitofp %fields : vector<16xi32> to vector<16xf32>
          %sum = vector.fma %u, %x, %acc
    ```
    Weights with a compander are decoded point by point in registers, those of an
    additive trellis column by column down the rows. Weights
    that meet three tokens or more are decoded eight (four) rows at a time into
    scratch memory and multiplied as dense ones.

    Products with `#glvq.interleaved` (glvq-pack-codes) multiply the integers as
    they are by activations rounded to eight bits, with the dot product of bytes
    that the target has:

    ```mlir
    %u = arith.andi %word, %mask : vector<16xi32>
    %x = vector.broadcast %four : i32 to vector<16xi32>
    %sum = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%acc, %bytes, %xbytes) : …
    ```

    Independent iterations are `scf.parallel` loops. Results do not depend on
    how these are split.
  }];
  let options = [
    Option<"vectorLength", "vector-length", "int64_t", "16",
           "Lanes of f32 in a vector: 16 (AVX-512) or 8 (anything else)">,
    Option<"activations", "activations", "std::string", "\"int8\"",
           "What products with interleaved integers read: int8 (rounded, with a "
           "factor for each token) or f32">,
    Option<"dot", "dot", "std::string", "\"generic\"",
           "How bytes are multiplied: vnni512, vnni256, avx2 or generic (any target)">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::func::FuncDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect", "::mlir::vector::VectorDialect",
  ];
}

def PackCodesPass : Pass<"glvq-pack-codes", "::mlir::ModuleOp"> {
  let summary = "Bring packed integers into the order that CPU kernels read";
  let description = [{
    Products with `#glvq.integer` become products with `#glvq.interleaved`, whose
    codes have sixteen rows side by side. The change of order, `glvq.interleave`,
    moves up through calls to the entry points. There it becomes an argument
    that the writer of the artefact's weights makes from the checkpoint's tensor;
    nothing is left to do at run time. `glvq.packed` says how, in words:
    from `offset` on, `rows` rows of `words`, `stride` apart.

    ```mlir
    func.func @decode(%x: tensor<1x576xf32> {glvq.input = "x"},
                      %c: tensor<1536x36xi32> {glvq.name = "up.codes"}, …) {
      %y = glvq.matmul ins(%x : …) codes(%c : tensor<1536x36xi32>) outs(…) {code = #integer2}
    ```
    becomes
    ```mlir
    func.func @decode(%x: tensor<1x576xf32> {glvq.input = "x"}, …,
                      %c: tensor<96x576xi32> {glvq.name = "up.codes.interleaved", glvq.packed = {
                        source = "up.codes", offset = 0, stride = 36, rows = 1536, words = 36,
                        columns = 576, bits = 2}}) {
      %y = glvq.matmul ins(%x : …) codes(%c : tensor<96x576xi32>) outs(…) {code = #interleaved2}
    ```

    Rows of eight bits that an embedding reads from a tied weight are taken from
    the interleaved one. Codes that come from elsewhere are interleaved when the
    module runs.
  }];
  let statistics = [
    Statistic<"numPacked", "num-packed", "Products whose codes are interleaved">,
    Statistic<"numArguments", "num-arguments", "Entry arguments that are stored interleaved">,
  ];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::glvq::GLVQDialect",
    "::mlir::tensor::TensorDialect",
  ];
}

#endif // GLVQ_CONVERSION_PASSES_TD

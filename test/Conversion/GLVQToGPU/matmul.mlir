// RUN: %glvq-opt %s --convert-glvq-to-gpu --split-input-file | FileCheck %s

// A linear code: the generators go to the activations, then a kernel for a
// single token or for several multiplies packed fields. Nothing is read for the
// accumulator, which is zero. Equal products share their kernels.
#w2 = #glvq.lattice<dim = 8, bits = 2, group = 96>
// CHECK: gpu.module @glvq_kernels
// CHECK-COUNT-3: gpu.func @
// CHECK-NOT: gpu.func @
// CHECK-LABEL: func.func @twice
// CHECK: gpu.launch_func @glvq_kernels::@fold_0
// CHECK: scf.if
// CHECK:   gpu.launch_func @glvq_kernels::@matmul_0 {{.*}} args(%{{.*}} : !llvm.ptr<1>, %{{.*}} : !llvm.ptr<1>, %{{.*}} : !llvm.ptr<1>, %{{.*}} : !llvm.ptr<1>, %{{.*}} : i32, %{{.*}} : i32)
// CHECK: } else {
// CHECK:   gpu.launch_func @glvq_kernels::@matmul_1
// CHECK: bufferization.to_tensor %{{.*}} restrict writable
// CHECK: gpu.launch_func @glvq_kernels::@fold_0
func.func @twice(%x: tensor<?x192xf32>, %c: tensor<64x12xi32>, %g: tensor<2x8x8xf16>,
                 %s: tensor<64xf16>, %out: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %zero = arith.constant 0.0 : f32
  %acc = linalg.fill ins(%zero : f32) outs(%out : tensor<?x64xf32>) -> tensor<?x64xf32>
  %y = glvq.matmul ins(%x : tensor<?x192xf32>) codes(%c : tensor<64x12xi32>)
    params(%g, %s : tensor<2x8x8xf16>, tensor<64xf16>) outs(%acc : tensor<?x64xf32>) {code = #w2} -> tensor<?x64xf32>
  %z = glvq.matmul ins(%x : tensor<?x192xf32>) codes(%c : tensor<64x12xi32>)
    params(%g, %s : tensor<2x8x8xf16>, tensor<64xf16>) outs(%acc : tensor<?x64xf32>) {code = #w2} -> tensor<?x64xf32>
  return %y, %z : tensor<?x64xf32>, tensor<?x64xf32>
}

// -----

// On buffers the product is added to what the output holds.
#w4 = #glvq.lattice<dim = 8, bits = 4, group = 32, compander = affine>
// CHECK-LABEL: func.func @buffers
// CHECK-NOT: memref.alloc
// CHECK: gpu.launch_func @glvq_kernels::@decode_matmul_0
// CHECK-NOT: glvq.matmul
func.func @buffers(%x: memref<1x32xf32>, %c: memref<8x4xi32>, %g: memref<1x8x8xf16>,
                   %s: memref<8xf16>, %p: memref<1x2xf32>, %y: memref<1x8xf32>) {
  glvq.matmul ins(%x : memref<1x32xf32>) codes(%c : memref<8x4xi32>)
    params(%g, %s, %p : memref<1x8x8xf16>, memref<8xf16>, memref<1x2xf32>) outs(%y : memref<1x8xf32>) {code = #w4}
  return
}

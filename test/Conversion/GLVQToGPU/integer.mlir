// RUN: %glvq-opt %s --convert-glvq-to-gpu | FileCheck %s
// RUN: %glvq-opt %s --convert-glvq-to-gpu --canonicalize --cse | FileCheck %s --check-prefix=LOOP

// CHECK-LABEL: func @product(
// CHECK-SAME:      %[[X:.*]]: tensor<?x4096xf32>, %[[C:.*]]: tensor<64x256xi32>
// CHECK-DAG:     bufferization.to_buffer %[[X]]
// CHECK-DAG:     bufferization.to_buffer %[[C]]
// CHECK-DAG:     %[[Y:.*]] = memref.alloc(%{{.*}}) {alignment = 64 : i64} : memref<?x64xf32>
// CHECK-DAG:     memref.alloc(%{{.*}}) {alignment = 64 : i64} : memref<?x4096xi8>
// An empty batch launches nothing.
// CHECK:         arith.cmpi ne
// CHECK:         scf.if
// CHECK:           gpu.launch_func @glvq_kernels::@quantize_0
// CHECK:           gpu.launch_func @glvq_kernels::@integer_matmul_0
// CHECK:         bufferization.to_tensor %[[Y]]

// A step: the four fields of each of four words, of two tiles; 128-bit loads.
// LOOP-LABEL: gpu.func @integer_matmul_0(
// LOOP:         scf.for
// LOOP-COUNT-4:   llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xi32>
// LOOP-COUNT-32:  nvvm.mma.sync {{.*}}m = 16, n = 8, k = 32
// LOOP-NOT:       nvvm.mma.sync
// LOOP:           scf.yield
func.func @product(%x: tensor<?x4096xf32>, %c: tensor<64x256xi32>, %y: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %0 = glvq.matmul ins(%x : tensor<?x4096xf32>) codes(%c : tensor<64x256xi32>)
         outs(%y : tensor<?x64xf32>) {code = #glvq.integer<bits = 2>} -> tensor<?x64xf32>
  return %0 : tensor<?x64xf32>
}

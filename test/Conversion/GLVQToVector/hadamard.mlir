// RUN: %glvq-opt %s --convert-glvq-to-vector | FileCheck %s

// 576 = 9 * 64: four vectors at a time go through all six stages of H_64 in registers; the other
// factor is a product with a constant 9 x 9 matrix. The result gets a buffer of its own.

// CHECK: memref.global "private" constant @[[$C9:.*]] : memref<9x9xf32>
// CHECK-LABEL: func.func @rotate(
// CHECK-SAME: %[[X:.*]]: tensor<?x576xf32>, %[[S:.*]]: tensor<18xi32>
// CHECK-DAG: %[[XB:.*]] = bufferization.to_buffer %[[X]] read_only
// CHECK-DAG: %[[SB:.*]] = bufferization.to_buffer %[[S]] read_only
// CHECK: %[[R:.*]] = memref.alloc(
// CHECK: call @[[K:glvq_hadamard_576]](%[[XB]], %[[SB]], %[[R]])
// CHECK: bufferization.to_tensor %[[R]] restrict writable
// CHECK: call @[[INVERSE:glvq_hadamard_576_0]](
// CHECK: func.func private @[[K]](
// CHECK: memref.get_global @[[$C9]]
// CHECK: scf.parallel
// The signs come first.
// CHECK: arith.xori
// CHECK: vector.shuffle
// CHECK-NOT: arith.xori
// CHECK: func.func private @[[INVERSE]](
// CHECK: vector.shuffle
// CHECK: arith.xori
func.func @rotate(%x: tensor<?x576xf32>, %s: tensor<18xi32>, %t: tensor<?x576xf32>)
    -> (tensor<?x576xf32>, tensor<?x576xf32>) {
  %y = glvq.hadamard %x signs(%s : tensor<18xi32>) dimension 1 : tensor<?x576xf32>
  %z = glvq.hadamard %t signs(%s : tensor<18xi32>) dimension 1 inverse : tensor<?x576xf32>
  return %y, %z : tensor<?x576xf32>, tensor<?x576xf32>
}

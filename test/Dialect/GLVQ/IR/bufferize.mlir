// A product bufferizes in place: no copy, no allocation, the init is the result.
// RUN: %glvq-opt %s --split-input-file \
// RUN:   --one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" \
// RUN:   | FileCheck %s

// CHECK-LABEL: func @in_place
// CHECK-SAME: %[[X:.*]]: memref<?x96xf32>, %[[C:.*]]: memref<4x6xi32>, %[[G:.*]]: memref<1x8x8xf16>, %[[S:.*]]: memref<4xf16>, %[[Y:.*]]: memref<?x4xf32>
// CHECK-NOT: memref.alloc
// CHECK-NOT: memref.copy
// CHECK: glvq.matmul ins(%[[X]] : memref<?x96xf32>) codes(%[[C]] : memref<4x6xi32>) params(%[[G]], %[[S]] : memref<1x8x8xf16>, memref<4xf16>) outs(%[[Y]] : memref<?x4xf32>) {code = #{{.*}}, note}
// CHECK: return %[[Y]]
func.func @in_place(%x: tensor<?x96xf32>, %c: tensor<4x6xi32>, %g: tensor<1x8x8xf16>, %s: tensor<4xf16>,
                    %y: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = glvq.matmul ins(%x : tensor<?x96xf32>) codes(%c : tensor<4x6xi32>)
    params(%g, %s : tensor<1x8x8xf16>, tensor<4xf16>) outs(%y : tensor<?x4xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 96>, note} -> tensor<?x4xf32>
  return %r : tensor<?x4xf32>
}

// -----

// The init is needed afterwards, so the product goes into a copy of it.
// CHECK-LABEL: func @copied
// CHECK: %[[A:.*]] = memref.alloc
// CHECK: memref.copy %{{.*}}, %[[A]]
// CHECK: glvq.matmul {{.*}} outs(%[[A]] : memref<2x4xf32>)
func.func @copied(%x: tensor<2x96xf32>, %c: tensor<4x6xi32>, %g: tensor<1x8x8xf16>, %s: tensor<4xf16>,
                  %y: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
  %r = glvq.matmul ins(%x : tensor<2x96xf32>) codes(%c : tensor<4x6xi32>)
    params(%g, %s : tensor<1x8x8xf16>, tensor<4xf16>) outs(%y : tensor<2x4xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 96>} -> tensor<2x4xf32>
  return %r, %y : tensor<2x4xf32>, tensor<2x4xf32>
}

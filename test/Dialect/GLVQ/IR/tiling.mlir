// Tiles of a product: rows of the batch and of the weight freely, columns in whole
// groups; codes and scales are sliced by rows, generators by groups.
// RUN: %glvq-opt %s --split-input-file --transform-interpreter --canonicalize --cse --verify-diagnostics | FileCheck %s

#w3 = #glvq.lattice<dim = 8, bits = 3, group = 40>

// CHECK-DAG: #[[$GROUP:.*]] = affine_map<(d0) -> (d0 floordiv 40)>
// CHECK-DAG: #[[$WORD:.*]] = affine_map<(d0) -> ((d0 floordiv 40) * 4)>
// CHECK-LABEL: func @groups
// CHECK-SAME: %[[X:.*]]: tensor<?x200xf32>, %[[C:.*]]: tensor<32x20xi32>, %[[G:.*]]: tensor<5x8x8xf16>, %[[S:.*]]: tensor<32xf16>
// CHECK: scf.for %[[N:.*]] = %c0 to %c32 step %c16
// CHECK: scf.for %[[K:.*]] = %c0 to %c200 step %c40
// CHECK-DAG: %[[FIRST:.*]] = affine.apply #[[$GROUP]](%[[K]])
// CHECK-DAG: %[[WORDS:.*]] = affine.apply #[[$WORD]](%[[K]])
// CHECK-DAG: %[[TC:.*]] = tensor.extract_slice %[[C]][%[[N]], %[[WORDS]]] [16, 4] [1, 1]
// CHECK-DAG: %[[TG:.*]] = tensor.extract_slice %[[G]][%[[FIRST]], 0, 0] [1, 8, 8] [1, 1, 1]
// CHECK-DAG: %[[TS:.*]] = tensor.extract_slice %[[S]][%[[N]]] [16] [1]
// CHECK-DAG: %[[TX:.*]] = tensor.extract_slice %[[X]][0, %[[K]]] [%{{.*}}, 40] [1, 1]
// CHECK: glvq.matmul ins(%[[TX]] : tensor<?x40xf32>) codes(%[[TC]] : tensor<16x4xi32>) params(%[[TG]], %[[TS]] : tensor<1x8x8xf16>, tensor<16xf16>)
func.func @groups(%x: tensor<?x200xf32>, %c: tensor<32x20xi32>, %g: tensor<5x8x8xf16>, %s: tensor<32xf16>,
                  %y: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %r = glvq.matmul ins(%x : tensor<?x200xf32>) codes(%c : tensor<32x20xi32>)
    params(%g, %s : tensor<5x8x8xf16>, tensor<32xf16>) outs(%y : tensor<?x32xf32>) {code = #w3} -> tensor<?x32xf32>
  return %r : tensor<?x32xf32>
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%m: !transform.any_op {transform.readonly}) {
    %0 = transform.structured.match ops{["glvq.matmul"]} in %m : (!transform.any_op) -> !transform.any_op
    %t, %l:2 = transform.structured.tile_using_for %0 tile_sizes [0, 16, 40]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// On buffers, with rows that leave a rest, and mixed widths: all parts of a row
// stay together.
// CHECK-LABEL: func @buffers
// CHECK-SAME: memref<2x96xf32>, %[[C:.*]]: memref<10x8xi32>
// CHECK: scf.for %[[N:.*]] = %c0 to %c10 step %c4
// CHECK: %[[ROWS:.*]] = affine.min
// CHECK: memref.subview %[[C]][%[[N]], 0] [%[[ROWS]], 8] [1, 1]
// CHECK: glvq.matmul {{.*}} codes(%{{.*}} : memref<?x8xi32, strided<[8, 1], offset: ?>>)
// CHECK-NOT: ->
// CHECK: return
func.func @buffers(%x: memref<2x96xf32>, %c: memref<10x8xi32>, %g: memref<3x8x8xf16>, %s: memref<10xf16>,
                   %o: memref<3xi32>, %y: memref<2x10xf32>) {
  glvq.matmul ins(%x : memref<2x96xf32>) codes(%c : memref<10x8xi32>)
    params(%g, %s, %o : memref<3x8x8xf16>, memref<10xf16>, memref<3xi32>) outs(%y : memref<2x10xf32>)
    {code = #glvq.lattice<dim = 8, bits = [2 : 1, 3 : 2], group = 32>}
  return
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%m: !transform.any_op {transform.readonly}) {
    %0 = transform.structured.match ops{["glvq.matmul"]} in %m : (!transform.any_op) -> !transform.any_op
    %t, %l = transform.structured.tile_using_for %0 tile_sizes [0, 4, 0]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// A tile that cuts groups is refused.
func.func @cut(%x: tensor<2x200xf32>, %c: tensor<32x20xi32>, %g: tensor<5x8x8xf16>, %s: tensor<32xf16>,
               %y: tensor<2x32xf32>) -> tensor<2x32xf32> {
  // expected-error @+4 {{a tile must hold whole groups of columns of the weight, or with mixed widths all columns}}
  // The transform op has its say, too.
  // expected-error @+2 {{to tile operation}}
  // expected-error @+1 {{failed to generate tiling loops}}
  %r = glvq.matmul ins(%x : tensor<2x200xf32>) codes(%c : tensor<32x20xi32>)
    params(%g, %s : tensor<5x8x8xf16>, tensor<32xf16>) outs(%y : tensor<2x32xf32>)
    {code = #glvq.lattice<dim = 8, bits = 3, group = 40>} -> tensor<2x32xf32>
  return %r : tensor<2x32xf32>
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%m: !transform.any_op {transform.readonly}) {
    %0 = transform.structured.match ops{["glvq.matmul"]} in %m : (!transform.any_op) -> !transform.any_op
    %t, %l = transform.structured.tile_using_for %0 tile_sizes [0, 0, 20]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// A tile of the consumer pulls in the tile of the product it reads.
// CHECK-LABEL: func @fused
// CHECK-SAME: tensor<2x96xf32>, %[[C:.*]]: tensor<8x6xi32>
// CHECK: scf.forall (%[[I:.*]]) in (2)
// CHECK: %[[N:.*]] = affine.apply #{{.*}}(%[[I]])
// CHECK: tensor.extract_slice %[[C]][%[[N]], 0] [4, 6] [1, 1]
// CHECK: %[[T:.*]] = glvq.matmul {{.*}} codes(%{{.*}} : tensor<4x6xi32>) {{.*}} -> tensor<2x4xf32>
// CHECK: linalg.exp ins(%[[T]] : tensor<2x4xf32>)
func.func @fused(%x: tensor<2x96xf32>, %c: tensor<8x6xi32>, %g: tensor<1x8x8xf16>, %s: tensor<8xf16>,
                 %y: tensor<2x8xf32>, %z: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %p = glvq.matmul ins(%x : tensor<2x96xf32>) codes(%c : tensor<8x6xi32>)
    params(%g, %s : tensor<1x8x8xf16>, tensor<8xf16>) outs(%y : tensor<2x8xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 96>} -> tensor<2x8xf32>
  %r = linalg.exp ins(%p : tensor<2x8xf32>) outs(%z : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %r : tensor<2x8xf32>
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%m: !transform.any_op {transform.readonly}) {
    %p = transform.structured.match ops{["glvq.matmul"]} in %m : (!transform.any_op) -> !transform.any_op
    %e = transform.structured.match ops{["linalg.exp"]} in %m : (!transform.any_op) -> !transform.any_op
    %t, %l = transform.structured.tile_using_forall %e tile_sizes [0, 4]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    %f, %n = transform.structured.fuse_into_containing_op %p into %l
      : (!transform.any_op, !transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

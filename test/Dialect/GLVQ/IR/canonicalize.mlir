// Assembling and taking apart cancel each other, and so do a rotation and its
// inverse; nearly matching pairs stay.
// RUN: %glvq-opt %s --canonicalize | FileCheck %s

!weight = !glvq.weight<4x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>

// CHECK-LABEL: func @disassemble_of_assemble
// CHECK-SAME: %[[C:.*]]: tensor<4x6xi32>, %[[G:.*]]: tensor<1x8x8xf16>, %[[S:.*]]: tensor<4xf16>
// CHECK-NEXT: return %[[C]], %[[G]], %[[S]]
func.func @disassemble_of_assemble(%c: tensor<4x6xi32>, %g: tensor<1x8x8xf16>, %s: tensor<4xf16>)
    -> (tensor<4x6xi32>, tensor<1x8x8xf16>, tensor<4xf16>) {
  %w = glvq.assemble %c, %g, %s : tensor<4x6xi32>, tensor<1x8x8xf16>, tensor<4xf16> to !weight
  %0:3 = glvq.disassemble %w : !weight to tensor<4x6xi32>, tensor<1x8x8xf16>, tensor<4xf16>
  return %0#0, %0#1, %0#2 : tensor<4x6xi32>, tensor<1x8x8xf16>, tensor<4xf16>
}

// CHECK-LABEL: func @assemble_of_disassemble
// CHECK-SAME: %[[W:.*]]: !glvq.weight
// CHECK-NEXT: return %[[W]]
func.func @assemble_of_disassemble(%w: !weight) -> !weight {
  %0:3 = glvq.disassemble %w : !weight to tensor<4x6xi32>, tensor<1x8x8xf16>, tensor<4xf16>
  %r = glvq.assemble %0#0, %0#1, %0#2 : tensor<4x6xi32>, tensor<1x8x8xf16>, tensor<4xf16> to !weight
  return %r : !weight
}

// Parts of two weights are no weight of old.
// CHECK-LABEL: func @assemble_of_two
// CHECK: glvq.assemble
func.func @assemble_of_two(%v: !weight, %w: !weight) -> !weight {
  %0:3 = glvq.disassemble %v : !weight to tensor<4x6xi32>, tensor<1x8x8xf16>, tensor<4xf16>
  %1:3 = glvq.disassemble %w : !weight to tensor<4x6xi32>, tensor<1x8x8xf16>, tensor<4xf16>
  %r = glvq.assemble %0#0, %0#1, %1#2 : tensor<4x6xi32>, tensor<1x8x8xf16>, tensor<4xf16> to !weight
  return %r : !weight
}

// CHECK-LABEL: func @rotation_and_back
// CHECK-SAME: %[[X:.*]]: tensor<?x96xf32>
// CHECK-NEXT: return %[[X]], %[[X]]
func.func @rotation_and_back(%x: tensor<?x96xf32>, %s: tensor<3xi32>) -> (tensor<?x96xf32>, tensor<?x96xf32>) {
  %0 = glvq.hadamard %x signs(%s : tensor<3xi32>) dimension 1 : tensor<?x96xf32>
  %1 = glvq.hadamard %0 signs(%s : tensor<3xi32>) dimension 1 inverse : tensor<?x96xf32>
  %2 = glvq.hadamard %x signs(%s : tensor<3xi32>) dimension 1 inverse : tensor<?x96xf32>
  %3 = glvq.hadamard %2 signs(%s : tensor<3xi32>) dimension 1 : tensor<?x96xf32>
  return %1, %3 : tensor<?x96xf32>, tensor<?x96xf32>
}

// Other signs, another dimension, or the same direction twice.
// CHECK-LABEL: func @no_rotation_back
// CHECK-COUNT-4: glvq.hadamard
func.func @no_rotation_back(%x: tensor<96x96xf32>, %s: tensor<3xi32>, %t: tensor<3xi32>)
    -> (tensor<96x96xf32>, tensor<96x96xf32>, tensor<96x96xf32>) {
  %0 = glvq.hadamard %x signs(%s : tensor<3xi32>) dimension 1 : tensor<96x96xf32>
  %1 = glvq.hadamard %0 signs(%t : tensor<3xi32>) dimension 1 inverse : tensor<96x96xf32>
  %2 = glvq.hadamard %0 signs(%s : tensor<3xi32>) dimension 0 inverse : tensor<96x96xf32>
  %3 = glvq.hadamard %0 signs(%s : tensor<3xi32>) dimension 1 : tensor<96x96xf32>
  return %1, %2, %3 : tensor<96x96xf32>, tensor<96x96xf32>, tensor<96x96xf32>
}

// Unused ops on tensors go away; a product into a buffer has an effect and stays.
// CHECK-LABEL: func @effects
// CHECK-NOT: tensor<2x4xf32>
// CHECK: glvq.matmul {{.*}} outs(%{{.*}} : memref<2x4xf32>)
func.func @effects(%w: !weight, %x: memref<2x96xf32>, %c: memref<4x6xi32>, %g: memref<1x8x8xf16>,
                   %s: memref<4xf16>, %y: memref<2x4xf32>) {
  %d = glvq.decode %w : !weight to tensor<4x96xf32>
  glvq.matmul ins(%x : memref<2x96xf32>) codes(%c : memref<4x6xi32>)
    params(%g, %s : memref<1x8x8xf16>, memref<4xf16>) outs(%y : memref<2x4xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 96>}
  return
}

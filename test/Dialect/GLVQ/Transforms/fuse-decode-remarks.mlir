// RUN: %glvq-opt %s --glvq-fuse-decode --remarks-filter=glvq -o %t 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: FileCheck %s < %t

// What is fused is said, and so is why the rest is not. What is not fused stays
// as it was: correct, with a weight that is decoded in full.

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>
!square = !glvq.weight<64x64xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// REMARK: [[@LINE+4]]:{{.*}} [Passed] FuseDecode {{.*}}"decode fused into glvq.linear"
// CHECK-LABEL: func @fused(
func.func @fused(%x: tensor<64xf32>, %w: !square, %acc: tensor<64xf32>) -> tensor<64xf32> {
  %d = glvq.decode %w : !square to tensor<64x64xf32>
  %y = linalg.matvec ins(%d, %x : tensor<64x64xf32>, tensor<64xf32>) outs(%acc : tensor<64xf32>) -> tensor<64xf32>
  return %y : tensor<64xf32>
}

// x W instead of x Wᵀ.
// CHECK-LABEL: func @rows(
// CHECK: glvq.decode
// CHECK: linalg.matmul
// REMARK: [[@LINE+3]]:{{.*}} [Missed] FuseDecode {{.*}}"weight is decoded in full: the product sums over the rows of the weight"
func.func @rows(%x: tensor<4x64xf32>, %w: !w, %acc: tensor<4x96xf32>) -> tensor<4x96xf32> {
  %d = glvq.decode %w : !w to tensor<64x96xf32>
  %y = linalg.matmul ins(%x, %d : tensor<4x64xf32>, tensor<64x96xf32>) outs(%acc : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %y : tensor<4x96xf32>
}

// CHECK-LABEL: func @types(
// CHECK: glvq.decode
// CHECK: linalg.matvec
// REMARK: [[@LINE+3]]:{{.*}} [Missed] FuseDecode {{.*}}"weight is decoded in full: element types of input, weight and result differ"
func.func @types(%x: tensor<96xf16>, %w: !w, %acc: tensor<64xf32>) -> tensor<64xf32> {
  %d = glvq.decode %w : !w to tensor<64x96xf32>
  %y = linalg.matvec ins(%d, %x : tensor<64x96xf32>, tensor<96xf16>) outs(%acc : tensor<64xf32>) -> tensor<64xf32>
  return %y : tensor<64xf32>
}

// A batch that only the result has.
#x = affine_map<(b, m, k) -> (k)>
#w = affine_map<(b, m, k) -> (m, k)>
#y = affine_map<(b, m, k) -> (b, m)>
// CHECK-LABEL: func @layout(
// CHECK: glvq.decode
// REMARK: [[@LINE+3]]:{{.*}} [Missed] FuseDecode {{.*}}"weight is decoded in full: input and result are not [.., columns] and [.., rows] over the same batch"
func.func @layout(%x: tensor<96xf32>, %w: !w, %acc: tensor<2x64xf32>) -> tensor<2x64xf32> {
  %d = glvq.decode %w : !w to tensor<64x96xf32>
  %y = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %d : tensor<96xf32>, tensor<64x96xf32>) outs(%acc : tensor<2x64xf32>) {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %0 = arith.mulf %a, %b : f32
      %1 = arith.addf %c, %0 : f32
      linalg.yield %1 : f32
  } -> tensor<2x64xf32>
  return %y : tensor<2x64xf32>
}

// A look-up in a rotated table.
// CHECK-LABEL: func @embedding(
// CHECK: glvq.decode
// CHECK: tensor.extract
// REMARK: [[@LINE+4]]:{{.*}} [Missed] FuseDecode {{.*}}"weight is decoded in full: 'tensor.extract' is no product with it"
func.func @embedding(%w: !w, %s: tensor<3xi32>, %i: index) -> f32 {
  %d = glvq.decode %w : !w to tensor<64x96xf32>
  %h = glvq.hadamard %d signs(%s : tensor<3xi32>) dimension 1 inverse : tensor<64x96xf32>
  %y = tensor.extract %h[%i, %i] : tensor<64x96xf32>
  return %y : f32
}

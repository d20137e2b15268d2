// RUN: %glvq-opt %s --glvq-fuse-linalg --split-input-file | FileCheck %s

// A transposed, extended weight is read as it is stored, inside the product.
// CHECK-DAG: #[[$X:.*]] = affine_map<(d0, d1, d2) -> (d0, d2)>
// CHECK-DAG: #[[$W:.*]] = affine_map<(d0, d1, d2) -> (d1, d2)>
// CHECK-LABEL: func.func @linear(
// CHECK-SAME:    %[[WEIGHT:.*]]: tensor<64x32xf16>, %[[IN:.*]]: tensor<?x32xf32>
// CHECK-NOT:   linalg.transpose
// CHECK:       linalg.generic {indexing_maps = [#[[$X]], #[[$W]]
// CHECK-SAME:    ins(%[[IN]], %[[WEIGHT]] : tensor<?x32xf32>, tensor<64x32xf16>)
// CHECK:         arith.extf
// CHECK:         arith.mulf
// CHECK:         arith.addf {{.*}} fastmath<reassoc,contract>
// CHECK-NOT:   linalg.generic
func.func @linear(%w: tensor<64x32xf16>, %x: tensor<?x32xf32>, %acc: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %e0 = tensor.empty() : tensor<64x32xf32>
  %wide = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} ins(%w : tensor<64x32xf16>) outs(%e0 : tensor<64x32xf32>) {
  ^bb0(%a: f16, %b: f32):
    %e = arith.extf %a : f16 to f32
    linalg.yield %e : f32
  } -> tensor<64x32xf32>
  %t0 = tensor.empty() : tensor<32x64xf32>
  %t = linalg.transpose ins(%wide : tensor<64x32xf32>) outs(%t0 : tensor<32x64xf32>) permutation = [1, 0]
  %y = linalg.matmul ins(%x, %t : tensor<?x32xf32>, tensor<32x64xf32>) outs(%acc : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// Arithmetic on an operand is done once, not for every row of the product.
// CHECK-LABEL: func.func @scaled
// CHECK:       linalg.generic
// CHECK:         math.exp
// CHECK:       linalg.generic
// CHECK-NOT:     math.exp
// CHECK:         arith.mulf
func.func @scaled(%w: tensor<32x64xf32>, %x: tensor<4x32xf32>, %acc: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %e = tensor.empty() : tensor<4x32xf32>
  %s = linalg.exp ins(%x : tensor<4x32xf32>) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %y = linalg.matmul ins(%s, %w : tensor<4x32xf32>, tensor<32x64xf32>) outs(%acc : tensor<4x64xf32>) -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}

// Rotations: one contraction for each factor of the size, at most 32 wide but for
// the odd part; large odd parts are computed, not written down.
// RUN: %glvq-opt %s --convert-glvq-to-linalg --split-input-file | FileCheck %s --implicit-check-not=glvq.

// 576 = 9 * 32 * 2
// CHECK-LABEL: func @forward
// Signs first:
// CHECK: arith.negf
// CHECK: tensor.expand_shape %{{.*}} {{\[\[}}0], [1, 2, 3]] output_shape [%{{.*}}, 9, 32, 2] : tensor<?x576xf32> into tensor<?x9x32x2xf32>
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<?x9x32x2xf32>, tensor<9x9xf32>)
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<?x9x32x2xf32>, tensor<32x32xf32>)
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<?x9x32x2xf32>, tensor<2x2xf32>)
// CHECK: tensor.collapse_shape
// CHECK-NOT: arith.negf
func.func @forward(%x: tensor<?x576xf32>, %s: tensor<18xi32>) -> tensor<?x576xf32> {
  %r = glvq.hadamard %x signs(%s : tensor<18xi32>) dimension 1 : tensor<?x576xf32>
  return %r : tensor<?x576xf32>
}

// -----

// Signs last; f16 is summed in f32.
// CHECK-LABEL: func @inverse
// CHECK: arith.extf
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<32x3xf32>, tensor<32x32xf32>)
// CHECK: arith.negf
// CHECK-NEXT: arith.select
// CHECK-NEXT: arith.truncf
func.func @inverse(%x: tensor<32x3xf16>, %s: tensor<1xi32>) -> tensor<32x3xf16> {
  %r = glvq.hadamard %x signs(%s : tensor<1xi32>) dimension 0 inverse : tensor<32x3xf16>
  return %r : tensor<32x3xf16>
}

// -----

// CHECK-LABEL: func @large_odd
// CHECK: math.cos
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<1031xf32>, tensor<1031x1031xf32>)
func.func @large_odd(%x: tensor<1031xf32>) -> tensor<1031xf32> {
  %r = glvq.hadamard %x dimension 0 : tensor<1031xf32>
  return %r : tensor<1031xf32>
}

// -----

// A rotation of one element is the identity.
// CHECK-LABEL: func @one
// CHECK-SAME: %[[X:.*]]: tensor<4x1xf32>
// CHECK-NEXT: return %[[X]]
func.func @one(%x: tensor<4x1xf32>) -> tensor<4x1xf32> {
  %r = glvq.hadamard %x dimension 1 : tensor<4x1xf32>
  return %r : tensor<4x1xf32>
}

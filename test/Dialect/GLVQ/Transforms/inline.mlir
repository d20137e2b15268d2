// RUN: %glvq-opt %s --glvq-quantize-weights=checkpoint=%S/Inputs/one --inline --symbol-dce --glvq-fuse-decode --cse | FileCheck %s

// Fusion does not care whether functions are inlined before it, and inlining
// does not mind weights: here two products of one input, from two calls, come
// to share its rotation.

// CHECK: func.func @forward(
// CHECK-SAME: %[[X:.+]]: tensor<4x96xf32>, %[[Q:.+]]: !glvq.weight{{.*}}, %[[K:.+]]: !glvq.weight{{.*}}, %[[S:.+]]: tensor<3xi32> {glvq.name = "glvq.signs.96"})
// CHECK: %[[R:.+]] = glvq.hadamard %[[X]] signs(%[[S]] : tensor<3xi32>) dimension 1
// CHECK: glvq.linear ins(%[[R]], %[[Q]] :
// CHECK: glvq.linear ins(%[[R]], %[[K]] :
// CHECK-NOT: func.func
#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
func.func @forward(%x: tensor<4x96xf32>, %q: tensor<64x96xf32> {glvq.name = "q.weight"},
                   %k: tensor<64x96xf32> {glvq.name = "k.weight"}) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %0 = call @project(%x, %q) : (tensor<4x96xf32>, tensor<64x96xf32>) -> tensor<4x64xf32>
  %1 = call @project(%x, %k) : (tensor<4x96xf32>, tensor<64x96xf32>) -> tensor<4x64xf32>
  return %0, %1 : tensor<4x64xf32>, tensor<4x64xf32>
}
func.func private @project(%x: tensor<4x96xf32>, %w: tensor<64x96xf32>) -> tensor<4x64xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x64xf32>
  %acc = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x64xf32>) -> tensor<4x64xf32>
  %0 = linalg.matmul indexing_maps = [#mk, #nk, #mn]
    ins(%x, %w : tensor<4x96xf32>, tensor<64x96xf32>) outs(%acc : tensor<4x64xf32>) -> tensor<4x64xf32>
  return %0 : tensor<4x64xf32>
}

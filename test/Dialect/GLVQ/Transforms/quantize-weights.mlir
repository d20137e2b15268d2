// RUN: %glvq-opt %s --allow-unregistered-dialect --glvq-quantize-weights=checkpoint=%S/Inputs/mlp | FileCheck %s

// The weights of an entry point become `!glvq.weight`, the signs of their
// rotations become arguments, one for each name. Layers of one code share one
// specialised function; another code, and no code at all, have their own.

// CHECK-DAG: #[[W2:.+]] = #glvq.lattice<dim = 8, bits = 2, group = 32>
// CHECK-DAG: #[[W3:.+]] = #glvq.lattice<dim = 8, bits = 3, group = 32>
// CHECK-DAG: #[[W4:.+]] = #glvq.lattice<dim = 8, bits = 4, group = 32>

// CHECK: func.func @forward(
// CHECK-SAME: %[[X:.+]]: tensor<4x96xf32> {glvq.input = "x"},
// CHECK-SAME: %[[U0:[^:]+]]: !glvq.weight<64x96xf32, {{[^>]*}}> {glvq.name = "0.up.weight"},
// CHECK-SAME: %[[U1:[^:]+]]: !glvq.weight<64x96xf32, {{[^>]*}}> {glvq.name = "1.up.weight"},
// CHECK-SAME: %[[U2:[^:]+]]: !glvq.weight<64x96xf32, {{[^>]*}}> {glvq.name = "2.up.weight"},
// CHECK-SAME: %[[U3:[^:]+]]: tensor<64x96xf32> {glvq.name = "3.up.weight"},
// CHECK-SAME: %[[HEAD:[^:]+]]: !glvq.weight<64x96xf32, {{[^>]*}}> {glvq.name = "head.weight"},
// CHECK-SAME: %[[IN:[^:]+]]: tensor<3xi32> {glvq.name = "glvq.signs.96"},
// CHECK-SAME: %[[OUT:[^:]+]]: tensor<2xi32> {glvq.name = "glvq.signs.64"})
// CHECK-SAME: -> (tensor<96x64xf32> {glvq.output = "y"})

// A weight that is stored [out, in] and used [in, out].
// CHECK: %[[D:.+]] = glvq.decode %[[HEAD]]
// CHECK: %[[T:.+]] = linalg.transpose ins(%[[D]] : tensor<64x96xf32>) outs({{.*}} : tensor<96x64xf32>) permutation = [1, 0]
// CHECK: call @layer_quantized(%[[X]], %[[U0]], %[[IN]], %[[OUT]])
// CHECK: call @layer_quantized(%[[X]], %[[U1]], %[[IN]], %[[OUT]])
// CHECK: call @[[OTHER:layer_quantized_[0-9]+]](%[[X]], %[[U2]], %[[IN]])
// CHECK: call @layer(%[[X]], %[[U3]])
// CHECK: "test.use"
// CHECK-SAME: (tensor<4x64xf32>
// CHECK: return %[[T]]
func.func @forward(%x: tensor<4x96xf32> {glvq.input = "x"},
                   %u0: tensor<64x96xf32> {glvq.name = "0.up.weight"},
                   %u1: tensor<64x96xf32> {glvq.name = "1.up.weight"},
                   %u2: tensor<64x96xf32> {glvq.name = "2.up.weight"},
                   %u3: tensor<64x96xf32> {glvq.name = "3.up.weight"},
                   %head: tensor<96x64xf32> {glvq.name = "head.weight"})
    -> (tensor<96x64xf32> {glvq.output = "y"}) {
  %0 = call @layer(%x, %u0) : (tensor<4x96xf32>, tensor<64x96xf32>) -> tensor<4x64xf32>
  %1 = call @layer(%x, %u1) : (tensor<4x96xf32>, tensor<64x96xf32>) -> tensor<4x64xf32>
  %2 = call @layer(%x, %u2) : (tensor<4x96xf32>, tensor<64x96xf32>) -> tensor<4x64xf32>
  %3 = call @layer(%x, %u3) : (tensor<4x96xf32>, tensor<64x96xf32>) -> tensor<4x64xf32>
  "test.use"(%0, %1, %2, %3) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> ()
  return %head : tensor<96x64xf32>
}

// The second entry point reuses the function of the first. Its weight is only
// passed on, so it decodes nothing itself.
// CHECK: func.func @decode(
// CHECK-NOT: glvq.decode
// CHECK: call @layer_quantized(
func.func @decode(%x: tensor<4x96xf32>, %u0: tensor<64x96xf32> {glvq.name = "0.up.weight"}) -> tensor<4x64xf32> {
  %0 = call @layer(%x, %u0) : (tensor<4x96xf32>, tensor<64x96xf32>) -> tensor<4x64xf32>
  return %0 : tensor<4x64xf32>
}

// The original stays: a plain weight reaches it. Inside it calls on.
// CHECK: func.func private @layer(%{{.+}}: tensor<4x96xf32>, %{{.+}}: tensor<64x96xf32>)
// CHECK: call @product(
func.func private @layer(%x: tensor<4x96xf32>, %w: tensor<64x96xf32>) -> tensor<4x64xf32> {
  %0 = call @product(%x, %w) : (tensor<4x96xf32>, tensor<64x96xf32>) -> tensor<4x64xf32>
  return %0 : tensor<4x64xf32>
}

// CHECK: func.func private @[[OTHER]](
// CHECK: call @product_quantized_{{[0-9]+}}(
// CHECK: func.func private @layer_quantized(
// CHECK-SAME: %[[LX:.+]]: tensor<4x96xf32>, %[[LW:.+]]: !glvq.weight<64x96xf32, {{[^>]*}}>,
// CHECK-SAME: %[[LIN:[^:]+]]: tensor<3xi32>, %[[LOUT:[^:]+]]: tensor<2xi32>)
// CHECK: call @product_quantized(%[[LX]], %[[LW]], %[[LIN]], %[[LOUT]])

// The decode sits where the weight is read. W = D_out H_out W~ H_in D_in.
// CHECK: func.func private @product(
// CHECK-NOT: glvq
// CHECK: return
// CHECK: func.func private @product_quantized_{{[0-9]+}}(
// CHECK-SAME: tensor<4x96xf32>, %[[W:.+]]: !glvq.weight<64x96xf32, {{[^>]*}}>, %[[S:.+]]: tensor<3xi32>)
// CHECK: %[[D:.+]] = glvq.decode %[[W]]
// CHECK: %[[H:.+]] = glvq.hadamard %[[D]] signs(%[[S]] : tensor<3xi32>) dimension 1 inverse
// CHECK-NOT: glvq.hadamard
// CHECK: linalg.matmul {{.*}} ins(%{{.+}}, %[[H]] :
// CHECK: func.func private @product_quantized(
// CHECK-SAME: tensor<4x96xf32>, %[[W:.+]]: !glvq.weight<64x96xf32, {{[^>]*}}>, %[[S:.+]]: tensor<3xi32>, %[[R:.+]]: tensor<2xi32>)
// CHECK: %[[D:.+]] = glvq.decode %[[W]]
// CHECK: %[[H:.+]] = glvq.hadamard %[[D]] signs(%[[S]] : tensor<3xi32>) dimension 1 inverse
// CHECK: %[[G:.+]] = glvq.hadamard %[[H]] signs(%[[R]] : tensor<2xi32>) dimension 0 inverse
// CHECK: linalg.matmul {{.*}} ins(%{{.+}}, %[[G]] :
#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
func.func private @product(%x: tensor<4x96xf32>, %w: tensor<64x96xf32>) -> tensor<4x64xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x64xf32>
  %acc = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x64xf32>) -> tensor<4x64xf32>
  %0 = linalg.matmul indexing_maps = [#mk, #nk, #mn]
    ins(%x, %w : tensor<4x96xf32>, tensor<64x96xf32>) outs(%acc : tensor<4x64xf32>) -> tensor<4x64xf32>
  return %0 : tensor<4x64xf32>
}

// Nothing calls this one with a plain weight any more: its original is gone.
// CHECK-NOT: @only_quantized(
// CHECK: func.func @score(
// CHECK: call @only_quantized_quantized(
// CHECK: func.func private @only_quantized_quantized(
// CHECK-NOT: @only_quantized(
func.func @score(%w: tensor<64x96xf32> {glvq.name = "0.up.weight"}) -> f32 {
  %0 = call @only_quantized(%w) : (tensor<64x96xf32>) -> f32
  return %0 : f32
}
func.func private @only_quantized(%w: tensor<64x96xf32>) -> f32 {
  %c0 = arith.constant 0 : index
  %0 = tensor.extract %w[%c0, %c0] : tensor<64x96xf32>
  return %0 : f32
}

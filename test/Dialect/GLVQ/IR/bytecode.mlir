// Bytecode keeps types, codes and properties.
// RUN: %glvq-opt %s --emit-bytecode | %glvq-opt | FileCheck %s

#mixed = #glvq.lattice<dim = 4, bits = [1 : 2, 3 : 4], group = 16, compander = affine>

// CHECK: #[[$M:.*]] = #glvq.lattice<dim = 4, bits = [1 : 2, 3 : 4], group = 16, compander = affine>
// CHECK-LABEL: func @f
// CHECK-SAME: !glvq.weight<3x81xf32, #[[$M]]>
func.func @f(%x: tensor<?x81xf32>, %w: !glvq.weight<3x81xf32, #mixed>, %y: tensor<?x3xf32>) -> tensor<?x3xf32> {
  // CHECK: glvq.hadamard %{{.*}} dimension 1 inverse : tensor<?x81xf32>
  %0 = glvq.hadamard %x dimension 1 inverse : tensor<?x81xf32>
  // CHECK: glvq.linear
  %r = glvq.linear ins(%0, %w : tensor<?x81xf32>, !glvq.weight<3x81xf32, #mixed>) outs(%y : tensor<?x3xf32>) -> tensor<?x3xf32>
  return %r : tensor<?x3xf32>
}

// Functions that hold ops of the dialect can be inlined.
// RUN: %glvq-opt %s --inline | FileCheck %s

!weight = !glvq.weight<4x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>

func.func private @layer(%x: tensor<2x96xf32>, %w: !weight, %y: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %h = glvq.hadamard %x dimension 1 : tensor<2x96xf32>
  %r = glvq.linear ins(%h, %w : tensor<2x96xf32>, !weight) outs(%y : tensor<2x4xf32>) -> tensor<2x4xf32>
  return %r : tensor<2x4xf32>
}

// CHECK-LABEL: func @model
// CHECK-NOT: call
// CHECK: glvq.hadamard
// CHECK: glvq.linear
func.func @model(%x: tensor<2x96xf32>, %w: !weight, %y: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %r = call @layer(%x, %w, %y) : (tensor<2x96xf32>, !weight, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %r : tensor<2x4xf32>
}

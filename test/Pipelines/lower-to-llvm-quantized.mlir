// A decoded weight in a product: the parts become arguments, the codes
// in the order of the kernel, the product a kernel on them, and its loops calls of the host's thread pool.
// RUN: %glvq-opt %s --lower-glvq-to-llvm | FileCheck %s

// CHECK:       llvm.func @glvq_entry_forward(%{{.*}}: !llvm.ptr)
// CHECK-SAME:    {name = "l.generators", role = "weight", type = memref<2x8x8xf16>}
// CHECK-SAME:    {name = "l.scales", role = "weight", type = memref<96xf16>}
// CHECK-SAME:    {name = "l.codes.interleaved", packed = {{.*}}source = "l.codes"{{.*}}, role = "weight", type = memref<6x128xi32>}
// CHECK:       llvm.func @glvq_matmul_96x128(
// CHECK:         llvm.call @glvq_dispatch(
#w = #glvq.lattice<dim = 8, bits = 2, group = 64>
func.func @forward(%x: tensor<?x128xf32> {glvq.input = "x", glvq.shape = ["n", 128]},
                   %w: !glvq.weight<96x128xf32, #w> {glvq.name = "l.weight"})
    -> (tensor<?x96xf32> {glvq.output = "y", glvq.shape = ["n", 96]}) {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %n = tensor.dim %x, %c0 : tensor<?x128xf32>
  %e = tensor.empty(%n) : tensor<?x96xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<?x96xf32>) -> tensor<?x96xf32>
  %d = glvq.decode %w : !glvq.weight<96x128xf32, #w> to tensor<96x128xf32>
  %t0 = tensor.empty() : tensor<128x96xf32>
  %t = linalg.transpose ins(%d : tensor<96x128xf32>) outs(%t0 : tensor<128x96xf32>) permutation = [1, 0]
  %y = linalg.matmul ins(%x, %t : tensor<?x128xf32>, tensor<128x96xf32>) outs(%f : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

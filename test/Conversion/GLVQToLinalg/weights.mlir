// Weights: decoded in full by linalg ops, then multiplied. What the numbers are is
// tested by test/Integration/GLVQToLinalg.
// RUN: %glvq-opt %s --convert-glvq-to-linalg | FileCheck %s --implicit-check-not=glvq.

#w2 = #glvq.lattice<dim = 8, bits = 2, group = 96>
#mixed = #glvq.lattice<dim = 8, bits = [1 : 1, 3 : 2], group = 32, compander = mu_law>
!weight = !glvq.weight<32x576xf32, #w2>
!mixed = !glvq.weight<4x80xf32, #mixed>

// CHECK-LABEL: func @matmul
// Fields, points, scaled weights:
// CHECK: linalg.generic {{.*}} outs(%{{.*}} : tensor<32x6x12x8xf32>)
// CHECK: linalg.generic {{.*}}"reduction"{{.*}} ins(%{{.*}}, %{{.*}} : tensor<6x8x8xf16>, tensor<32x6x12x8xf32>)
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<32x6x12x8xf32>, tensor<32xf16>)
// CHECK: %[[W:.*]] = tensor.collapse_shape {{.*}} into tensor<32x576xf32>
// CHECK: linalg.matmul indexing_maps = [{{.*}}] ins(%{{.*}}, %[[W]] : tensor<?x576xf32>, tensor<32x576xf32>)
func.func @matmul(%x: tensor<?x576xf32>, %c: tensor<32x36xi32>, %g: tensor<6x8x8xf16>,
                  %s: tensor<32xf16>, %y: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %r = glvq.matmul ins(%x : tensor<?x576xf32>) codes(%c : tensor<32x36xi32>)
    params(%g, %s : tensor<6x8x8xf16>, tensor<32xf16>) outs(%y : tensor<?x32xf32>) {code = #w2} -> tensor<?x32xf32>
  return %r : tensor<?x32xf32>
}

// Assembling vanishes.
// CHECK-LABEL: func @linear
// CHECK: linalg.matmul
func.func @linear(%x: tensor<?x576xf32>, %c: tensor<32x36xi32>, %g: tensor<6x8x8xf16>,
                  %s: tensor<32xf16>, %y: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %w = glvq.assemble %c, %g, %s : tensor<32x36xi32>, tensor<6x8x8xf16>, tensor<32xf16> to !weight
  %r = glvq.linear ins(%x, %w : tensor<?x576xf32>, !weight) outs(%y : tensor<?x32xf32>) -> tensor<?x32xf32>
  return %r : tensor<?x32xf32>
}

// Mixed widths, compander, a shorter last group: groups are put back in order,
// and the padding of the last is cut off.
// CHECK-LABEL: func @encode_decode
// CHECK: scf.for
// CHECK: math.roundeven
// CHECK: math.expm1
// CHECK: tensor.extract_slice %{{.*}}[0, 0] [4, 80] [1, 1] : tensor<4x96xf32> to tensor<4x80xf32>
func.func @encode_decode(%d: tensor<4x80xf32>, %g: tensor<3x8x8xf16>, %s: tensor<4xf16>,
                         %o: tensor<3xi32>, %f: tensor<3x2xf32>) -> tensor<4x80xf32> {
  %w = glvq.encode %d, %g, %s, %o, %f
    : tensor<4x80xf32>, tensor<3x8x8xf16>, tensor<4xf16>, tensor<3xi32>, tensor<3x2xf32> to !mixed
  %r = glvq.decode %w : !mixed to tensor<4x80xf32>
  return %r : tensor<4x80xf32>
}

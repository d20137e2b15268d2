// Every op, printed as it is written.
// RUN: %glvq-opt %s --verify-roundtrip | FileCheck %s

#w2 = #glvq.lattice<dim = 8, bits = 2, group = 96>
#mixed = #glvq.lattice<dim = 4, bits = [1 : 2, 3 : 4], group = 16, compander = affine>
!weight = !glvq.weight<32x576xf32, #w2>
!mixed = !glvq.weight<3x81xf32, #mixed>

// CHECK-LABEL: func @parts
// CHECK-SAME: %[[C:.*]]: tensor<32x36xi32>, %[[G:.*]]: tensor<6x8x8xf16>, %[[S:.*]]: tensor<32xf16>
func.func @parts(%c: tensor<32x36xi32>, %g: tensor<6x8x8xf16>, %s: tensor<32xf16>)
    -> (tensor<32x36xi32>, tensor<6x8x8xf16>, tensor<32xf16>) {
  // CHECK: %[[W:.*]] = glvq.assemble %[[C]], %[[G]], %[[S]] : tensor<32x36xi32>, tensor<6x8x8xf16>, tensor<32xf16> to !glvq.weight<32x576xf32, #{{.*}}>
  %w = glvq.assemble %c, %g, %s : tensor<32x36xi32>, tensor<6x8x8xf16>, tensor<32xf16> to !weight
  // CHECK: %{{.*}}:3 = glvq.disassemble %[[W]] : !glvq.weight<32x576xf32, #{{.*}}> to tensor<32x36xi32>, tensor<6x8x8xf16>, tensor<32xf16>
  %0, %1, %2 = glvq.disassemble %w : !weight to tensor<32x36xi32>, tensor<6x8x8xf16>, tensor<32xf16>
  return %0, %1, %2 : tensor<32x36xi32>, tensor<6x8x8xf16>, tensor<32xf16>
}

// All five parts: 81 columns of mixed widths make six slots of 1, 1, 2, 2, 2, 1 words.
// CHECK-LABEL: func @five_parts
func.func @five_parts(%c: tensor<3x9xi32>, %g: tensor<6x4x4xf16>, %s: tensor<3xf16>,
                      %o: tensor<6xi32>, %f: tensor<6x2xf32>) -> !mixed {
  // CHECK: glvq.assemble
  %w = glvq.assemble %c, %g, %s, %o, %f
    : tensor<3x9xi32>, tensor<6x4x4xf16>, tensor<3xf16>, tensor<6xi32>, tensor<6x2xf32> to !mixed
  return %w : !mixed
}

// CHECK-LABEL: func @encode_decode
func.func @encode_decode(%d: tensor<32x576xf32>, %g: tensor<6x8x8xf16>, %s: tensor<32xf16>)
    -> tensor<32x576xf32> {
  // CHECK: %[[W:.*]] = glvq.encode %{{.*}}, %{{.*}}, %{{.*}} : tensor<32x576xf32>, tensor<6x8x8xf16>, tensor<32xf16> to !glvq.weight<32x576xf32, #{{.*}}>
  %w = glvq.encode %d, %g, %s : tensor<32x576xf32>, tensor<6x8x8xf16>, tensor<32xf16> to !weight
  // CHECK: glvq.decode %[[W]] : !glvq.weight<32x576xf32, #{{.*}}> to tensor<32x576xf32>
  %r = glvq.decode %w : !weight to tensor<32x576xf32>
  return %r : tensor<32x576xf32>
}

// CHECK-LABEL: func @linear
func.func @linear(%x: tensor<?x576xf16>, %w: !weight, %y: tensor<?x32xf32>) -> tensor<?x32xf32> {
  // CHECK: glvq.linear ins(%{{.*}}, %{{.*}} : tensor<?x576xf16>, !glvq.weight<32x576xf32, #{{.*}}>) outs(%{{.*}} : tensor<?x32xf32>) -> tensor<?x32xf32>
  %r = glvq.linear ins(%x, %w : tensor<?x576xf16>, !weight) outs(%y : tensor<?x32xf32>) -> tensor<?x32xf32>
  return %r : tensor<?x32xf32>
}

// CHECK-LABEL: func @matmul
func.func @matmul(%x: tensor<?x576xf32>, %c: tensor<32x36xi32>, %g: tensor<6x8x8xf16>,
                  %s: tensor<32xf16>, %y: tensor<?x32xf32>) -> tensor<?x32xf32> {
  // CHECK: glvq.matmul ins(%{{.*}} : tensor<?x576xf32>) codes(%{{.*}} : tensor<32x36xi32>) params(%{{.*}}, %{{.*}} : tensor<6x8x8xf16>, tensor<32xf16>) outs(%{{.*}} : tensor<?x32xf32>) {code = #{{.*}}} -> tensor<?x32xf32>
  %r = glvq.matmul ins(%x : tensor<?x576xf32>) codes(%c : tensor<32x36xi32>)
    params(%g, %s : tensor<6x8x8xf16>, tensor<32xf16>) outs(%y : tensor<?x32xf32>) {code = #w2} -> tensor<?x32xf32>
  return %r : tensor<?x32xf32>
}

// CHECK-LABEL: func @matmul_on_buffers
func.func @matmul_on_buffers(%x: memref<?x576xf32>, %c: memref<32x36xi32>, %g: memref<6x8x8xf16>,
                             %s: memref<32xf16, strided<[1], offset: ?>>, %y: memref<?x32xf32>) {
  // CHECK: glvq.matmul ins(%{{.*}} : memref<?x576xf32>) codes(%{{.*}} : memref<32x36xi32>) params(%{{.*}}, %{{.*}} : memref<6x8x8xf16>, memref<32xf16, strided<[1], offset: ?>>) outs(%{{.*}} : memref<?x32xf32>) {code = #{{[^}]*}}}{{$}}
  glvq.matmul ins(%x : memref<?x576xf32>) codes(%c : memref<32x36xi32>)
    params(%g, %s : memref<6x8x8xf16>, memref<32xf16, strided<[1], offset: ?>>)
    outs(%y : memref<?x32xf32>) {code = #w2}
  return
}

// CHECK-LABEL: func @hadamard
func.func @hadamard(%x: tensor<?x576xf32>, %s: tensor<18xi32>) -> tensor<?x576xf32> {
  // CHECK: glvq.hadamard %{{.*}} signs(%{{.*}} : tensor<18xi32>) dimension 1 : tensor<?x576xf32>
  %0 = glvq.hadamard %x signs(%s : tensor<18xi32>) dimension 1 : tensor<?x576xf32>
  // CHECK: glvq.hadamard %{{.*}} dimension 1 inverse : tensor<?x576xf32>
  %1 = glvq.hadamard %0 dimension 1 inverse : tensor<?x576xf32>
  return %1 : tensor<?x576xf32>
}

// CHECK-LABEL: func @gather
func.func @gather(%w: !glvq.weight<32x576xf32, #w2>, %i: tensor<?xi64>) -> tensor<?x576xf32> {
  // CHECK: glvq.gather %{{.*}}[%{{.*}}] : !glvq.weight<32x576xf32, #{{.*}}>, tensor<?xi64> to tensor<?x576xf32>
  %r = glvq.gather %w[%i] : !glvq.weight<32x576xf32, #w2>, tensor<?xi64> to tensor<?x576xf32>
  return %r : tensor<?x576xf32>
}

// CHECK-LABEL: func @interleave
func.func @interleave(%c: tensor<40x3xi32>, %d: tensor<?x36xi32>) -> (tensor<3x96xi32>, tensor<?x576xi32>) {
  // CHECK: glvq.interleave %{{.*}} columns 32 bits 3 : tensor<40x3xi32> to tensor<3x48xi32>
  %0 = glvq.interleave %c columns 32 bits 3 : tensor<40x3xi32> to tensor<3x48xi32>
  // CHECK: glvq.interleave %{{.*}} columns 33 bits 2 : tensor<40x3xi32> to tensor<3x64xi32>
  %1 = glvq.interleave %c columns 33 bits 2 : tensor<40x3xi32> to tensor<3x64xi32>
  // CHECK: glvq.interleave %{{.*}} columns 576 bits 2 : tensor<?x36xi32> to tensor<?x576xi32>
  %2 = glvq.interleave %d columns 576 bits 2 : tensor<?x36xi32> to tensor<?x576xi32>
  %3 = tensor.empty() : tensor<3x96xi32>
  return %3, %2 : tensor<3x96xi32>, tensor<?x576xi32>
}

// CHECK-LABEL: func @interleaved_product
func.func @interleaved_product(%x: tensor<?x576xf32>, %c: tensor<3x576xi32>, %y: tensor<?x40xf32>) -> tensor<?x40xf32> {
  // CHECK: {code = #{{(interleaved2|glvq.interleaved<bits = 2>)}}}
  %r = glvq.matmul ins(%x : tensor<?x576xf32>) codes(%c : tensor<3x576xi32>) outs(%y : tensor<?x40xf32>)
    {code = #glvq.interleaved<bits = 2>} -> tensor<?x40xf32>
  return %r : tensor<?x40xf32>
}

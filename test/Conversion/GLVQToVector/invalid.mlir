// RUN: %glvq-opt %s --convert-glvq-to-vector --split-input-file --verify-diagnostics
// RUN: not %glvq-opt %s --convert-glvq-to-vector=vector-length=4 --split-input-file 2>&1 | FileCheck %s

// CHECK: error: vector-length must be 8 or 16, not 4

// Kernels need to know how many rows there are.
func.func @dynamic(%x: memref<?x64xf32>, %c: memref<?x4xi32>, %g: memref<2x8x8xf16>,
                   %s: memref<?xf16>, %y: memref<?x?xf32>) {
  // expected-error @below {{has no CPU kernel: the number of rows of the weight is dynamic; lower it with convert-glvq-to-linalg}}
  glvq.matmul ins(%x : memref<?x64xf32>) codes(%c : memref<?x4xi32>)
    params(%g, %s : memref<2x8x8xf16>, memref<?xf16>) outs(%y : memref<?x?xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32>}
  return
}

// -----

// Vectors are loaded from rows, so these must be contiguous.
func.func @strided(%x: memref<?x64xf32, strided<[128, 2]>>, %c: memref<8x4xi32>,
                   %g: memref<2x8x8xf16>, %s: memref<8xf16>, %y: memref<?x8xf32>) {
  // expected-error @below {{has no CPU kernel: the last dimension of an operand is not contiguous}}
  glvq.matmul ins(%x : memref<?x64xf32, strided<[128, 2]>>) codes(%c : memref<8x4xi32>)
    params(%g, %s : memref<2x8x8xf16>, memref<8xf16>) outs(%y : memref<?x8xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32>}
  return
}

// -----

// Products with these codes are lowered to others or decoded.
func.func @trellis(%x: memref<?x64xf32>, %c: memref<26x2xi32>, %t: memref<1x12xf32>, %s: memref<8xf16>, %g: memref<1xf16>,
                   %y: memref<?x8xf32>) {
  // expected-error @below {{has no CPU kernel: there is none for its code; lower it with convert-glvq-to-linalg}}
  glvq.matmul ins(%x : memref<?x64xf32>) codes(%c : memref<26x2xi32>)
    params(%t, %s, %g : memref<1x12xf32>, memref<8xf16>, memref<1xf16>) outs(%y : memref<?x8xf32>)
    {code = #glvq.trellis<taps = 12, bits = 2, group = 64>}
  return
}

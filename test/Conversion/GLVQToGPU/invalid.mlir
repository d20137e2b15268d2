// What has no kernel is refused by name.
// RUN: %glvq-opt %s --convert-glvq-to-gpu --split-input-file --verify-diagnostics

#w4 = #glvq.lattice<dim = 8, bits = 4, group = 32>
func.func @strided(%x: memref<1x32xf32, strided<[64, 1]>>, %c: memref<8x4xi32>, %g: memref<1x8x8xf16>,
                   %s: memref<8xf16>, %y: memref<1x8xf32>) {
  // expected-error@+1 {{is not contiguous; kernels take bare pointers to row-major data}}
  glvq.matmul ins(%x : memref<1x32xf32, strided<[64, 1]>>) codes(%c : memref<8x4xi32>)
    params(%g, %s : memref<1x8x8xf16>, memref<8xf16>) outs(%y : memref<1x8xf32>) {code = #w4}
  return
}

// -----

func.func @long(%x: tensor<16384xf16>) -> tensor<16384xf16> {
  // expected-error@+1 {{of more than 12288 elements has a GPU kernel for f32 only}}
  %y = glvq.hadamard %x dimension 0 : tensor<16384xf16>
  return %y : tensor<16384xf16>
}

// -----

func.func @too_long(%x: tensor<1x40000xf32>, %c: tensor<8x10000xi32>, %y: tensor<1x8xf32>) -> tensor<1x8xf32> {
  // expected-error @below {{'glvq.matmul' op has too many columns for sums of 32 bits: 40000 of 8 bits; split the weight by columns}}
  %0 = glvq.matmul ins(%x : tensor<1x40000xf32>) codes(%c : tensor<8x10000xi32>)
         outs(%y : tensor<1x8xf32>) {code = #glvq.integer<bits = 8>} -> tensor<1x8xf32>
  return %0 : tensor<1x8xf32>
}

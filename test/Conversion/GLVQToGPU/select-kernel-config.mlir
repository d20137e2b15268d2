// RUN: %glvq-opt %s --glvq-select-kernel-config --split-input-file --verify-diagnostics | FileCheck %s

// Eight warps share a long row; what is given stays.
// CHECK-LABEL: func @long(
// CHECK:         glvq.kernel_config = {split = 8 : i64, tiles = 2 : i64, unroll = 2 : i64}
func.func @long(%x: tensor<1x4096xf32>, %c: tensor<64x256xi32>, %y: tensor<1x64xf32>) -> tensor<1x64xf32> {
  %0 = glvq.matmul ins(%x : tensor<1x4096xf32>) codes(%c : tensor<64x256xi32>)
         outs(%y : tensor<1x64xf32>) {code = #glvq.integer<bits = 2>} -> tensor<1x64xf32>
  return %0 : tensor<1x64xf32>
}
// CHECK-LABEL: func @given(
// CHECK:         glvq.kernel_config = {split = 1 : i64, tiles = 4 : i64, unroll = 2 : i64}
func.func @given(%x: tensor<1x32xf32>, %c: tensor<64x2xi32>, %y: tensor<1x64xf32>) -> tensor<1x64xf32> {
  %0 = glvq.matmul ins(%x : tensor<1x32xf32>) codes(%c : tensor<64x2xi32>) outs(%y : tensor<1x64xf32>)
         {code = #glvq.integer<bits = 2>, glvq.kernel_config = {tiles = 4}} -> tensor<1x64xf32>
  return %0 : tensor<1x64xf32>
}

// -----

func.func @unknown(%x: tensor<1x32xf32>, %c: tensor<64x2xi32>, %y: tensor<1x64xf32>) -> tensor<1x64xf32> {
  // expected-error @below {{'glvq.matmul' op has 'glvq.kernel_config' with "warps" = 4 : i64; expected are the numbers tiles, split and unroll}}
  %0 = glvq.matmul ins(%x : tensor<1x32xf32>) codes(%c : tensor<64x2xi32>) outs(%y : tensor<1x64xf32>)
         {code = #glvq.integer<bits = 2>, glvq.kernel_config = {warps = 4}} -> tensor<1x64xf32>
  return %0 : tensor<1x64xf32>
}

// -----

func.func @impossible(%x: tensor<1x32xf32>, %c: tensor<64x2xi32>, %y: tensor<1x64xf32>) -> tensor<1x64xf32> {
  // expected-error @below {{'glvq.matmul' op has an impossible 'glvq.kernel_config': tiles are 1 to 4, unroll is 1 to 8, and split is 1, 2, 4 or 8}}
  %0 = glvq.matmul ins(%x : tensor<1x32xf32>) codes(%c : tensor<64x2xi32>) outs(%y : tensor<1x64xf32>)
         {code = #glvq.integer<bits = 2>, glvq.kernel_config = {split = 3}} -> tensor<1x64xf32>
  return %0 : tensor<1x64xf32>
}

// -----

func.func @number(%x: tensor<1x32xf32>, %c: tensor<64x2xi32>, %y: tensor<1x64xf32>) -> tensor<1x64xf32> {
  // expected-error @below {{'glvq.matmul' op expected 'glvq.kernel_config' to be a dictionary of tiles, split and unroll}}
  %0 = glvq.matmul ins(%x : tensor<1x32xf32>) codes(%c : tensor<64x2xi32>) outs(%y : tensor<1x64xf32>)
         {code = #glvq.integer<bits = 2>, glvq.kernel_config = 4 : i64} -> tensor<1x64xf32>
  return %0 : tensor<1x64xf32>
}

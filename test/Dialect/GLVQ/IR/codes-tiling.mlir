// Tiles of products with trellis, binary and integer codes.
// RUN: %glvq-opt %s --split-input-file --transform-interpreter --canonicalize --cse --verify-diagnostics | FileCheck %s

// Rows of a trellis share bits: the slices of 16 rows overlap by L - k.
// CHECK-DAG: #[[$TWICE:.*]] = affine_map<(d0) -> (d0 * 2)>
// CHECK-LABEL: func @trellis
// CHECK-SAME: %[[X:.*]]: tensor<3x128xf32>, %[[C:.*]]: tensor<74x4xi32>, %[[T:.*]]: tensor<1x12xf32>, %[[S:.*]]: tensor<32xf16>, %[[G:.*]]: tensor<2xf16>
// CHECK: scf.for %[[N:.*]] = %c0 to %c32 step %c16
// CHECK: scf.for %[[K:.*]] = %c0 to %c128 step %c64
// CHECK-DAG: %[[ROW:.*]] = affine.apply #[[$TWICE]](%[[N]])
// CHECK-DAG: %[[TC:.*]] = tensor.extract_slice %[[C]][%[[ROW]], %{{.*}}] [42, 2] [1, 1]
// CHECK-DAG: %[[TS:.*]] = tensor.extract_slice %[[S]][%[[N]]] [16] [1]
// CHECK-DAG: %[[TG:.*]] = tensor.extract_slice %[[G]][%{{.*}}] [1] [1]
// CHECK: glvq.matmul {{.*}} codes(%[[TC]] : tensor<42x2xi32>) params(%[[T]], %[[TS]], %[[TG]] : tensor<1x12xf32>, tensor<16xf16>, tensor<1xf16>)
func.func @trellis(%x: tensor<3x128xf32>, %c: tensor<74x4xi32>, %t: tensor<1x12xf32>, %s: tensor<32xf16>, %g: tensor<2xf16>,
                   %y: tensor<3x32xf32>) -> tensor<3x32xf32> {
  %r = glvq.matmul ins(%x : tensor<3x128xf32>) codes(%c : tensor<74x4xi32>)
    params(%t, %s, %g : tensor<1x12xf32>, tensor<32xf16>, tensor<2xf16>) outs(%y : tensor<3x32xf32>)
    {code = #glvq.trellis<taps = 12, bits = 2, group = 64>} -> tensor<3x32xf32>
  return %r : tensor<3x32xf32>
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%m: !transform.any_op {transform.readonly}) {
    %0 = transform.structured.match ops{["glvq.matmul"]} in %m : (!transform.any_op) -> !transform.any_op
    %t, %l:2 = transform.structured.tile_using_for %0 tile_sizes [0, 16, 64]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// With runs of widths the rows of a run lie apart: there is no slice of rows.
func.func @mixed(%x: tensor<3x64xf32>, %c: tensor<159xi32>, %t: tensor<2x12xf32>, %s: tensor<46xf16>, %g: tensor<2xf16>,
                 %o: tensor<2xi32>, %y: tensor<3x46xf32>) -> tensor<3x46xf32> {
  // expected-error @+4 {{a tile must hold whole groups of columns of the weight, or with mixed widths all columns, and of a trellis all rows}}
  // The transform op has its say, too.
  // expected-error @+2 {{to tile operation}}
  // expected-error @+1 {{failed to generate tiling loops}}
  %r = glvq.matmul ins(%x : tensor<3x64xf32>) codes(%c : tensor<159xi32>)
    params(%t, %s, %g, %o : tensor<2x12xf32>, tensor<46xf16>, tensor<2xf16>, tensor<2xi32>) outs(%y : tensor<3x46xf32>)
    {code = #glvq.trellis<taps = 12, bits = [1 : 1, 2 : 1], group = 32>} -> tensor<3x46xf32>
  return %r : tensor<3x46xf32>
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%m: !transform.any_op {transform.readonly}) {
    %0 = transform.structured.match ops{["glvq.matmul"]} in %m : (!transform.any_op) -> !transform.any_op
    %t, %l = transform.structured.tile_using_for %0 tile_sizes [0, 16, 0]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// The generator is shared by all groups; their scales are not.
// CHECK-LABEL: func @binary
// CHECK-SAME: tensor<3x48xf32>, %[[C:.*]]: tensor<8x4xi32>, %[[B:.*]]: tensor<1x8x12xf16>, %[[S:.*]]: tensor<8xf16>, %[[G:.*]]: tensor<2xf16>
// CHECK-DAG: tensor.extract_slice %[[C]][0, %{{.*}}] [8, 2] [1, 1]
// CHECK-DAG: tensor.extract_slice %[[G]][%{{.*}}] [1] [1]
// CHECK: glvq.matmul {{.*}} codes(%{{.*}} : tensor<8x2xi32>) params(%[[B]], %[[S]], %{{.*}} : tensor<1x8x12xf16>, tensor<8xf16>, tensor<1xf16>)
func.func @binary(%x: tensor<3x48xf32>, %c: tensor<8x4xi32>, %b: tensor<1x8x12xf16>, %s: tensor<8xf16>, %g: tensor<2xf16>,
                  %y: tensor<3x8xf32>) -> tensor<3x8xf32> {
  %r = glvq.matmul ins(%x : tensor<3x48xf32>) codes(%c : tensor<8x4xi32>)
    params(%b, %s, %g : tensor<1x8x12xf16>, tensor<8xf16>, tensor<2xf16>) outs(%y : tensor<3x8xf32>)
    {code = #glvq.binary<dim = 8, bits = 3/2, group = 24>} -> tensor<3x8xf32>
  return %r : tensor<3x8xf32>
}
// Integers are cut at whole words.
// CHECK-LABEL: func @integer
// CHECK-SAME: tensor<3x96xf32>, %[[C:.*]]: tensor<8x9xi32>
// CHECK: %[[TC:.*]] = tensor.extract_slice %[[C]][0, %{{.*}}] [8, 3] [1, 1]
// CHECK: glvq.matmul ins(%{{.*}} : tensor<3x32xf32>) codes(%[[TC]] : tensor<8x3xi32>) outs
func.func @integer(%x: tensor<3x96xf32>, %c: tensor<8x9xi32>, %y: tensor<3x8xf32>) -> tensor<3x8xf32> {
  %r = glvq.matmul ins(%x : tensor<3x96xf32>) codes(%c : tensor<8x9xi32>) outs(%y : tensor<3x8xf32>)
    {code = #glvq.integer<bits = 3>, integer} -> tensor<3x8xf32>
  return %r : tensor<3x8xf32>
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%m: !transform.any_op {transform.readonly}) {
    %f = transform.structured.match ops{["func.func"]} in %m : (!transform.any_op) -> !transform.any_op
    %b = transform.structured.match ops{["glvq.matmul"]} attributes{code = #glvq.binary<dim = 8, bits = 3/2, group = 24>} in %m
      : (!transform.any_op) -> !transform.any_op
    %t, %l = transform.structured.tile_using_for %b tile_sizes [0, 0, 24]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    %i = transform.structured.match ops{["glvq.matmul"]} attributes{integer} in %m
      : (!transform.any_op) -> !transform.any_op
    %u, %k = transform.structured.tile_using_for %i tile_sizes [0, 0, 32]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

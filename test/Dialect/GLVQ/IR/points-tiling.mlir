// Tiles of products with the codes with fixed points.
// RUN: %glvq-opt %s --split-input-file --transform-interpreter --canonicalize --cse --verify-diagnostics | FileCheck %s

// CHECK-LABEL: func @leech
// CHECK-SAME: %[[X:.*]]: tensor<3x192xf32>, %[[C:.*]]: tensor<32x12xi32>, %[[S:.*]]: tensor<32xf16>, %[[G:.*]]: tensor<2xf16>, %[[A:.*]]: tensor<2xf32>
// CHECK: scf.for %[[N:.*]] = %c0 to %c32 step %c16
// CHECK: scf.for %[[K:.*]] = %c0 to %c192 step %c96
// CHECK-DAG: %[[TC:.*]] = tensor.extract_slice %[[C]][%[[N]], %{{.*}}] [16, 6] [1, 1]
// CHECK-DAG: %[[TS:.*]] = tensor.extract_slice %[[S]][%[[N]]] [16] [1]
// CHECK-DAG: %[[TG:.*]] = tensor.extract_slice %[[G]][%{{.*}}] [1] [1]
// CHECK: glvq.matmul {{.*}} codes(%[[TC]] : tensor<16x6xi32>) params(%[[TS]], %[[TG]], %[[A]] : tensor<16xf16>, tensor<1xf16>, tensor<2xf32>)
func.func @leech(%x: tensor<3x192xf32>, %c: tensor<32x12xi32>, %s: tensor<32xf16>, %g: tensor<2xf16>, %a: tensor<2xf32>,
                 %y: tensor<3x32xf32>) -> tensor<3x32xf32> {
  %r = glvq.matmul ins(%x : tensor<3x192xf32>) codes(%c : tensor<32x12xi32>)
    params(%s, %g, %a : tensor<32xf16>, tensor<2xf16>, tensor<2xf32>) outs(%y : tensor<3x32xf32>)
    {code = #glvq.leech<shells = 12, group = 96, gain = 1>} -> tensor<3x32xf32>
  return %r : tensor<3x32xf32>
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%m: !transform.any_op {transform.readonly}) {
    %0 = transform.structured.match ops{["glvq.matmul"]} in %m : (!transform.any_op) -> !transform.any_op
    %t, %l:2 = transform.structured.tile_using_for %0 tile_sizes [0, 16, 96]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}

// Outputs become buffers of the caller, states are updated in place, and what
// each argument is stays on the function. Functions that are no entries stay.
// RUN: %glvq-opt %s --glvq-bind-entry-buffers | FileCheck %s

// CHECK-LABEL: func.func @entry(
// CHECK-SAME:    %[[X:.*]]: memref<1x8xf32> {glvq.input = "x"}
// CHECK-SAME:    %[[W:.*]]: memref<16x8xf32> {glvq.name = "w"}
// CHECK-SAME:    %[[C:.*]]: memref<4xf32> {glvq.state = "cache"}
// CHECK-SAME:    %{{.*}}: i64 {glvq.input = "position"}
// CHECK-SAME:    %[[Y:.*]]: memref<1x8xf32> {glvq.output = "y", glvq.shape = [1, 8]})
// CHECK-SAME:    glvq.entry_arguments = [{name = "x", role = "input", type = memref<1x8xf32>}
// CHECK-SAME:      {name = "w", role = "weight", type = memref<16x8xf32>}
// CHECK-SAME:      {name = "cache", role = "state", type = memref<4xf32>}
// CHECK-SAME:      {name = "position", role = "input", type = i64}
// CHECK-SAME:      {name = "y", role = "output", shape = [1, 8], type = memref<1x8xf32>}]
func.func @entry(%x: tensor<1x8xf32> {glvq.input = "x"},
                 %w: tensor<16x8xf32> {glvq.name = "w"},
                 %c: tensor<4xf32> {glvq.state = "cache"},
                 %p: i64 {glvq.input = "position"})
    -> (tensor<1x8xf32> {glvq.output = "y", glvq.shape = [1, 8]},
        tensor<4xf32> {glvq.state = "cache"}) {
  // CHECK: %[[XT:.*]] = bufferization.to_tensor %[[X]] restrict :
  // CHECK: bufferization.to_tensor %[[W]] restrict :
  // CHECK: %[[CT:.*]] = bufferization.to_tensor %[[C]] restrict writable :
  // CHECK: materialize_in_destination %[[XT]] in restrict writable %[[Y]]
  // CHECK: materialize_in_destination %[[CT]] in restrict writable %[[C]]
  // CHECK: return{{$}}
  return %x, %c : tensor<1x8xf32>, tensor<4xf32>
}

// CHECK-LABEL: func.func @plain(%{{.*}}: tensor<4xf32>) -> tensor<4xf32>
func.func @plain(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

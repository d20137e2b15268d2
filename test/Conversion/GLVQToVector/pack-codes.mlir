// RUN: %glvq-opt %s --split-input-file --glvq-pack-codes | FileCheck %s

#w2 = #glvq.integer<bits = 2>

// Through the call to the entry point: a weight of its own, and the old one is gone. Two products with the same codes
// share it.
// CHECK: func.func @decode(
// CHECK-SAME: %[[X:.+]]: tensor<1x64xf32> {glvq.input = "x"},
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<3x64xi32> {glvq.name = "up.codes.interleaved", glvq.packed = {bits = 2 : i64, columns = 64 : i64, offset = 0 : i64, rows = 40 : i64, source = "up.codes", stride = 4 : i64, words = 4 : i64}})
// CHECK: call @layer(%[[X]], %[[P]]) :
func.func @decode(%x: tensor<1x64xf32> {glvq.input = "x"}, %c: tensor<40x4xi32> {glvq.name = "up.codes"}) -> (tensor<1x40xf32> {glvq.output = "y"}) {
  %y = call @layer(%x, %c) : (tensor<1x64xf32>, tensor<40x4xi32>) -> tensor<1x40xf32>
  return %y : tensor<1x40xf32>
}
// CHECK: func.func private @layer(%{{.+}}: tensor<1x64xf32>, %[[C:[a-z0-9]+]]: tensor<3x64xi32>)
// CHECK-COUNT-2: glvq.matmul ins(%{{.+}}) codes(%[[C]] : tensor<3x64xi32>) {{.*}}interleaved
func.func private @layer(%x: tensor<1x64xf32>, %c: tensor<40x4xi32>) -> tensor<1x40xf32> {
  %e = tensor.empty() : tensor<1x40xf32>
  %i = linalg.add ins(%e, %e : tensor<1x40xf32>, tensor<1x40xf32>) outs(%e : tensor<1x40xf32>) -> tensor<1x40xf32>
  %0 = glvq.matmul ins(%x : tensor<1x64xf32>) codes(%c : tensor<40x4xi32>) outs(%i : tensor<1x40xf32>) {code = #w2} -> tensor<1x40xf32>
  %1 = glvq.matmul ins(%x : tensor<1x64xf32>) codes(%c : tensor<40x4xi32>) outs(%0 : tensor<1x40xf32>) {code = #w2} -> tensor<1x40xf32>
  return %1 : tensor<1x40xf32>
}

// -----

// Runs of columns, and rows cut out of a flat run of words. What another op reads stays.
// CHECK-LABEL: func.func @mixed(
// CHECK-SAME: tensor<8x3xi32> {glvq.name = "a.codes"}
// CHECK-SAME: tensor<1x48xi32> {glvq.name = "b.codes.interleaved5", glvq.packed = {bits = 3 : i64, columns = 32 : i64, offset = 5 : i64, rows = 4 : i64, source = "b.codes", stride = 3 : i64, words = 3 : i64}}
// CHECK-SAME: tensor<1x32xi32> {glvq.name = "a.codes.interleaved1", glvq.packed = {bits = 1 : i64, columns = 64 : i64, offset = 1 : i64, rows = 8 : i64, source = "a.codes", stride = 3 : i64, words = 2 : i64}}
func.func @mixed(%x: tensor<1x64xf32> {glvq.input = "x"}, %z: tensor<1x32xf32> {glvq.input = "z"},
                 %a: tensor<8x3xi32> {glvq.name = "a.codes"}, %b: tensor<20xi32> {glvq.name = "b.codes"},
                 %y: tensor<1x8xf32> {glvq.input = "y"}, %v: tensor<1x4xf32> {glvq.input = "v"})
    -> (tensor<1x8xf32> {glvq.output = "p"}, tensor<1x4xf32> {glvq.output = "q"}, tensor<8x3xi32> {glvq.output = "r"}) {
  %0 = tensor.extract_slice %a[0, 1] [8, 2] [1, 1] : tensor<8x3xi32> to tensor<8x2xi32>
  %1 = glvq.matmul ins(%x : tensor<1x64xf32>) codes(%0 : tensor<8x2xi32>) outs(%y : tensor<1x8xf32>) {code = #glvq.integer<bits = 1>} -> tensor<1x8xf32>
  %2 = tensor.extract_slice %b[5] [12] [1] : tensor<20xi32> to tensor<12xi32>
  %3 = tensor.expand_shape %2 [[0, 1]] output_shape [4, 3] : tensor<12xi32> into tensor<4x3xi32>
  %4 = glvq.matmul ins(%z : tensor<1x32xf32>) codes(%3 : tensor<4x3xi32>) outs(%v : tensor<1x4xf32>) {code = #glvq.integer<bits = 3>} -> tensor<1x4xf32>
  return %1, %4, %a : tensor<1x8xf32>, tensor<1x4xf32>, tensor<8x3xi32>
}

// -----

// Codes that are no weight of an entry are interleaved at run time.
// CHECK-LABEL: func.func @computed(
// CHECK: %[[P:.+]] = glvq.interleave %{{.+}} columns 64 bits 1 : tensor<8x2xi32> to tensor<1x32xi32>
// CHECK: codes(%[[P]] : tensor<1x32xi32>)
func.func @computed(%x: tensor<?x64xf32>, %c: tensor<8x2xi32>, %y: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %1 = glvq.matmul ins(%x : tensor<?x64xf32>) codes(%c : tensor<8x2xi32>) outs(%y : tensor<?x8xf32>) {code = #glvq.integer<bits = 1>} -> tensor<?x8xf32>
  return %1 : tensor<?x8xf32>
}

// -----

// A tied table of eight bits is stored once: the embedding reads its row, sixteen words apart, from the head's order.
// CHECK: func.func @tied(
// CHECK-NOT: "table.codes"}
// CHECK-SAME: %[[P:[a-z0-9]+]]: tensor<3x128xi32> {glvq.name = "table.codes.interleaved"
// CHECK: call @row(%[[P]],
func.func @tied(%i: index {glvq.input = "i"}, %c: tensor<40x8xi32> {glvq.name = "table.codes"},
                %x: tensor<1x32xf32> {glvq.input = "x"}, %y: tensor<1x40xf32> {glvq.input = "y"})
    -> (tensor<1x8xi32> {glvq.output = "r"}, tensor<1x40xf32> {glvq.output = "z"}) {
  %0 = call @row(%c, %i) : (tensor<40x8xi32>, index) -> tensor<1x8xi32>
  %1 = glvq.matmul ins(%x : tensor<1x32xf32>) codes(%c : tensor<40x8xi32>) outs(%y : tensor<1x40xf32>) {code = #glvq.integer<bits = 8>} -> tensor<1x40xf32>
  return %0, %1 : tensor<1x8xi32>, tensor<1x40xf32>
}
// CHECK: func.func private @row(%[[T:.+]]: tensor<3x128xi32>, %{{.+}}: index)
// CHECK: tensor.extract_slice %[[T]][%{{.+}}, %{{.+}}] [1, 8] [1, 16] : tensor<3x128xi32> to tensor<1x8xi32>
func.func private @row(%c: tensor<40x8xi32>, %i: index) -> tensor<1x8xi32> {
  %0 = tensor.extract_slice %c[%i, 0] [1, 8] [1, 1] : tensor<40x8xi32> to tensor<1x8xi32>
  return %0 : tensor<1x8xi32>
}

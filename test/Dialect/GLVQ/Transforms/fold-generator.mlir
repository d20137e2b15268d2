// RUN: %glvq-opt %s --split-input-file --glvq-fold-generator --cse --canonicalize | FileCheck %s

// A lattice: the generator moves to the activations, the scales of the rows to
// the result.

// CHECK-LABEL: func.func @lattice(
// CHECK-SAME: %[[X:.+]]: tensor<?x96xf32>, %[[C:.+]]: tensor<64x6xi32>, %[[G:.+]]: tensor<3x8x8xf16>, %[[S:.+]]: tensor<64xf16>, %[[ACC:.+]]: tensor<?x64xf32>)
// CHECK: %[[F:.+]] = glvq.fold ins(%[[X]] : tensor<?x96xf32>) params(%[[G]] : tensor<3x8x8xf16>) {code = #{{.+}}} -> tensor<?x96xf32>
// CHECK: %[[U:.+]] = glvq.matmul ins(%[[F]] : tensor<?x96xf32>) codes(%[[C]] : tensor<64x6xi32>) outs(%{{.+}} : tensor<?x64xf32>) {code = #integer2} -> tensor<?x64xf32>
// CHECK: %[[Y:.+]] = linalg.generic {{.*}} ins(%[[U]], %[[S]] : tensor<?x64xf32>, tensor<64xf16>) outs(%[[ACC]] : tensor<?x64xf32>)
// CHECK: ^bb0(%[[UU:.+]]: f32, %[[SS:.+]]: f16, %[[INIT:.+]]: f32):
// CHECK: %[[SCALE:.+]] = arith.extf %[[SS]] : f16 to f32
// CHECK: %[[P:.+]] = arith.mulf %[[UU]], %[[SCALE]]
// CHECK: arith.addf %[[INIT]], %[[P]]
// CHECK: return %[[Y]]
func.func @lattice(%x: tensor<?x96xf32>, %c: tensor<64x6xi32>, %g: tensor<3x8x8xf16>, %s: tensor<64xf16>,
                   %acc: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %y = glvq.matmul ins(%x : tensor<?x96xf32>) codes(%c : tensor<64x6xi32>)
    params(%g, %s : tensor<3x8x8xf16>, tensor<64xf16>) outs(%acc : tensor<?x64xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32>} -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// Runs of widths: one product for each, on top of each other.

// CHECK-LABEL: func.func @runs(
// CHECK-SAME: %[[X:.+]]: tensor<2x96xf32>, %[[C:.+]]: tensor<64x7xi32>, %[[G:.+]]: tensor<3x8x8xf16>, %[[S:.+]]: tensor<64xf16>, %[[O:.+]]: tensor<3xi32>
// CHECK-DAG: %[[F0:.+]] = glvq.fold ins(%[[X]] : tensor<2x96xf32>) params(%[[G]], %[[O]] : tensor<3x8x8xf16>, tensor<3xi32>) {code = #{{.+}}} -> tensor<2x64xf32>
// CHECK-DAG: %[[F1:.+]] = glvq.fold ins(%[[X]] : tensor<2x96xf32>) params(%[[G]], %[[O]] : tensor<3x8x8xf16>, tensor<3xi32>) {code = #{{.+}}, run = 1 : i64} -> tensor<2x32xf32>
// CHECK-DAG: %[[C0:.+]] = tensor.extract_slice %[[C]][0, 0] [64, 4] [1, 1]
// CHECK-DAG: %[[C1:.+]] = tensor.extract_slice %[[C]][0, 4] [64, 3] [1, 1]
// CHECK-DAG: %[[U:.+]] = glvq.matmul ins(%[[F0]] : tensor<2x64xf32>) codes(%[[C0]] : tensor<64x4xi32>) {{.+}} {code = #integer2}
// CHECK-DAG: glvq.matmul ins(%[[F1]] : tensor<2x32xf32>) codes(%[[C1]] : tensor<64x3xi32>) outs(%[[U]] : tensor<2x64xf32>) {code = #integer3}
func.func @runs(%x: tensor<2x96xf32>, %c: tensor<64x7xi32>, %g: tensor<3x8x8xf16>, %s: tensor<64xf16>,
                %o: tensor<3xi32>, %acc: tensor<2x64xf32>) -> tensor<2x64xf32> {
  %y = glvq.matmul ins(%x : tensor<2x96xf32>) codes(%c : tensor<64x7xi32>)
    params(%g, %s, %o : tensor<3x8x8xf16>, tensor<64xf16>, tensor<3xi32>) outs(%acc : tensor<2x64xf32>)
    {code = #glvq.lattice<dim = 8, bits = [2 : 2, 3 : 1], group = 32>} -> tensor<2x64xf32>
  return %y : tensor<2x64xf32>
}

// -----

// A group of 24 columns at 12 bits a point is 36 bits, in two words: the
// integers between are met by zeros.

// CHECK-LABEL: func.func @padding(
// CHECK: glvq.fold ins(%{{.+}} : tensor<2x50xf32>) params(%{{.+}}, %{{.+}} : tensor<1x8x12xf16>, tensor<3xf16>) {code = #binary8_w3_2_g24} -> tensor<2x140xf32>
// CHECK: glvq.matmul ins(%{{.+}} : tensor<2x140xf32>) codes(%{{.+}} : tensor<64x5xi32>) {{.+}} {code = #integer1}
// The bits are +-1, the integers +-1/2.
// CHECK: linalg.generic
// CHECK: arith.mulf %{{.+}}, %cst{{.*}} : f32
func.func @padding(%x: tensor<2x50xf32>, %c: tensor<64x5xi32>, %b: tensor<1x8x12xf16>, %s: tensor<64xf16>,
                   %g: tensor<3xf16>, %acc: tensor<2x64xf32>) -> tensor<2x64xf32> {
  %y = glvq.matmul ins(%x : tensor<2x50xf32>) codes(%c : tensor<64x5xi32>)
    params(%b, %s, %g : tensor<1x8x12xf16>, tensor<64xf16>, tensor<3xf16>) outs(%acc : tensor<2x64xf32>)
    {code = #glvq.binary<dim = 8, bits = 3/2, group = 24>} -> tensor<2x64xf32>
  return %y : tensor<2x64xf32>
}

// -----

// A trellis runs down the rows: its filter follows the product with the rows of
// bits. Activations of another type are folded to f32, the result goes back.

// CHECK-LABEL: func.func @trellis(
// CHECK-SAME: %[[X:.+]]: tensor<?x96xf16>, %[[C:.+]]: tensor<138x3xi32>, %[[T:.+]]: tensor<1x12xf32>, %[[S:.+]]: tensor<64xf16>, %[[G:.+]]: tensor<2xf16>
// CHECK: %[[F:.+]] = glvq.fold ins(%[[X]] : tensor<?x96xf16>) params(%[[G]] : tensor<2xf16>) {{.+}} -> tensor<?x96xf32>
// CHECK: %[[U:.+]] = glvq.matmul ins(%[[F]] : tensor<?x96xf32>) codes(%[[C]] : tensor<138x3xi32>) {{.+}} -> tensor<?x138xf32>
// CHECK: %[[V:.+]] = glvq.filter %[[U]] taps(%[[T]] : tensor<1x12xf32>) stride 2 : tensor<?x138xf32> to tensor<?x64xf32>
// CHECK: linalg.generic {{.*}} ins(%[[V]], %[[S]] : tensor<?x64xf32>, tensor<64xf16>) outs(%{{.+}} : tensor<?x64xf16>)
// CHECK: arith.truncf %{{.+}} : f32 to f16
func.func @trellis(%x: tensor<?x96xf16>, %c: tensor<138x3xi32>, %t: tensor<1x12xf32>, %s: tensor<64xf16>,
                   %g: tensor<2xf16>, %acc: tensor<?x64xf16>) -> tensor<?x64xf16> {
  %y = glvq.matmul ins(%x : tensor<?x96xf16>) codes(%c : tensor<138x3xi32>)
    params(%t, %s, %g : tensor<1x12xf32>, tensor<64xf16>, tensor<2xf16>) outs(%acc : tensor<?x64xf16>)
    {code = #glvq.trellis<taps = 12, bits = 2, group = 64>} -> tensor<?x64xf16>
  return %y : tensor<?x64xf16>
}

// -----

// CHECK-LABEL: func.func @trellis_runs(
// CHECK-SAME: %[[X:.+]]: tensor<2x70xf32>, %[[C:.+]]: tensor<351xi32>, %[[T:.+]]: tensor<2x12xf32>
// CHECK-DAG: %[[S0:.+]] = tensor.extract_slice %[[C]][0] [75] [1]
// CHECK-DAG: %[[C0:.+]] = tensor.expand_shape %[[S0]] {{.+}} output_shape [75, 1]
// CHECK-DAG: %[[S1:.+]] = tensor.extract_slice %[[C]][75] [276] [1]
// CHECK-DAG: %[[C1:.+]] = tensor.expand_shape %[[S1]] {{.+}} output_shape [138, 2]
// CHECK-DAG: %[[U0:.+]] = glvq.matmul {{.*}} codes(%[[C0]] : tensor<75x1xi32>)
// CHECK-DAG: %[[U1:.+]] = glvq.matmul {{.*}} codes(%[[C1]] : tensor<138x2xi32>)
// CHECK-DAG: %[[V0:.+]] = glvq.filter %[[U0]] taps(%[[T]] : tensor<2x12xf32>) stride 1 : tensor<2x75xf32> to tensor<2x64xf32>
// CHECK-DAG: %[[V1:.+]] = glvq.filter %[[U1]] taps(%[[T]] : tensor<2x12xf32>) stride 2 {run = 1 : i64} : tensor<2x138xf32> to tensor<2x64xf32>
// CHECK: linalg.generic {{.*}} ins(%[[V0]], %[[V1]], %{{.+}} : tensor<2x64xf32>, tensor<2x64xf32>, tensor<64xf16>)
func.func @trellis_runs(%x: tensor<2x70xf32>, %c: tensor<351xi32>, %t: tensor<2x12xf32>, %s: tensor<64xf16>,
                        %g: tensor<3xf16>, %o: tensor<3xi32>, %acc: tensor<2x64xf32>) -> tensor<2x64xf32> {
  %y = glvq.matmul ins(%x : tensor<2x70xf32>) codes(%c : tensor<351xi32>)
    params(%t, %s, %g, %o : tensor<2x12xf32>, tensor<64xf16>, tensor<3xf16>, tensor<3xi32>) outs(%acc : tensor<2x64xf32>)
    {code = #glvq.trellis<taps = 12, bits = [1 : 1, 2 : 2], group = 32>} -> tensor<2x64xf32>
  return %y : tensor<2x64xf32>
}

// -----

// Weights with one generator share the folded activations.

// CHECK-LABEL: func.func @shared(
// CHECK-COUNT-1: glvq.fold
// CHECK-NOT: glvq.fold
// CHECK-COUNT-2: glvq.matmul
func.func @shared(%x: tensor<1x96xf32>, %c: tensor<64x6xi32>, %d: tensor<32x6xi32>, %g: tensor<3x8x8xf16>,
                  %s: tensor<64xf16>, %t: tensor<32xf16>, %acc: tensor<1x64xf32>, %bcc: tensor<1x32xf32>)
    -> (tensor<1x64xf32>, tensor<1x32xf32>) {
  %y = glvq.matmul ins(%x : tensor<1x96xf32>) codes(%c : tensor<64x6xi32>)
    params(%g, %s : tensor<3x8x8xf16>, tensor<64xf16>) outs(%acc : tensor<1x64xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32>} -> tensor<1x64xf32>
  %z = glvq.matmul ins(%x : tensor<1x96xf32>) codes(%d : tensor<32x6xi32>)
    params(%g, %t : tensor<3x8x8xf16>, tensor<32xf16>) outs(%bcc : tensor<1x32xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32>} -> tensor<1x32xf32>
  return %y, %z : tensor<1x64xf32>, tensor<1x32xf32>
}

// The trellis, binary and integer codes: their text, their parts, their sizes.
// RUN: %glvq-opt %s | %glvq-opt | FileCheck %s

// CHECK-DAG: #trellis12_w2_g128 = #glvq.trellis<taps = 12, bits = 2, group = 128>
// CHECK-DAG: #trellis12_wmixed_g32 = #glvq.trellis<taps = 12, bits = [1 : 1, 2 : 2], group = 32>
// CHECK-DAG: #trellis8a_w2_g128 = #glvq.trellis<taps = 8, bits = 2, group = 128, nodes = additive>
// CHECK-DAG: #binary8_w2_g96 = #glvq.binary<dim = 8, bits = 2, group = 96>
// CHECK-DAG: #binary8_w3_2_g24 = #glvq.binary<dim = 8, bits = 3/2, group = 24>
// CHECK-DAG: #binary8_wmixed_g24 = #glvq.binary<dim = 8, bits = [3/2 : 2, 2 : 1], group = 24>
// CHECK-DAG: #integer3 = #glvq.integer<bits = 3>

#t2 = #glvq.trellis<taps = 12, bits = 2, group = 128>
#tm = #glvq.trellis<taps = 12, bits = [1 : 1, 2 : 2], group = 32>
#ta = #glvq.trellis<taps = 8, bits = 2, group = 128, nodes = additive>
#b2 = #glvq.binary<dim = 8, bits = 2, group = 96>
// In lowest terms.
#b3 = #glvq.binary<bits = 12/8, dim = 8, group = 24>
#bm = #glvq.binary<dim = 8, bits = [3/2 : 2, 4/2 : 1], group = 24>
#i3 = #glvq.integer<bits = 3>

// CHECK-LABEL: func.func @parts
func.func @parts(%t2: !glvq.weight<64x96xf32, #t2>, %tm: !glvq.weight<64x70xf16, #tm>, %ta: !glvq.weight<64x96xf32, #ta>,
                 %b2: !glvq.weight<64x96xf32, #b2>, %b3: !glvq.weight<64x50xf32, #b3>, %bm: !glvq.weight<64x50xbf16, #bm>,
                 %i3: !glvq.weight<64x50xf32, #i3>) {
  // CHECK: glvq.disassemble %{{.+}} : !glvq.weight<64x96xf32, #trellis12_w2_g128> to tensor<138x3xi32>, tensor<1x12xf32>, tensor<64xf16>, tensor<1xf16>
  %0:4 = glvq.disassemble %t2 : !glvq.weight<64x96xf32, #t2> to tensor<138x3xi32>, tensor<1x12xf32>, tensor<64xf16>, tensor<1xf16>
  // (64 + 11) rows of one word, (128 + 10) of two.
  // CHECK: !glvq.weight<64x70xf16, #trellis12_wmixed_g32> to tensor<351xi32>, tensor<2x12xf32>, tensor<64xf16>, tensor<3xf16>, tensor<3xi32>
  %1:5 = glvq.disassemble %tm : !glvq.weight<64x70xf16, #tm> to tensor<351xi32>, tensor<2x12xf32>, tensor<64xf16>, tensor<3xf16>, tensor<3xi32>
  // CHECK: !glvq.weight<64x96xf32, #trellis8a_w2_g128> to tensor<134x3xi32>, tensor<1x2x16xf32>, tensor<64xf16>, tensor<1xf16>
  %2:4 = glvq.disassemble %ta : !glvq.weight<64x96xf32, #ta> to tensor<134x3xi32>, tensor<1x2x16xf32>, tensor<64xf16>, tensor<1xf16>
  // CHECK: !glvq.weight<64x96xf32, #binary8_w2_g96> to tensor<64x6xi32>, tensor<1x8x16xf16>, tensor<64xf16>, tensor<1xf16>
  %3:4 = glvq.disassemble %b2 : !glvq.weight<64x96xf32, #b2> to tensor<64x6xi32>, tensor<1x8x16xf16>, tensor<64xf16>, tensor<1xf16>
  // Two slots of 36 bits, and one point of 12.
  // CHECK: !glvq.weight<64x50xf32, #binary8_w3_2_g24> to tensor<64x5xi32>, tensor<1x8x12xf16>, tensor<64xf16>, tensor<3xf16>
  %4:4 = glvq.disassemble %b3 : !glvq.weight<64x50xf32, #b3> to tensor<64x5xi32>, tensor<1x8x12xf16>, tensor<64xf16>, tensor<3xf16>
  // CHECK: !glvq.weight<64x50xbf16, #binary8_wmixed_g24> to tensor<64x5xi32>, tensor<2x8x16xf16>, tensor<64xf16>, tensor<3xf16>, tensor<3xi32>
  %5:5 = glvq.disassemble %bm : !glvq.weight<64x50xbf16, #bm> to tensor<64x5xi32>, tensor<2x8x16xf16>, tensor<64xf16>, tensor<3xf16>, tensor<3xi32>
  // CHECK: !glvq.weight<64x50xf32, #integer3> to tensor<64x5xi32>
  %6 = glvq.disassemble %i3 : !glvq.weight<64x50xf32, #i3> to tensor<64x5xi32>
  return
}

// Rows may be dynamic: then so are the rows of bits.
// CHECK-LABEL: func.func @tile
func.func @tile(%x: tensor<?x96xf32>, %c: tensor<?x3xi32>, %t: tensor<1x12xf32>, %s: tensor<?xf16>, %g: tensor<1xf16>,
                %init: tensor<?x?xf32>) -> tensor<?x?xf32> {
  // CHECK: glvq.matmul {{.*}} params(%{{.+}} : tensor<1x12xf32>, tensor<?xf16>, tensor<1xf16>)
  %y = glvq.matmul ins(%x : tensor<?x96xf32>) codes(%c : tensor<?x3xi32>)
    params(%t, %s, %g : tensor<1x12xf32>, tensor<?xf16>, tensor<1xf16>)
    outs(%init : tensor<?x?xf32>) {code = #t2} -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @folding
func.func @folding(%x: tensor<?x50xf32>, %b: tensor<2x8x16xf16>, %g: tensor<3xf16>, %o: tensor<3xi32>,
                   %u: tensor<?x138xf32>, %t: tensor<2x12xf32>) -> (tensor<?x16xf32>, tensor<?x64xf32>) {
  // The third group has two columns, so one point.
  // CHECK: glvq.fold ins(%{{.+}} : tensor<?x50xf32>) params(%{{.+}}, %{{.+}}, %{{.+}} : tensor<2x8x16xf16>, tensor<3xf16>, tensor<3xi32>) {code = #binary8_wmixed_g24, run = 1 : i64} -> tensor<?x16xf32>
  %f = glvq.fold ins(%x : tensor<?x50xf32>) params(%b, %g, %o : tensor<2x8x16xf16>, tensor<3xf16>, tensor<3xi32>)
    {code = #bm, run = 1 : i64} -> tensor<?x16xf32>
  // CHECK: glvq.filter %{{.+}} taps(%{{.+}} : tensor<2x12xf32>) stride 2 {run = 1 : i64} : tensor<?x138xf32> to tensor<?x64xf32>
  %y = glvq.filter %u taps(%t : tensor<2x12xf32>) stride 2 {run = 1 : i64} : tensor<?x138xf32> to tensor<?x64xf32>
  return %f, %y : tensor<?x16xf32>, tensor<?x64xf32>
}

// The codes with fixed points: their text, their parts, their sizes.
// RUN: %glvq-opt %s | %glvq-opt | FileCheck %s

// CHECK-DAG: #leech13_g96 = #glvq.leech<shells = 13, group = 96>
// CHECK-DAG: #leech12x1_g96 = #glvq.leech<shells = 12, group = 96, gain = 1>
// CHECK-DAG: #leech3_3_g72 = #glvq.leech<shells = 3, group = 72, first = 3>
// CHECK-DAG: #leech13r3_g48 = #glvq.leech<shells = 13, group = 48, residual = 3>
// CHECK-DAG: #e8p_g96 = #glvq.e8p<group = 96>
#l = #glvq.leech<shells = 13, group = 96>
#lg = #glvq.leech<group = 96, gain = 1, shells = 12>
#l3 = #glvq.leech<shells = 3, group = 72, first = 3, gain = 0>
#lr = #glvq.leech<shells = 13, group = 48, residual = 3>
#e = #glvq.e8p<group = 96>

// CHECK-LABEL: func.func @parts
func.func @parts(%l: !glvq.weight<64x192xf32, #l>, %lg: !glvq.weight<64x100xf16, #lg>, %l3: !glvq.weight<64x190xf32, #l3>,
                 %lr: !glvq.weight<64x64xbf16, #lr>, %e: !glvq.weight<64x101xf32, #e>) {
  // Two slots of 4 points of 48 bits.
  // CHECK: glvq.disassemble %{{.+}} : !glvq.weight<64x192xf32, #leech13_g96> to tensor<64x12xi32>, tensor<64xf16>, tensor<2xf16>
  %0:3 = glvq.disassemble %l : !glvq.weight<64x192xf32, #l> to tensor<64x12xi32>, tensor<64xf16>, tensor<2xf16>
  // 47 bits and a gain; one point in the last slot.
  // CHECK: !glvq.weight<64x100xf16, #leech12x1_g96> to tensor<64x8xi32>, tensor<64xf16>, tensor<2xf16>, tensor<2xf32>
  %1:4 = glvq.disassemble %lg : !glvq.weight<64x100xf16, #lg> to tensor<64x8xi32>, tensor<64xf16>, tensor<2xf16>, tensor<2xf32>
  // Slots of 3, 3 and 2 points of 24 bits.
  // CHECK: !glvq.weight<64x190xf32, #leech3_3_g72> to tensor<64x8xi32>, tensor<64xf16>, tensor<3xf16>
  %2:3 = glvq.disassemble %l3 : !glvq.weight<64x190xf32, #l3> to tensor<64x8xi32>, tensor<64xf16>, tensor<3xf16>
  // 72 bits a point.
  // CHECK: !glvq.weight<64x64xbf16, #leech13r3_g48> to tensor<64x8xi32>, tensor<64xf16>, tensor<2xf16>, tensor<1xf32>
  %3:4 = glvq.disassemble %lr : !glvq.weight<64x64xbf16, #lr> to tensor<64x8xi32>, tensor<64xf16>, tensor<2xf16>, tensor<1xf32>
  // CHECK: !glvq.weight<64x101xf32, #e8p_g96> to tensor<64x7xi32>, tensor<64xf16>, tensor<2xf16>
  %4:3 = glvq.disassemble %e : !glvq.weight<64x101xf32, #e> to tensor<64x7xi32>, tensor<64xf16>, tensor<2xf16>
  return
}

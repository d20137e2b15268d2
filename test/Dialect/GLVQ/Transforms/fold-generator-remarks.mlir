// RUN: %glvq-opt %s --glvq-fold-generator --remarks-filter=glvq -o %t 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: FileCheck %s < %t

// What is folded is said, and so is why the rest is not: that stays as it was.

// REMARK: [[@LINE+4]]:{{.*}} [Passed] FoldGenerator {{.*}}"generator folded into the activations"
// CHECK-LABEL: func.func @folded(
func.func @folded(%x: tensor<2x96xf32>, %c: tensor<8x6xi32>, %g: tensor<3x8x8xf16>, %s: tensor<8xf16>,
                  %acc: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %y = glvq.matmul ins(%x : tensor<2x96xf32>) codes(%c : tensor<8x6xi32>)
    params(%g, %s : tensor<3x8x8xf16>, tensor<8xf16>) outs(%acc : tensor<2x8xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32>} -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// REMARK: [[@LINE+6]]:{{.*}} [Missed] FoldGenerator {{.*}}"generator is not folded: its weights are no linear function of the codes"
// CHECK-LABEL: func.func @compander(
// CHECK-NEXT: %[[Y:.+]] = glvq.matmul
// CHECK-NEXT: return %[[Y]]
func.func @compander(%x: tensor<2x96xf32>, %c: tensor<8x6xi32>, %g: tensor<3x8x8xf16>, %s: tensor<8xf16>,
                     %m: tensor<3x2xf32>, %acc: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %y = glvq.matmul ins(%x : tensor<2x96xf32>) codes(%c : tensor<8x6xi32>)
    params(%g, %s, %m : tensor<3x8x8xf16>, tensor<8xf16>, tensor<3x2xf32>) outs(%acc : tensor<2x8xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32, compander = affine>} -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// REMARK: [Missed] FoldGenerator {{.*}}"generator is not folded: its weights are no linear function of the codes"
func.func @additive(%x: tensor<2x96xf32>, %c: tensor<26x3xi32>, %t: tensor<1x2x64xf32>, %s: tensor<8xf16>,
                    %g: tensor<3xf16>, %acc: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %y = glvq.matmul ins(%x : tensor<2x96xf32>) codes(%c : tensor<26x3xi32>)
    params(%t, %s, %g : tensor<1x2x64xf32>, tensor<8xf16>, tensor<3xf16>) outs(%acc : tensor<2x8xf32>)
    {code = #glvq.trellis<taps = 12, bits = 2, group = 32, nodes = additive>} -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// A slot of 8 fields of 3 bits is one word, of which the next slot's fields
// would have to begin at field 10 and two thirds.
// REMARK: [Missed] FoldGenerator {{.*}}"generator is not folded: the fields of its slots do not follow each other without gaps; make the bits of a group a multiple of 32"
func.func @gaps(%x: tensor<2x16xf32>, %c: tensor<8x2xi32>, %g: tensor<2x8x8xf16>, %s: tensor<8xf16>,
                %acc: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %y = glvq.matmul ins(%x : tensor<2x16xf32>) codes(%c : tensor<8x2xi32>)
    params(%g, %s : tensor<2x8x8xf16>, tensor<8xf16>) outs(%acc : tensor<2x8xf32>)
    {code = #glvq.lattice<dim = 8, bits = 3, group = 8>} -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// REMARK: [Missed] FoldGenerator {{.*}}"generator is not folded: the number of rows of its weight is dynamic"
func.func @rows(%x: tensor<2x96xf32>, %c: tensor<?x6xi32>, %g: tensor<3x8x8xf16>, %s: tensor<?xf16>,
                %acc: tensor<2x?xf32>) -> tensor<2x?xf32> {
  %y = glvq.matmul ins(%x : tensor<2x96xf32>) codes(%c : tensor<?x6xi32>)
    params(%g, %s : tensor<3x8x8xf16>, tensor<?xf16>) outs(%acc : tensor<2x?xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32>} -> tensor<2x?xf32>
  return %y : tensor<2x?xf32>
}

// REMARK: [Missed] FoldGenerator {{.*}}"generator is not folded: it is on buffers"
func.func @buffers(%x: memref<2x96xf32>, %c: memref<8x6xi32>, %g: memref<3x8x8xf16>, %s: memref<8xf16>,
                   %acc: memref<2x8xf32>) {
  glvq.matmul ins(%x : memref<2x96xf32>) codes(%c : memref<8x6xi32>)
    params(%g, %s : memref<3x8x8xf16>, memref<8xf16>) outs(%acc : memref<2x8xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32>}
  return
}

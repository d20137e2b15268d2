// RUN: %glvq-opt %s --split-input-file --glvq-materialize-weights | FileCheck %s --implicit-check-not='!glvq.weight'

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// Arguments become one for each part, with names of their own; the attributes
// of the others stay theirs. A declaration changes likewise.

// CHECK-LABEL: func.func private @external(
// CHECK-SAME: tensor<64x6xi32>, tensor<3x8x8xf16>, tensor<64xf16>, i32 {test.here})
func.func private @external(!w, i32 {test.here})

// CHECK-LABEL: func.func @forward(
// CHECK-SAME: %[[X:.+]]: tensor<?x96xf32> {glvq.input = "x"},
// CHECK-SAME: %[[C:.+]]: tensor<64x6xi32> {glvq.name = "up.codes"},
// CHECK-SAME: %[[G:.+]]: tensor<3x8x8xf16> {glvq.name = "up.generators"},
// CHECK-SAME: %[[S:.+]]: tensor<64xf16> {glvq.name = "up.scales"},
// CHECK-SAME: %{{.+}}: tensor<64x6xi32> {glvq.name = "other.codes"},
// CHECK-SAME: %{{.+}}: tensor<3x8x8xf16> {glvq.name = "other.generators"},
// CHECK-SAME: %{{.+}}: tensor<64xf16> {glvq.name = "other.scales"},
// CHECK-SAME: %[[ACC:.+]]: tensor<?x64xf32> {glvq.input = "acc"})
// CHECK-SAME: -> (tensor<?x64xf32> {glvq.output = "y"})
// CHECK: %[[Y:.+]] = call @layer(%[[X]], %[[C]], %[[G]], %[[S]], %[[ACC]])
// CHECK: call @external(%[[C]], %[[G]], %[[S]], %{{.+}})
// CHECK: return %[[Y]]
func.func @forward(%x: tensor<?x96xf32> {glvq.input = "x"}, %w: !w {glvq.name = "up.weight"},
                   %other: !w {glvq.name = "other"}, %acc: tensor<?x64xf32> {glvq.input = "acc"})
    -> (tensor<?x64xf32> {glvq.output = "y"}) {
  %y = call @layer(%x, %w, %acc) : (tensor<?x96xf32>, !w, tensor<?x64xf32>) -> tensor<?x64xf32>
  %i = arith.constant 1 : i32
  call @external(%w, %i) : (!w, i32) -> ()
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func.func private @layer(
// CHECK-SAME: %[[X:.+]]: tensor<?x96xf32>, %[[C:.+]]: tensor<64x6xi32>, %[[G:.+]]: tensor<3x8x8xf16>, %[[S:.+]]: tensor<64xf16>, %[[ACC:.+]]: tensor<?x64xf32>)
// CHECK: glvq.matmul ins(%[[X]] : tensor<?x96xf32>) codes(%[[C]] : tensor<64x6xi32>)
// CHECK-SAME: params(%[[G]], %[[S]] : tensor<3x8x8xf16>, tensor<64xf16>)
// CHECK-SAME: outs(%[[ACC]] : tensor<?x64xf32>) {code = #{{.+}}} -> tensor<?x64xf32>
func.func private @layer(%x: tensor<?x96xf32>, %w: !w, %acc: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %y = glvq.linear ins(%x, %w : tensor<?x96xf32>, !w) outs(%acc : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = [2 : 1, 3 : 2], group = 32>>

// Results, selects, loops and branches; a mixed code has one part more.
// CHECK-LABEL: func.func @control(
// CHECK: %[[SEL:.+]] = arith.select %{{.+}}, %{{.+}}, %{{.+}} : tensor<64x{{.*}}xi32>
// CHECK-COUNT-3: arith.select
// CHECK: %[[L:.+]]:4 = scf.for {{.*}} iter_args(%{{.+}} = %[[SEL]], %{{.+}}) -> (tensor<64x{{[0-9]+}}xi32>, tensor<3x8x8xf16>, tensor<64xf16>, tensor<3xi32>)
// CHECK: scf.yield %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}} :
// CHECK: %[[I:.+]]:4 = scf.if
// CHECK: cf.br ^[[BB:.+]](%[[I]]#0, %[[I]]#1, %[[I]]#2, %[[I]]#3 :
// CHECK: ^[[BB]](%[[P0:.+]]: tensor<64x{{[0-9]+}}xi32>, %[[P1:.+]]: tensor<3x8x8xf16>, %[[P2:.+]]: tensor<64xf16>, %[[P3:.+]]: tensor<3xi32>):
// CHECK: return %[[P0]], %[[P1]], %[[P2]], %[[P3]]
func.func @control(%a: !w, %b: !w, %c: i1, %n: index) -> !w {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %0 = arith.select %c, %a, %b : !w
  %1 = scf.for %i = %c0 to %n step %c1 iter_args(%w = %0) -> !w {
    %2 = func.call @control(%w, %b, %c, %i) : (!w, !w, i1, index) -> !w
    scf.yield %2 : !w
  }
  %3 = scf.if %c -> !w {
    scf.yield %1 : !w
  } else {
    scf.yield %a : !w
  }
  cf.br ^end(%3 : !w)
^end(%4: !w):
  return %4 : !w
}

// -----

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// Assembling and taking apart vanish.
// CHECK-LABEL: func.func @parts(
// CHECK-SAME: %[[C:.+]]: tensor<64x6xi32>, %[[G:.+]]: tensor<3x8x8xf16>, %[[S:.+]]: tensor<64xf16>)
// CHECK-NEXT: return %[[C]], %[[G]]
func.func @parts(%c: tensor<64x6xi32>, %g: tensor<3x8x8xf16>, %s: tensor<64xf16>) -> (tensor<64x6xi32>, tensor<3x8x8xf16>) {
  %w = glvq.assemble %c, %g, %s : tensor<64x6xi32>, tensor<3x8x8xf16>, tensor<64xf16> to !w
  %x:3 = glvq.disassemble %w : !w to tensor<64x6xi32>, tensor<3x8x8xf16>, tensor<64xf16>
  return %x#0, %x#1 : tensor<64x6xi32>, tensor<3x8x8xf16>
}

// What fusion left is decoded by the definition, and encoded by it.
// CHECK-LABEL: func.func @recode(
// CHECK-NOT: glvq.
// CHECK: linalg.generic
// CHECK: return
func.func @recode(%w: !w, %g: tensor<3x8x8xf16>, %s: tensor<64xf16>) -> !w {
  %0 = glvq.decode %w : !w to tensor<64x96xf32>
  %1 = glvq.encode %0, %g, %s : tensor<64x96xf32>, tensor<3x8x8xf16>, tensor<64xf16> to !w
  return %1 : !w
}

// Rows that are gathered are decoded one by one.
// CHECK-LABEL: func.func @gather(
// CHECK-SAME: %[[C:.+]]: tensor<64x6xi32>, %[[G:.+]]: tensor<3x8x8xf16>, %[[S:.+]]: tensor<64xf16>, %[[I:.+]]: tensor<?xi32>)
// CHECK: scf.for %[[IV:[a-z0-9]+]] = {{.*}} -> (tensor<?x96xf32>)
// CHECK: %[[N:.+]] = tensor.extract %[[I]][%[[IV]]]
// CHECK: %[[ROW:.+]] = arith.index_cast %[[N]] : i32 to index
// CHECK: tensor.extract_slice %[[C]][%[[ROW]], 0] [1, 6] [1, 1]
// CHECK: tensor.insert_slice %{{.+}} into %{{.+}}[%[[IV]], 0] [1, 96] [1, 1]
func.func @gather(%w: !w, %i: tensor<?xi32>) -> tensor<?x96xf32> {
  %0 = glvq.gather %w[%i] : !w, tensor<?xi32> to tensor<?x96xf32>
  return %0 : tensor<?x96xf32>
}

// The weight type and the lattice code, printed as they are written; aliases
// tell codes of the same width apart.
// RUN: %glvq-opt %s --verify-roundtrip | FileCheck %s

// CHECK-DAG: #[[W2:lattice8_w2_g96[0-9_]*]] = #glvq.lattice<dim = 8, bits = 2, group = 96>
// CHECK-DAG: #[[MU:lattice8_w2_g96[0-9_]*]] = #glvq.lattice<dim = 8, bits = 2, group = 96, compander = mu_law>
// CHECK-DAG: #lattice4_wmixed_g16 = #glvq.lattice<dim = 4, bits = [1 : 2, 3 : 4], group = 16, compander = affine>
// CHECK-DAG: #lattice8_wmixed_g32 = #glvq.lattice<dim = 8, bits = [2 : 1, 4 : 2, 1 : 1], group = 32>

// CHECK: func.func private @uniform(!glvq.weight<1536x576xf32, #[[W2]]>)
func.func private @uniform(!glvq.weight<1536x576xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>)
// CHECK: func.func private @compander(!glvq.weight<1536x576xbf16, #[[MU]]>)
func.func private @compander(!glvq.weight<1536x576xbf16, #glvq.lattice<dim = 8, bits = 2, group = 96, compander = mu_law>>)
// A shorter last group: 81 columns are five groups of 16, and one of 1.
// CHECK: func.func private @mixed(!glvq.weight<3x81xf16, #lattice4_wmixed_g16>)
func.func private @mixed(!glvq.weight<3x81xf16, #glvq.lattice<dim = 4, bits = [1 : 2, 3 : 4], group = 16, compander = affine>>)
// A shorter last group stays last, though its width breaks the order.
// CHECK: func.func private @last(!glvq.weight<3x100xf32, #lattice8_wmixed_g32>)
func.func private @last(!glvq.weight<3x100xf32, #glvq.lattice<dim = 8, bits = [2 : 1, 4 : 2, 1 : 1], group = 32>>)
// Rows may be dynamic, for tiles; a group may be wider than the weight.
// CHECK: func.func private @rows(!glvq.weight<?x40xf32, #[[W2]]>)
func.func private @rows(!glvq.weight<?x40xf32, #glvq.lattice<dim = 8, bits = 2, group = 96, compander = none>>)

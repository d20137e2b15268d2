// The kernels of the codes with fixed points: rows in the lanes, tables as constants of the module,
// one kernel for all products of the same code and shape.
// RUN: %glvq-opt %s --convert-glvq-to-vector | FileCheck %s

// CHECK-DAG: memref.global "private" constant @glvq_golay_words : memref<4096xi32> = dense<{{.*}}> {alignment = 64 : i64}
// CHECK-DAG: memref.global "private" constant @glvq_leech_0_13_offsets : memref<512xi64>
// CHECK-DAG: memref.global "private" constant @glvq_leech_0_13_values : memref<384xi32>
// CHECK-DAG: memref.global "private" constant @glvq_leech_0_13_radices_3 : memref<384xi32>
// CHECK-DAG: memref.global "private" constant @glvq_e8p_patterns : memref<256xi32>

// CHECK-LABEL: func @products
// CHECK: call @glvq_matmul_37x192(
// CHECK: call @glvq_matmul_37x192(
// CHECK: call @glvq_matmul_37x192_0(
func.func @products(%x: memref<?x192xf32>, %c: memref<37x12xi32>, %s: memref<37xf16>, %g: memref<2xf16>,
                    %y: memref<?x37xf32>) {
  glvq.matmul ins(%x : memref<?x192xf32>) codes(%c : memref<37x12xi32>) params(%s, %g : memref<37xf16>, memref<2xf16>)
    outs(%y : memref<?x37xf32>) {code = #glvq.leech<shells = 13, group = 96>}
  glvq.matmul ins(%x : memref<?x192xf32>) codes(%c : memref<37x12xi32>) params(%s, %g : memref<37xf16>, memref<2xf16>)
    outs(%y : memref<?x37xf32>) {code = #glvq.leech<shells = 13, group = 96>}
  glvq.matmul ins(%x : memref<?x192xf32>) codes(%c : memref<37x12xi32>) params(%s, %g : memref<37xf16>, memref<2xf16>)
    outs(%y : memref<?x37xf32>) {code = #glvq.e8p<group = 96>}
  return
}

// Three tiles of 16 rows; the last one repeats its last row.
// CHECK-LABEL: func private @glvq_matmul_37x192(
// CHECK: scf.parallel (%[[TILE:.*]]) = (%c0{{.*}}) to (%c3
// CHECK: arith.minui
// CHECK: memref.alloc() {{.*}} : memref<192x16xf32>
// The class, by binary search.
// CHECK-COUNT-9: vector.gather %{{.*}}[%{{.*}}] {{.*}} memref<512xi64>, vector<16xi32>
// Points that need a fourth choice at a position are decoded apart.
// CHECK: vector.reduction <or>
// CHECK: scf.if
// CHECK: scf.for
// CHECK: math.roundeven
// CHECK: else
// CHECK: scf.for
// CHECK: math.roundeven
// CHECK: vector.fma

// CHECK-LABEL: func private @glvq_matmul_37x192_0(
// CHECK: vector.gather %{{.*}} memref<256xi32>
// CHECK-NOT: scf.if
// CHECK: vector.fma

// RUN: %glvq-opt %s --convert-glvq-to-vector --split-input-file | FileCheck %s
// RUN: %glvq-opt %s --convert-glvq-to-vector=vector-length=8 --split-input-file | FileCheck %s --check-prefix=V8

// Both products have the same shape and code: one kernel. Two bits on sixteen lanes: every lane has
// its field in the same word, which is masked in place; no shift, no table.

#w2 = #glvq.lattice<dim = 8, bits = 2, group = 96>
// CHECK-LABEL: func.func @two(
// CHECK: call @[[K:glvq_matmul_16x576]](
// CHECK-NEXT: call @[[K]](
// CHECK-NEXT: return
// CHECK: func.func private @[[K]](
// The generators go to the activations of each token.
// CHECK: scf.parallel
// CHECK: arith.extf {{.*}} : vector<8xf16> to vector<8xf32>
// CHECK: vector.reduction <add>
// Then blocks of eight rows, in a loop over the six slots.
// CHECK: scf.parallel
// CHECK: scf.if
// CHECK: scf.for
// CHECK: scf.for {{.*}} iter_args({{.*}}) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK: %[[X:.*]] = vector.load {{.*}} : memref<?x576xf32>, vector<16xf32>
// CHECK: %[[WORD:.*]] = memref.load
// CHECK: %[[ALL:.*]] = vector.broadcast %[[WORD]] : i32 to vector<16xi32>
// CHECK: %[[FIELDS:.*]] = arith.andi %[[ALL]]
// CHECK-NOT: shift
// CHECK: %[[U:.*]] = arith.uitofp %[[FIELDS]] : vector<16xi32> to vector<16xf32>
// CHECK: vector.fma %[[U]], %[[X]]
// On eight lanes the bytes of the fields are picked out of four words.
// V8: vector.load {{.*}} : memref<16x36xi32>, vector<4xi32>
// V8: vector.bitcast {{.*}} : vector<4xi32> to vector<16xi8>
// V8: vector.shuffle {{.*}} : vector<16xi8>, vector<16xi8>
// V8: arith.sitofp {{.*}} : vector<8xi32> to vector<8xf32>
func.func @two(%x: memref<?x576xf32>, %c: memref<16x36xi32>, %g: memref<6x8x8xf16>,
               %s: memref<16xf16>, %y: memref<?x16xf32>) {
  glvq.matmul ins(%x : memref<?x576xf32>) codes(%c : memref<16x36xi32>)
    params(%g, %s : memref<6x8x8xf16>, memref<16xf16>) outs(%y : memref<?x16xf32>) {code = #w2}
  glvq.matmul ins(%x : memref<?x576xf32>) codes(%c : memref<16x36xi32>)
    params(%g, %s : memref<6x8x8xf16>, memref<16xf16>) outs(%y : memref<?x16xf32>) {code = #w2}
  return
}

// -----

// Other shapes and codes get other kernels; a name that is taken is not taken twice.

// CHECK-LABEL: func.func @other(
// CHECK: call @glvq_matmul_8x64(
// CHECK: call @glvq_matmul_8x64_0(
func.func @other(%x: memref<?x64xf32>, %c: memref<8x4xi32>, %d: memref<8x6xi32>,
                 %g: memref<2x8x8xf16>, %s: memref<8xf16>, %y: memref<?x8xf32>) {
  glvq.matmul ins(%x : memref<?x64xf32>) codes(%c : memref<8x4xi32>)
    params(%g, %s : memref<2x8x8xf16>, memref<8xf16>) outs(%y : memref<?x8xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32>}
  glvq.matmul ins(%x : memref<?x64xf32>) codes(%d : memref<8x6xi32>)
    params(%g, %s : memref<2x8x8xf16>, memref<8xf16>) outs(%y : memref<?x8xf32>)
    {code = #glvq.lattice<dim = 8, bits = 3, group = 32>}
  return
}

// -----

// A compander is not linear: no generator goes to the activations, and every weight is decoded: two
// points of eight in a vector, in registers.

// CHECK-LABEL: func.func @companded(
// CHECK: func.func private @glvq_matmul_8x64(
// CHECK: scf.parallel
// CHECK: scf.parallel
// CHECK: vector.shuffle {{.*}} [0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8] : vector<16xf32>
// CHECK: vector.load {{.*}} : memref<2x8x16xf32>, vector<16xf32>
// CHECK-NEXT: vector.fma
// CHECK: math.absf
// CHECK: memref.dealloc
func.func @companded(%x: memref<?x64xf32>, %c: memref<8x4xi32>, %g: memref<2x8x8xf16>,
                     %s: memref<8xf16>, %p: memref<2x2xf32>, %y: memref<?x8xf32>) {
  glvq.matmul ins(%x : memref<?x64xf32>) codes(%c : memref<8x4xi32>)
    params(%g, %s, %p : memref<2x8x8xf16>, memref<8xf16>, memref<2x2xf32>)
    outs(%y : memref<?x8xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32, compander = affine>}
  return
}

// -----

// On tensors a product waits for bufferization.

// CHECK-LABEL: func.func @tensors(
// CHECK: glvq.matmul
func.func @tensors(%x: tensor<?x64xf32>, %c: tensor<8x4xi32>, %g: tensor<2x8x8xf16>,
                   %s: tensor<8xf16>, %y: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %r = glvq.matmul ins(%x : tensor<?x64xf32>) codes(%c : tensor<8x4xi32>)
    params(%g, %s : tensor<2x8x8xf16>, tensor<8xf16>) outs(%y : tensor<?x8xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 32>} -> tensor<?x8xf32>
  return %r : tensor<?x8xf32>
}

// RUN: %glvq-opt %s --glvq-parallel-loops-to-calls | FileCheck %s

// The hook is a variable of the library, null until the host stores one.
// CHECK:       llvm.mlir.global external @glvq_parallel_for() {{.*}} : !llvm.ptr {
// CHECK-NEXT:    llvm.mlir.zero
// CHECK:       func.func private @glvq_dispatch(

// CHECK-LABEL: func.func @first(
// CHECK:         %[[CONTEXT:.*]] = llvm.alloca %{{.*}} x !llvm.struct<(f32, struct<
// CHECK:         llvm.store
// CHECK:         constant @first_parallel :
// CHECK:         call @glvq_dispatch(%{{.*}}, %[[CONTEXT]], %{{.*}})
// CHECK-NOT:     scf.parallel
func.func @first(%m: memref<8xf32>, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  scf.parallel (%i) = (%c0) to (%c8) step (%c1) {
    memref.store %v, %m[%i] : memref<8xf32>
  }
  return
}

// An equal body is the same function.
// CHECK-LABEL: func.func @second(
// CHECK:         constant @first_parallel :
func.func @second(%m: memref<8xf32>, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  scf.parallel (%i) = (%c0) to (%c8) step (%c1) {
    memref.store %v, %m[%i] : memref<8xf32>
  }
  return
}

// Scratch of an iteration is taken once, outside the loop; inner parallel loops are part of the body.
// CHECK-LABEL: func.func @nested(
// CHECK:         constant @nested_parallel :
func.func @nested(%m: memref<8x4xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  scf.parallel (%i) = (%c0) to (%c8) step (%c1) {
    %scratch = memref.alloca() : memref<4xf32>
    scf.parallel (%j) = (%c0) to (%c4) step (%c1) {
      %v = memref.load %m[%i, %j] : memref<8x4xf32>
      memref.store %v, %scratch[%j] : memref<4xf32>
    }
  }
  return
}

// CHECK-LABEL: func.func private @first_parallel(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64)
// CHECK:         scf.for
// CHECK:           memref.store
// CHECK-LABEL: func.func private @nested_parallel(
// CHECK:         memref.alloca
// CHECK:         scf.for
// CHECK:           scf.parallel

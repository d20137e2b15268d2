// Copies, strided ones too, need no function of MLIR's runner library.
// RUN: %glvq-opt %s --glvq-expand-copies | FileCheck %s

// CHECK-LABEL: func.func @strided
// CHECK-NOT:   memref.copy
// CHECK:       linalg.generic
func.func @strided(%a: memref<4x8xf32, strided<[16, 1]>>, %b: memref<4x8xf32>) {
  memref.copy %a, %b : memref<4x8xf32, strided<[16, 1]>> to memref<4x8xf32>
  return
}

// A buffer copied onto itself, a state that was updated in place, costs nothing.
// CHECK-LABEL: func.func @self
// CHECK-NEXT:  return
func.func @self(%a: memref<4xf32>) {
  memref.copy %a, %a : memref<4xf32> to memref<4xf32>
  return
}

// A dimension split into two dynamic ones: upstream's expand-strided-metadata
// would crash on it.
// RUN: %glvq-opt %s --glvq-expand-dynamic-shapes | FileCheck %s
// RUN: %glvq-opt %s --glvq-expand-dynamic-shapes --expand-strided-metadata | FileCheck %s --check-prefix=EXPANDED

// CHECK: #[[$PRODUCT:.*]] = affine_map<()[s0] -> (s0 * 32)>

// CHECK-LABEL: func.func @two
// CHECK-SAME:  %[[X:.*]]: memref<?x32xf32>, %[[B:.*]]: index, %[[N:.*]]: index
// CHECK:       %[[BASE:.*]], %{{.*}}, %{{.*}}:2, %{{.*}}:2 = memref.extract_strided_metadata %[[X]]
// CHECK:       %[[S:.*]] = affine.apply #[[$PRODUCT]]()[%[[N]]]
// CHECK:       memref.reinterpret_cast %[[BASE]] to offset: [0], sizes: [%[[B]], %[[N]], 32], strides: [%[[S]], 32, 1]
// CHECK-NOT:   expand_shape
func.func @two(%x: memref<?x32xf32>, %b: index, %n: index) -> memref<?x?x32xf32> {
  %y = memref.expand_shape %x [[0, 1], [2]] output_shape [%b, %n, 32] : memref<?x32xf32> into memref<?x?x32xf32>
  return %y : memref<?x?x32xf32>
}

// Of a view: its own strides go on.
// CHECK-LABEL: func.func @strided
// CHECK:       memref.reinterpret_cast %{{.*}} to offset: [%{{.*}}], sizes: [%{{.*}}, %{{.*}}, 2], strides: [%{{.*}}, 6, 3]
func.func @strided(%x: memref<?xf32, strided<[3], offset: ?>>, %b: index, %n: index) -> memref<?x?x2xf32, strided<[?, 6, 3], offset: ?>> {
  %y = memref.expand_shape %x [[0, 1, 2]] output_shape [%b, %n, 2]
    : memref<?xf32, strided<[3], offset: ?>> into memref<?x?x2xf32, strided<[?, 6, 3], offset: ?>>
  return %y : memref<?x?x2xf32, strided<[?, 6, 3], offset: ?>>
}

// One dynamic size is upstream's own business.
// CHECK-LABEL: func.func @one
// CHECK-NEXT:  memref.expand_shape
func.func @one(%x: memref<?xf32>, %n: index) -> memref<?x4xf32> {
  %y = memref.expand_shape %x [[0, 1]] output_shape [%n, 4] : memref<?xf32> into memref<?x4xf32>
  return %y : memref<?x4xf32>
}

// EXPANDED-NOT: expand_shape

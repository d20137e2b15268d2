// RUN: %glvq-opt %s --glvq-allocate-on-device --split-input-file | FileCheck %s

// A buffer for kernels only, and one that is returned.
// CHECK-LABEL: func @buffers(
// CHECK-SAME:      %[[N:.*]]: index
// CHECK:         %[[T0:.*]] = gpu.wait async
// CHECK:         %[[OWN:.*]], %[[T1:.*]] = gpu.alloc async [%[[T0]]] (%[[N]]) : memref<?x4xf32>
// CHECK:         gpu.wait [%[[T1]]]
// CHECK:         %[[BOTH:.*]] = gpu.alloc host_shared () : memref<8xf32>
// CHECK:         gpu.launch_func
// CHECK:         %[[T2:.*]] = gpu.wait async
// CHECK:         %[[T3:.*]] = gpu.dealloc async [%[[T2]]] %[[OWN]] : memref<?x4xf32>
// CHECK:         gpu.wait [%[[T3]]]
// CHECK:         return %[[BOTH]]
module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @k(%a: index, %b: index) kernel { gpu.return }
  }
  func.func @buffers(%n: index) -> memref<8xf32> {
    %one = arith.constant 1 : index
    %own = memref.alloc(%n) : memref<?x4xf32>
    %flat = memref.collapse_shape %own [[0, 1]] : memref<?x4xf32> into memref<?xf32>
    %both = memref.alloc() : memref<8xf32>
    %p = memref.extract_aligned_pointer_as_index %flat : memref<?xf32> -> index
    %q = memref.extract_aligned_pointer_as_index %both : memref<8xf32> -> index
    gpu.launch_func @kernels::@k blocks in (%one, %one, %one) threads in (%one, %one, %one)
      args(%p : index, %q : index)
    memref.dealloc %own : memref<?x4xf32>
    return %both : memref<8xf32>
  }
}

// -----

// No kernels: memory stays that of the host.
// CHECK-LABEL: func @host(
// CHECK:         memref.alloc()
func.func @host() -> memref<8xf32> {
  %0 = memref.alloc() : memref<8xf32>
  return %0 : memref<8xf32>
}

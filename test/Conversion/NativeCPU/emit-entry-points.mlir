// One pointer per argument: to a descriptor, or to a number.
// RUN: %glvq-opt %s --glvq-emit-entry-points | FileCheck %s

// CHECK-LABEL: func.func private @entry(
// CHECK-NOT:     entry_arguments
// CHECK-LABEL: func.func @glvq_entry_entry(%{{.*}}: !llvm.ptr)
// CHECK-SAME:    glvq.entry_arguments
// CHECK:         llvm.getelementptr %{{.*}}[0]
// CHECK:         llvm.load %{{.*}} : !llvm.ptr -> !llvm.struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>
// CHECK:         llvm.getelementptr %{{.*}}[1]
// CHECK:         llvm.load %{{.*}} : !llvm.ptr -> i64
// CHECK:         call @entry(
func.func @entry(%x: memref<?xf32>, %p: i64) attributes {
    glvq.entry_arguments = [{name = "x", role = "input", type = memref<?xf32>},
                            {name = "position", role = "input", type = i64}]} {
  return
}

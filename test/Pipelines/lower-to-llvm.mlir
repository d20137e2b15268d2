// An entry of a model becomes one C function; a state that a layer updates is
// updated where it is: nothing is allocated for it and nothing copied.
// RUN: %glvq-opt %s --lower-glvq-to-llvm | FileCheck %s
// RUN: %glvq-opt %s --lower-glvq-to-llvm | mlir-translate --mlir-to-llvmir | FileCheck %s --check-prefix=LLVM

// CHECK-NOT:   llvm.func @malloc
// CHECK:       llvm.func @layer(
// CHECK-NOT:     "llvm.intr.memcpy"
// CHECK:       llvm.func @decode(
// CHECK-COUNT-2: llvm.call @layer(
// CHECK:       llvm.func @glvq_entry_decode(%{{.*}}: !llvm.ptr)
// CHECK-NOT:   unrealized_conversion_cast

// LLVM:       define void @glvq_entry_decode(ptr %{{.*}})

func.func private @layer(%x: tensor<1x64xf32>, %cache: tensor<?x64xf32>, %position: index) -> tensor<?x64xf32> {
  %new = tensor.insert_slice %x into %cache[%position, 0] [1, 64] [1, 1] : tensor<1x64xf32> into tensor<?x64xf32>
  return %new : tensor<?x64xf32>
}

func.func @decode(%x: tensor<1x64xf32> {glvq.input = "x"},
                  %position: i64 {glvq.input = "position"},
                  %a: tensor<?x64xf32> {glvq.state = "a"},
                  %b: tensor<?x64xf32> {glvq.state = "b"})
    -> (tensor<?x64xf32> {glvq.state = "a"}, tensor<?x64xf32> {glvq.state = "b"}) {
  %p = arith.index_cast %position : i64 to index
  %0 = call @layer(%x, %a, %p) : (tensor<1x64xf32>, tensor<?x64xf32>, index) -> tensor<?x64xf32>
  %1 = call @layer(%x, %b, %p) : (tensor<1x64xf32>, tensor<?x64xf32>, index) -> tensor<?x64xf32>
  return %0, %1 : tensor<?x64xf32>, tensor<?x64xf32>
}

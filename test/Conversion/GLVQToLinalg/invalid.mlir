// What cannot be lowered is reported, not left behind.
// RUN: %glvq-opt %s --convert-glvq-to-linalg --split-input-file --verify-diagnostics

!weight = !glvq.weight<4x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 96>>

func.func @argument(%w: !weight) -> tensor<4x96xf32> {
  // expected-error @+1 {{its weight comes from, or goes to, an op that cannot be lowered; run glvq-materialize-weights first}}
  %d = glvq.decode %w : !weight to tensor<4x96xf32>
  return %d : tensor<4x96xf32>
}

// -----

func.func @buffers(%x: memref<2x96xf32>, %c: memref<4x6xi32>, %g: memref<1x8x8xf16>,
                   %s: memref<4xf16>, %y: memref<2x4xf32>) {
  // expected-error @+1 {{on buffers has no lowering to linalg; convert before bufferization}}
  glvq.matmul ins(%x : memref<2x96xf32>) codes(%c : memref<4x6xi32>)
    params(%g, %s : memref<1x8x8xf16>, memref<4xf16>) outs(%y : memref<2x4xf32>)
    {code = #glvq.lattice<dim = 8, bits = 2, group = 96>}
  return
}

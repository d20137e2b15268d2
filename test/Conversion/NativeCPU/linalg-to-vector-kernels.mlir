// RUN: %glvq-opt %s --glvq-linalg-to-vector-kernels --canonicalize --split-input-file | FileCheck %s
// RUN: %glvq-opt %s --glvq-linalg-to-vector-kernels="vector-width=8 grain=1" --canonicalize --split-input-file | FileCheck %s --check-prefix=NARROW

#x = affine_map<(m, n, k) -> (m, k)>
#w = affine_map<(m, n, k) -> (n, k)>
#y = affine_map<(m, n, k) -> (m, n)>

// One token: eight rows of the weight at a time, straight through memory; few
// products stay on their thread.
// CHECK-LABEL: func.func @decode
// CHECK-NOT:   scf.parallel
// CHECK:       scf.for
// CHECK:         %{{.*}}:8 = scf.for {{.*}} iter_args
// CHECK-COUNT-9:   vector.load
// CHECK-COUNT-8:   vector.fma {{.*}} : vector<16xf32>
// CHECK-COUNT-8: vector.reduction <add>
// CHECK-NOT:   vector.maskedload
// NARROW-LABEL: func.func @decode
// NARROW:       scf.parallel
// NARROW:       vector.fma {{.*}} : vector<8xf32>
func.func @decode(%x: memref<1x64xf32>, %w: memref<512x64xf32>, %y: memref<1x512xf32>) {
  linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : memref<1x64xf32>, memref<512x64xf32>) outs(%y : memref<1x512xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %p, %c : f32
    linalg.yield %s : f32
  }
  return
}

// -----

#x = affine_map<(m, n, k) -> (m, k)>
#w = affine_map<(m, n, k) -> (k, n)>
#y = affine_map<(m, n, k) -> (m, n)>

// A weight stored by input rows, of narrow floats, with columns and tokens left over.
// CHECK-LABEL: func.func @stored_by_inputs
// CHECK:       scf.parallel
// CHECK:         scf.if
// CHECK:           vector.load {{.*}} : memref<?x100xf16>, vector<16xf16>
// CHECK:           arith.extf
// CHECK-COUNT-16:  vector.fma
// CHECK:         else
// CHECK:           vector.create_mask
// CHECK:           vector.maskedload
// CHECK:           vector.maskedstore
// NARROW-LABEL: func.func @stored_by_inputs
func.func @stored_by_inputs(%x: memref<?x?xf32>, %w: memref<?x100xf16>, %y: memref<?x100xf32>) {
  linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : memref<?x?xf32>, memref<?x100xf16>) outs(%y : memref<?x100xf32>) {
  ^bb0(%a: f32, %b: f16, %c: f32):
    %e = arith.extf %b : f16 to f32
    %p = arith.mulf %a, %e : f32
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  }
  return
}

// -----

#x = affine_map<(m, n, k) -> (k, m)>
#w = affine_map<(m, n, k) -> (n, k)>
#y = affine_map<(m, n, k) -> (m, n)>

// Neither form: left to plain loops.
// CHECK-LABEL: func.func @neither
// CHECK:       linalg.generic
// NARROW-LABEL: func.func @neither
func.func @neither(%x: memref<4x8xf32>, %w: memref<16x4xf32>, %y: memref<8x16xf32>) {
  linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : memref<4x8xf32>, memref<16x4xf32>) outs(%y : memref<8x16xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %p, %c : f32
    linalg.yield %s : f32
  }
  return
}

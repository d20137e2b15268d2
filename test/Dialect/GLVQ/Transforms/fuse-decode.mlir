// RUN: %glvq-opt %s --split-input-file --glvq-fuse-decode --cse | FileCheck %s

// Each function is one form in which a product with a weight is imported. All
// become `glvq.linear`, and no decoded weight is left.

// CHECK-NOT: glvq.decode

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// x Wᵀ by a transpose, with a dynamic batch; the accumulator stays.
// CHECK-LABEL: func @transposed(
// CHECK-SAME: %[[X:.+]]: tensor<?x96xf32>, %[[W:.+]]: !glvq.weight{{.*}}, %[[ACC:.+]]: tensor<?x64xf32>)
// CHECK-NEXT: %[[Y:.+]] = glvq.linear ins(%[[X]], %[[W]] : {{.*}}) outs(%[[ACC]] : tensor<?x64xf32>)
// CHECK-NEXT: return %[[Y]]
func.func @transposed(%x: tensor<?x96xf32>, %w: !w, %acc: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %d = glvq.decode %w : !w to tensor<64x96xf32>
  %e = tensor.empty() : tensor<96x64xf32>
  %t = linalg.transpose ins(%d : tensor<64x96xf32>) outs(%e : tensor<96x64xf32>) permutation = [1, 0]
  %y = linalg.matmul ins(%x, %t : tensor<?x96xf32>, tensor<96x64xf32>)
                     outs(%acc : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// A transpose that was generalized, and one that is in the maps of the product.
#ij = affine_map<(i, j) -> (i, j)>
#ji = affine_map<(i, j) -> (j, i)>
#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
// CHECK-LABEL: func @maps(
// CHECK-SAME: %[[X:.+]]: tensor<4x96xf32>, %[[W:.+]]: !glvq.weight
// CHECK: glvq.linear ins(%[[X]], %[[W]] :
// CHECK: glvq.linear ins(%[[X]], %[[W]] :
func.func @maps(%x: tensor<4x96xf32>, %w: !w, %acc: tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %d = glvq.decode %w : !w to tensor<64x96xf32>
  %e = tensor.empty() : tensor<96x64xf32>
  %t = linalg.generic {indexing_maps = [#ji, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%d : tensor<64x96xf32>) outs(%e : tensor<96x64xf32>) {
    ^bb0(%in: f32, %out: f32):
      linalg.yield %in : f32
  } -> tensor<96x64xf32>
  %y = linalg.matmul ins(%x, %t : tensor<4x96xf32>, tensor<96x64xf32>)
                     outs(%acc : tensor<4x64xf32>) -> tensor<4x64xf32>
  %z = linalg.matmul indexing_maps = [#mk, #nk, #mn]
         ins(%x, %d : tensor<4x96xf32>, tensor<64x96xf32>) outs(%y : tensor<4x64xf32>) -> tensor<4x64xf32>
  return %y, %z : tensor<4x64xf32>, tensor<4x64xf32>
}

// -----

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// A weight broadcast over a dynamic batch: the batch dimensions are one.
// CHECK-LABEL: func @batch(
// CHECK-SAME: %[[X:.+]]: tensor<?x?x96xf32>, %[[W:.+]]: !glvq.weight{{.*}}, %[[E:.+]]: tensor<?x96x64xf32>, %[[ACC:.+]]: tensor<?x?x64xf32>)
// CHECK-DAG: %[[X2:.+]] = tensor.collapse_shape %[[X]] {{\[}}[0, 1], [2]] : tensor<?x?x96xf32> into tensor<?x96xf32>
// CHECK-DAG: %[[ACC2:.+]] = tensor.collapse_shape %[[ACC]] {{\[}}[0, 1], [2]] : tensor<?x?x64xf32> into tensor<?x64xf32>
// CHECK: %[[Y:.+]] = glvq.linear ins(%[[X2]], %[[W]] : {{.*}}) outs(%[[ACC2]] :
// CHECK: tensor.expand_shape %[[Y]] {{\[}}[0, 1], [2]] output_shape [%{{.+}}, %{{.+}}, 64]
func.func @batch(%x: tensor<?x?x96xf32>, %w: !w, %e: tensor<?x96x64xf32>, %acc: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %d = glvq.decode %w : !w to tensor<64x96xf32>
  %et = tensor.empty() : tensor<96x64xf32>
  %t = linalg.transpose ins(%d : tensor<64x96xf32>) outs(%et : tensor<96x64xf32>) permutation = [1, 0]
  %b = linalg.broadcast ins(%t : tensor<96x64xf32>) outs(%e : tensor<?x96x64xf32>) dimensions = [0]
  %y = linalg.batch_matmul ins(%x, %b : tensor<?x?x96xf32>, tensor<?x96x64xf32>)
                           outs(%acc : tensor<?x?x64xf32>) -> tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}

// -----

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// A batch of one, made by a reshape.
// CHECK-LABEL: func @unit_batch(
// CHECK: %[[Y:.+]] = glvq.linear ins(%{{.+}}, %{{.+}} : tensor<?x96xf32>,
// CHECK: tensor.expand_shape %[[Y]]
func.func @unit_batch(%x: tensor<1x?x96xf32>, %w: !w, %acc: tensor<1x?x64xf32>) -> tensor<1x?x64xf32> {
  %d = glvq.decode %w : !w to tensor<64x96xf32>
  %et = tensor.empty() : tensor<96x64xf32>
  %t = linalg.transpose ins(%d : tensor<64x96xf32>) outs(%et : tensor<96x64xf32>) permutation = [1, 0]
  %b = tensor.expand_shape %t [[0, 1], [2]] output_shape [1, 96, 64] : tensor<96x64xf32> into tensor<1x96x64xf32>
  %y = linalg.batch_matmul ins(%x, %b : tensor<1x?x96xf32>, tensor<1x96x64xf32>)
                           outs(%acc : tensor<1x?x64xf32>) -> tensor<1x?x64xf32>
  return %y : tensor<1x?x64xf32>
}

// -----

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// W xᵀ: the operands the other way round. The transposed input is seen through,
// the result is transposed.
// CHECK-LABEL: func @left(
// CHECK-SAME: %[[X:.+]]: tensor<?x96xf32>, %[[W:.+]]: !glvq.weight{{.*}}, %{{.+}}: tensor<96x?xf32>, %[[ACC:.+]]: tensor<64x?xf32>)
// CHECK: %[[A:.+]] = linalg.transpose ins(%[[ACC]] : tensor<64x?xf32>)
// CHECK: %[[Y:.+]] = glvq.linear ins(%[[X]], %[[W]] : {{.*}}) outs(%[[A]] :
// CHECK: linalg.transpose ins(%[[Y]] : tensor<?x64xf32>) outs(%{{.+}} : tensor<64x?xf32>) permutation = [1, 0]
func.func @left(%x: tensor<?x96xf32>, %w: !w, %e: tensor<96x?xf32>, %acc: tensor<64x?xf32>) -> tensor<64x?xf32> {
  %d = glvq.decode %w : !w to tensor<64x96xf32>
  %t = linalg.transpose ins(%x : tensor<?x96xf32>) outs(%e : tensor<96x?xf32>) permutation = [1, 0]
  %y = linalg.matmul ins(%d, %t : tensor<64x96xf32>, tensor<96x?xf32>)
                     outs(%acc : tensor<64x?xf32>) -> tensor<64x?xf32>
  return %y : tensor<64x?xf32>
}

// -----

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// A vector is a batch of one.
// CHECK-LABEL: func @vector(
// CHECK: %[[X:.+]] = tensor.expand_shape %{{.+}} {{\[}}[0, 1]] output_shape [1, 96] : tensor<96xf32> into tensor<1x96xf32>
// CHECK: %[[Y:.+]] = glvq.linear ins(%[[X]], %{{.+}} : tensor<1x96xf32>,
// CHECK: tensor.collapse_shape %[[Y]] {{\[}}[0, 1]] : tensor<1x64xf32> into tensor<64xf32>
func.func @vector(%x: tensor<96xf32>, %w: !w, %acc: tensor<64xf32>) -> tensor<64xf32> {
  %d = glvq.decode %w : !w to tensor<64x96xf32>
  %y = linalg.matvec ins(%d, %x : tensor<64x96xf32>, tensor<96xf32>) outs(%acc : tensor<64xf32>) -> tensor<64xf32>
  return %y : tensor<64xf32>
}

// -----

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// W = D_out H_out W~ H_in D_in: the rotation of the columns moves to the input,
// forward, and two products of one input share it; that of the rows moves to
// the result, inverse. Zeros are accumulated on as they are.
#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
// CHECK-LABEL: func @rotated(
// CHECK-SAME: %[[X:.+]]: tensor<4x96xf32>, %[[Q:.+]]: !glvq.weight{{.*}}, %[[V:.+]]: !glvq.weight{{.*}}, %[[IN:.+]]: tensor<3xi32>, %[[OUT:.+]]: tensor<2xi32>)
// CHECK: %[[ZERO:.+]] = linalg.fill
// CHECK: %[[R:.+]] = glvq.hadamard %[[X]] signs(%[[IN]] : tensor<3xi32>) dimension 1 : tensor<4x96xf32>
// CHECK: %[[Y:.+]] = glvq.linear ins(%[[R]], %[[Q]] : {{.*}}) outs(%[[ZERO]] :
// CHECK: %[[YR:.+]] = glvq.hadamard %[[Y]] signs(%[[OUT]] : tensor<2xi32>) dimension 1 inverse : tensor<4x64xf32>
// CHECK: %[[Z:.+]] = glvq.linear ins(%[[R]], %[[V]] : {{.*}}) outs(%[[ZERO]] :
// CHECK: return %[[YR]], %[[Z]]
func.func @rotated(%x: tensor<4x96xf32>, %q: !w, %v: !w, %in: tensor<3xi32>, %out: tensor<2xi32>)
    -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %q0 = glvq.decode %q : !w to tensor<64x96xf32>
  %q1 = glvq.hadamard %q0 signs(%in : tensor<3xi32>) dimension 1 inverse : tensor<64x96xf32>
  %q2 = glvq.hadamard %q1 signs(%out : tensor<2xi32>) dimension 0 inverse : tensor<64x96xf32>
  %v0 = glvq.decode %v : !w to tensor<64x96xf32>
  %v1 = glvq.hadamard %v0 signs(%in : tensor<3xi32>) dimension 1 inverse : tensor<64x96xf32>
  %c0 = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x64xf32>
  %zero = linalg.fill ins(%c0 : f32) outs(%e : tensor<4x64xf32>) -> tensor<4x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk, #mn]
         ins(%x, %q2 : tensor<4x96xf32>, tensor<64x96xf32>) outs(%zero : tensor<4x64xf32>) -> tensor<4x64xf32>
  %z = linalg.matmul indexing_maps = [#mk, #nk, #mn]
         ins(%x, %v1 : tensor<4x96xf32>, tensor<64x96xf32>) outs(%zero : tensor<4x64xf32>) -> tensor<4x64xf32>
  return %y, %z : tensor<4x64xf32>, tensor<4x64xf32>
}

// -----

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// Several rotations of one side keep their order; the accumulator is not
// rotated, so it is added afterwards.
#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
// CHECK-LABEL: func @order(
// CHECK-SAME: %[[X:.+]]: tensor<?x96xf32>, %[[W:.+]]: !glvq.weight{{.*}}, %[[A:[^:]+]]: tensor<3xi32>, %[[B:[^:]+]]: tensor<3xi32>, %[[C:[^:]+]]: tensor<2xi32>, %[[D:[^:]+]]: tensor<2xi32>, %[[ACC:.+]]: tensor<?x64xf32>)
// CHECK: %[[X1:.+]] = glvq.hadamard %[[X]] signs(%[[B]] : tensor<3xi32>) dimension 1 inverse
// CHECK: %[[X2:.+]] = glvq.hadamard %[[X1]] signs(%[[A]] : tensor<3xi32>) dimension 1 :
// CHECK: %[[ZERO:.+]] = linalg.fill
// CHECK: %[[Y:.+]] = glvq.linear ins(%[[X2]], %[[W]] : {{.*}}) outs(%[[ZERO]] :
// CHECK: %[[Y1:.+]] = glvq.hadamard %[[Y]] signs(%[[C]] : tensor<2xi32>) dimension 1 inverse
// CHECK: %[[Y2:.+]] = glvq.hadamard %[[Y1]] signs(%[[D]] : tensor<2xi32>) dimension 1 :
// CHECK: linalg.add ins(%[[Y2]], %[[ACC]] :
func.func @order(%x: tensor<?x96xf32>, %w: !w, %a: tensor<3xi32>, %b: tensor<3xi32>,
                 %c: tensor<2xi32>, %d: tensor<2xi32>, %acc: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %0 = glvq.decode %w : !w to tensor<64x96xf32>
  %1 = glvq.hadamard %0 signs(%a : tensor<3xi32>) dimension 1 inverse : tensor<64x96xf32>
  %2 = glvq.hadamard %1 signs(%c : tensor<2xi32>) dimension 0 inverse : tensor<64x96xf32>
  %3 = glvq.hadamard %2 signs(%b : tensor<3xi32>) dimension 1 : tensor<64x96xf32>
  %4 = glvq.hadamard %3 signs(%d : tensor<2xi32>) dimension 0 : tensor<64x96xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk, #mn]
         ins(%x, %4 : tensor<?x96xf32>, tensor<64x96xf32>) outs(%acc : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// Columns and rows of unknown number are those of the weight.
// CHECK-LABEL: func @dynamic(
// CHECK: tensor.cast %{{.+}} : tensor<?x?xf32> to tensor<?x96xf32>
// CHECK: glvq.linear
// CHECK: tensor.cast %{{.+}} : tensor<?x64xf32> to tensor<?x?xf32>
func.func @dynamic(%x: tensor<?x?xf32>, %w: !w, %acc: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = glvq.decode %w : !w to tensor<64x96xf32>
  %e = tensor.empty() : tensor<96x64xf32>
  %t = linalg.transpose ins(%0 : tensor<64x96xf32>) outs(%e : tensor<96x64xf32>) permutation = [1, 0]
  %c = tensor.cast %t : tensor<96x64xf32> to tensor<?x?xf32>
  %y = linalg.matmul ins(%x, %c : tensor<?x?xf32>, tensor<?x?xf32>) outs(%acc : tensor<?x?xf32>) -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}

// -----

#in = affine_map<(b, t, c) -> (b, t)>
#id = affine_map<(b, t, c) -> (b, t, c)>
!w = !glvq.weight<64x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// An embedding decodes the rows it reads.
// CHECK-LABEL: func @embedding(
// CHECK: %[[I:.+]] = tensor.collapse_shape %{{.+}} {{\[\[}}0, 1]] : tensor<1x?xi64> into tensor<?xi64>
// CHECK: %[[R:.+]] = glvq.gather %{{.+}}[%[[I]]] : {{.*}} to tensor<?x96xf32>
// CHECK: tensor.expand_shape %[[R]] {{\[\[}}0, 1], [2]] {{.*}} : tensor<?x96xf32> into tensor<1x?x96xf32>
// CHECK-NOT: glvq.decode
func.func @embedding(%w: !w, %tokens: tensor<1x?xi64>, %init: tensor<1x?x96xf32>) -> tensor<1x?x96xf32> {
  %d = glvq.decode %w : !w to tensor<64x96xf32>
  %r = linalg.generic {indexing_maps = [#in, #id], iterator_types = ["parallel", "parallel", "parallel"]}
         ins(%tokens : tensor<1x?xi64>) outs(%init : tensor<1x?x96xf32>) {
  ^bb0(%token: i64, %out: f32):
    %row = arith.index_cast %token : i64 to index
    %column = linalg.index 2 : index
    %e = tensor.extract %d[%row, %column] : tensor<64x96xf32>
    linalg.yield %e : f32
  } -> tensor<1x?x96xf32>
  return %r : tensor<1x?x96xf32>
}

// -----

#in = affine_map<(t, c) -> (t)>
#id = affine_map<(t, c) -> (t, c)>
!w = !glvq.weight<96x96xf32, #glvq.lattice<dim = 8, bits = 2, group = 32>>

// Reading columns by number is something else.
// CHECK-LABEL: func @columns(
// CHECK: glvq.decode
// CHECK-NOT: glvq.gather
func.func @columns(%w: !w, %tokens: tensor<5xi64>, %init: tensor<5x96xf32>) -> tensor<5x96xf32> {
  %d = glvq.decode %w : !w to tensor<96x96xf32>
  %r = linalg.generic {indexing_maps = [#in, #id], iterator_types = ["parallel", "parallel"]}
         ins(%tokens : tensor<5xi64>) outs(%init : tensor<5x96xf32>) {
  ^bb0(%token: i64, %out: f32):
    %row = arith.index_cast %token : i64 to index
    %column = linalg.index 1 : index
    %e = tensor.extract %d[%column, %row] : tensor<96x96xf32>
    linalg.yield %e : f32
  } -> tensor<5x96xf32>
  return %r : tensor<5x96xf32>
}

// A rotated 2-bit linear, and one with mixed widths and a compander.
#w2 = #glvq.lattice<dim = 8, bits = 2, group = 96>
#mixed = #glvq.lattice<dim = 8, bits = [1 : 1, 3 : 2, 5 : 1, 7 : 1], group = 40, compander = mu_law>
func.func @linear(%x: tensor<?x576xf32>, %signs: tensor<18xi32>,
                  %w: !glvq.weight<1536x576xf32, #w2>) -> tensor<?x1536xf32> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %n = tensor.dim %x, %c0 : tensor<?x576xf32>
  %rotated = glvq.hadamard %x signs(%signs : tensor<18xi32>) dimension 1 : tensor<?x576xf32>
  %empty = tensor.empty(%n) : tensor<?x1536xf32>
  %acc = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x1536xf32>) -> tensor<?x1536xf32>
  %y = glvq.linear ins(%rotated, %w : tensor<?x576xf32>, !glvq.weight<1536x576xf32, #w2>)
                   outs(%acc : tensor<?x1536xf32>) -> tensor<?x1536xf32>
  return %y : tensor<?x1536xf32>
}
func.func @companded(%x: tensor<1x190xf32>, %w: !glvq.weight<33x190xf32, #mixed>,
                     %acc: tensor<1x33xf32>) -> tensor<1x33xf32> {
  %y = glvq.linear ins(%x, %w : tensor<1x190xf32>, !glvq.weight<33x190xf32, #mixed>)
                   outs(%acc : tensor<1x33xf32>) -> tensor<1x33xf32>
  return %y : tensor<1x33xf32>
}

// Every width, and mixed ones, with rows long enough for all lanes.
#w1 = #glvq.lattice<dim = 8, bits = 1, group = 128>
func.func @width_1(%x: tensor<?x4096xf32>, %w: !glvq.weight<4096x4096xf32, #w1>,
                   %acc: tensor<?x4096xf32>) -> tensor<?x4096xf32> {
  %y = glvq.linear ins(%x, %w : tensor<?x4096xf32>, !glvq.weight<4096x4096xf32, #w1>)
                   outs(%acc : tensor<?x4096xf32>) -> tensor<?x4096xf32>
  return %y : tensor<?x4096xf32>
}
#w2 = #glvq.lattice<dim = 8, bits = 2, group = 128>
func.func @width_2(%x: tensor<?x4096xf32>, %w: !glvq.weight<4096x4096xf32, #w2>,
                   %acc: tensor<?x4096xf32>) -> tensor<?x4096xf32> {
  %y = glvq.linear ins(%x, %w : tensor<?x4096xf32>, !glvq.weight<4096x4096xf32, #w2>)
                   outs(%acc : tensor<?x4096xf32>) -> tensor<?x4096xf32>
  return %y : tensor<?x4096xf32>
}
#w3 = #glvq.lattice<dim = 8, bits = 3, group = 128>
func.func @width_3(%x: tensor<?x4096xf32>, %w: !glvq.weight<4096x4096xf32, #w3>,
                   %acc: tensor<?x4096xf32>) -> tensor<?x4096xf32> {
  %y = glvq.linear ins(%x, %w : tensor<?x4096xf32>, !glvq.weight<4096x4096xf32, #w3>)
                   outs(%acc : tensor<?x4096xf32>) -> tensor<?x4096xf32>
  return %y : tensor<?x4096xf32>
}
#w4 = #glvq.lattice<dim = 8, bits = 4, group = 128>
func.func @width_4(%x: tensor<?x4096xf32>, %w: !glvq.weight<4096x4096xf32, #w4>,
                   %acc: tensor<?x4096xf32>) -> tensor<?x4096xf32> {
  %y = glvq.linear ins(%x, %w : tensor<?x4096xf32>, !glvq.weight<4096x4096xf32, #w4>)
                   outs(%acc : tensor<?x4096xf32>) -> tensor<?x4096xf32>
  return %y : tensor<?x4096xf32>
}
#w5 = #glvq.lattice<dim = 8, bits = 5, group = 128>
func.func @width_5(%x: tensor<?x4096xf32>, %w: !glvq.weight<4096x4096xf32, #w5>,
                   %acc: tensor<?x4096xf32>) -> tensor<?x4096xf32> {
  %y = glvq.linear ins(%x, %w : tensor<?x4096xf32>, !glvq.weight<4096x4096xf32, #w5>)
                   outs(%acc : tensor<?x4096xf32>) -> tensor<?x4096xf32>
  return %y : tensor<?x4096xf32>
}
#w6 = #glvq.lattice<dim = 8, bits = 6, group = 128>
func.func @width_6(%x: tensor<?x4096xf32>, %w: !glvq.weight<4096x4096xf32, #w6>,
                   %acc: tensor<?x4096xf32>) -> tensor<?x4096xf32> {
  %y = glvq.linear ins(%x, %w : tensor<?x4096xf32>, !glvq.weight<4096x4096xf32, #w6>)
                   outs(%acc : tensor<?x4096xf32>) -> tensor<?x4096xf32>
  return %y : tensor<?x4096xf32>
}
#w7 = #glvq.lattice<dim = 8, bits = 7, group = 128>
func.func @width_7(%x: tensor<?x4096xf32>, %w: !glvq.weight<4096x4096xf32, #w7>,
                   %acc: tensor<?x4096xf32>) -> tensor<?x4096xf32> {
  %y = glvq.linear ins(%x, %w : tensor<?x4096xf32>, !glvq.weight<4096x4096xf32, #w7>)
                   outs(%acc : tensor<?x4096xf32>) -> tensor<?x4096xf32>
  return %y : tensor<?x4096xf32>
}
#w8 = #glvq.lattice<dim = 8, bits = 8, group = 128>
func.func @width_8(%x: tensor<?x4096xf32>, %w: !glvq.weight<4096x4096xf32, #w8>,
                   %acc: tensor<?x4096xf32>) -> tensor<?x4096xf32> {
  %y = glvq.linear ins(%x, %w : tensor<?x4096xf32>, !glvq.weight<4096x4096xf32, #w8>)
                   outs(%acc : tensor<?x4096xf32>) -> tensor<?x4096xf32>
  return %y : tensor<?x4096xf32>
}
#w9 = #glvq.lattice<dim = 8, bits = [1 : 4, 2 : 24, 3 : 4], group = 128>
func.func @width_9(%x: tensor<?x4096xf32>, %w: !glvq.weight<4096x4096xf32, #w9>,
                   %acc: tensor<?x4096xf32>) -> tensor<?x4096xf32> {
  %y = glvq.linear ins(%x, %w : tensor<?x4096xf32>, !glvq.weight<4096x4096xf32, #w9>)
                   outs(%acc : tensor<?x4096xf32>) -> tensor<?x4096xf32>
  return %y : tensor<?x4096xf32>
}

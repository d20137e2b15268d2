// A linear layer with a 2-bit weight. Try:
//   glvq-opt linear.mlir --glvq-fuse-decode --glvq-materialize-weights
//   glvq-opt linear.mlir --lower-glvq-to-nvvm="chip=sm_90 format=isa"
!w = !glvq.weight<64x256xf32, #glvq.lattice<dim = 8, bits = 2, group = 128>>

func.func @up_proj(%x: tensor<?x256xf32>, %w: !w {glvq.name = "up_proj.weight"}, %acc: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %d = glvq.decode %w : !w to tensor<64x256xf32>
  %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
         ins(%x, %d : tensor<?x256xf32>, tensor<64x256xf32>) outs(%acc : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

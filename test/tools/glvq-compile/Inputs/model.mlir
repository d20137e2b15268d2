// y = max(x up^T, 0) down^T + bias, as an importer writes it.
module attributes {glvq.model = {architecture = "MLP", layers = 2 : i64, tied = false}} {
  func.func @forward(%x: tensor<?x5xf32> {glvq.input = "x", glvq.shape = ["rows", 5]},
                     %up: tensor<12x5xf32> {glvq.name = "up.weight"},
                     %down: tensor<3x12xf32> {glvq.name = "down.weight"},
                     %bias: tensor<3xf32> {glvq.name = "down.bias"})
      -> (tensor<?x3xf32> {glvq.output = "y", glvq.shape = ["rows", 3]}) {
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %rows = tensor.dim %x, %c0 : tensor<?x5xf32>
    %e0 = tensor.empty(%rows) : tensor<?x12xf32>
    %f0 = linalg.fill ins(%zero : f32) outs(%e0 : tensor<?x12xf32>) -> tensor<?x12xf32>
    %t0 = tensor.empty() : tensor<5x12xf32>
    %upT = linalg.transpose ins(%up : tensor<12x5xf32>) outs(%t0 : tensor<5x12xf32>) permutation = [1, 0]
    %h = linalg.matmul ins(%x, %upT : tensor<?x5xf32>, tensor<5x12xf32>)
                       outs(%f0 : tensor<?x12xf32>) -> tensor<?x12xf32>
    %r = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>],
                         iterator_types = ["parallel", "parallel"]}
        ins(%h : tensor<?x12xf32>) outs(%e0 : tensor<?x12xf32>) {
    ^bb0(%v: f32, %o: f32):
      %m = arith.maximumf %v, %zero : f32
      linalg.yield %m : f32
    } -> tensor<?x12xf32>
    %e1 = tensor.empty(%rows) : tensor<?x3xf32>
    %b = linalg.broadcast ins(%bias : tensor<3xf32>) outs(%e1 : tensor<?x3xf32>) dimensions = [0]
    %t1 = tensor.empty() : tensor<12x3xf32>
    %downT = linalg.transpose ins(%down : tensor<3x12xf32>) outs(%t1 : tensor<12x3xf32>) permutation = [1, 0]
    %y = linalg.matmul ins(%r, %downT : tensor<?x12xf32>, tensor<12x3xf32>)
                       outs(%b : tensor<?x3xf32>) -> tensor<?x3xf32>
    return %y : tensor<?x3xf32>
  }
}

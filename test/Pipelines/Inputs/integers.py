"""Prints a module with products of packed integers: all widths, several sizes."""

for bits in range(1, 9):
    for tokens, columns in (("1", 2048), ("?", 200)):
        words = -(-columns * bits // 32)
        x, y = f"tensor<{tokens}x{columns}xf32>", f"tensor<{tokens}x512xf32>"
        print(f"""func.func @f{bits}_{columns}(%x: {x}, %c: tensor<512x{words}xi32>, %init: {y}) -> {y} {{
  %y = glvq.matmul ins(%x : {x}) codes(%c : tensor<512x{words}xi32>) outs(%init : {y})
         {{code = #glvq.integer<bits = {bits}>}} -> {y}
  return %y : {y}
}}""")

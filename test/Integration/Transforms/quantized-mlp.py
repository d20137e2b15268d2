# A small network, quantized and executed both ways: with every weight decoded
# where it was used, and with products fused and rotations on the activations.
# Both give the numbers of the format's formulas.
# REQUIRES: compiler
# RUN: %PYTHON %s %mlir_lib %t | FileCheck %s
# CHECK: decoded: 0 products on parts
# CHECK: fused: 5 products on parts
# CHECK: the outputs agree

import json
import os
import re
import subprocess
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), os.pardir, "GLVQToLinalg"))
from helpers import Lattice, Program, hadamard

MODEL = """
#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
func.func @forward(%x: tensor<?x96xf32> {glvq.input = "x"},
    %u0: tensor<64x96xf32> {glvq.name = "0.up.weight"}, %d0: tensor<96x64xf32> {glvq.name = "0.down.weight"},
    %u1: tensor<64x96xf32> {glvq.name = "1.up.weight"}, %d1: tensor<96x64xf32> {glvq.name = "1.down.weight"},
    %u2: tensor<64x96xf32> {glvq.name = "2.up.weight"}, %d2: tensor<96x64xf32> {glvq.name = "2.down.weight"},
    %head: tensor<96x40xf32> {glvq.name = "head.weight"}) -> (tensor<?x40xf32> {glvq.output = "y"}) {
  %0 = call @layer(%x, %u0, %d0) : (tensor<?x96xf32>, tensor<64x96xf32>, tensor<96x64xf32>) -> tensor<?x96xf32>
  %1 = call @layer(%0, %u1, %d1) : (tensor<?x96xf32>, tensor<64x96xf32>, tensor<96x64xf32>) -> tensor<?x96xf32>
  %2 = call @layer(%1, %u2, %d2) : (tensor<?x96xf32>, tensor<64x96xf32>, tensor<96x64xf32>) -> tensor<?x96xf32>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %2, %c0 : tensor<?x96xf32>
  %one = arith.constant 1.0 : f32
  %e = tensor.empty(%n) : tensor<?x40xf32>
  %bias = linalg.fill ins(%one : f32) outs(%e : tensor<?x40xf32>) -> tensor<?x40xf32>
  %y = linalg.matmul ins(%2, %head : tensor<?x96xf32>, tensor<96x40xf32>) outs(%bias : tensor<?x40xf32>) -> tensor<?x40xf32>
  return %y : tensor<?x40xf32>
}
// x + relu(x Uᵀ) Dᵀ: the second product accumulates on the residual.
func.func private @layer(%x: tensor<?x96xf32>, %u: tensor<64x96xf32>, %d: tensor<96x64xf32>) -> tensor<?x96xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x96xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty(%n) : tensor<?x64xf32>
  %acc = linalg.fill ins(%zero : f32) outs(%e : tensor<?x64xf32>) -> tensor<?x64xf32>
  %h = linalg.matmul indexing_maps = [#mk, #nk, #mn]
    ins(%x, %u : tensor<?x96xf32>, tensor<64x96xf32>) outs(%acc : tensor<?x64xf32>) -> tensor<?x64xf32>
  %r = linalg.max ins(%h, %acc : tensor<?x64xf32>, tensor<?x64xf32>) outs(%e : tensor<?x64xf32>) -> tensor<?x64xf32>
  %et = tensor.empty() : tensor<64x96xf32>
  %t = linalg.transpose ins(%d : tensor<96x64xf32>) outs(%et : tensor<64x96xf32>) permutation = [1, 0]
  %y = linalg.matmul ins(%r, %t : tensor<?x64xf32>, tensor<64x96xf32>) outs(%x : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}
"""

mlir_lib, folder = sys.argv[1:]
rng = np.random.default_rng(7)
x = rng.normal(size=(5, 96)).astype(np.float32)
tensors = {}
for n in (96, 64, 40):
    words = rng.integers(0, 2**32, size=-(-n // 32), dtype=np.uint64).astype(np.uint32)
    tensors[f"glvq.signs.{n}"] = words


def rotation(n):
    """T = H D, and so its transpose D H."""
    words = tensors[f"glvq.signs.{n}"]
    signs = [1 - 2 * (int(words[j // 32]) >> (j % 32) & 1) for j in range(n)]
    return hadamard(n) * np.array(signs)[None, :]


# Two layers of one code, one of another; the head is not rotated in its rows.
config, dense = {}, {}
for name, bits, rows, columns, signs_out in [
    ("0.up", 3, 64, 96, True),
    ("0.down", 3, 96, 64, True),
    ("1.up", 3, 64, 96, True),
    ("1.down", 3, 96, 64, True),
    ("2.up", 2, 64, 96, True),
    ("2.down", [1, 4], 96, 64, False),
    ("head", 4, 40, 96, True),
]:
    w = Lattice(rng, 8, bits, 32, columns, rows)
    w.scales = (w.scales / 16).astype(np.float16)
    entry = {"shape": [rows, columns], "code": w.code, "signs_in": f"glvq.signs.{columns}"}
    matrix = w.decoded() @ rotation(columns)
    if signs_out:
        entry["signs_out"] = f"glvq.signs.{rows}"
        matrix = rotation(rows).T @ matrix
    if name == "head":
        entry["transposed"] = True
    config[f"{name}.weight"], dense[name] = entry, matrix
    tensors[f"{name}.codes"] = w.codes()
    tensors.update({f"{name}.{part}": values for part, values in w.params().items()})
os.makedirs(folder, exist_ok=True)
with open(os.path.join(folder, "config.json"), "w") as file:
    json.dump({"quantization_config": {"quant_method": "glvq", "version": 1, "weights": config}}, file)

expected = x.astype(np.float64)
for i in range(3):
    hidden = np.maximum(expected @ dense[f"{i}.up"].T, 0)
    expected = expected + hidden @ dense[f"{i}.down"].T
expected = expected @ dense["head"].T + 1


def run(name, passes):
    passes = [f"--glvq-quantize-weights=checkpoint={folder}", *passes, "--glvq-materialize-weights"]
    opt = subprocess.run(["glvq-opt", *passes], input=MODEL, capture_output=True, text=True)
    assert opt.returncode == 0, opt.stderr
    # Reference decoders are the only code here that takes words apart.
    assert ("arith.shrui" in opt.stdout) == (name == "decoded")
    print(f"{name}: {opt.stdout.count('glvq.matmul')} products on parts")
    # What the entry point wants now, in its order.
    signature = re.search(r"func\.func @forward\((.*)\) ->", opt.stdout)[1]
    names = re.findall(r'glvq\.name = "([^"]+)"', signature)
    types = ", ".join(re.findall(r"%\w+: (tensor<[^>]+>)", signature))
    arrays = {"x": x, **{f"a{i}": tensors[tensor] for i, tensor in enumerate(names)}}
    body = f"  %result = call @forward({', '.join('%' + a for a in arrays)}) : ({types}) -> tensor<?x40xf32>"
    program = Program(mlir_lib)
    program.functions.append(re.sub(r"(?s)\nmodule \{(.*)\}\s*$", r"\n\1", "\n" + opt.stdout))
    program.add(body, arrays, expected.astype(np.float32), dynamic=(0,))
    return program.run()[0]


decoded = run("decoded", [])
fused = run("fused", ["--glvq-fuse-decode", "--canonicalize", "--cse"])
scale = np.abs(expected).max()
for what, result in (("decoded", decoded), ("fused", fused)):
    error = np.abs(result - expected).max() / scale
    assert error < 1e-5, f"{what} differs by {error} of the range"
assert np.abs(fused - decoded).max() / scale < 1e-5
print("the outputs agree")

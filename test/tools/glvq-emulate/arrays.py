# Arrays and numbers from files and the command line, results to files; what does
# not fit is refused.
# REQUIRES: compiler
# RUN: %PYTHON %s %t | FileCheck %s
# CHECK: argument 0: {{.*}}x.npy does not fit memref<?x64xf16>
# CHECK: 'f' takes 3 arguments, 2 are given
# CHECK: the module has no function 'g'
# CHECK: argument 2: 'many' is not an integer
# CHECK: missing.npy: cannot open
# CHECK: the results agree

import os
import subprocess
import sys

import numpy as np

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)


def path(name):
    return os.path.join(folder, name)


def emulate(*arguments):
    done = subprocess.run(["glvq-emulate", path("lowered.mlir"), *arguments], capture_output=True, text=True)
    print(done.stderr.strip())
    return done.returncode


def lower(element):
    module = f"""
func.func @f(%x: tensor<?x64x{element}>, %c: tensor<32x4xi32>, %i: index) -> (tensor<?x32xf32>, tensor<32x4xi32>) {{
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %n = tensor.dim %x, %c0 : tensor<?x64x{element}>
  %empty = tensor.empty(%n) : tensor<?x32xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x32xf32>) -> tensor<?x32xf32>
  %y = glvq.matmul ins(%x : tensor<?x64x{element}>) codes(%c : tensor<32x4xi32>)
         outs(%init : tensor<?x32xf32>) {{code = #glvq.integer<bits = 2>}} -> tensor<?x32xf32>
  %v = arith.index_cast %i : index to i32
  %d = tensor.insert %v into %c[%i, %c0] : tensor<32x4xi32>
  return %y, %d : tensor<?x32xf32>, tensor<32x4xi32>
}}"""
    command = ["glvq-opt", "--lower-glvq-to-nvvm=format=llvm", "-o", path("lowered.mlir")]
    done = subprocess.run(command, input=module, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


rng = np.random.default_rng(2)
x = rng.integers(-127, 128, size=(3, 64)).astype(np.float32)
x[:, 0] = 127  # so that bytes hold the numbers themselves
fields = rng.integers(0, 4, size=(32, 64))
codes = (fields.reshape(32, 4, 16) << 2 * np.arange(16)).sum(axis=2).astype(np.uint32).view(np.int32)
np.save(path("x.npy"), x)
np.save(path("c.npy"), codes)

lower("f16")
assert emulate("--entry=f", path("x.npy"), path("c.npy"), "5") == 1
lower("f32")
assert emulate("--entry=f", path("x.npy"), path("c.npy")) == 1
assert emulate("--entry=g") == 1
assert emulate("--entry=f", path("x.npy"), path("c.npy"), "many") == 1
assert emulate("--entry=f", path("missing.npy"), path("c.npy"), "5") == 1
assert emulate("--entry=f", path("x.npy"), path("c.npy"), "5", "-o", path("y.npy"), "-o", path("d.npy")) == 0
assert (np.load(path("y.npy")) == x @ (fields - 1.5).T).all()
changed = codes.copy()
changed[5, 0] = 5
assert (np.load(path("d.npy")) == changed).all()
print("the results agree")

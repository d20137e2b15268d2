# The Python module of the runtime: entries, results, states, threads, errors.
# REQUIRES: compiler
# RUN: rm -rf %t && mkdir %t
# RUN: %PYTHON %S/../tools/glvq-compile/Inputs/checkpoint.py make %t/checkpoint
# RUN: glvq-compile %S/../tools/glvq-compile/Inputs/model.mlir --checkpoint %t/checkpoint -o %t/a
# RUN: %PYTHON %s %t | FileCheck %s

import sys
import threading
from pathlib import Path

import numpy as np
from glvq._native import runtime

folder = Path(sys.argv[1])
artefact = runtime().Artefact(str(folder / "a"), threads=2)

# CHECK: {'architecture': 'MLP', 'layers': 2, 'tied': False}
print(artefact.model)
# CHECK: forward {'name': 'x', 'role': 'input', 'dtype': 'f32', 'shape': ['rows', 5]}
(entry,) = artefact.entries
print(entry["name"], entry["arguments"][0])

session = artefact.session()
# CHECK: threads 2
print("threads", session.threads)
x = np.load(folder / "checkpoint" / "x.npy")
y = session.run("forward", x=x)["y"]
# CHECK: (6, 3) float32
print(y.shape, y.dtype)
# Rows do not depend on each other, nor on the memory layout of the input.
parts = np.concatenate([session.run("forward", x=x[i : i + 1])["y"] for i in range(6)])
np.testing.assert_allclose(parts, y, rtol=1e-6, atol=1e-6)
np.testing.assert_array_equal(session.run("forward", x=np.asfortranarray(x))["y"], y)


def refused(action):
    try:
        action()
    except (ValueError, TypeError, RuntimeError) as error:
        print(type(error).__name__, error)


# CHECK: ValueError {{.*}}no input 'z'; it has: x
refused(lambda: session.run("forward", z=x))
# CHECK: TypeError input 'x' is an array of float64; the entry takes float32
refused(lambda: session.run("forward", x=x.astype(np.float64)))
# CHECK: ValueError {{.*}}has no entry 'decode'; it has forward
refused(lambda: session.run("decode", x=x))
# CHECK: RuntimeError not an artefact
refused(lambda: runtime().Artefact(str(folder)))

# Sessions of one artefact in several threads at once.
different = []


def work():
    own = artefact.session()
    different.extend(1 for _ in range(50) if not np.array_equal(own.run("forward", x=x)["y"], y))


threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
# CHECK: different 0
print("different", len(different))

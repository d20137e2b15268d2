# Trellis and binary codes in checkpoints: their text, the shapes of their
# parts, what they decode to (against numpy versions of the formulas), a
# checkpoint of them written and read, and what is refused.
# REQUIRES: torch, learning, compiler
# RUN: %PYTHON %s %glvq_source/test/Integration/GLVQToLinalg | FileCheck %s
# CHECK: 15 weights agree

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import numpy as np
import torch
from helpers import Binary, Trellis, hadamard

from glvq import checkpoint, inspect
from glvq.checkpoint import QuantizedWeight, WeightCode
from glvq.errors import GLVQError

rng = np.random.default_rng(5)
weights = [Trellis(rng, *case) for case in [
    (12, 2, 128, 70, 9),
    (16, 3, 20, 77, 3),
    (8, 8, 5, 11, 2),
    (32, 1, 64, 40, 2),
    (12, [1, 1, 2, 3], 32, 128, 5),
    (12, [2, 2, 4, 1], 20, 75, 4),
    (6, [3, 3], 16, 32, 3),
    (12, 2, 32, 70, 5, True),
    (4, [1, 2, 2], 16, 45, 3, True),
]]  # fmt: skip
weights += [Binary(rng, *case) for case in [
    (8, 16, 32, 96, 4),
    (8, 12, 24, 50, 3),
    (32, 64, 64, 100, 2),
    (8, [12, 12, 16, 24], 16, 64, 3),
    (4, [2, 8, 5], 12, 30, 3),
    (2, [3, 3], 6, 12, 2),
]]  # fmt: skip


def tensors_of(weight):
    return {
        name: torch.from_numpy(part.view(np.int32) if part.dtype == np.uint32 else part)
        for name, part in weight.parts().items()
    }


def refused(call, *words):
    try:
        call()
    except GLVQError as error:
        for word in words:
            assert word in str(error), f"'{word}' is not in: {error}"
        return
    raise AssertionError(f"accepted, although: {words}")


# The compiler reads the texts as the checkpoint writes them.
texts = [str(WeightCode.parse(w.code)) for w in weights]
assert texts == [w.code for w in weights]
module = "".join(
    f"func.func private @f{i}(!glvq.weight<{w.rows}x{w.columns}xf32, {text}>)\n"
    for i, (w, text) in enumerate(zip(weights, texts))
)
subprocess.run(["glvq-opt"], input=module, text=True, check=True, stdout=subprocess.DEVNULL)

# Parts have the shapes that the code asks for, and decode by the formula.
stored, entries = {}, {}
kinds = {torch.int32: "I32", torch.float16: "F16", torch.float32: "F32"}
for number, weight in enumerate(weights):
    code = WeightCode.parse(weight.code)
    part = tensors_of(weight)
    parts = code.parts(weight.rows, weight.columns)
    assert {name: (kinds[t.dtype], list(t.shape)) for name, t in part.items()} == parts, weight.code
    want = weight.decoded()
    np.testing.assert_allclose(code.dequantize(part, weight.columns), want, rtol=1e-5, atol=1e-5, err_msg=weight.code)

    # Rotated on both sides.
    signs, dense = [], [hadamard(weight.columns), hadamard(weight.rows)]
    for side, size in enumerate((weight.columns, weight.rows)):
        words = rng.integers(-(2**31), 2**31, size=-(-size // 32), dtype=np.int64).astype(np.int32)
        signs.append(torch.from_numpy(words))
        flips = np.array([-1.0 if int(words[j // 32]) >> (j % 32) & 1 else 1.0 for j in range(size)])
        dense[side] = dense[side] * flips
    rotated = code.dequantize(part, weight.columns, *signs)
    np.testing.assert_allclose(rotated, dense[1].T @ want @ dense[0], rtol=1e-4, atol=1e-4)

    name = f"layer{number}.weight"
    entries[name] = QuantizedWeight(name, (weight.rows, weight.columns), code, transposed=number % 2 == 1)
    stored |= {checkpoint.part_name(name, p): t for p, t in part.items()}

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "model"
    checkpoint.write(path, {}, entries, stored, seed=0)
    opened = checkpoint.open(path)
    for number, weight in enumerate(weights):
        dense = opened.dense(f"layer{number}.weight")
        np.testing.assert_allclose(dense.T if number % 2 else dense, weight.decoded(), rtol=1e-5, atol=1e-5)
    # Every stored bit counts.
    summary, rows = inspect.describe(path)
    for row, (name, entry) in zip(rows, sorted(entries.items()), strict=True):
        own = sum(stored[p].numel() * stored[p].element_size() * 8 for p in entry.parts())
        assert row["bits per weight"] == round(own / (entry.shape[0] * entry.shape[1]), 4), row
    # A part of another shape is refused by name.
    wrong = {**stored, "layer0.taps": torch.zeros(1, 11)}
    checkpoint.write(path, {}, entries, wrong, seed=0, force=True)
    refused(lambda: checkpoint.open(path), "layer0.taps", "needs F32 [1, 12]")

refused(lambda: WeightCode.parse("#glvq.trellis<taps = 12, bits = 2>"), "malformed", "needs bits, taps, group")
refused(lambda: WeightCode.parse("#glvq.trellis<taps = 33, bits = 2, group = 8>"), "taps are 1 to 32")
refused(
    lambda: WeightCode.parse("#glvq.trellis<taps = 7, bits = 2, group = 8, nodes = additive>"), "even number of taps"
)
refused(lambda: WeightCode.parse("#glvq.trellis<taps = 2, bits = 3, group = 8>"), "at most the number of taps")
refused(lambda: WeightCode.parse("#glvq.trellis<taps = 8, bits = 3/2, group = 8>"), "malformed")
refused(lambda: WeightCode.parse("#glvq.trellis<taps = 8, bits = [2 : 0], group = 8>"), "at least one slot")
refused(lambda: WeightCode.parse("#glvq.trellis<taps = 8, bits = 2, group = 8, dim = 8>"), "unknown parameter 'dim'")
refused(lambda: WeightCode.parse("#glvq.binary<dim = 8, bits = 5/3, group = 8>"), "whole number of bits")
refused(lambda: WeightCode.parse("#glvq.binary<dim = 8, bits = 2, group = 12>"), "group a multiple of it")
refused(lambda: WeightCode.parse("#glvq.binary<dim = 8, bits = 3/0, group = 8>"), "malformed")

# The operators check what they are given.
trellis, part = WeightCode.parse(weights[0].code), tensors_of(weights[0])
order = {**part, "order": torch.zeros(1, dtype=torch.int32) + 1}
for bad, word in [
    ({**part, "codes": part["codes"][1:]}, "words"),
    ({**part, "taps": part["taps"][:, 1:]}, "taps must be"),
    (order, "permutation"),
]:
    try:
        trellis.dequantize(bad, 70)
    except RuntimeError as error:
        assert word in str(error), error
    else:
        raise AssertionError(f"accepted, although: {word}")
print(f"{len(weights)} weights agree")

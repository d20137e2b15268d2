"""The checkpoint and the inputs of the tests beside it, and what must come out.

make DIR      a checkpoint in DIR: weights of three types, some in a second shard
check DIR     compares DIR/y.npy, computed by an artefact, with numpy
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

folder = Path(sys.argv[2])
rng = np.random.default_rng(7)
up = rng.standard_normal((12, 5)).astype(np.float16)
down = rng.standard_normal((3, 12)).astype(np.float32)
bias = rng.standard_normal(3).astype(np.float32)
# bf16 is the upper half of f32.
bias_bits = (bias.view(np.uint32) >> 16).astype(np.uint16)
bias = (bias_bits.astype(np.uint32) << 16).view(np.float32)
x = rng.standard_normal((6, 5)).astype(np.float32)


def as_bf16(path: Path, name: str) -> None:
    """Renames the type of a tensor in a file: numpy has no bf16."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header[name]["dtype"] = "BF16"
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


if sys.argv[1] == "make":
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"up.weight": up, "unused": x}, folder / "model-00001-of-00002.safetensors")
    save_file({"down.weight": down, "down.bias": bias_bits}, folder / "model-00002-of-00002.safetensors")
    as_bf16(folder / "model-00002-of-00002.safetensors", "down.bias")
    index = {
        "weight_map": {
            "up.weight": "model-00001-of-00002.safetensors",
            "unused": "model-00001-of-00002.safetensors",
            "down.weight": "model-00002-of-00002.safetensors",
            "down.bias": "model-00002-of-00002.safetensors",
        }
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "note.txt").write_text("attached\n")
    np.save(folder / "x.npy", x)
else:
    y = np.load(folder / "y.npy")
    expected = np.maximum(x @ up.astype(np.float32).T, 0) @ down.T + bias
    assert y.shape == (6, 3) and y.dtype == np.float32, (y.shape, y.dtype)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    print("equal")

# glvq.quantize, glvq.compile, glvq.load: a language model and a module, arrays in
# and out without copies, and every mistake an exception that says what to do.
# REQUIRES: compiler, torch, transformers, learning
# RUN: rm -rf %t && mkdir %t
# RUN: %PYTHON %S/../Inputs/tiny_chat_model.py %t/model
# RUN: %PYTHON %S/../tools/glvq-compile/Inputs/checkpoint.py make %t/checkpoint
# RUN: glvq-compile %S/../tools/glvq-compile/Inputs/model.mlir --checkpoint %t/checkpoint -o %t/mlp.glvq
# RUN: %PYTHON %s %t

import sys
from pathlib import Path

import glvq

# Loading and running a model must not load torch.
assert "torch" not in sys.modules and "transformers" not in sys.modules
import numpy as np  # noqa: E402

folder = Path(sys.argv[1])


def refused(action, *words):
    try:
        action()
    except glvq.GLVQError as error:
        assert all(word in str(error) for word in words), error
        return
    raise AssertionError(f"not refused: {words}")


mlp = glvq.load(folder / "mlp.glvq", threads=1)
assert "forward" in repr(mlp) and mlp.info["architecture"] == "MLP"
x = np.load(folder / "checkpoint" / "x.npy")
y = mlp(x)
assert y.shape == (6, 3) and y.dtype == np.float32
np.testing.assert_array_equal(mlp(x=x), y)
refused(lambda: mlp(x, x), "takes 1 inputs (x), got 2")
refused(lambda: mlp(x, x=x), "'x' twice")
refused(lambda: mlp(x.astype(np.float64)), "float64", "float32")
refused(lambda: mlp(), "needs the input 'x'")
refused(lambda: mlp.generate("a"), "not a language model")
refused(lambda: glvq.load(folder), "not an artefact")
assert "torch" not in sys.modules

import torch  # noqa: E402

torch.set_num_threads(2)
tensor = torch.from_numpy(x)
np.testing.assert_array_equal(mlp(tensor), y)
assert torch.from_dlpack(y).data_ptr() == y.ctypes.data
refused(lambda: mlp(tensor.double()), "float64")

report = glvq.quantize(folder / "model", folder / "q", bits=4, windows=4, length=64)
assert 4 < report["bits_per_weight"] < 16
refused(lambda: glvq.quantize(folder / "model", folder / "q"), "exists", "--force")
refused(lambda: glvq.quantize(folder / "model", folder / "r", inputs=[]), "its path")
refused(lambda: glvq.quantize(torch.nn.Linear(2, 2), folder / "r"), "Linear", "inputs")
assert glvq.compile(folder / "q", folder / "q.glvq", save_ir=folder / "ir", activations="f32") == folder / "q.glvq"
assert list((folder / "ir").glob("*.mlir"))
refused(lambda: glvq.compile(folder / "q", folder / "r", target="cpu:i8088"), "i8088")
refused(lambda: glvq.compile(torch.nn.Linear(2, 2), folder / "r"), "example_inputs", "Linear")
refused(lambda: glvq.compile(folder / "q", folder / "r", (x,)), "its path")
assert not (folder / "r").exists()

model = glvq.load(folder / "q.glvq", threads=1)
conversation = [{"role": "user", "content": "hello"}]
text = model.generate(conversation, 12)
assert text == "".join(model.stream(conversation, 12)) and text
rendered = "<|user|>hello<|end|><|assistant|>"
assert model.generator.render_chat(conversation) == rendered
assert model.generate(model.generator.encode(rendered), 12) == text
assert model.generate("hello", 12, temperature=1.0, seed=1) != model.generate("hello", 12, temperature=1.0, seed=2)
refused(lambda: model(x), "use generate")

# One weight decoded three ways: torch on the checkpoint agrees with the artefact.
reference = glvq.checkpoint.load(folder / "q").model
ids = torch.arange(5)[None]
logits = model.session(capacity=5).run("prefill", tokens=ids, position=0)["logits"]
expected = reference(ids).logits.detach().numpy()
assert np.abs(logits - expected).max() < 2e-3 * np.ptp(expected)

# A module, quantized with its own inputs and compiled with its own weights.
torch.manual_seed(0)
module = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.GELU(), torch.nn.Linear(32, 4)).eval()
inputs = (torch.randn(5, 16),)
glvq.quantize(module, folder / "mq", bits=4, inputs=[inputs])
glvq.compile(module, folder / "mq.glvq", inputs, checkpoint=folder / "mq", activations="f32")
compiled = glvq.load(folder / "mq.glvq")
decoded = glvq.checkpoint.open(folder / "mq").state_dict()
expected = torch.func.functional_call(module, decoded, inputs).detach().numpy()
assert np.abs(compiled(*inputs) - expected).max() < 2e-3 * np.ptp(expected)

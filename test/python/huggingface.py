# A quantized checkpoint in Transformers: from_pretrained keeps weights packed,
# computes what the artefact computes, saves what it loaded, passes through
# torch.compile and torch.export, and lets gradients through to adapters.
# REQUIRES: compiler, torch, transformers, learning
# RUN: rm -rf %t && mkdir %t
# RUN: %PYTHON %s %t %S/../Inputs

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

import glvq  # before transformers: registers when that is imported

assert "transformers" not in sys.modules
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

sys.path.insert(0, sys.argv[2])
import tiny_chat_model  # noqa: E402

folder = Path(sys.argv[1])
torch.set_num_threads(2)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
ids = torch.arange(12)[None] * 7 % 250


def logits(model):
    with torch.no_grad():
        return model(ids).logits.numpy()


def assert_close(got, expected, tolerance=2e-3):
    assert np.abs(got - expected).max() < tolerance * np.ptp(expected), np.abs(got - expected).max() / np.ptp(expected)


# Every code, tied and untied heads, against the decoded checkpoint and the artefact.
tiny_chat_model.make(folder / "tied")
tiny_chat_model.make(folder / "untied", tie_word_embeddings=False)
calibration = dict(windows=2, length=32, force=True)
glvq.quantize(folder / "untied", folder / "untied-3bit", bits=3, code="lattice", head_bits=0, **calibration)
glvq.quantize(folder / "tied", folder / "tied-2bit", bits=2, code="lattice", **calibration)
glvq.quantize(folder / "tied", folder / "tied-trellis", bits=2, code="trellis", **calibration)
for name in ("untied-3bit", "tied-2bit", "tied-trellis"):
    model = AutoModelForCausalLM.from_pretrained(folder / name)
    assert type(model.model.layers[0].mlp.up_proj).__name__ == "GLVQLinear"
    assert not any(p.requires_grad for p in model.parameters())
    decoded = glvq.checkpoint.load(folder / name).model
    assert_close(logits(model), logits(decoded), 1e-5)
glvq.compile(folder / "tied-2bit", folder / "tied.glvq", activations="f32")
artefact = glvq.load(folder / "tied.glvq")
model = AutoModelForCausalLM.from_pretrained(folder / "tied-2bit")
assert_close(artefact.session(capacity=12).run("prefill", tokens=ids, position=0)["logits"], logits(model))

# The model card says what the reports say.
card = (folder / "tied-2bit" / "README.md").read_text()
report = json.loads((folder / "tied-2bit" / "quantization_report.json").read_text())
assert (
    f"{report['bits_per_weight']:.4g}" in card and "lattice (15)" in card and "`model.embed_tokens.weight` at" in card
), card
assert (
    card.startswith("---\nlibrary_name: transformers\n")
    and "pipeline_tag: text-generation" in card
    and report["calibration"] in card
)

# What is loaded takes the place of the file, not that of the decoded weights. Measured in a process of its own.
tiny_chat_model.make(folder / "wide", vocab_size=40000, hidden_size=384, num_hidden_layers=1)
glvq.quantize(folder / "wide", folder / "wide-2bit", code="lattice", windows=1, length=16)
program = """
import os, sys, glvq, transformers
from glvq import torch_ops
from transformers import AutoModelForCausalLM
import transformers.models.llama.modeling_llama

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

AutoModelForCausalLM.from_pretrained(sys.argv[1])  # what is allocated once
before = resident()
model = AutoModelForCausalLM.from_pretrained(sys.argv[2])
for tensor in model.state_dict().values():
    tensor.sum()
print((resident() - before) / os.path.getsize(f"{sys.argv[2]}/model.safetensors"))
"""
command = [sys.executable, "-c", program, folder / "tied-2bit", folder / "wide-2bit"]
share = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
assert share < 1.3, share

# Generation, with the tokenizer that travels along.
tokenizer = AutoTokenizer.from_pretrained(folder / "tied-2bit")
prompt = tokenizer.apply_chat_template(
    [{"role": "user", "content": "hello"}], add_generation_prompt=True, return_tensors="pt"
)
prompt = prompt["input_ids"] if hasattr(prompt, "keys") else prompt
answer = model.generate(prompt, max_new_tokens=8, do_sample=False)[0, prompt.shape[1] :]
text = tokenizer.decode(answer, skip_special_tokens=True)
assert artefact.generate([{"role": "user", "content": "hello"}], 8) == text

# save_pretrained writes the checkpoint again, in one file or in shards.
model.save_pretrained(folder / "saved")
before, after = (load_file(f / "model.safetensors") for f in (folder / "tied-2bit", folder / "saved"))
assert before.keys() == after.keys()
assert all(torch.equal(before[k], after[k]) and before[k].dtype == after[k].dtype for k in before)
settings = [
    json.loads((f / "config.json").read_text())["quantization_config"] for f in (folder / "tied-2bit", folder / "saved")
]
assert settings[0] == settings[1]
model.save_pretrained(folder / "shards", max_shard_size="8KB")
assert len(list((folder / "shards").glob("*.safetensors"))) > 1
again = AutoModelForCausalLM.from_pretrained(folder / "shards")
np.testing.assert_array_equal(logits(again), logits(model))
assert glvq.checkpoint.open(folder / "shards").weights

# model.to() moves but does not convert what is stored; activations follow it.
half = AutoModelForCausalLM.from_pretrained(folder / "tied-2bit", dtype=torch.bfloat16)
assert half.model.layers[0].mlp.up_proj.scales.dtype == torch.float16
assert half(ids).logits.dtype == torch.bfloat16
half.to(torch.float32)
assert half(ids).logits.dtype == torch.float32 and half.model.layers[0].mlp.up_proj.codes.dtype == torch.int32

# One graph for torch.compile and for torch.export.
linear = model.model.layers[0].mlp.up_proj
x = torch.randn(5, linear.in_features)
compiled = torch.compile(lambda x: linear(x) * 2, backend="eager", fullgraph=True)
torch.testing.assert_close(compiled(x), linear(x) * 2)


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.linear = model.model.embed_tokens, linear

    def forward(self, ids):
        return self.linear(self.embedding(ids))


program = torch.export.export(Block(), (ids,), dynamic_shapes=({1: torch.export.Dim("tokens", min=2)},))
assert "glvq.linear" in str(program.graph) and "glvq.embedding" in str(program.graph)
torch.testing.assert_close(program.module()(ids[:, :5]), Block()(ids[:, :5]))
torch.library.opcheck(
    torch.ops.glvq.linear.default,
    (x.requires_grad_(), linear.code, linear.parts, linear.out_features, linear.signs_in, linear.signs_out, None),
    test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
)

# The gradient is that of the decoded weight.
weight = linear.weight
y = linear(x)
(gradient,) = torch.autograd.grad(y.square().sum(), x)
torch.testing.assert_close(gradient, 2 * y.detach() @ weight, rtol=1e-3, atol=1e-3 * float(gradient.abs().max()))

# Plain modules with decoded weights.
plain = AutoModelForCausalLM.from_pretrained(folder / "tied-2bit")
expected = logits(plain)
plain.dequantize()
assert (
    type(plain.model.layers[0].mlp.up_proj) is torch.nn.Linear
    and plain.lm_head.weight is plain.model.embed_tokens.weight
)
assert_close(logits(plain), expected, 1e-5)
plain.save_pretrained(folder / "plain")
assert "model.layers.0.mlp.up_proj.weight" in load_file(folder / "plain" / "model.safetensors")


def refused(change, *words):
    config = json.loads((folder / "saved" / "config.json").read_text())
    change(config["quantization_config"])
    (folder / "saved" / "config.json").write_text(json.dumps(config))
    try:
        AutoModelForCausalLM.from_pretrained(folder / "saved")
    except glvq.GLVQError as error:
        assert all(word in str(error) for word in words), error
        return
    raise AssertionError(f"not refused: {words}")


name = "model.layers.0.mlp.up_proj.weight"
refused(lambda q: q["weights"].update({name.replace("mlp", "mlq"): q["weights"][name]}), "mlq.up_proj", "does not have")
refused(lambda q: q["weights"][name].update(code="#glvq.magic<bits = 2>"), name, "magic")
refused(lambda q: q.update(version=99), "version 99")

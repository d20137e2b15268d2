# The whole way by the command line, for a tiny model with a tokenizer: the same
# input and seed give the same bytes, and the artefact has the perplexity of the
# checkpoint in torch and no divergence from it.
# REQUIRES: compiler, learning, torch_mlir, transformers
# RUN: rm -rf %t && mkdir %t
# RUN: %PYTHON %glvq_source/test/Inputs/tiny_chat_model.py %t/model
# RUN: %PYTHON %s %t

import contextlib
import io
import json
import sys
from pathlib import Path

import torch

from glvq import cli

folder = Path(sys.argv[1])
torch.set_num_threads(2)


def glvq(*arguments):
    """Runs a command in this process; its standard output."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        cli.app([str(a) for a in arguments], standalone_mode=False)
    return output.getvalue()


def files_of(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


text = folder / "text.txt"
text.write_text("The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs. " * 8)
for name in ("a", "b"):
    glvq(
        "quantize",
        folder / "model",
        "-o",
        folder / name,
        "--bits",
        3,
        "--windows",
        4,
        "--length",
        48,
        "--seed",
        5,
        "-q",
    )
    glvq("compile", folder / name, "-o", folder / f"{name}.glvq", "--activations", "f32", "-q")
first = files_of(folder / "a")
assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(first)
assert first == files_of(folder / "b")
artefact = files_of(folder / "a.glvq")
assert {"manifest.json", "model.so", "weights.safetensors", "tokenizer.json"} <= set(artefact)
assert artefact == files_of(folder / "b.glvq")

options = ("--text", text, "--windows", 3, "--length", 64, "--json", "-q")
compiled = json.loads(glvq("eval", folder / "a.glvq", "--reference", folder / "a", *options))
decoded = json.loads(glvq("eval", folder / "a", "--reference", folder / "model", *options))
assert compiled["tokens"] == decoded["tokens"] == 3 * 63
assert abs(compiled["perplexity"] / decoded["perplexity"] - 1) < 1e-4, (compiled, decoded)
assert abs(compiled["reference perplexity"] / decoded["perplexity"] - 1) < 1e-6
assert abs(compiled["KL divergence"]) < 1e-5, compiled
# Three bits are not the original, and closer to it than a model of chance.
assert 1e-4 < decoded["KL divergence"] < 1, decoded
assert "3 windows of 64 tokens" in compiled["text"]
# The reference may sample the text.
sampled = json.loads(
    glvq("eval", folder / "a.glvq", "--reference", folder / "model", "--windows", 2, "--length", 32, "--json", "-q")
)
assert "sampled from the reference" in sampled["text"] and sampled["tokens"] == 62

# What was made is described, and writes text that depends on the seed only.
assert "lattice" in glvq("inspect", folder / "a")
assert "prefill" in glvq("inspect", folder / "a.glvq")
write = ("generate", folder / "a.glvq", "--prompt", "The quick", "--raw", "--max-tokens", 12, "--temperature", 1)
assert glvq(*write, "--seed", 1) == glvq(*write, "--seed", 1)
assert len({glvq(*write, "--seed", seed) for seed in range(4)}) > 1

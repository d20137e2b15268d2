# Every command refuses bad input by name, without a trace of Python, and leaves
# nothing half-written. (Formats have tests of their own: models_load.py,
# checkpoint_codes.py, glvq-compile/errors.test, glvq-run/errors.test, RuntimeTests.)
# REQUIRES: compiler, learning, torch_mlir, transformers
# RUN: rm -rf %t && mkdir %t
# RUN: %PYTHON %glvq_source/test/Inputs/tiny_chat_model.py %t/model
# RUN: %PYTHON %s %t

import contextlib
import io
import json
import resource
import shutil
import sys
from pathlib import Path

import torch

from glvq import cli
from glvq.errors import GLVQError

folder = Path(sys.argv[1])
out = folder / "out"
out.mkdir()


def glvq(*arguments):
    with contextlib.redirect_stdout(io.StringIO()):
        cli.app([str(a) for a in arguments], standalone_mode=False)


def refused(arguments, *words, error=GLVQError):
    """The command fails with a message that has these words, and writes nothing."""
    try:
        glvq(*arguments)
    except error as problem:
        for word in words:
            assert word in str(problem), f"'{word}' is not in: {problem}"
    else:
        raise AssertionError(f"accepted: {arguments}")
    assert not list(out.iterdir()), (arguments, list(out.iterdir()))


@contextlib.contextmanager
def full_disk(size):
    """Files cannot grow past a size; Python ignores the signal that says so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def copy(name, source):
    shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(source, folder / name)
    return folder / name


def changed(name, source, file, change):
    """A copy of a folder in which a JSON file was changed."""
    path = copy(name, source) / file
    value = json.loads(path.read_text())
    path.write_text(json.dumps(change(value) or value))
    return path.parent


model, good, artefact = folder / "model", folder / "good", folder / "good.glvq"
few = ("--windows", 2, "--length", 16, "-q")
glvq("quantize", model, "-o", good, *few)
glvq("compile", good, "-o", artefact, "-q")
torch.set_num_threads(1)

# quantize
to = ("-o", out / "x", *few)
refused(("quantize", folder / "nowhere", *to), "nowhere does not exist")
gguf = folder / "broken.gguf"
gguf.write_bytes(b"GGUF" + b"\x03\0\0\0" + b"\xff" * 40)
refused(("quantize", gguf, *to), "broken.gguf is truncated or not a valid GGUF file")
gguf.write_bytes(b"PK\x03\x04")
refused(("quantize", gguf, *to), "neither a folder with config.json nor a GGUF file")
cut = copy("cut", model)
data = (model / "model.safetensors").read_bytes()
(cut / "model.safetensors").write_bytes(data[: len(data) // 2])
refused(("quantize", cut, *to), "model.safetensors is truncated")
deep = changed("deep", model, "config.json", lambda c: c.update(num_hidden_layers=3))
refused(("quantize", deep, *to), "tensor 'model.layers.2.", "missing")
wide = changed("wide", model, "config.json", lambda c: c.update(intermediate_size=96))
refused(("quantize", wide, *to), "has the shape", "the configuration says")
refused(("quantize", model, *to, "--code", "abacus"), "abacus")
refused(("quantize", model, "-o", folder / "missing" / "x"), "missing does not exist; create it first")
refused(("quantize", model, "-o", good), "good exists", "--force")
refused(("quantize", good, *to), "quantize")
bytes_ = folder / "bytes.txt"
bytes_.write_bytes(b"\xff\xfe\x00")
refused(("quantize", model, *to, "--calibration", bytes_), "bytes.txt is not UTF-8 text")
refused(("quantize", model, *to, "--calibration", folder / "no.txt"), "cannot read", "no.txt")
with full_disk(4096):
    try:
        glvq("quantize", model, *to)
    except GLVQError as problem:
        assert "cannot be written" in str(problem), problem
    else:
        raise AssertionError("wrote to a full disk")
# What is done stays for --resume, and nothing at the place of the output.
assert [p.name for p in out.iterdir()] == ["x.partial"]
shutil.rmtree(out / "x.partial")

# compile
to = ("-o", out / "x", "-q")
refused(("compile", good, *to, "--target", "tpu"), "unknown target 'tpu'")
refused(("compile", good, *to, "--target", "cuda:sm_90"), "--lower-glvq-to-nvvm")
refused(("compile", model, *to, "--checkpoint", good), ".pt2 files only")
name = "model.layers.1.mlp.down_proj.weight"


def weight(**settings):
    return lambda c: c["quantization_config"]["weights"][name].update(settings)


# Numbers of a code that nothing reads, an unknown code, another shape.
refused(("compile", changed("code", good, "config.json", weight(code="#glvq.abacus<beads = 7>")), *to), name, "abacus")
refused(
    ("compile", changed("shape", good, "config.json", weight(shape=[32, 96])), *to),
    "down_proj.codes",
    "a 32 x 96 weight needs I32",
)
cut = copy("cut", good)
data = (good / "model.safetensors").read_bytes()
(cut / "model.safetensors").write_bytes(data[: len(data) - 100])
refused(("compile", cut, *to), "model.safetensors is truncated")
(folder / "broken.pt2").write_bytes(b"PK\x03\x04 and no more")
refused(("compile", folder / "broken.pt2", *to), "broken.pt2 is truncated or not a program of torch.export.save")
refused(("compile", folder / "no.pt2", *to), "no.pt2 does not exist")
refused(("compile", good, "-o", artefact, "-q"), "exists", "--force")
with full_disk(4096):
    refused(("compile", model, *to), "model.safetensors cannot be written")

# generate, eval, inspect
say = ("--prompt", "a", "--raw", "--max-tokens", 2)
refused(("generate", folder / "nowhere", *say), "not an artefact", "manifest.json: cannot open")
other = changed("other.glvq", artefact, "manifest.json", lambda m: m.update(version=2))
refused(("generate", other, *say), "format version 2", "compile it again")
refused(("inspect", other), "version 2 of the artefact format", "compile it again")
foreign = changed("foreign.glvq", artefact, "manifest.json", lambda m: m["target"].update(features=["avx4096"]))
refused(("generate", foreign, *say), "CPU features that this machine lacks: avx4096")
refused(("eval", foreign, "--text", bytes_), "bytes.txt is not UTF-8 text")
mute = copy("mute.glvq", artefact)
(mute / "tokenizer.json").unlink()
refused(("generate", mute, *say), "tokenizer.json")
refused(("generate", artefact, "--prompt", "", "--raw"), "the prompt is empty")
refused(("generate", artefact, "--prompt", "a", "--max-tokens", 999), "context of 256")
refused(("generate", artefact, *say, "--top-p", 2), "top-p must be in (0, 1]")
refused(("eval", good), "give --text FILE, or --reference MODEL")
empty = folder / "empty.txt"
empty.write_text(" \n")
refused(("eval", good, "--text", empty), "empty.txt holds no text")
empty.write_text("short")
refused(("eval", good, "--text", empty), "less than one window of 512")
refused(("inspect", folder), "neither an artefact", "nor a checkpoint")

# A manifest that is JSON, and nothing else that it should be.
for change, words in (
    (lambda m: m.pop("format"), ["not the manifest of a glvq artefact"]),
    (lambda m: m.pop("target"), ["malformed", "'target'"]),
    (lambda m: m.update(target=[]), ["malformed"]),
    (lambda m: m.update(model=3), ["malformed"]),
    (lambda m: m.update(files={"model.so": {}}), ["malformed", "'bytes'"]),
    (lambda m: m.update(entries=None), ["malformed"]),
    (lambda m: m["entries"][0]["arguments"][0].pop("role"), ["malformed", "'role'"]),
    (lambda m: m["entries"][0]["arguments"].append(1), ["malformed"]),
):
    broken = changed("broken.glvq", artefact, "manifest.json", lambda m: change(m) and None)
    refused(("inspect", broken), "manifest.json", *words)
(broken / "manifest.json").write_text("[1]")
refused(("inspect", broken), "not a JSON object")

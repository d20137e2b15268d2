# Quantization that is stopped and goes on: killed at any moment, the resumed run
# gives the bytes of an undisturbed one; damaged or foreign pieces are refused;
# and a model is never in memory as a whole.
# REQUIRES: torch, transformers, learning
# RUN: %PYTHON %s %t

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

from glvq import models, quantization
from glvq.errors import GLVQError
from glvq.partial import Partial
from glvq.quantizers import LatticeQuantizer

work = Path(sys.argv[1])
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
torch.set_num_threads(1)


def build(folder, layers, **sizes):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=61, num_hidden_layers=layers, num_attention_heads=4, max_position_embeddings=64, **sizes
    )
    transformers.LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    return folder


def refused(call, *words):
    try:
        call()
    except GLVQError as error:
        for word in words:
            assert word in str(error), f"'{word}' is not in: {error}"
        return
    raise AssertionError(f"accepted, although: {words}")


def run(output, source=None, **more):
    loaded = models.open(source or model)
    options = dict(bits=2, windows=2, length=32, seed=1, file=loaded.file) | more
    return quantization.quantize_model(loaded.model, loaded.tokenizer, output, **options)


def same_bytes(a, b):
    files = sorted(p.name for p in a.iterdir())
    assert files == sorted(p.name for p in b.iterdir())
    for name in files:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


model = build(work / "model", 6, hidden_size=64, intermediate_size=128)
run(work / "whole")
assert not (work / "whole.partial").exists()

# Killed after some layers, in the middle of another.
partial = work / "stopped.partial"
options = "--windows 2 --length 32 --seed 1 --quiet".split()
process = subprocess.Popen(
    [sys.executable, "-m", "glvq", "quantize", model, "-o", work / "stopped", *options],
    env={**os.environ, "OMP_NUM_THREADS": "1"},
    stdout=subprocess.DEVNULL,
)
while not (partial / "layer-00001.json").exists():
    assert process.poll() is None, "the run ended before it was killed"
    time.sleep(0.001)
process.send_signal(signal.SIGKILL)
process.wait()
assert not (work / "stopped").exists()
(partial / "layer-00005.safetensors.tmp").write_bytes(b"half a file")
shutil.copytree(partial, work / "kept.partial")

refused(lambda: run(work / "stopped"), "finished pieces of an earlier run", "--resume")
refused(lambda: run(work / "stopped", resume=True, bits=3), "was begun with another 'bits' (2, now 3)")
# One at a time.
held = Partial(work / "busy", {})
refused(lambda: Partial(work / "busy", {}), "another glvq is working on")
with held:
    pass
run(work / "stopped", resume=True)
same_bytes(work / "whole", work / "stopped")
assert not partial.exists()

# Damage is found before any work.
partial = work / "kept.partial"
piece = partial / "layer-00000.safetensors"
data = bytearray(piece.read_bytes())
data[-5] ^= 1
piece.write_bytes(data)
refused(lambda: run(work / "kept", resume=True), "layer-00000.safetensors is damaged", "--force")
(partial / "layer-00001.json").write_text("{")
piece.unlink()
refused(lambda: run(work / "kept", resume=True), "layer-00000.safetensors is damaged (missing)")
# Another model of the same shapes is told apart.
tensors = load_file(model / "model.safetensors")
tensors["model.norm.weight"] *= 2
other = work / "other"
shutil.copytree(model, other)
save_file(tensors, other / "model.safetensors")
refused(lambda: run(work / "kept", other, resume=True), "was begun with another 'model'")
run(work / "kept", other, force=True)
assert not partial.exists()


# Peak memory: a model of 12 layers, of which one at a time is there. What is
# mapped from files does not count: the system takes it back when it needs to.
def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


deep = build(work / "deep", 12, hidden_size=64, intermediate_size=768)
loaded = models.open(deep)
assert all(p.is_meta for p in loaded.model.parameters())
layers = loaded.model.model.layers
bytes_of_layer = sum(4 * p.numel() for p in layers[0].parameters())
cheap = LatticeQuantizer(dim=1, iterations=1)
options = dict(bits=2, quantizer=cheap, windows=2, length=16, calibration="text")


class Characters:
    def __call__(self, text, add_special_tokens):
        return {"input_ids": [i % 61 for i in range(64)]}

    def save_pretrained(self, folder):
        pass


def peak(output, layer_count):
    config = transformers.AutoConfig.from_pretrained(deep)
    config.num_hidden_layers = layer_count
    folder = work / f"deep-{layer_count}"
    shutil.copytree(deep, folder)
    config.save_pretrained(folder)
    loaded = models.open(folder)
    before, highest, done = anonymous(), 0, threading.Event()

    def watch():
        nonlocal highest
        while not done.wait(0.002):
            highest = max(highest, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    quantization.quantize_model(loaded.model, Characters(), output, file=loaded.file, **options)
    done.set()
    watcher.join()
    return highest - before


peak(work / "warm-up", 1)
few, many = peak(work / "few", 2), peak(work / "many", 12)
assert many - few < 5 * bytes_of_layer, (few, many, bytes_of_layer)
report = json.loads((work / "many" / "quantization_report.json").read_text())
assert report["quantized_linears"] == 84

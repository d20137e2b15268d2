"""Speed of compiled code on this CPU, beside what its memory allows.

    rows = matvec(bits=(1, 2, 3, 4, 8), threads=(1, 2))     # products with weights from memory
    rows = model("model.glvq", reference="model", threads=(1, 2))

Whatever is compared is measured in turns, so that the load of the machine is the same for all. A product reads distinct
weights of a gibibyte in all, far more than any cache holds; the probe reads the same memory with vector loads and does
nothing else.
"""

from __future__ import annotations

import ctypes
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .. import _native
from ..errors import GLVQError

_PROBE = r"""
#include <stdint.h>
typedef int64_t vector __attribute__((vector_size(64), aligned(4), may_alias));
int64_t probe(const char *data, int64_t bytes) {
  vector a = {0}, b = {0}, c = {0}, d = {0};
  for (int64_t i = 0; i + 256 <= bytes; i += 256) {
    a ^= *(const vector *)(data + i);
    b ^= *(const vector *)(data + i + 64);
    c ^= *(const vector *)(data + i + 128);
    d ^= *(const vector *)(data + i + 192);
  }
  a ^= b ^ c ^ d;
  return a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}
"""


@dataclass(frozen=True)
class Row:
    """``value`` is the median of the runs, ``best`` the best of them."""

    case: str
    threads: int
    value: float
    best: float
    unit: str


def _row(case: str, threads: int, values: Sequence[float], unit: str) -> Row:
    return Row(case, threads, statistics.median(values), max(values), unit)


def _build_probe(folder: Path) -> Callable[[np.ndarray, int], None]:
    """A function that reads an array with so many threads."""
    compiler = next((c for c in ("clang-22", "clang", "cc", "gcc") if shutil.which(c)), None)
    if compiler is None:
        raise GLVQError("the probe of the memory needs a C compiler; install clang-22 or gcc")
    source = folder / "probe.c"
    source.write_text(_PROBE)
    command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", str(source), "-o", str(folder / "probe.so")]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise GLVQError(f"the probe of the memory cannot be compiled: {result.stderr.strip()}")
    probe = ctypes.CDLL(str(folder / "probe.so")).probe
    probe.argtypes, probe.restype = [ctypes.c_void_p, ctypes.c_int64], ctypes.c_int64

    def read(data: np.ndarray, threads: int) -> None:
        part = data.nbytes // threads // 256 * 256
        workers = [threading.Thread(target=probe, args=(data.ctypes.data + i * part, part)) for i in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return read


def _matvec_module(rows: int, columns: int, bits: int, count: int) -> str:
    """One token times ``count`` weights, one after the other, summed."""
    tiles, words = -(-rows // 16), -(-columns // 32) * bits * 16
    x, y = f"tensor<1x{columns}xf32>", f"tensor<1x{rows}xf32>"
    every, one = f"tensor<{count}x{tiles}x{words}xi32>", f"tensor<{tiles}x{words}xi32>"
    return f"""
func.func @forward(%x: {x} {{glvq.input = "x"}}, %codes: {every} {{glvq.input = "codes"}})
    -> ({y} {{glvq.output = "y"}}) {{
  %first = arith.constant 0 : index
  %step = arith.constant 1 : index
  %count = arith.constant {count} : index
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : {y}
  %init = linalg.fill ins(%zero : f32) outs(%empty : {y}) -> {y}
  %sum = scf.for %i = %first to %count step %step iter_args(%acc = %init) -> ({y}) {{
    %c = tensor.extract_slice %codes[%i, 0, 0] [1, {tiles}, {words}] [1, 1, 1] : {every} to {one}
    %next = glvq.matmul ins(%x : {x}) codes(%c : {one}) outs(%acc : {y})
              {{code = #glvq.interleaved<bits = {bits}>}} -> {y}
    scf.yield %next : {y}
  }}
  return %sum : {y}
}}
"""


def _compile(text: str, folder: Path, activations: str) -> Path:
    from safetensors.numpy import save_file

    (folder / "module.mlir").write_text(text)
    (folder / "checkpoint").mkdir(exist_ok=True)
    save_file({"none": np.zeros(1, np.float32)}, folder / "checkpoint" / "model.safetensors")
    command = [_native.tool("glvq-compile"), str(folder / "module.mlir"), "--checkpoint", str(folder / "checkpoint")]
    command += ["-o", str(folder / "artefact"), "--activations", activations, "--force"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise GLVQError(f"glvq-compile failed:\n{result.stderr.strip()}")
    return folder / "artefact"


def matvec(
    bits: Sequence[int] = (1, 2, 3, 4, 8),
    rows: int = 4096,
    columns: int = 4096,
    threads: Sequence[int] = (1, 2),
    gibibytes: float = 1.0,
    activations: str = "int8",
    repeats: int = 7,
    advance: Callable[[int, str], None] = lambda count, text: None,
) -> list[Row]:
    """Matrix-vector products with folded weights: gigabytes of weights a second, and those of the probe."""
    result = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        read = _build_probe(folder)
        rng = np.random.default_rng(0)
        pattern = rng.integers(-(2**31), 2**31, 1 << 20, dtype=np.int64).astype(np.int32)
        x = rng.standard_normal((1, columns)).astype(np.float32)
        for width in bits:
            tiles, words = -(-rows // 16), -(-columns // 32) * width * 16
            count = max(1, int(gibibytes * 2**30) // (tiles * words * 4))
            codes = np.resize(pattern, (count, tiles, words))
            artefact = _compile(_matvec_module(rows, columns, width, count), folder, activations)
            for number in threads:
                session = _native.runtime().Artefact(str(artefact), number).session(1)
                speeds: dict[str, list[float]] = {"product": [], "probe": []}
                for _ in range(repeats):
                    for name, run in (
                        ("probe", lambda: read(codes, number)),
                        ("product", lambda: session.run("forward", x=x, codes=codes)),
                    ):
                        start = time.perf_counter()
                        run()
                        speeds[name].append(codes.nbytes / (time.perf_counter() - start) / 1e9)
                name = f"{rows}x{columns}, {width} bits"
                result.append(_row(f"{name}, {activations}", number, speeds["product"], "GB/s"))
                result.append(_row(f"{name}, probe", number, speeds["probe"], "GB/s"))
                advance(1, name)
            del codes
    return result


def model(
    artefact: str | Path,
    reference: str | Path | None = None,
    gguf: str | Path | None = None,
    threads: Sequence[int] = (1, 2),
    tokens: int = 64,
    prompt: int = 512,
    repeats: int = 3,
    advance: Callable[[int, str], None] = lambda count, text: None,
) -> list[Row]:
    """Tokens a second of an artefact, in decoding and for a prompt; beside it, of torch eager with the model
    ``reference`` and of llama.cpp (PyPI: llama-cpp-python) with the file ``gguf``.

    Raises GLVQError for an artefact that is not a language model's, and without llama-cpp-python when a GGUF file is
    given.
    """
    compiled = _native.runtime().Artefact(str(artefact), 1)
    names = {entry["name"] for entry in compiled.entries}
    if not {"decode", "prefill"} <= names:
        raise GLVQError(f"{artefact} is not a language model's: it has the entries {', '.join(sorted(names))}")
    peers: dict[str, Callable[[int], tuple[Callable, Callable]]] = {
        "glvq": lambda n: _glvq(artefact, n, tokens + prompt)
    }
    if reference is not None:
        peers["torch"] = _torch(reference)
    if gguf is not None:
        peers["llama.cpp"] = _llama(gguf, tokens + prompt)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 1000, max(prompt, tokens)).tolist()
    result = []
    for number in threads:
        ready = {name: make(number) for name, make in peers.items()}
        speeds: dict[tuple[str, str], list[float]] = {}
        for _ in range(repeats):
            for name, (prefill, decode) in ready.items():
                start = time.perf_counter()
                prefill(ids[:prompt])
                middle = time.perf_counter()
                for token in ids[:tokens]:
                    decode(token)
                end = time.perf_counter()
                speeds.setdefault((name, "prefill"), []).append(prompt / (middle - start))
                speeds.setdefault((name, "decode"), []).append(tokens / (end - middle))
        for (name, what), values in speeds.items():
            result.append(_row(f"{name} {what}", number, values, "tokens/s"))
        advance(1, f"{number} threads")
    return result


def _glvq(artefact, threads: int, capacity: int):
    session = _native.runtime().Artefact(str(artefact), threads).session(capacity)
    position = [0]

    def prefill(ids):
        session.run("prefill", tokens=np.array([ids], np.int64), position=0)
        position[0] = len(ids)

    def decode(token):
        session.run("decode", tokens=np.array([[token]], np.int64), position=position[0])
        position[0] += 1

    return prefill, decode


def _torch(reference):
    import torch
    from transformers import DynamicCache

    from .. import checkpoint, models

    loaded = models.load(reference)
    if loaded.quantization is not None:
        loaded = checkpoint.load(reference)
    network = loaded.model.float().eval()

    def make(threads: int):
        torch.set_num_threads(threads)
        state = {}

        def run(ids):
            with torch.no_grad():
                network(torch.tensor([ids]), past_key_values=state["cache"], use_cache=True)

        def prefill(ids):
            state["cache"] = DynamicCache(config=network.config)
            run(ids)

        return prefill, lambda token: run([token])

    return make


def _llama(gguf, capacity: int):
    try:
        import llama_cpp
    except ImportError as error:
        raise GLVQError("the comparison with llama.cpp needs `pip install llama-cpp-python`") from error

    def make(threads: int):
        llama = llama_cpp.Llama(
            str(gguf),
            n_ctx=capacity,
            n_threads=threads,
            n_threads_batch=threads,
            n_batch=512,
            logits_all=False,
            verbose=False,
        )

        def prefill(ids):
            llama.reset()
            llama.eval(ids)

        return prefill, lambda token: llama.eval([token])

    return make


def report(rows: Sequence[Row]) -> list[dict]:
    return [asdict(row) for row in rows]


def plot(rows: Sequence[Row], file: Path) -> None:
    """Bars of the medians, one group for each number of threads."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cases = list(dict.fromkeys(row.case for row in rows))
    threads = sorted({row.threads for row in rows})
    units = list(dict.fromkeys(row.unit for row in rows))
    figure, axes = plt.subplots(len(units), 1, figsize=(8, 1 + 0.35 * len(rows)), squeeze=False, layout="constrained")
    for axis, unit in zip(axes[:, 0], units):
        shown = [case for case in cases if any(r.case == case and r.unit == unit for r in rows)]
        for i, number in enumerate(threads):
            values = [
                next((r.value for r in rows if (r.case, r.threads, r.unit) == (c, number, unit)), 0) for c in shown
            ]
            places = [p + (i - (len(threads) - 1) / 2) * 0.8 / len(threads) for p in range(len(shown))]
            bars = axis.barh(places, values, 0.8 / len(threads), label=f"{number} thread{'s' * (number > 1)}")
            axis.bar_label(bars, fmt="%.3g", padding=3)
        axis.set_yticks(range(len(shown)), shown)
        axis.invert_yaxis()
        axis.set_xlabel(unit)
        axis.legend()
    figure.savefig(file, dpi=120)
    plt.close(figure)

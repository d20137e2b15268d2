#!/usr/bin/env python3
# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Speed of the CPU kernels for quantized products, beside the read bandwidth of the machine.

Weights are read from memory: every call takes another of many matrices, of --mebibytes in all.
Needs glvq-opt in PATH (build/bin) and the tools of LLVM; prints a table, and with --json a list of
rows {case, metric, value, unit}.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "Integration", "CPU", "Inputs")
)
from kernels import TO_LLVM, compile_module, descriptor  # noqa: E402

PROBE = """
#include <stdint.h>
typedef uint64_t vector __attribute__((vector_size(64)));
uint64_t probe(const vector *p, int64_t n) {
  vector a = {0}, b = a, c = a, d = a;
  for (int64_t i = 0; i < n; i += 4) { a ^= p[i]; b ^= p[i + 1]; c ^= p[i + 2]; d ^= p[i + 3]; }
  a ^= b ^ c ^ d;
  return a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}
"""


def best_time(work, threads, repetitions):
    """Seconds of the fastest repetition of work(0) … work(threads - 1), side by side.

    By the clock, and of one core: on a busy machine only the latter says something.
    """
    best, best_core = float("inf"), float("inf")
    used = [0.0] * threads

    def timed(i):
        start = time.thread_time()
        work(i)
        used[i] = time.thread_time() - start

    for _ in range(repetitions):
        crew = [threading.Thread(target=timed, args=(i,)) for i in range(threads)]
        start = time.perf_counter()
        for t in crew:
            t.start()
        for t in crew:
            t.join()
        best = min(best, time.perf_counter() - start)
        best_core = min(best_core, sum(used))
    return best, best_core


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--columns", type=int, default=4096)
    parser.add_argument("--group", type=int, default=128)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--bits", type=int, nargs="+", default=[1, 2, 3, 4, 8])
    parser.add_argument("--compander", default="none", choices=["none", "mu_law", "affine"])
    parser.add_argument("--tokens", type=int, default=1)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count()])
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--vector-length", type=int, default=16)
    parser.add_argument("--march", default="native")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    rows, columns, group, dim = options.rows, options.columns, options.group, options.dim
    rng = np.random.default_rng(0)
    slots = -(-columns // group)
    passes = f"builtin.module(convert-glvq-to-vector{{vector-length={options.vector_length}}},{TO_LLVM})"
    figures = []

    def report(case, metric, value, unit):
        figures.append({"case": case, "metric": metric, "value": value, "unit": unit})
        print(f"{case:40} {metric:16} {value:8.1f} {unit}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "probe.c")
        with open(source, "w") as f:
            f.write(PROBE)
        library = os.path.join(folder, "probe.so")
        clang = os.path.join(os.environ.get("LLVM_TOOLS_DIR", "/usr/lib/llvm-22/bin"), "clang")
        subprocess.run([clang, "-O3", "-march=" + options.march, "-shared", "-fPIC", source, "-o", library], check=True)
        probe = ctypes.CDLL(library).probe
        probe.argtypes = [ctypes.c_void_p, ctypes.c_int64]
        # Vectors of the probe are loaded aligned.
        memory = np.frombuffer(rng.bytes((options.mebibytes << 20) + 64), np.uint8)
        skip = -memory.ctypes.data % 64
        memory = memory[skip : skip + (options.mebibytes << 20)].view(np.int32)

        for bits in options.bits:
            words = sum(-(-(-(-min(group, columns - s * group) // dim) * dim * bits) // 32) for s in range(slots))
            used = len(memory) // (rows * words)
            code = f"#glvq.lattice<dim = {dim}, bits = {bits}, group = {group}"
            code += ">" if options.compander == "none" else f", compander = {options.compander}>"
            types = [f"memref<{rows}x{words}xi32>", f"memref<{slots}x{dim}x{dim}xf16>", f"memref<{rows}xf16>"]
            names = ["%g", "%s"]
            params = [
                (rng.standard_normal((slots, dim, dim)) / dim / 2**bits).astype(np.float16),
                np.ones(rows, np.float16),
            ]
            if options.compander != "none":
                types.append(f"memref<{slots}x2xf32>")
                names.append("%f")
                params.append(np.ones((slots, 2), np.float32))
            x, y = f"memref<?x{columns}xf32>", f"memref<?x{rows}xf32>"
            declared = ", ".join(f"{n}: {t}" for n, t in zip(["%c", *names], types))
            text = f"""
func.func @multiply(%x: {x}, {declared}, %y: {y}) attributes {{llvm.emit_c_interface}} {{
  glvq.matmul ins(%x : {x}) codes(%c : {types[0]}) params({", ".join(names)} : {", ".join(types[1:])})
    outs(%y : {y}) {{code = {code}}}
  return
}}
"""
            multiply = compile_module(text, passes, folder, f"bits{bits}", ("-O3", "-march=" + options.march))
            entry = multiply._mlir_ciface_multiply
            codes = memory[: used * rows * words].reshape(used, rows, words)
            inputs = rng.standard_normal((options.tokens, columns)).astype(np.float32)
            for threads in options.threads:
                # Descriptors are made beforehand: that takes longer than a small product.
                results = [np.zeros((options.tokens, rows), np.float32) for _ in range(threads)]
                calls = [
                    [ctypes.byref(descriptor(a)) for a in (inputs, codes[m], *params, results[m % threads])]
                    for m in range(used)
                ]

                def work(i):
                    for arguments in calls[i::threads]:
                        entry(*arguments)

                def read(i):
                    share = memory.nbytes // threads // 256 * 256
                    probe(memory.ctypes.data + i * share, share // 64)

                case = f"{bits} bits, {rows}x{columns}, {threads} threads"
                seconds, core_seconds = best_time(work, threads, options.repetitions)
                bandwidth = memory.nbytes / best_time(read, threads, options.repetitions)[0]
                weights = used * rows * columns * options.tokens
                report(case, "products", weights / seconds / 1e9, "Gweights/s")
                report(case, "products/core", weights / core_seconds / 1e9, "Gweights/s")
                report(case, "codes read", codes.nbytes / seconds / 1e9, "GB/s")
                report(case, "read probe", bandwidth / 1e9, "GB/s")
    if options.json:
        with open(options.json, "w") as f:
            json.dump(figures, f, indent=1)


if __name__ == "__main__":
    main()

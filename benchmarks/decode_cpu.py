#!/usr/bin/env python3
# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""One token at a time through a compiled model and through torch eager, on the same cores.

Both run the same weights on the same number of threads, in turns, so that the load of the machine is the same for
both. Prints milliseconds per token, the ratio, and the largest difference of logits over their range.
With --json, a list of rows {case, metric, value, unit}.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))
from glvq import _native, compiler, models  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="HF folder or GGUF file (default: the packaged SmolLM2)")
    parser.add_argument("--artefact", help="an artefact compiled from the model before (default: compile it)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64, help="tokens timed")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()

    source = args.model or models.default_model_path()
    with tempfile.TemporaryDirectory() as scratch:
        artefact = args.artefact
        if not artefact:
            artefact = Path(scratch) / "artefact"
            start = time.perf_counter()
            compiler.compile_model(source, artefact)
            print(f"compiled in {time.perf_counter() - start:.1f} s")
        loaded = models.load(source)
        model = loaded.model.float().eval()
        torch.set_num_threads(args.threads)
        session = _native.runtime().Artefact(str(artefact), args.threads).session(args.tokens + 8)

        from transformers import DynamicCache

        cache = DynamicCache(config=model.config)
        ids = np.random.default_rng(0).integers(0, model.config.vocab_size, args.tokens + 4)
        ours, theirs, worst = [], [], 0.0
        with torch.no_grad():
            for position, token in enumerate(ids):
                tokens = np.array([[token]], dtype=np.int64)
                start = time.perf_counter()
                logits = session.run("decode", tokens=tokens, position=position)["logits"]
                middle = time.perf_counter()
                reference = model(torch.from_numpy(tokens), past_key_values=cache, use_cache=True).logits.numpy()
                end = time.perf_counter()
                ours.append(middle - start)
                theirs.append(end - middle)
                worst = max(worst, float(np.abs(logits - reference).max() / np.ptp(reference)))
    # The first tokens touch the weights for the first time.
    ours, theirs = ours[4:], theirs[4:]
    rows = []
    for metric, pick in (("median", statistics.median), ("best", min)):
        a, b = pick(ours) * 1e3, pick(theirs) * 1e3
        print(f"{metric:7} glvq {a:8.2f} ms/token   torch eager {b:8.2f} ms/token   torch/glvq {b / a:.2f}")
        rows += [
            {"case": "decode/glvq", "metric": metric, "value": a, "unit": "ms/token"},
            {"case": "decode/torch", "metric": metric, "value": b, "unit": "ms/token"},
            {"case": "decode", "metric": f"torch/glvq {metric}", "value": b / a, "unit": ""},
        ]
    print(f"largest difference of logits: {worst:.2g} of their range")
    rows.append({"case": "decode", "metric": "difference/range", "value": worst, "unit": ""})
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

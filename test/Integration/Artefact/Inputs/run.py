"""Runs calls of an artefact in one session: run.py ARTEFACT CALLS.npz RESULTS.npz

Keys of CALLS are NUMBER/ENTRY/INPUT, of RESULTS NUMBER/OUTPUT.
"""

import sys

import numpy as np

from glvq._native import runtime

artefact = runtime().Artefact(sys.argv[1], threads=2)
session = artefact.session(capacity=20)
calls, results = {}, {}
with np.load(sys.argv[2]) as arrays:
    for key in arrays.files:
        number, entry, name = key.split("/")
        calls.setdefault(int(number), (entry, {}))[1][name] = arrays[key]
for number, (entry, inputs) in sorted(calls.items()):
    for name, value in session.run(entry, **inputs).items():
        results[f"{number}/{name}"] = value
np.savez(sys.argv[3], **results)
assert "torch" not in sys.modules

# glvq bench cpu: products beside the probe, as a table, JSON and a plot; an artefact that is not a language model's is refused.
# REQUIRES: compiler
# RUN: %PYTHON %s %t

import json
import shutil
import sys
from pathlib import Path

from glvq.bench import cpu
from glvq.errors import GLVQError

folder = Path(sys.argv[1])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
rows = cpu.matvec(bits=(2,), rows=48, columns=100, threads=(1, 2), gibibytes=1e-4, repeats=2)
assert [(r.case, r.threads, r.unit) for r in rows] == [
    ("48x100, 2 bits, int8", 1, "GB/s"),
    ("48x100, 2 bits, probe", 1, "GB/s"),
    ("48x100, 2 bits, int8", 2, "GB/s"),
    ("48x100, 2 bits, probe", 2, "GB/s"),
]
assert all(0 < r.value <= r.best for r in rows)
assert json.loads(json.dumps(cpu.report(rows)))[0]["case"] == "48x100, 2 bits, int8"
cpu.plot(rows, folder / "plot.png")
assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
artefact = cpu._compile(cpu._matvec_module(16, 32, 1, 1), folder, "int8")
try:
    cpu.model(artefact)
except GLVQError as error:
    assert "not a language model" in str(error), error
else:
    raise AssertionError("accepted an artefact without decode")

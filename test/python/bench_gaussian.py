# glvq bench gaussian: the errors that theory and searches give, bits counted,
# JSON, plot and wrong names.
# REQUIRES: torch, transformers, learning
# RUN: %PYTHON %s

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def glvq(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "glvq", "bench", "gaussian", *arguments], capture_output=True, text=True
    )


with tempfile.TemporaryDirectory() as folder:
    plot = Path(folder) / "errors.png"
    run = glvq(
        "lattice",
        "trellis 6",
        "trellis 8",
        "additive 16",
        "binary 8",
        "--samples",
        "40000",
        "--json",
        "--plot",
        str(plot),
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    rows = {row["code"]: row for row in report["codes"]}
    for name, error in {"lattice 8": 0.1188, "trellis 6": 0.0867, "trellis 8": 0.0804, "binary 8": 0.0915}.items():
        assert abs(rows[name]["error"] - error) < 0.03 * error, rows[name]
    assert rows["additive 16"]["error"] < 0.0745, rows
    # The first window of each of two columns, and eight taps.
    assert abs(rows["trellis 8"]["bits"] - (2 + (2 * 6 + 32 * 8) / (2 * 16384))) < 1e-9
    assert all(row["at_two_bits"] > report["bound"] and row["bits"] > 2 for row in rows.values())
    assert plot.read_bytes().startswith(b"\x89PNG")

run = glvq("septic")
assert run.returncode == 1 and "no code begins with 'septic'" in run.stderr, run.stderr
table = glvq("trellis 6", "--samples", "20000", "--quiet")
assert table.returncode == 0 and "trellis 6" in table.stdout

# The wheel in a clean virtual environment, without a source tree, build folder
# or PYTHONPATH in sight: every command works.
# REQUIRES: compiler, torch, transformers, learning
# RUN: rm -rf %t && mkdir %t
# RUN: %PYTHON %S/../Inputs/tiny_chat_model.py %t/model
# RUN: %PYTHON -m pip wheel %glvq_source --no-deps --no-build-isolation --no-index -q -w %t --config-settings build-dir=%t/b --config-settings cmake.source-dir=%glvq_source/cmake/prebuilt --config-settings cmake.args= --config-settings cmake.define.GLVQ_BUILD_DIR=%glvq_build
# RUN: %PYTHON -m venv --without-pip %t/venv
# RUN: %PYTHON -m pip --python %t/venv/bin/python install -q --no-deps --no-index %t/*.whl
# RUN: env -u PYTHONPATH -u GLVQ_BUILD_DIR %PYTHON %s %t

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

folder = Path(sys.argv[1])
venv = folder / "venv"
# The dependencies come from the environment of the tests: on the path, but
# without its own (editable) glvq, since .pth files are read from the venv's only.
(site,) = venv.glob("lib/python*/site-packages")
(site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
empty = folder / "empty"
empty.mkdir()
environment = {k: v for k, v in os.environ.items() if k in ("HOME", "LANG", "LD_LIBRARY_PATH")}
environment["PATH"] = f"{venv}/bin:/usr/bin:/bin"


def run(*command, status=0):
    result = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
    assert result.returncode == status, f"{command}: status {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout + (result.stderr if status else "")


where = run(
    "python", "-c", "import glvq, glvq._native as n; print(glvq.__file__, n.tool('glvq-opt'), n.runtime().__file__)"
)
assert all(str(site) in path for path in where.split()), where
assert "quantize" in run("glvq", "--help")
model, quantized, artefact = str(folder / "model"), str(folder / "q"), str(folder / "q.glvq")
report = json.loads(
    run("glvq", "quantize", model, "-o", quantized, "--bits", "3", "--windows", "2", "--length", "32", "--json")
)
assert report["weights"] > 0
assert "#glvq.trellis" in run("glvq", "inspect", quantized, "--json")
run("glvq", "compile", quantized, "-o", artefact, "--quiet")
assert run("glvq", "generate", artefact, "--prompt", "hi", "--max-tokens", "4")
assert "exists" in run("glvq", "compile", quantized, "-o", artefact, status=1)
assert "prefill" in run("glvq-run", artefact, "--list")
assert "OVERVIEW" in run("glvq-opt", "--help")
assert "glvq-run: error" in run("glvq-run", model, "--list", status=1)

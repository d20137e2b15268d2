# Interrupted compilations leave nothing: neither glvq-compile, by any of the
# signals that ask a process to end, nor the command that runs it.
# REQUIRES: compiler, torch_mlir, transformers
# RUN: rm -rf %t && mkdir -p %t/out
# RUN: %PYTHON %S/Inputs/checkpoint.py make %t/checkpoint
# RUN: %PYTHON %glvq_source/test/Inputs/tiny_chat_model.py %t/model
# RUN: %PYTHON %s %t

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

folder = Path(sys.argv[1])
out = folder / "out"


def wait_for(condition):
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


# A module that never comes keeps glvq-compile in the middle of its work.
os.mkfifo(folder / "model.mlir")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    command = ["glvq-compile", folder / "model.mlir", "--checkpoint", folder / "checkpoint", "-o", out / "a"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    wait_for(lambda: list(out.iterdir()))
    partial = next(out.iterdir())
    assert partial.name.startswith(".a."), partial
    # As if it were further: a file of the linker, say.
    (partial / "model.so.tmp").write_bytes(b"x" * 100)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == -number, process.returncode
    assert not list(out.iterdir()), list(out.iterdir())

# The Python command passes an end on, waits, and removes its scratch folder.
bin_folder, scratch = folder / "build" / "bin", folder / "tmp"
bin_folder.mkdir(parents=True)
scratch.mkdir()
tool = bin_folder / "glvq-compile"
tool.write_text(
    f"#!/bin/sh\ntrap 'touch {folder}/told; exit 1' TERM\ntouch {folder}/started\nwhile :; do sleep 0.05; done\n"
)
tool.chmod(0o755)
environment = {**os.environ, "GLVQ_BUILD_DIR": str(folder / "build"), "TMPDIR": str(scratch)}
command = [sys.executable, "-m", "glvq", "compile", folder / "model", "-o", out / "a", "-q"]
process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
wait_for((folder / "started").exists)
assert [p.name for p in scratch.iterdir() if p.name.startswith("glvq-compile-")]
process.terminate()
assert process.wait() == 128 + signal.SIGTERM
assert (folder / "told").exists()
left = [p.name for p in scratch.iterdir() if p.name.startswith("glvq-compile-")]
assert not left and not list(out.iterdir()), left

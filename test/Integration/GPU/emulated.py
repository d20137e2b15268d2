"""Programs whose GPU kernels run in the emulator: Program of the oracle's tests,
lowered by lower-glvq-to-nvvm instead."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "GLVQToLinalg"))
from helpers import Program  # noqa: E402


class EmulatedProgram(Program):
    RUNNER = ["glvq-emulate", "--entry=main", "-"]

    def __init__(self, mlir_lib, activations="f32"):
        super().__init__(mlir_lib)
        self.activations = activations

    def lower(self, module):
        lowered = subprocess.run(
            ["glvq-opt", f"--lower-glvq-to-nvvm=chip=sm_80 format=llvm activations={self.activations}"],
            input=module,
            capture_output=True,
            text=True,
        )
        assert lowered.returncode == 0, lowered.stderr
        return lowered.stdout

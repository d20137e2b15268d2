"""Programs whose GPU kernels run on the host: Program of the oracle's tests,
lowered by lower-glvq-to-nvvm instead."""

import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "GLVQToLinalg"))
from helpers import Program  # noqa: E402

HOST = [
    "--convert-scf-to-cf",
    "--expand-strided-metadata",
    "--lower-affine",
    "--convert-bufferization-to-memref",
    "--gpu-to-llvm",
    "--convert-to-llvm",
    "--reconcile-unrealized-casts",
]


def command(*arguments, text=None):
    ran = subprocess.run(arguments, input=text, capture_output=True)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


def binary_of(module):
    """The bytes of the (one) object of a gpu.binary in printed IR."""
    text = re.search(rb'(?:offload|bin) = "((?:[^"\\]|\\.)*)"', module)[1]
    return re.sub(
        rb"\\([0-9A-Fa-f]{2}|.)",
        lambda m: bytes([int(m[1], 16)]) if len(m[1]) == 2 else m[1],
        text,
    )


def compile_kernels(bitcode, folder):
    """A shared library of the kernels and their emulator."""
    ir = command("llvm-dis", "-o", "-", text=bitcode).decode()
    ir = re.sub(r"^target .*$", "", ir, flags=re.M)
    ir = re.sub(r" addrspace\(\d+\)", "", ir).replace("addrspacecast", "bitcast")
    ir = re.sub(r'"target-(cpu|features)"="[^"]*"', "", ir)
    ir = re.sub(r"@llvm\.nvvm\.([\w.]+)", lambda m: "@nvvm_" + m[1].replace(".", "_"), ir)
    kernels = re.findall(r"define.*ptx_kernel void @(\w+)\((.*)$", ir, re.M)
    ir = ir.replace("ptx_kernel ", "")
    source = f'#include "{HERE}/Inputs/emulator.c"\n'
    for name, parameters in kernels:
        types = ["int32_t" if t == "i32" else "void *" for t in re.findall(r"\b(ptr|i32)\b[^%]*%\w+", parameters)]
        values = ", ".join(f"*({t}*)p[{i}]" for i, t in enumerate(types))
        source += f"void {name}({', '.join(types)});\n"
        source += f"static void call_{name}(void **p) {{ {name}({values}); }}\n"
    table = "".join(f'{{"{name}", call_{name}}}, ' for name, _ in kernels)
    source += f"const struct Kernel emulatedKernels[] = {{ {table} {{0, 0}} }};\n"
    for name, text in (("kernels.ll", ir), ("emulator.c", source)):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    library = os.path.join(folder, "kernels.so")
    command(
        *["clang", "-O1", "-w", "-shared", "-fPIC", "-lm", "-o", library],
        *[os.path.join(folder, name) for name in ("kernels.ll", "emulator.c")],
    )
    return library


class EmulatedProgram(Program):
    def lower(self, module):
        lowered = command(
            "glvq-opt",
            "--lower-glvq-to-nvvm=chip=sm_80 format=llvm",
            text=module.encode(),
        )
        self.folder = tempfile.TemporaryDirectory()
        self.libraries = [compile_kernels(binary_of(lowered), self.folder.name)]
        return command("glvq-opt", *HOST, text=lowered).decode()

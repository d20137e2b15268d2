"""Counts what GPUs will execute: no GPU is needed.

Compiles products with packed integers for every chip, disassembles them, and
finds the loop in which the time goes. Instructions per decoded weight, by the
pipe that executes them, then say what a kernel is bound by: a GPU that can read
so many weights a second from memory has so many cycles for each.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .. import _native
from ..errors import GLVQError

CHIPS = ("sm_80", "sm_89", "sm_90", "sm_100", "sm_120")


@dataclass(frozen=True)
class GPU:
    """Published figures. `cycles` is how long a scheduler is busy with one warp
    instruction of a pipe; an SM has four schedulers."""

    name: str
    chip: str
    sms: int
    clock: float  # GHz
    bandwidth: float  # GB/s
    saturating: int  # bytes an SM has to have in flight to fill the memory's pipe
    cycles: dict[str, float]

    def budget(self, bits: float) -> float:
        """Cycles of a scheduler for one weight of each lane, when memory is
        what binds."""
        weights = self.bandwidth * 8 / bits  # 1e9 a second
        return self.sms * 4 * 32 * self.clock / weights


GPUS = (
    GPU("A100", "sm_80", 108, 1.41, 2039, 13_000,
        {"ALU": 2, "FMA": 2, "HALF": 1, "XU": 8, "IMMA": 8, "HMMA": 8}),
    GPU("RTX 4090", "sm_89", 128, 2.52, 1008, 6_000,
        {"ALU": 2, "FMA": 2, "HALF": 2, "XU": 8, "IMMA": 16, "HMMA": 32}),
    GPU("H100", "sm_90", 132, 1.98, 3350, 18_000,
        {"ALU": 2, "FMA": 2, "HALF": 1, "XU": 8, "IMMA": 6.4, "HMMA": 6.4}),
)  # fmt: skip

# Operations by pipe; what is in none of them only takes an issue slot.
PIPES = {
    "IMMA": "IMMA",
    "HMMA": "HMMA",
    "LSU": "LDG LDS LDSM LDGSTS STG STS LD ST LDL STL LDC SHFL ATOM ATOMG ATOMS RED REDG",
    "FMA": "IMAD IDP FFMA FADD FMUL FFMA2",
    "HALF": "HADD2 HFMA2 HMUL2 HMNMX2",
    "XU": "MUFU I2F F2I I2I F2F POPC FLO I2FP F2FP",
    "ALU": "LOP3 LOP PLOP3 SHF SHL SHR PRMT IADD IADD3 VIADD LEA ISETP FSETP SEL FSEL IMNMX VIMNMX FMNMX IABS MOV BMSK SGXT",
}
PIPE_OF = {operation: pipe for pipe, names in PIPES.items() for operation in names.split()}


@dataclass
class Kernel:
    """The static measure of one kernel for one chip."""

    name: str
    bits: int
    chip: str
    registers: int
    spill_bytes: int
    shared_bytes: int
    weights: int = 0  # of a lane, in one trip of the loop, or in all if there is none
    has_loop: bool = False
    instructions: Counter = field(default_factory=Counter)  # of one trip, by pipe
    loads: Counter = field(default_factory=Counter)  # of one trip, by bits

    @property
    def per_weight(self) -> float:
        return sum(self.instructions.values()) / self.weights

    def bytes_in_flight(self) -> int:
        """Of an SM, when every resident warp has sent the loads of a trip."""
        blocks = min(65536 // (256 * max(self.registers, 1)), 2048 // 256)
        return blocks * 8 * self.weights * 32 * self.bits // 8

    def bound(self, gpu: GPU) -> tuple[str, float]:
        """The resource that binds besides memory, and the cycles it takes for a
        weight."""
        cycles = {"issue": self.per_weight}
        for pipe, count in self.instructions.items():
            if pipe in gpu.cycles:
                cycles[pipe] = count * gpu.cycles[pipe] / self.weights
        # Four schedulers share a load unit of 128 bytes a cycle. The codes are
        # all different; of the activations of one token, eight lanes read the
        # same.
        code_bytes = self.weights * self.bits / 8 * 32
        total = sum(width // 8 * 32 * count for width, count in self.loads.items())
        cycles["LSU"] = (code_bytes + (total - code_bytes) / 8) / 128 * 4 / self.weights
        return max(cycles.items(), key=lambda item: item[1])

    def roofline(self, gpu: GPU) -> float:
        """The share of the memory's rate that is left by the other resources."""
        return min(1.0, gpu.budget(self.bits) / self.bound(gpu)[1])

    def summary(self) -> dict:
        result = {k: v for k, v in asdict(self).items()}
        result["instructions_per_weight"] = round(self.per_weight, 4)
        result["by_pipe"] = {p: round(n / self.weights, 4) for p, n in sorted(self.instructions.items())}
        result["bytes_in_flight"] = self.bytes_in_flight()
        for gpu in GPUS:
            if gpu.chip == self.chip:
                resource, cycles = self.bound(gpu)
                result["gpu"] = gpu.name
                result["binding"] = "memory" if self.roofline(gpu) == 1 else resource
                result["next"] = {
                    "resource": resource,
                    "cycles": round(cycles, 3),
                    "budget": round(gpu.budget(self.bits), 3),
                }
                result["roofline"] = round(self.roofline(gpu), 4)
        return result


def find_tool(name: str, package: str) -> str:
    """A tool of the CUDA toolkit, or of its package on PyPI."""
    roots = [os.environ[v] for v in ("CUDA_ROOT", "CUDA_HOME", "CUDA_PATH") if v in os.environ]
    candidates = [shutil.which(name)] + [Path(r, "bin", name) for r in [*roots, "/usr/local/cuda"]]
    spec = importlib.util.find_spec("nvidia")
    for root in (spec.submodule_search_locations or []) if spec else []:
        candidates += sorted(Path(root).glob(f"*/bin/{name}"))
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            # Wheels of PyPI may lose the mark that a file can be executed.
            if not os.access(candidate, os.X_OK):
                os.chmod(candidate, 0o755)
            return str(candidate)
    raise GLVQError(f"{name} is neither in PATH nor in a CUDA toolkit: pip install {package}")


def run(*command: str, text: str | None = None) -> subprocess.CompletedProcess:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise GLVQError(f"{Path(command[0]).name} failed: {done.stderr.strip()[-800:]}")
    return done


def product(bits: int, rows: int, columns: int, tokens: int = 1) -> str:
    """A module with one product, of one token."""
    words = -(-columns * bits // 32)
    return f"""
func.func @f(%x: tensor<{tokens}x{columns}xf32>, %c: tensor<{rows}x{words}xi32>) -> tensor<{tokens}x{rows}xf32> {{
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<{tokens}x{rows}xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<{tokens}x{rows}xf32>) -> tensor<{tokens}x{rows}xf32>
  %y = glvq.matmul ins(%x : tensor<{tokens}x{columns}xf32>) codes(%c : tensor<{rows}x{words}xi32>)
    outs(%init : tensor<{tokens}x{rows}xf32>) {{code = #glvq.integer<bits = {bits}>}} -> tensor<{tokens}x{rows}xf32>
  return %y : tensor<{tokens}x{rows}xf32>
}}
"""


def ptx_of(module: str, chip: str, activations: str = "int8") -> str:
    pipeline = f"--lower-glvq-to-nvvm=chip={chip} format=isa activations={activations}"
    lowered = run(_native.tool("glvq-opt"), pipeline, text=module).stdout
    text = re.search(r'assembly = "((?:[^"\\]|\\.)*)"', lowered)
    if not text:
        raise GLVQError("the module has no kernels")
    unescape = re.compile(r"\\([0-9A-Fa-f]{2}|.)")
    return unescape.sub(lambda m: chr(int(m[1], 16)) if len(m[1]) == 2 else m[1], text[1]).rstrip("\0")


def operation(instruction: str) -> str:
    """The mnemonic, without predicate."""
    return re.sub(r"^@!?U?P\w+\s+", "", instruction).split()[0]


def pipe_of(mnemonic: str) -> str:
    return PIPE_OF.get(mnemonic.split(".")[0], "other")


def per_lane(mnemonic: str) -> int:
    """The weights of a lane that a product takes: IMMA.16832 has 512 of a warp,
    HMMA.16816 has 256."""
    for name, weights in (("IMMA.16832", 16), ("HMMA.16816", 8), ("IDP.4A", 4)):
        if mnemonic.startswith(name):
            return weights
    return 0


def loops(sass: str) -> dict[str, list[list[str]]]:
    """The instructions of each kernel and, after them, those of each innermost
    loop, from nvdisasm's text."""
    found: dict[str, list[list[str]]] = {}
    for part in re.split(r"^\.text\.", sass, flags=re.M)[1:]:
        name = part.split(":", 1)[0]
        instructions: list[str] = []
        labels: dict[str, int] = {}
        bodies: list[tuple[int, int]] = []
        for line in part.splitlines():
            if label := re.match(r"^(\.L_\w+):", line):
                labels[label[1]] = len(instructions)
            elif code := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(.*?);", line):
                instructions.append(code[1])
        for i, instruction in enumerate(instructions):
            if operation(instruction).startswith("BRA") and (target := re.search(r"`\((\.L\w+)\)", instruction)):
                if labels.get(target[1], i + 1) <= i and labels[target[1]] != i:
                    bodies.append((labels[target[1]], i))
        inner = [a for a in bodies if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in bodies)]
        # What follows the last exit is padding.
        ends = [i for i, instruction in enumerate(instructions) if operation(instruction).startswith("EXIT")]
        whole = instructions[: ends[-1] + 1] if ends else instructions
        found[name] = [whole] + [instructions[a : b + 1] for a, b in inner]
    return found


def measure(ptx: str, bits: int, chip: str) -> list[Kernel]:
    """Compiles PTX and measures the kernels that have a loop of products."""
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder, "kernels.ptx"), Path(folder, "kernels.cubin")
        source.write_text(ptx)
        log = run(find_tool("ptxas", "nvidia-cuda-nvcc"), "-v", f"-arch={chip}", str(source), "-o", str(cubin)).stderr
        sass = run(find_tool("nvdisasm", "nvidia-cuda-nvdisasm"), "-c", str(cubin)).stdout
    kernels = []
    bodies = loops(sass)
    for entry in re.split(r"Compiling entry function '", log)[1:]:
        name = entry.split("'", 1)[0]

        def number(pattern: str) -> int:
            found = re.search(pattern, entry)  # noqa: B023
            return int(found[1]) if found else 0

        kernel = Kernel(
            name, bits, chip,
            registers=number(r"Used (\d+) registers"),
            spill_bytes=number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
            shared_bytes=number(r"(\d+) bytes smem"),
        )  # fmt: skip
        # Inner loops first: a kernel without one is counted as a whole.
        for number_of_body, body in reversed(list(enumerate(bodies.get(name, [])))):
            if number_of_body == 0 and kernel.weights:
                break
            names = [operation(instruction) for instruction in body]
            weights = sum(per_lane(n) for n in names)
            if weights <= kernel.weights:
                continue
            kernel.weights, kernel.has_loop = weights, number_of_body > 0
            kernel.instructions = Counter(pipe_of(n) for n in names)
            kernel.loads = Counter(
                int(width[1]) if (width := re.search(r"\.(64|128)\b", n)) else 32
                for n in names
                if n.startswith(("LDG", "LDS"))
            )
        if kernel.weights:
            kernels.append(kernel)
    return kernels


def bench(
    rows: int = 4096,
    columns: int = 16384,
    widths: tuple[int, ...] = (1, 2, 3, 4),
    chips: tuple[str, ...] = CHIPS,
    activations: str = "int8",
) -> list[Kernel]:
    """The product kernel of each width for each chip, for one token."""
    result = []
    for bits in widths:
        module = product(bits, rows, columns)
        for chip in chips:
            measured = measure(ptx_of(module, chip, activations), bits, chip)
            if not measured:
                raise GLVQError(f"no product was found in the kernels of {bits} bits for {chip}")
            result += measured
    return result

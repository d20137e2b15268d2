# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Runs imported modules without glvq's own compiler.

The recipe is upstream passes only, slow and simple, so that these tests say
something about the importer and nothing about the pipelines.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from torch_mlir import ir

_BUFFERIZE = """builtin.module(
  func.func(llvm-request-c-wrappers), eliminate-empty-tensors, empty-tensor-to-alloc-tensor,
  one-shot-bufferize{bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map},
  canonicalize, func.func(convert-linalg-to-loops), expand-strided-metadata, lower-affine, convert-scf-to-cf,
  convert-math-to-llvm, convert-math-to-libm, convert-bufferization-to-memref, expand-strided-metadata,
  lower-affine, convert-arith-to-llvm, finalize-memref-to-llvm, convert-func-to-llvm, convert-cf-to-llvm,
  reconcile-unrealized-casts, canonicalize, cse)"""
_DECOMPOSE = "builtin.module(func.func(linalg-generalize-named-ops), canonicalize, cse)"


def _run(command, **kwargs):
    result = subprocess.run(command, capture_output=True, text=True, **kwargs)
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))[:300]}: {result.stderr[:3000]}")
    return result.stdout


def _tool(name):
    found = shutil.which(name)
    if not found:
        raise RuntimeError(f"{name} of LLVM 22 is not in PATH")
    return found


def _descriptor(rank):
    fields = [("allocated", ctypes.c_void_p), ("aligned", ctypes.c_void_p), ("offset", ctypes.c_int64)]
    if rank:
        fields += [("sizes", ctypes.c_int64 * rank), ("strides", ctypes.c_int64 * rank)]
    return type(f"Descriptor{rank}", (ctypes.Structure,), {"_fields_": fields})


_DTYPES = {"f16": np.float16, "f32": np.float32, "i64": np.int64, "i1": np.bool_, "i32": np.int32}


class Slot:
    """An argument or result: role, name and NumPy type; rank None for scalars."""

    def __init__(self, attributes, type_):
        attributes = ir.DictAttr(attributes)
        self.role = next(r for r in ("name", "input", "state", "output") if f"glvq.{r}" in attributes)
        self.name = ir.StringAttr(attributes[f"glvq.{self.role}"]).value
        self.tensor = isinstance(type_, ir.RankedTensorType)
        self.rank = type_.rank if self.tensor else None
        self.dtype = _DTYPES[str(type_.element_type if self.tensor else type_)]


class CompiledModule:
    """A module's public functions, callable with values by role."""

    def __init__(self, text):
        self.entries = {}
        context = ir.Context()
        with context:
            module = ir.Module.parse(text)
            for op in module.body.operations:
                attributes = op.operation.attributes
                if "sym_visibility" in attributes:
                    continue
                type_ = ir.FunctionType(ir.TypeAttr(attributes["function_type"]).value)
                self.entries[ir.StringAttr(attributes["sym_name"]).value] = (
                    [Slot(a, t) for a, t in zip(ir.ArrayAttr(attributes["arg_attrs"]), type_.inputs)],
                    [Slot(a, t) for a, t in zip(ir.ArrayAttr(attributes["res_attrs"]), type_.results)],
                )
        self.folder = tempfile.TemporaryDirectory(prefix="glvq-test-")
        base = Path(self.folder.name)
        (base / "m.mlir").write_text(text)
        _run([_tool("mlir-opt"), base / "m.mlir", f"--pass-pipeline={_DECOMPOSE}", "-o", base / "d.mlir"])
        _run([_tool("mlir-opt"), base / "d.mlir", f"--pass-pipeline={_BUFFERIZE}", "-o", base / "l.mlir"])
        _run([_tool("mlir-translate"), "--mlir-to-llvmir", base / "l.mlir", "-o", base / "m.ll"])
        _run([_tool("opt"), "-O1", base / "m.ll", "-o", base / "m.bc"])
        _run([_tool("llc"), "-O1", "-relocation-model=pic", "-filetype=obj", base / "m.bc", "-o", base / "m.o"])
        _run(
            [
                os.environ.get("CC") or shutil.which("cc") or _tool("clang"),
                "-shared",
                base / "m.o",
                "-o",
                base / "m.so",
                "-lm",
            ]
        )
        # Copies of strided buffers are calls of MLIR's runner utilities.
        utilities = Path(_tool("mlir-opt")).resolve().parent.parent / "lib" / "libmlir_c_runner_utils.so"
        ctypes.CDLL(str(utilities), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(str(base / "m.so"))

    def __call__(self, entry, values):
        """`values` has arrays and integers by (role, name); returns the same."""
        arguments, results = self.entries[entry]
        pointers, keep = [], []
        for slot in arguments:
            value = values[slot.role, slot.name]
            if not slot.tensor:
                pointers.append(ctypes.c_int64(int(value)))
                continue
            value = np.ascontiguousarray(value, dtype=slot.dtype)
            assert value.ndim == slot.rank, (slot.name, value.shape, slot.rank)
            d = _descriptor(slot.rank)(value.ctypes.data, value.ctypes.data, 0)
            d.sizes[:] = value.shape
            d.strides[:] = [s // value.itemsize for s in value.strides]
            keep += [value, d]
            pointers.append(ctypes.byref(d))
        fields = [(f"r{i}", _descriptor(slot.rank)) for i, slot in enumerate(results)]
        out = type("Results", (ctypes.Structure,), {"_fields_": fields})()
        getattr(self.library, f"_mlir_ciface_{entry}")(ctypes.byref(out), *pointers)
        returned = {}
        for i, slot in enumerate(results):
            d = getattr(out, f"r{i}")
            item = np.dtype(slot.dtype).itemsize
            count = 1 + sum((n - 1) * s for n, s in zip(d.sizes, d.strides))
            flat = np.frombuffer((ctypes.c_byte * (count * item)).from_address(d.aligned + d.offset * item), slot.dtype)
            returned[slot.role, slot.name] = np.lib.stride_tricks.as_strided(
                flat, tuple(d.sizes), tuple(s * item for s in d.strides)
            ).copy()
        return returned


def weights_of(model):
    """Values of the weight arguments, by role and name."""
    tensors = dict(model.named_buffers())
    tensors.update(model.named_parameters(remove_duplicate=False))
    return {("name", name): t.detach().numpy() for name, t in tensors.items()}

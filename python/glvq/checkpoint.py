"""Quantized checkpoints (docs/CheckpointFormat.md): reading, checking, writing.

checkpoint = glvq.checkpoint.open("model-2bit")
w = checkpoint.dense("model.layers.0.mlp.up_proj.weight")      # float32
model = glvq.checkpoint.load("model-2bit").model               # decoded weights
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from . import model_card
from .errors import GLVQError
from .files import read_json, refuse_existing

VERSION = 1
COMPANDERS = ("none", "mu_law", "affine")


class WeightCode:
    """A family of codes: how a weight is stored, the text of its attribute.

    Families are frozen dataclasses with ``group`` and ``runs``: (width, slots)
    pairs, where the number of slots is None if one width holds for all.
    """

    family: ClassVar[str]
    group: int
    runs: tuple[tuple[int | Fraction, int | None], ...]

    @property
    def mixed(self) -> bool:
        return self.runs[0][1] is not None

    def slots(self, columns: int) -> int:
        return -(-columns // self.group)

    def flat_runs(self, columns: int) -> list[int]:
        """[width, slots, width, slots, …] for a matrix of so many columns, as the
        operators of ``torch.ops.glvq`` take them."""
        return [number for run in self._counted_runs(columns) for number in run]

    def parts(self, rows: int, columns: int) -> dict[str, tuple[str, list[int]]]:
        """Name -> (safetensors type, shape) of what stores a weight."""
        raise NotImplementedError

    def dequantize(self, part: dict, columns: int, signs_in=None, signs_out=None):
        """The float32 matrix [out, in] that the parts stand for. Raises
        RuntimeError when they do not fit together."""
        raise NotImplementedError

    def check(self, part: Callable[[str], Any], columns: int) -> None:
        """Raises RuntimeError if the tensors of the parts, of the right types
        and shapes, hold values that the code does not have."""

    def _counted_runs(self, columns: int) -> list[tuple[int, int]]:
        return [(width, self.slots(columns) if slots is None else slots) for width, slots in self.runs]

    def _slot_columns(self, columns: int) -> Iterator[tuple[int, int]]:
        """(width, columns) of each slot."""
        left = columns
        for width, slots in self._counted_runs(columns):
            for _ in range(slots):
                yield width, min(self.group, left)
                left -= self.group

    def _bits_text(self) -> str:
        if self.mixed:
            return "[" + ", ".join(f"{width} : {slots}" for width, slots in self.runs) + "]"
        return str(self.runs[0][0])

    @staticmethod
    def parse(text: str) -> WeightCode:
        """The code of a text such as ``#glvq.lattice<dim = 8, bits = 2, group = 96>``.

        Raises GLVQError for an unknown family and for malformed text.
        """
        match = re.fullmatch(r"#glvq\.(\w+)<(.*)>", text.strip())
        if not match:
            raise GLVQError(f"'{text}' is not a weight code, such as #glvq.lattice<dim = 8, bits = 2, group = 96>")
        families = {code.family: code for code in (LatticeCode, TrellisCode, BinaryCode, LeechCode, E8PCode)}
        family = families.get(match[1])
        if family is None:
            raise GLVQError(f"unknown weight code '{match[1]}'; this version knows {', '.join(families)}")
        fields = dict(re.findall(r"(\w+)\s*=\s*(\[[^\]]*\]|[\w/]+)", match[2]))
        names = {"bits" if field.name == "runs" else field.name for field in dataclasses.fields(family)}
        unknown = set(fields) - names
        if unknown:
            raise GLVQError(f"'{text}': unknown parameter '{sorted(unknown)[0]}'")
        try:
            bits = fields.pop("bits") if "bits" in names else None
            values: dict[str, Any] = {k: v if k in ("compander", "nodes") else int(v) for k, v in fields.items()}
            width = family._parse_width
            if bits is not None and bits.startswith("["):
                pairs = [part.split(":") for part in bits[1:-1].split(",")]
                values["runs"] = tuple((width(w.strip()), int(slots)) for w, slots in pairs)
            elif bits is not None:
                values["runs"] = ((width(bits), None),)
            code = family(**values)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            required = [f.name for f in dataclasses.fields(family) if f.default is dataclasses.MISSING]
            needed = ["bits"] * ("runs" in required) + [name for name in required if name != "runs"]
            raise GLVQError(f"'{text}' is malformed: a {family.family} code needs {', '.join(needed)}") from error
        problem = code._problem()
        if not problem and any(slots is not None and slots < 1 for _, slots in code.runs):
            problem = "every run has at least one slot"
        if problem:
            raise GLVQError(f"'{text}': {problem}")
        return code

    @staticmethod
    def _parse_width(text: str) -> int | Fraction:
        return int(text)

    def _problem(self) -> str | None:
        """What is wrong with the parameters, if anything."""
        raise NotImplementedError


@dataclass(frozen=True)
class LatticeCode(WeightCode):
    """``#glvq.lattice<…>``."""

    family = "lattice"
    dim: int
    group: int
    runs: tuple[tuple[int, int | None], ...]
    compander: str = "none"

    def parts(self, rows: int, columns: int) -> dict[str, tuple[str, list[int]]]:
        slots = self.slots(columns)
        words = sum(-(-(-(-n // self.dim) * self.dim * width) // 32) for width, n in self._slot_columns(columns))
        parts = {
            "codes": ("I32", [rows, words]),
            "generators": ("F16", [slots, self.dim, self.dim]),
            "scales": ("F16", [rows]),
        }
        if self.mixed:
            parts["order"] = ("I32", [slots])
        if self.compander != "none":
            parts["companders"] = ("F32", [slots, 2])
        return parts

    def dequantize(self, part: dict, columns: int, signs_in=None, signs_out=None):
        from .learning import ops

        return ops().dequantize_lattice(
            part["codes"], part["generators"], part["scales"], part.get("order"), part.get("companders"),
            columns, self.dim, self.group, self.flat_runs(columns), self.compander, signs_in, signs_out,
        )  # fmt: skip

    def __str__(self) -> str:
        compander = "" if self.compander == "none" else f", compander = {self.compander}"
        return f"#glvq.lattice<dim = {self.dim}, bits = {self._bits_text()}, group = {self.group}{compander}>"

    def _problem(self) -> str | None:
        if self.dim < 1 or self.group < 1 or self.compander not in COMPANDERS:
            return f"dim and group must be positive, compander one of {', '.join(COMPANDERS)}"
        if any(not 1 <= width <= 8 for width, _ in self.runs):
            return "widths are 1 to 8 bits"
        return None


@dataclass(frozen=True)
class TrellisCode(WeightCode):
    """``#glvq.trellis<…>``."""

    family = "trellis"
    taps: int
    group: int
    runs: tuple[tuple[int, int | None], ...]
    nodes: str = "linear"

    @property
    def additive(self) -> bool:
        return self.nodes == "additive"

    def parts(self, rows: int, columns: int) -> dict[str, tuple[str, list[int]]]:
        slots, runs = self.slots(columns), len(self.runs)
        shapes, left = [], columns
        for width, count in self._counted_runs(columns):
            own = min(left, count * self.group)
            shapes.append([width * rows + self.taps - width, -(-own // 32)])
            left -= own
        return {
            "codes": ("I32", [sum(bits * words for bits, words in shapes)] if self.mixed else shapes[0]),
            self.nodes_part: ("F32", [runs, 2, 2 ** (self.taps // 2)] if self.additive else [runs, self.taps]),
            "scales": ("F16", [rows]),
            "group_scales": ("F16", [slots]),
            **({"order": ("I32", [slots])} if self.mixed else {}),
        }

    @property
    def nodes_part(self) -> str:
        return "tables" if self.additive else "taps"

    def dequantize(self, part: dict, columns: int, signs_in=None, signs_out=None):
        from .learning import ops

        return ops().dequantize_trellis(
            part["codes"], part[self.nodes_part], part["scales"], part["group_scales"], part.get("order"),
            columns, self.taps, self.group, self.flat_runs(columns), self.additive, signs_in, signs_out,
        )  # fmt: skip

    def __str__(self) -> str:
        nodes = ", nodes = additive" if self.additive else ""
        return f"#glvq.trellis<taps = {self.taps}, bits = {self._bits_text()}, group = {self.group}{nodes}>"

    def _problem(self) -> str | None:
        if not 1 <= self.taps <= 32 or self.group < 1 or self.nodes not in ("linear", "additive"):
            return "taps are 1 to 32, group is positive, nodes linear or additive"
        if self.additive and (self.taps % 2 or self.taps > 24):
            return "additive nodes need an even number of taps up to 24"
        if any(not 1 <= width <= min(8, self.taps) for width, _ in self.runs):
            return "widths are 1 to 8 bits, and at most the number of taps"
        return None


@dataclass(frozen=True)
class BinaryCode(WeightCode):
    """``#glvq.binary<…>``. Widths are fractions: bits for a weight."""

    family = "binary"
    dim: int
    group: int
    runs: tuple[tuple[Fraction, int | None], ...]

    def flat_runs(self, columns: int) -> list[int]:
        """As the operators take them: with the bits of a point."""
        return [number for width, slots in self._counted_runs(columns) for number in (int(width * self.dim), slots)]

    def parts(self, rows: int, columns: int) -> dict[str, tuple[str, list[int]]]:
        slots = self.slots(columns)
        words = sum(-(-(-(-n // self.dim) * int(width * self.dim)) // 32) for width, n in self._slot_columns(columns))
        largest = max(int(width * self.dim) for width, _ in self.runs)
        return {
            "codes": ("I32", [rows, words]),
            "generators": ("F16", [len(self.runs), self.dim, largest]),
            "scales": ("F16", [rows]),
            "group_scales": ("F16", [slots]),
            **({"order": ("I32", [slots])} if self.mixed else {}),
        }

    def dequantize(self, part: dict, columns: int, signs_in=None, signs_out=None):
        from .learning import ops

        return ops().dequantize_binary(
            part["codes"], part["generators"], part["scales"], part["group_scales"], part.get("order"),
            columns, self.dim, self.group, self.flat_runs(columns), signs_in, signs_out,
        )  # fmt: skip

    def __str__(self) -> str:
        return f"#glvq.binary<dim = {self.dim}, bits = {self._bits_text()}, group = {self.group}>"

    @staticmethod
    def _parse_width(text: str) -> int | Fraction:
        return Fraction(text)

    def _problem(self) -> str | None:
        if self.dim < 1 or self.group < 1 or self.group % self.dim:
            return "dim must be positive, and group a multiple of it"
        if any(not 0 < width <= 8 or self.dim % width.denominator for width, _ in self.runs):
            return "widths are up to 8 bits, and a whole number of bits for dim weights"
        return None


class PointCode(WeightCode):
    """What the codes with fixed points share: all groups have one rate."""

    dim: ClassVar[int]

    @property
    def field_bits(self) -> list[int]:
        """The widths of the fields of a point."""
        raise NotImplementedError

    @property
    def runs(self) -> tuple[tuple[int | Fraction, int | None], ...]:  # type: ignore[override]
        return ((Fraction(sum(self.field_bits), self.dim), None),)

    def parts(self, rows: int, columns: int) -> dict[str, tuple[str, list[int]]]:
        words = sum(-(-(-(-n // self.dim) * sum(self.field_bits)) // 32) for _, n in self._slot_columns(columns))
        return {
            "codes": ("I32", [rows, words]),
            "scales": ("F16", [rows]),
            "group_scales": ("F16", [self.slots(columns)]),
        }

    def storage_bits(self, rows: int, columns: int) -> int:
        sizes = {"I32": 32, "F16": 16, "F32": 32}
        return sum(sizes[dtype] * math.prod(shape) for dtype, shape in self.parts(rows, columns).values())


# Points on the shells 0 … 13 of the Leech lattice.
LEECH_SHELLS = (
    1, 0, 196560, 16773120, 398034000, 4629381120, 34417656000, 187489935360, 814879774800, 2975551488000,
    9486551299680, 27052945920000, 70486236999360, 169931095326720,
)  # fmt: skip


@dataclass(frozen=True)
class LeechCode(PointCode):
    """``#glvq.leech<…>``."""

    family = "leech"
    dim = 24
    shells: int
    group: int
    first: int = 0
    gain: int = 0
    residual: int = 0

    @property
    def field_bits(self) -> list[int]:
        # With gains the origin, which has no direction, is no point.
        first = self.first or (2 if self.gain else 0)
        bits = [(sum(LEECH_SHELLS[first : self.shells + 1]) - 1).bit_length() + self.gain]
        return bits + ([(LEECH_SHELLS[self.residual] - 1).bit_length()] if self.residual else [])

    @property
    def shape(self) -> list[int]:
        """As the operators take it."""
        return [self.shells, self.first, self.gain, self.residual]

    def parts(self, rows: int, columns: int) -> dict[str, tuple[str, list[int]]]:
        parts = super().parts(rows, columns)
        if self.gain:
            parts["gains"] = ("F32", [2**self.gain])
        if self.residual:
            parts["residual_scale"] = ("F32", [1])
        return parts

    def check(self, part: Callable[[str], Any], columns: int) -> None:
        from .learning import ops

        ops().check_leech(part("codes"), columns, self.shape, self.group)

    def dequantize(self, part: dict, columns: int, signs_in=None, signs_out=None):
        from .learning import ops

        return ops().dequantize_leech(
            part["codes"], part["scales"], part["group_scales"], part.get("gains"), part.get("residual_scale"),
            columns, self.shape, self.group, signs_in, signs_out,
        )  # fmt: skip

    def __str__(self) -> str:
        more = "".join(
            f", {name} = {value}" for name in ("first", "gain", "residual") if (value := getattr(self, name))
        )
        return f"#glvq.leech<shells = {self.shells}, group = {self.group}{more}>"

    def _problem(self) -> str | None:
        last = len(LEECH_SHELLS) - 1
        if not 2 <= self.shells <= last or self.first == 1 or not 0 <= self.first <= self.shells:
            return f"shells are 2 to {last}, from 0 or 2 on"
        if not 0 <= self.gain <= 8 or self.residual == 1 or not 0 <= self.residual <= last:
            return f"gains have up to 8 bits, and a residual is on shell 2 to {last}"
        if self.group < 1 or self.group % self.dim:
            return "the group must be a multiple of 24"
        return None


@dataclass(frozen=True)
class E8PCode(PointCode):
    """``#glvq.e8p<…>``."""

    family = "e8p"
    dim = 8
    group: int

    @property
    def field_bits(self) -> list[int]:
        return [16]

    def dequantize(self, part: dict, columns: int, signs_in=None, signs_out=None):
        from .learning import ops

        return ops().dequantize_e8p(
            part["codes"], part["scales"], part["group_scales"], columns, self.group, signs_in, signs_out
        )

    def __str__(self) -> str:
        return f"#glvq.e8p<group = {self.group}>"

    def _problem(self) -> str | None:
        return "the group must be a multiple of 8" if self.group < 1 or self.group % self.dim else None


@dataclass(frozen=True)
class QuantizedWeight:
    """One entry of ``quantization_config.weights``."""

    name: str
    shape: tuple[int, int]
    code: WeightCode
    transposed: bool = False
    signs_in: str | None = None
    signs_out: str | None = None

    def part_name(self, part: str) -> str:
        return part_name(self.name, part)

    def parts(self) -> dict[str, tuple[str, list[int]]]:
        return {self.part_name(p): spec for p, spec in self.code.parts(*self.shape).items()}

    def to_json(self) -> dict:
        entry: dict[str, Any] = {"shape": list(self.shape), "code": str(self.code), "transposed": self.transposed}
        if self.signs_in:
            entry["signs_in"] = self.signs_in
        if self.signs_out:
            entry["signs_out"] = self.signs_out
        return entry


def part_name(weight: str, part: str) -> str:
    """The tensor that holds a part: ``P.weight`` gives ``P.codes``."""
    return f"{weight.removesuffix('.weight')}.{part}"


class Checkpoint:
    """An open quantized checkpoint. Everything was checked when it was opened;
    tensors are read when asked for."""

    def __init__(self, path: Path, config: dict, weights: dict[str, QuantizedWeight], index: dict[str, Any]):
        self.path, self.config, self.weights = path, config, weights
        self._index = index

    @property
    def tensor_names(self) -> list[str]:
        return sorted(self._index)

    def tensor(self, name: str):
        """A stored tensor as it is, a part of a weight included."""
        if name not in self._index:
            raise GLVQError(f"{self.path}: tensor '{name}' is missing; quantize the model again")
        return self._index[name][0].get_tensor(name)

    def dense(self, name: str):
        """The decoded float32 weight, in the orientation the model uses."""
        try:
            dense = decode(self.weights[name], self.tensor)
        except RuntimeError as error:
            raise GLVQError(f"{self.path}: weight '{name}' cannot be decoded: {str(error).splitlines()[0]}") from error
        return dense.t().contiguous() if self.weights[name].transposed else dense

    def state_dict(self) -> dict:
        """All weights of the model: decoded ones, and the others as stored."""
        hidden = {p for w in self.weights.values() for p in w.parts()}
        hidden |= {s for w in self.weights.values() for s in (w.signs_in, w.signs_out) if s}
        state = {name: self.tensor(name) for name in self.tensor_names if name not in hidden}
        for name in self.weights:
            state[name] = self.dense(name)
        return state


def decode(weight: QuantizedWeight, tensor: Callable[[str], Any]):
    """The float32 ``[out, in]`` weight that the stored tensors stand for, which
    ``tensor`` gives by name. Raises RuntimeError for tensors that do not fit."""
    part = {p: tensor(weight.part_name(p)) for p in weight.code.parts(*weight.shape)}
    signs = [tensor(name) if name else None for name in (weight.signs_in, weight.signs_out)]
    return weight.code.dequantize(part, weight.shape[1], *signs)


def open(path: str | Path) -> Checkpoint:  # noqa: A001 - glvq.checkpoint.open reads well
    """Opens a quantized checkpoint and checks it.

    Raises GLVQError, naming the file and the weight or tensor, for files that
    are missing, truncated or malformed, unknown codes, tensors that are
    missing or of another shape or type, and codes that stand for nothing.
    """
    path = Path(path)
    config = read_json(path / "config.json", f"{path} is not a checkpoint: it has no config.json")
    settings = config.get("quantization_config")
    if not isinstance(settings, dict) or settings.get("quant_method") != "glvq":
        raise GLVQError(
            f"{path} is not quantized by glvq (config.json has no such quantization_config); run glvq quantize"
        )
    if settings.get("version") != VERSION:
        raise GLVQError(
            f"{path} has version {settings.get('version')} of the checkpoint format, this glvq reads {VERSION}; quantize again"
        )
    entries = settings.get("weights")
    if not isinstance(entries, dict):
        raise GLVQError(f"{path / 'config.json'}: quantization_config has no 'weights'")
    try:
        weights = {name: parse_weight(name, entry) for name, entry in entries.items()}
    except GLVQError as error:
        raise GLVQError(f"{path / 'config.json'}: {error}") from error
    index = _index_tensors(path)
    for weight in weights.values():
        expected = weight.parts()
        for signs, size in ((weight.signs_in, weight.shape[1]), (weight.signs_out, weight.shape[0])):
            if signs:
                expected[signs] = ("I32", [-(-size // 32)])
        for name, (dtype, shape) in expected.items():
            if name not in index:
                raise GLVQError(
                    f"{path}: tensor '{name}' of the weight '{weight.name}' is missing; quantize the model again"
                )
            view = index[name][1]
            if list(view.get_shape()) != shape or view.get_dtype() != dtype:
                raise GLVQError(
                    f"{path}: tensor '{name}' is {view.get_dtype()} {list(view.get_shape())}, but "
                    f"{weight.code} of a {weight.shape[0]} x {weight.shape[1]} weight needs {dtype} {shape}"
                )
    checkpoint = Checkpoint(path, config, weights, index)
    for weight in weights.values():
        try:
            weight.code.check(lambda part, weight=weight: checkpoint.tensor(weight.part_name(part)), weight.shape[1])
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise GLVQError(
                f"{path}: the codes of weight '{weight.name}' are corrupt ({reason}); quantize the model again"
            ) from error
    return checkpoint


def parse_weight(name: str, entry: Any) -> QuantizedWeight:
    """Reads one entry of ``quantization_config.weights`` (the inverse of
    QuantizedWeight.to_json)."""
    where = f"weight '{name}'"
    try:
        rows, columns = (int(n) for n in entry["shape"])
        text = entry["code"]
    except (KeyError, TypeError, ValueError) as error:
        raise GLVQError(f"{where} needs a shape of two numbers and a code") from error
    if rows < 1 or columns < 1:
        raise GLVQError(f"{where} has the shape {entry['shape']}")
    try:
        code = WeightCode.parse(str(text))
    except GLVQError as error:
        raise GLVQError(f"{where}: {error}") from error
    slots = sum(code.flat_runs(columns)[1::2])
    if slots != code.slots(columns):
        raise GLVQError(f"{where}: {code} has {slots} slots, but {columns} columns make {code.slots(columns)}")
    return QuantizedWeight(
        name, (rows, columns), code, bool(entry.get("transposed", False)), entry.get("signs_in"), entry.get("signs_out")
    )


def _index_tensors(path: Path) -> dict[str, Any]:
    """Tensor name -> (open file, slice) over all shards."""
    from safetensors import SafetensorError, safe_open

    index_file = path / "model.safetensors.index.json"
    if (path / "model.safetensors").exists():
        files = [path / "model.safetensors"]
    elif index_file.exists():
        weight_map = read_json(index_file, "").get("weight_map")
        if not isinstance(weight_map, dict):
            raise GLVQError(f"{index_file} has no 'weight_map'")
        files = [path / shard for shard in sorted(set(weight_map.values()))]
    else:
        raise GLVQError(f"{path} has no model.safetensors; quantize the model again")
    index = {}
    for file in files:
        if not file.exists():
            raise GLVQError(f"{file} is missing; {index_file.name} lists it as a shard")
        try:
            opened = safe_open(file, framework="pt")
            for name in opened.keys():
                index[name] = (opened, opened.get_slice(name))
        except (SafetensorError, OSError) as error:
            raise GLVQError(
                f"{file} is truncated or not a safetensors file ({error}); quantize the model again"
            ) from error
    return index


def load(path: str | Path):
    """A quantized checkpoint as a Transformers model with decoded float32
    weights: ``glvq.models.LoadedModel``."""
    from . import models

    checkpoint = open(path)
    loaded = models.load(path)
    if loaded.quantization is not None:
        models.assign(loaded.model, checkpoint.state_dict(), checkpoint.path)
        loaded.quantization = None
    return loaded


@contextmanager
def atomic_folder(output: Path, force: bool = False) -> Iterator[Path]:
    """A new folder that becomes ``output`` only when the block succeeds.

    Raises GLVQError if ``output`` exists and not ``force``, and when writing
    fails (full disk, no permission); nothing half-written stays.
    """
    output = Path(output)
    refuse_existing(output, force)
    partial = None
    try:
        output.absolute().parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{output.name}.partial-", dir=output.absolute().parent))
        partial.chmod(0o755)
        yield partial
        if output.exists():
            # A folder cannot be replaced in one step; the old one is kept
            # aside until the new one has its place.
            old = Path(tempfile.mkdtemp(prefix=f".{output.name}.old-", dir=output.absolute().parent))
            os.rename(output, old / output.name)
            os.rename(partial, output)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(partial, output)
    except OSError as error:
        raise GLVQError(f"{output} cannot be written: {error.strerror or error}") from error
    finally:
        if partial is not None and partial.exists():
            shutil.rmtree(partial, ignore_errors=True)


def write(
    output: Path,
    config: dict,
    weights: dict[str, QuantizedWeight],
    tensors: dict,
    seed: int,
    extra: Callable[[Path], None] = lambda folder: None,
    force: bool = False,
) -> None:
    """Writes a checkpoint at once or not at all.

    ``tensors`` are all that is stored; ``extra`` adds further files to the
    folder it is given. ``README.md``, the model card, is made from what is there
    then. The bytes depend on the arguments only.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_folder(output, force) as folder:
        ordered = {name: tensors[name].detach().contiguous() for name in sorted(tensors)}
        try:
            save_file(ordered, folder / "model.safetensors", metadata={"format": "pt"})
        except SafetensorError as error:
            raise GLVQError(f"{output} cannot be written: {error}") from error
        # safetensors makes files that only their owner can read.
        (folder / "model.safetensors").chmod(0o644)
        settings = {
            **config,
            "quantization_config": {
                "quant_method": "glvq",
                "version": VERSION,
                "weights": {name: weights[name].to_json() for name in sorted(weights)},
                "seed": seed,
            },
        }
        (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True, default=str) + "\n")
        extra(folder)
        model_card.write(folder)

"""Quantization of whole models, one decoder layer after the other.

    report = quantize_model(model, tokenizer, "model-2bit", bits=2, calibration=text)

Each layer sees the activations of the layers already quantized, so that it can
make up for their errors. Held in memory are the embeddings, one layer with its
Hessians, and the hidden states of the calibration windows.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import checkpoint, tables
from .allocation import SAMPLE, SDBA, Allocation, Measured, Sensitivity, Uniform, choose, code_errors, sensitivity
from .allocation import check as check_allocation
from .calibration import sample_windows, text_windows
from .checkpoint import QuantizedWeight
from .errors import GLVQError
from .files import refuse_existing
from .models import ModelFile
from .partial import Partial
from .progress import progress_bar
from .quantizers import Matrix, Quantizer, default_code, make
from .report import Report

# The sides of a weight that are rotated: its inputs, its outputs.
ROTATIONS = ("both", "in", "out", "none")

# Windows that measured allocation looks at: it needs one number of each linear
# and the spectrum of its Hessian.
FISHER_WINDOWS = 8

# Files a Hugging Face tokenizer is made of are written by the tokenizer; these
# settings of a configuration describe the source, not the model.
_FOREIGN_SETTINGS = ("_name_or_path", "_model_name_or_path", "quantization_config", "transformers_version")


def _own_settings(config) -> dict:
    """The configuration of a model as config.json holds it."""
    return {k: v for k, v in config.to_dict().items() if k not in _FOREIGN_SETTINGS}


def find_linears(module, prefix: str = "") -> dict[str, Any]:
    """Name -> module of every linear layer with a weight of its own: nn.Linear,
    and the transposed Conv1D of GPT-2."""
    import torch
    from transformers.pytorch_utils import Conv1D

    found = {}
    for name, child in module.named_modules(prefix=prefix):
        if isinstance(child, (torch.nn.Linear, Conv1D)):
            found[name] = child
    return found


def _is_transposed(module) -> bool:
    import torch

    return not isinstance(module, torch.nn.Linear)


class _Hessians:
    """Accumulates E[x xᵀ] of the inputs of linears, once for those that are fed
    the same tensor (q/k/v, gate/up)."""

    def __init__(self, linears: dict[str, Any], sample: int = 0):
        self.linears, self.sample = linears, sample
        self.inputs: dict[str, list[Any]] = {}
        self.sums: dict[str, Any] = {}
        self.rows: dict[str, int] = {}
        self.leader: dict[str, str] = {}
        self._last: tuple[Any, str] | None = None

    def _see(self, name: str, x) -> None:
        import torch

        # A linear follows the leader it had at its first call. The tensor is
        # kept alive, so identity is certain.
        if name not in self.leader:
            same = self._last is not None and self._last[0] is x
            self.leader[name] = self._last[1] if same else name
        if self.leader[name] != name:
            return
        self._last = (x, name)
        with torch.autocast("cpu", enabled=False):
            flat = x.detach().reshape(-1, x.shape[-1]).float()
            product = flat.T @ flat
            if self.sample:
                kept = self.inputs.setdefault(name, [])
                if sum(map(len, kept)) < self.sample:
                    kept.append(flat[:: max(1, len(flat) // 32)].clone())
        if name in self.sums:
            self.sums[name] += product
        else:
            self.sums[name] = product
        self.rows[name] = self.rows.get(name, 0) + len(flat)

    @contextmanager
    def watch(self):
        handles = [
            linear.register_forward_pre_hook(lambda module, args, name=name: self._see(name, args[0]))
            for name, linear in self.linears.items()
        ]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()
            self._last = None

    def shared(self) -> Iterator[tuple[list[str], Any]]:
        """(names, Hessian) of the linears that were fed the same tensor; None for
        a linear that no calibration input reached."""
        followers: dict[str, list[str]] = {}
        for name in self.linears:
            followers.setdefault(self.leader.get(name, name), []).append(name)
        for leader, names in followers.items():
            yield names, self.sums[leader] / self.rows[leader] if leader in self.sums else None

    def sampled(self, name: str):
        """Some rows of what a linear was fed; None if that is nothing."""
        import torch

        kept = self.inputs.get(self.leader.get(name, name))
        return torch.cat(kept) if kept else None


class _Weights:
    """Quantizes linears; collects the tensors that are stored and their
    descriptions."""

    def __init__(self, quantizer: Quantizer, seed: int, rotation: str, report: Report):
        from .learning import ops

        self.ops = ops()
        self.quantizer, self.seed, self.rotation, self.report = quantizer, seed, rotation, report
        # Chooses widths; set before the first weight is quantized.
        self.allocation: Allocation
        self.weights: dict[str, QuantizedWeight] = {}
        self.tensors: dict[str, Any] = {}

    def side_signs(self, size: int, side: str) -> str | None:
        """The name of the signs if this side of weights is rotated."""
        return self.signs(size) if self.rotation in ("both", side) else None

    def signs(self, size: int) -> str:
        """The name of the random signs of a size, made at their first use."""
        name = f"glvq.signs.{size}"
        if name not in self.tensors:
            self.tensors[name] = self.ops.make_signs(size, self.seed)
            self.report.shared_bits += 32 * self.tensors[name].numel()
        return name

    def quantize(self, linears: dict[str, Any], hessians: _Hessians) -> None:
        """Stores the weights of the modules of a layer and gives the modules the
        decoded weights."""
        jobs, signs = [], {}
        for names, hessian in hessians.shared():
            matrices = []
            for name in names:
                dense = linears[name].weight.detach()
                dense = dense.t() if _is_transposed(linears[name]) else dense
                rows, columns = dense.shape
                signs[name] = self.side_signs(columns, "in"), self.side_signs(rows, "out")
                matrix = Matrix(name, dense, [], *(s and self.tensors[s] for s in signs[name]))
                inputs = hessians.sampled(name) if self.allocation.needs_inputs else None
                matrix.bits = self.allocation.widths(matrix, hessian, inputs)
                matrices.append(matrix)
            jobs.append((matrices, hessian))
        for (matrices, _), results in zip(jobs, self.quantizer.quantize_layer(jobs), strict=True):
            for matrix, encoded in zip(matrices, results, strict=True):
                module, shape = linears[matrix.name], tuple(matrix.dense.shape)
                weight = QuantizedWeight(matrix.name, shape, encoded.code, _is_transposed(module), *signs[matrix.name])
                for part, tensor in encoded.parts.items():
                    self.tensors[weight.part_name(part)] = tensor
                self.weights[matrix.name] = weight
                self.report.add(matrix.name, shape, str(encoded.code), encoded.bits, encoded.proxy_error)
                _set_weight(module, encoded.decoded)

    def quantize_table(self, name: str, parameter, bits: int) -> None:
        """Stores an embedding or a head in rows of `bits` bits."""
        import torch

        rows, columns = parameter.shape
        parts, decoded, error = tables.quantize_table(parameter.detach(), bits)
        code = tables.table_code(columns, bits)
        weight = QuantizedWeight(name, (rows, columns), code)
        for part, tensor in parts.items():
            self.tensors[weight.part_name(part)] = tensor
        self.weights[name] = weight
        stored = self.ops.lattice_storage(rows, columns, 1, columns, code.flat_runs(columns))[1]
        self.report.add_table(name, (rows, columns), str(code), stored, error)
        with torch.no_grad():
            parameter.copy_(decoded)

    def store(self, names: Iterable[str]) -> tuple[dict, dict]:
        """(tensors, JSON data) of weights, for restore()."""
        names = list(names)
        tensors = {part: self.tensors[part] for name in names for part in self.weights[name].parts()}
        rows = [row for row in self.report.rows if row["name"] in names]
        return tensors, {"weights": {name: self.weights[name].to_json() for name in names}, "report": rows}

    def restore(self, tensors: dict, data: dict) -> None:
        """Takes back what store() gave."""
        for name, entry in data["weights"].items():
            weight = checkpoint.parse_weight(name, entry)
            for signs, size in ((weight.signs_in, weight.shape[1]), (weight.signs_out, weight.shape[0])):
                if signs:
                    self.signs(size)
            self.weights[name] = weight
        self.tensors.update(tensors)
        self.report.rows += data["report"]

    def decode(self, linears: dict[str, Any]) -> None:
        """Gives modules their decoded weights."""
        for name, module in linears.items():
            _set_weight(module, checkpoint.decode(self.weights[name], self.tensors.__getitem__))

    def all_tensors(self, module, file: ModelFile | None = None) -> dict:
        """The parts, and the tensors of the module that were left as they are,
        tied ones once; those that it has dropped are read from the file."""
        state = module.state_dict(keep_vars=True)
        seen = {id(state[name]) for name in self.weights if name in state}
        tensors = dict(self.tensors)
        for name, tensor in state.items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                tensors[name] = file.read(name) if tensor.is_meta else tensor.detach()
        return tensors


def _set_weight(module, dense) -> None:
    """Gives a linear a decoded [out, in] weight. It is a new parameter: the old
    one may be mapped from a file."""
    import torch

    dense = dense.t().contiguous() if _is_transposed(module) else dense
    module.weight = torch.nn.Parameter(dense, requires_grad=False)


def _check_arguments(
    model, quantizer: Quantizer, bits: float, allocation: str, rotation: str, file: ModelFile | None = None
) -> None:
    check_allocation(quantizer, bits, allocation)
    if rotation not in ROTATIONS:
        raise GLVQError(f"the rotation is one of {', '.join(ROTATIONS)}, not '{rotation}'")
    if file is None and any(p.is_meta for p in model.parameters()):
        raise GLVQError("the model has no dense weights: it is quantized already; quantize the original model")
    for name, parameter in model.named_parameters():
        values = file.read(name) if file is not None else parameter
        if not values.isfinite().all():
            raise GLVQError(f"weight '{name}' has elements that are not finite; the model is broken")


def decoder_layers(model) -> tuple[str, Any]:
    """(name, ModuleList) of the layers of a language model: the list of modules
    that holds most of the linears. Raises GLVQError when there is none."""
    import torch

    lists = [
        (len(find_linears(module)), name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module)
    ]
    lists = [item for item in lists if item[0]]
    if not lists:
        raise GLVQError(
            f"{type(model).__name__} has no list of decoder layers; use quantize_module with example inputs"
        )
    _, name, layers = max(lists, key=lambda item: item[0])
    return name, layers


class LayerWalk:
    """The decoder layers of a model, of which one at a time has its weights.

    With a ``file`` the model starts on the meta device; everything but the
    layers is read at once. Without one the model has its weights, and keeps
    them.
    """

    def __init__(self, model, file: ModelFile | None = None):
        self.model, self.file = model, file
        self.prefix, self.layers = decoder_layers(model)
        if file is not None:
            file.fill(model, skip=self.prefix)

    def __len__(self) -> int:
        return len(self.layers)

    def name(self, index: int) -> str:
        return f"{self.prefix}.{index}"

    def linears(self, index: int) -> dict[str, Any]:
        """Name of the weight -> module, of one layer."""
        found = find_linears(self.layers[index], self.name(index))
        return {f"{name}.weight": module for name, module in found.items()}

    def _fill(self, index: int) -> None:
        if self.file is not None:
            self.file.fill(self.layers[index], self.name(index))

    def _drop(self, index: int) -> None:
        if self.file is not None:
            self.file.drop(self.layers[index])
            _return_memory()

    @contextmanager
    def layer(self, index: int) -> Iterator[Any]:
        """The layer, with its weights."""
        self._fill(index)
        try:
            yield self.layers[index]
        finally:
            self._drop(index)

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """In the block the whole model can be run: each layer gets its weights
        before and loses them after its turn."""
        handles = []
        for index, layer in enumerate(self.layers if self.file is not None else ()):
            handles.append(layer.register_forward_pre_hook(lambda module, args, i=index: self._fill(i), prepend=True))
            handles.append(layer.register_forward_hook(lambda module, args, out, i=index: self._drop(i)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for index in range(len(self) if self.file is not None else 0):
                self._drop(index)

    def _fits(self) -> tuple[bool, int, int]:
        """Whether all layers fit into memory, their bytes and those free."""
        size = 4 * sum(p.numel() for layer in self.layers for p in layer.parameters())
        free = _free_memory()
        return self.file is None or size <= 0.8 * free, size, free

    @contextmanager
    def ready(self) -> Iterator[Any]:
        """The model, to be run: whole if it fits into memory, else streaming."""
        with self.whole() if self._fits()[0] else self.streaming():
            yield self.model

    @contextmanager
    def whole(self) -> Iterator[Any]:
        """The model with all its weights. Raises GLVQError when they do not fit
        into memory."""
        if self.file is None:
            yield self.model
            return
        fits, size, free = self._fits()
        if not fits:
            raise GLVQError(
                f"the weights need {size / 2**30:.1f} GiB as float32 and {free / 2**30:.1f} GiB are free: too little for "
                "the model to sample its own text; give --calibration FILE, then one layer at a time is enough"
            )
        for index in range(len(self)):
            self._fill(index)
        try:
            yield self.model
        finally:
            for index in range(len(self)):
                self._drop(index)


def _return_memory() -> None:
    """Gives freed memory back to the system: the heap of a process that frees
    and takes tensors of many sizes grows by fragments otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)


def _free_memory() -> int:
    with open("/proc/meminfo") as info:
        return next(1024 * int(line.split()[1]) for line in info if line.startswith("MemAvailable"))


class _Stop(Exception):
    """Ends a forward pass that has shown what was asked for."""


def _layer_arguments(model, layers, ids):
    """(args, kwargs) of each layer beside the hidden states, from one forward
    pass up to the last layer. Masks and rotary embeddings do not depend on the
    hidden states, so one pass serves all windows of the same shape."""
    seen: list[Any] = [None] * len(layers)

    def remember(index):
        def hook(module, args, kwargs):
            seen[index] = (args[1:], {k: v for k, v in kwargs.items() if k != "hidden_states"})
            if index + 1 == len(layers):
                raise _Stop

        return hook

    _forward(model, ids, {layer: remember(i) for i, layer in enumerate(layers)})
    if any(s is None for s in seen):
        raise GLVQError(f"{type(model).__name__} does not run all its layers in order; use quantize_module")
    return seen


def _first_hidden(model, layer, ids):
    """The hidden states that enter the first layer."""
    caught = []

    def hook(module, args, kwargs):
        caught.append(args[0] if args else kwargs["hidden_states"])
        raise _Stop

    _forward(model, ids, {layer: hook})
    return caught[0]


def _forward(model, ids, hooks: dict) -> None:
    handles = [module.register_forward_pre_hook(hook, with_kwargs=True) for module, hook in hooks.items()]
    try:
        model(input_ids=ids, use_cache=False)
    except _Stop:
        pass
    finally:
        for handle in handles:
            handle.remove()


def autocast_bfloat16():
    """A context in which products are bfloat16 where the CPU has instructions for
    it: twice as fast."""
    import torch

    bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)


def _run_layer(layer, hidden, rest, kwargs):
    """The layer's hidden states, float32, with products in bfloat16: calibration
    is a statistic."""
    with autocast_bfloat16():
        result = layer(hidden, *rest, **kwargs)
    return (result[0] if isinstance(result, tuple) else result).float()


def quantize_model(
    model,
    tokenizer,
    output: str | Path,
    bits: float = 2,
    quantizer: Quantizer | None = None,
    allocation: str | None = None,
    calibration: str | None = None,
    windows: int = 64,
    length: int = 512,
    seed: int = 0,
    rotation: str = "both",
    force: bool = False,
    resume: bool = False,
    progress: bool = False,
    batch: int = 4,
    head_bits: int = 8,
    file: ModelFile | None = None,
) -> dict:
    """Quantizes all linears in the decoder layers of a causal language model
    (float32, Transformers) and writes the checkpoint folder ``output``.

    ``quantizer`` (glvq.quantizers.make) is the code and its settings; by default
    a trellis, and a lattice above 4 bits.
    ``allocation`` (glvq.allocation) spreads the average of ``bits`` over groups
    and layers; without it whole numbers are uniform and others measured. The
    measured one counts everything that is stored; the others only the codes.
    ``calibration`` is a text; without it the model samples ``windows`` windows of
    ``length`` tokens itself. ``rotation`` says which sides of the weights are
    made incoherent. Embeddings and head get ``head_bits`` bits a weight, 4 to 8,
    or 0 to stay as they are; norms stay.

    With a ``file`` (glvq.models.open) the model starts without weights, and only
    one layer has them at a time. Without, it is left with the decoded weights.

    Each finished layer is kept in ``OUTPUT.partial`` until all are done. After a
    kill ``resume`` goes on from there, with the same result to the bit on the
    same machine.

    Returns the totals of the report and the seconds taken; the same input and
    seed give the same bytes. Raises GLVQError for arguments that do not fit,
    weights that are not finite and an output that exists (unless ``force``) or
    cannot be written.
    """
    import torch

    start = time.perf_counter()
    output = Path(output)
    refuse_existing(output, force)
    quantizer = quantizer or make(default_code(bits))
    allocation = allocation or ("uniform" if bits == int(bits) else "measured")
    _check_arguments(model, quantizer, bits, allocation, rotation, file)
    tables.check(head_bits)
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit and length > limit:
        raise GLVQError(f"windows of {length} tokens exceed the model's context of {limit}; give a smaller --length")
    decoder_layers(model)
    ids = None if calibration is None else text_windows(tokenizer, calibration, windows, length)
    settings = {
        "model": _digest(model, file),
        "quantizer": quantizer.settings(),
        "bits": int(bits) if bits == int(bits) else bits,
        "allocation": allocation,
        "head bits": head_bits,
        "rotation": rotation,
        "seed": seed,
        "windows": [windows, length, batch],
        "calibration": None if ids is None else hashlib.sha256(ids.numpy().tobytes()).hexdigest(),
    }
    with Partial(output, settings, resume, force) as partial, torch.no_grad():
        walk = LayerWalk(model, file)
        if ids is None:
            ids = _sampled(partial, walk, windows, length, seed, progress)
            source = f"{len(ids)} windows of {length} tokens, sampled from the model itself"
        else:
            source = f"{len(ids)} windows of {length} tokens of the given text"
        report = Report(source, seed)
        weights = _Weights(quantizer, seed, rotation, report)
        weights.allocation = _allocation(allocation, bits, walk, weights, partial, ids, progress)
        _quantize_layers(walk, weights, partial, ids.split(batch), progress)

        configuration = _own_settings(model.config)
        configuration["architectures"] = [type(model).__name__]
        configuration["dtype"] = "float32"

        def add_files(folder: Path) -> None:
            if tokenizer is not None:
                tokenizer.save_pretrained(folder)
            if getattr(model, "generation_config", None) is not None:
                model.generation_config.save_pretrained(folder)
            report.write(folder)

        if head_bits:
            for name, table in tables.find_tables(model).items():
                weights.quantize_table(name, table, head_bits)
        tensors = weights.all_tensors(model, file)
        checkpoint.write(output, configuration, weights.weights, tensors, seed, add_files, force)
        partial.remove()
    return {**report.summary(), "seconds": time.perf_counter() - start}


def _digest(model, file: ModelFile | None) -> str:
    """Tells one model from another, whatever the values of most elements."""
    if file is not None:
        return file.file.digest()
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        step = max(1, tensor.numel() // 256)
        digest.update(f"{name} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten()[::step].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _sampled(partial: Partial, walk: LayerWalk, windows: int, length: int, seed: int, progress: bool):
    """The windows the model writes itself, kept as a finished piece."""
    if not partial.has("windows"):
        with walk.whole() as model, progress_bar(progress, "sampling text", windows * length) as advance:
            partial.put("windows", {"ids": sample_windows(model, windows, length, seed, advance=advance)}, {})
    return partial.get("windows")[0]["ids"]


def _allocation(
    name: str, bits: float, walk: LayerWalk, weights: _Weights, partial: Partial, ids, progress: bool
) -> Allocation:
    """What gives each group its width; a plan for the whole model is a finished
    piece of its own."""
    if name == "uniform":
        return Uniform(weights.quantizer, bits)
    if name == "sdba":
        return SDBA(weights.quantizer, bits)
    if not partial.has("allocation"):
        found = _sensitivities(walk, weights, ids[:FISHER_WINDOWS], progress)
        # Far from the average nothing is ever chosen, and one step is the most
        # that a second-order estimate can be trusted with.
        quantizer = weights.quantizer
        widths = range(
            max(quantizer.widths[0], math.ceil(bits) - 2), min(quantizer.widths[-1], math.floor(bits) + 2) + 1
        )
        errors = code_errors(quantizer, widths)
        plan = choose(quantizer, found, bits, errors, weights.report.shared_bits)
        partial.put("allocation", {}, {"plan": plan, "errors": {str(w): e for w, e in errors.items()}})
    return Measured(partial.get("allocation")[1]["plan"])


def _sensitivities(walk: LayerWalk, weights: _Weights, ids, progress: bool) -> list[Sensitivity]:
    """Of all linears of the unquantized model, from a few windows.

    One pass over the model keeps the inputs of each layer and samples the next
    tokens from the model's own predictions; their log-likelihood is then taken
    back layer by layer. With sampled tokens E g gᵀ is the Fisher information F,
    and KL = ½ δᵀ F δ for a small change δ of outputs. Of F only the traces of the
    blocks of single tokens are used: errors of tokens and rows count as
    independent.
    """
    import torch

    generator = torch.Generator().manual_seed(weights.seed)
    inputs: list[list[Any]] = [[] for _ in range(len(walk))]
    gradients = []
    with progress_bar(progress, "allocating bits", len(ids) + len(walk)) as advance:
        with walk.streaming():
            arguments = _layer_arguments(walk.model, walk.layers, ids[:1])
        with walk.ready() as model:
            for window in ids.split(1):
                gradients.append(_score_gradient(model, walk.layers, window, inputs, generator))
                advance(1)
        found = []
        for index in reversed(range(len(walk))):
            linears = walk.linears(index)
            power = dict.fromkeys(linears, 0.0)

            def watch_gradient(output, name: str) -> None:
                def add(gradient) -> None:
                    power[name] += float(gradient.float().square().sum())

                output.register_hook(add)

            hessians = _Hessians(linears)
            with walk.layer(index) as layer, torch.enable_grad(), hessians.watch():
                handles = [
                    linear.register_forward_hook(lambda module, args, output, name=name: watch_gradient(output, name))
                    for name, linear in linears.items()
                ]
                for row, gradient in enumerate(gradients):
                    hidden = inputs[index][row].float().requires_grad_()
                    output = _run_layer(layer, hidden, *arguments[index])
                    (gradients[row],) = torch.autograd.grad(output, hidden, gradient)
                for handle in handles:
                    handle.remove()
                inputs[index] = []
                for names, hessian in hessians.shared():
                    for name in names:
                        found.append(_sensitivity(name, linears[name], hessian, weights, power[name] / ids.numel()))
            advance(1)
    return found[::-1]


def _sensitivity(name: str, linear, hessian, weights: _Weights, power: float) -> Sensitivity:
    import torch

    dense = linear.weight.detach()
    dense = dense.t() if _is_transposed(linear) else dense
    rows, columns = dense.shape
    signs = weights.side_signs(columns, "in")
    weights.side_signs(rows, "out")  # all signs count as stored
    hessian = torch.eye(columns) if hessian is None else hessian
    return sensitivity(name, dense, hessian, signs and weights.tensors[signs], power / rows)


def _score_gradient(model, layers, window, inputs: list[list[Any]], generator):
    """The gradient of the log-likelihood of sampled next tokens by the output of
    the last layer; appends the input of each layer to ``inputs``."""
    import torch

    def keep(index: int):
        def hook(module, args, kwargs):
            inputs[index].append((args[0] if args else kwargs["hidden_states"]).detach().bfloat16())

        return hook

    leaf: list[Any] = []

    def cut(module, args, output):
        leaf.append((output[0] if isinstance(output, tuple) else output).detach().requires_grad_())
        return (leaf[0], *output[1:]) if isinstance(output, tuple) else leaf[0]

    handles = [layer.register_forward_pre_hook(keep(i), with_kwargs=True) for i, layer in enumerate(layers)]
    handles.append(layers[-1].register_forward_hook(cut))
    try:
        with torch.enable_grad(), autocast_bfloat16():
            logits = model(input_ids=window, use_cache=False).logits
            log_p = torch.log_softmax(logits.float(), -1)[0]
            sampled = torch.multinomial(log_p.detach().exp(), 1, generator=generator)
            return torch.autograd.grad(log_p.gather(1, sampled).sum(), leaf)[0]
    finally:
        for handle in handles:
            handle.remove()


def _quantize_layers(
    walk: LayerWalk, weights: _Weights, partial: Partial, batches: Sequence[Any], progress: bool
) -> None:
    """Quantizes layer after layer; those that ``partial`` has are only run."""
    with walk.streaming():
        # Two sizes at most: the last batch may be smaller.
        by_size = {len(b): b for b in batches}
        arguments = {size: _layer_arguments(walk.model, walk.layers, b) for size, b in by_size.items()}
        hidden = [_first_hidden(walk.model, walk.layers[0], b) for b in batches]
    with progress_bar(progress, "quantizing", len(walk)) as advance:
        for index in range(len(walk)):
            piece = f"layer-{index:05}"
            with walk.layer(index) as layer:
                linears = walk.linears(index)
                if partial.has(piece):
                    weights.restore(*partial.get(piece))
                    weights.decode(linears)
                else:
                    hessians = _Hessians(linears, SAMPLE if weights.allocation.needs_inputs else 0)
                    with hessians.watch():
                        for h in hidden:
                            _run_layer(layer, h, *arguments[len(h)][index])
                    weights.quantize(linears, hessians)
                    partial.put(piece, *weights.store(linears))
                    # From here on the stored tensors are mapped, not held.
                    weights.tensors.update(partial.get(piece)[0])
                if index + 1 < len(walk):
                    hidden = [_run_layer(layer, h, *arguments[len(h)][index]) for h in hidden]
            advance(1, f"layer {index + 1} of {len(walk)}")


def quantize_module(
    module,
    inputs: Iterable[Sequence[Any]],
    output: str | Path,
    bits: float = 4,
    quantizer: Quantizer | None = None,
    allocation: str | None = None,
    seed: int = 0,
    rotation: str = "both",
    force: bool = False,
    progress: bool = False,
    keep: Callable[[str], bool] = lambda name: False,
    tokenizer=None,
    source: str | None = None,
) -> dict:
    """Quantizes every nn.Linear of any module, with the Hessians of example
    inputs (tuples of positional arguments), and writes ``output``.

    ``quantizer`` as in quantize_model; ``keep(name)`` true leaves a linear as it is; ``tokenizer`` is written beside
    the weights; ``source`` says in the report what the inputs are. The Hessians are those of the
    unquantized module and all held at once: for language models
    quantize_model is better. ``config.json`` has no model configuration but
    the quantization, unless the module carries one.
    """
    import torch

    start = time.perf_counter()
    output = Path(output)
    refuse_existing(output, force)
    quantizer = quantizer or make(default_code(bits))
    allocation = allocation or "uniform"
    if allocation == "measured":
        raise GLVQError("measured allocation needs a language model; use uniform or sdba")
    _check_arguments(module, quantizer, bits, allocation, rotation)
    linears = {
        f"{name}.weight" if name else "weight": linear
        for name, linear in find_linears(module).items()
        if not keep(name)
    }
    if not linears:
        raise GLVQError(f"{type(module).__name__} has no linear layer to quantize")
    hessians, count = _Hessians(linears, SAMPLE if allocation == "sdba" else 0), 0
    with torch.no_grad(), hessians.watch():
        for arguments in inputs:
            module(*arguments)
            count += 1
    report = Report(source or f"{count} example inputs", seed)
    weights = _Weights(quantizer, seed, rotation, report)
    weights.allocation = SDBA(quantizer, bits) if allocation == "sdba" else Uniform(quantizer, bits)
    with progress_bar(progress, "quantizing", 1) as advance:
        weights.quantize(linears, hessians)
        advance(1, f"{len(linears)} weights")
    config, settings = getattr(module, "config", None), {}
    if hasattr(config, "to_dict"):
        settings = {**_own_settings(config), "architectures": [type(module).__name__], "dtype": "float32"}

    def add_files(folder: Path) -> None:
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        report.write(folder)

    checkpoint.write(output, settings, weights.weights, weights.all_tensors(module), seed, add_files, force)
    return {**report.summary(), "seconds": time.perf_counter() - start}

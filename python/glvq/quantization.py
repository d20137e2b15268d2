"""Quantization of whole models, one decoder layer after the other.

    report = quantize_model(model, tokenizer, "model-2bit", bits=2, calibration=text)

Each layer sees the activations of the layers already quantized, so that it can
make up for their errors. Only the hidden states of the calibration windows and
one layer's Hessians are held beside the model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import checkpoint, tables
from .calibration import sample_windows, text_windows
from .checkpoint import QuantizedWeight
from .errors import GLVQError
from .files import refuse_existing
from .progress import progress_bar
from .quantizers import LatticeQuantizer, Matrix, Quantizer
from .report import Report

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

    def __init__(self, linears: dict[str, Any]):
        self.linears = linears
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


class _Weights:
    """Quantizes linears and collects what is stored."""

    def __init__(self, quantizer: Quantizer, bits: int, seed: int, report: Report):
        from .learning import ops

        self.ops = ops()
        self.quantizer, self.bits, self.seed, self.report = quantizer, bits, seed, report
        self.weights: dict[str, QuantizedWeight] = {}
        self.tensors: dict[str, Any] = {}

    def _signs(self, size: int) -> str:
        name = f"glvq.signs.{size}"
        if name not in self.tensors:
            self.tensors[name] = self.ops.make_signs(size, self.seed)
            self.report.shared_bits += 32 * self.tensors[name].numel()
        return name

    def quantize(self, linears: dict[str, Any], hessian) -> None:
        """Stores the weights of modules that read the same activations and gives
        the modules the decoded weights."""
        import torch

        matrices, signs = [], {}
        for name, module in linears.items():
            dense = module.weight.detach()
            dense = dense.t() if _is_transposed(module) else dense
            rows, columns = dense.shape
            signs[name] = self._signs(columns), self._signs(rows)
            matrices.append(Matrix(name, dense, [self.bits], *(self.tensors[s] for s in signs[name])))
        for matrix, encoded in zip(matrices, self.quantizer.quantize(matrices, hessian), strict=True):
            module, shape = linears[matrix.name], tuple(matrix.dense.shape)
            transposed = _is_transposed(module)
            weight = QuantizedWeight(matrix.name, shape, encoded.code, transposed, *signs[matrix.name])
            for part, tensor in encoded.parts.items():
                self.tensors[weight.part_name(part)] = tensor
            self.weights[matrix.name] = weight
            self.report.add(matrix.name, shape, str(encoded.code), encoded.bits, encoded.proxy_error)
            with torch.no_grad():
                module.weight.copy_(encoded.decoded.t() if transposed else encoded.decoded)

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

    def all_tensors(self, model) -> dict:
        """The parts, and the tensors of the model that were left as they are;
        tied ones once."""
        tensors = dict(self.tensors)
        state = model.state_dict(keep_vars=True)
        seen = {id(state[name]) for name in self.weights if name in state}
        for name, tensor in state.items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                tensors[name] = tensor.detach().clone()
        return tensors


def _check_arguments(model, quantizer: Quantizer, bits: int) -> None:
    quantizer.check([bits])
    if any(p.is_meta for p in model.parameters()):
        raise GLVQError("the model has no dense weights: it is quantized already; quantize the original model")
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
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
        raise GLVQError(f"{type(model).__name__} has no list of decoder layers; use quantize_module with example inputs")
    _, name, layers = max(lists, key=lambda item: item[0])
    return name, layers


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


def _run_layer(layer, hidden, rest, kwargs):
    """The layer's hidden states, float32. Products inside are bfloat16 where the
    CPU has instructions for it: twice as fast, and calibration is a statistic."""
    import torch

    bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        result = layer(hidden, *rest, **kwargs)
    return (result[0] if isinstance(result, tuple) else result).float()


def quantize_model(
    model,
    tokenizer,
    output: str | Path,
    bits: int = 2,
    quantizer: Quantizer = LatticeQuantizer(),
    calibration: str | None = None,
    windows: int = 64,
    length: int = 512,
    seed: int = 0,
    force: bool = False,
    progress: bool = False,
    batch: int = 4,
    head_bits: int = 8,
) -> dict:
    """Quantizes all linears in the decoder layers of a causal language model
    (float32, Transformers) and writes the checkpoint folder ``output``.

    ``calibration`` is a text; without it the model samples ``windows`` windows of
    ``length`` tokens itself. Embeddings and head get ``head_bits`` bits a weight, 4 to 8, or 0 to stay as they
    are; norms stay. The model is left with the decoded weights.
    Returns the totals of the report and the seconds taken; the same input and
    seed give the same bytes.

    Raises GLVQError for arguments that do not fit, weights that are not finite
    and an output that exists (unless ``force``) or cannot be written.
    """
    import torch

    start = time.perf_counter()
    output = Path(output)
    refuse_existing(output, force)
    _check_arguments(model, quantizer, bits)
    tables.check(head_bits)
    prefix, layers = decoder_layers(model)
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit and length > limit:
        raise GLVQError(f"windows of {length} tokens exceed the model's context of {limit}; give a smaller --length")

    if calibration is None:
        with progress_bar(progress, "sampling text", windows * length) as advance:
            ids = sample_windows(model, windows, length, seed, advance=advance)
        source = f"{len(ids)} windows of {length} tokens, sampled from the model itself"
    else:
        ids = text_windows(tokenizer, calibration, windows, length)
        source = f"{len(ids)} windows of {length} tokens of the given text"
    report = Report(source, seed)
    weights = _Weights(quantizer, bits, seed, report)
    batches = ids.split(batch)

    with torch.no_grad(), progress_bar(progress, "quantizing", len(layers)) as advance:
        arguments = {size: _layer_arguments(model, layers, ids[:size]) for size in {len(b) for b in batches}}
        hidden = [_first_hidden(model, layers[0], b) for b in batches]
        for index, layer in enumerate(layers):
            linears = find_linears(layer, f"{prefix}.{index}")
            hessians = _Hessians(linears)
            with hessians.watch():
                for h in hidden:
                    _run_layer(layer, h, *arguments[len(h)][index])
            for names, hessian in hessians.shared():
                weights.quantize({f"{name}.weight": linears[name] for name in names}, hessian)
            if index + 1 < len(layers):
                hidden = [_run_layer(layer, h, *arguments[len(h)][index]) for h in hidden]
            advance(1, f"layer {index + 1} of {len(layers)}")
        if head_bits:
            for name, table in tables.find_tables(model).items():
                weights.quantize_table(name, table, head_bits)

    settings = _own_settings(model.config)
    settings["architectures"] = [type(model).__name__]
    settings["dtype"] = "float32"

    def add_files(folder: Path) -> None:
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        if getattr(model, "generation_config", None) is not None:
            model.generation_config.save_pretrained(folder)
        report.write(folder)

    checkpoint.write(output, settings, weights.weights, weights.all_tensors(model), seed, add_files, force)
    return {**report.summary(), "seconds": time.perf_counter() - start}


def quantize_module(
    module,
    inputs: Iterable[Sequence[Any]],
    output: str | Path,
    bits: int = 4,
    quantizer: Quantizer = LatticeQuantizer(),
    seed: int = 0,
    force: bool = False,
    progress: bool = False,
    keep: Callable[[str], bool] = lambda name: False,
) -> dict:
    """Quantizes every nn.Linear of any module, with the Hessians of example
    inputs (tuples of positional arguments), and writes ``output``.

    ``keep(name)`` true leaves a linear as it is. The Hessians are those of the
    unquantized module and all held at once: for language models
    quantize_model is better. ``config.json`` has no model configuration but
    the quantization, unless the module carries one.
    """
    import torch

    start = time.perf_counter()
    output = Path(output)
    refuse_existing(output, force)
    _check_arguments(module, quantizer, bits)
    linears = {name: linear for name, linear in find_linears(module).items() if not keep(name)}
    if not linears:
        raise GLVQError(f"{type(module).__name__} has no linear layer to quantize")
    hessians, count = _Hessians(linears), 0
    with torch.no_grad(), hessians.watch():
        for arguments in inputs:
            module(*arguments)
            count += 1
    report = Report(f"{count} example inputs", seed)
    weights = _Weights(quantizer, bits, seed, report)
    with progress_bar(progress, "quantizing", len(linears)) as advance:
        for names, hessian in hessians.shared():
            weights.quantize({f"{name}.weight" if name else "weight": linears[name] for name in names}, hessian)
            advance(len(names), names[-1])
    config = getattr(module, "config", None)
    settings = _own_settings(config) if hasattr(config, "to_dict") else {}
    checkpoint.write(output, settings, weights.weights, weights.all_tensors(module), seed, report.write, force)
    return {**report.summary(), "seconds": time.perf_counter() - start}

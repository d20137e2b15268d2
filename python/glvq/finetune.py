# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Fine-tuning of a quantized checkpoint: the numbers beside the codes learn the
reference model's predictions.

    glvq.finetune.finetune("model-2bit", "model-2bit-tuned", reference="model", text=text)

Every code decodes linearly in its scales: W = scales ⊙ V ⊙ group scales, with V
fixed by the codes. So gradients go straight through, the codes stay, and a step
costs little more than one of the dense model. The loss is KL(reference ‖ model)
over all positions.

In memory are the student (V in bfloat16), the activations of one layer and one
window (layers are recomputed in the backward pass), and one window's logits in
pieces. The reference runs once; its last hidden states are kept on disk.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial as bind
from pathlib import Path
from typing import Any

from . import checkpoint, models
from .calibration import sample_windows, text_windows
from .errors import GLVQError
from .files import refuse_existing
from .partial import Partial
from .progress import progress_bar
from .quantization import LayerWalk, autocast_bfloat16, decoder_layers

# What can be tuned: "scales" of rows and groups; "norms", and all other vectors
# of the model (biases); "generators" of lattices.
TUNABLE = ("scales", "norms", "generators")


@dataclass(frozen=True)
class Settings:
    """How a checkpoint is tuned. ``rate`` is relative: parameters are factors
    near one. ``every`` is the number of steps between two looks at the held-out
    windows; tuning stops when ``patience`` looks in a row were no better."""

    tune: tuple[str, ...] = ("scales", "norms")
    windows: int = 256
    length: int = 512
    held_out: int = 8
    epochs: float = 1.0
    batch: int = 2
    rate: float = 5e-3
    every: int = 24
    patience: int = 4
    seed: int = 0

    def check(self) -> None:
        unknown = [name for name in self.tune if name not in TUNABLE]
        if unknown or not self.tune:
            raise GLVQError(f"cannot tune '{', '.join(unknown)}'; there are {', '.join(TUNABLE)}")
        for name in ("windows", "held_out", "epochs", "batch", "rate", "every", "patience"):
            if not getattr(self, name) > 0:
                raise GLVQError(f"{name.replace('_', '-')} must be positive, not {getattr(self, name)}")


# --------------------------------------------------------------------------
# The differentiable student


class Rotation:
    """T = H D of docs/CheckpointFormat.md for activations, as two small matrix
    products: H_n = A ⊗ B with A = C_m ⊗ H_(2^i) and B = H_(2^j)."""

    def __init__(self, signs, size: int):
        import torch

        odd = size
        while odd % 2 == 0:
            odd //= 2
        power = (size // odd).bit_length() - 1
        i = min(range(power + 1), key=lambda i: odd * 2**i + 2 ** (power - i))
        angle = 2 * math.pi * torch.outer(torch.arange(odd), torch.arange(odd)).double() / odd
        self.left = ((angle.cos() + angle.sin()) / math.sqrt(odd)).float()
        self.right = torch.ones(1, 1)
        step = torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
        for _ in range(i):
            self.left = torch.kron(self.left, step)
        for _ in range(power - i):
            self.right = torch.kron(self.right, step)
        bits = (signs.long().unsqueeze(1) >> torch.arange(32)) & 1
        self.signs = (1 - 2 * bits.flatten()[:size]).float()

    def _transform(self, x):
        p, q = len(self.left), len(self.right)
        shape = x.shape
        # Both factors are symmetric.
        y = x.reshape(-1, p, q) @ self.right
        y = y.transpose(1, 2).reshape(-1, p) @ self.left
        return y.reshape(-1, q, p).transpose(1, 2).reshape(shape)

    def forward(self, x):
        return self._transform(x * self.signs.to(x.dtype))

    def inverse(self, x):
        return self._transform(x) * self.signs.to(x.dtype)


def _tuned_linear_class():
    import torch
    import torch.nn.functional as F

    class TunedLinear(torch.nn.Module):
        """y = T_outᵀ (scales ⊙ V (group scales ⊙ fold(T_in x))): the quantized
        linear with its numbers as parameters, relative to the stored ones."""

        def __init__(self, weight: checkpoint.QuantizedWeight, tensor: Callable, bias, rotations: dict, tune):
            super().__init__()
            self.weight_info, self.bias = weight, bias
            parts = {p: tensor(weight.part_name(p)) for p in weight.code.parts(*weight.shape)}
            self.rotate_in = self._rotation(weight.signs_in, weight.shape[1], tensor, rotations)
            self.rotate_out = self._rotation(weight.signs_out, weight.shape[0], tensor, rotations)
            self.stored = {"scales": parts["scales"].float()}
            ones = {"scales": torch.ones_like(parts["scales"])}
            if "group_scales" in parts:
                self.stored["group_scales"] = parts["group_scales"].float()
                ones["group_scales"] = torch.ones_like(parts["group_scales"])
                self.slot_of_column = _slots(weight, parts)
            # With folded generators V holds the numbers z + ½ themselves.
            self.folds = "generators" in tune and _folds(weight)
            if self.folds:
                generators = parts["generators"].float()
                self.stored["generators"] = generators
                ones["generators"] = torch.eye(weight.code.dim).half().expand_as(generators)
                slots = weight.code.slots(weight.shape[1])
                order = parts["order"].long() if "order" in parts else torch.arange(slots)
                self.slot_of_group = torch.argsort(order)
            values = {weight.part_name(p): ones.get(p, t) for p, t in parts.items()}
            plain = replace(weight, signs_in=None, signs_out=None)
            self.register_buffer("values", checkpoint.decode(plain, values.__getitem__).bfloat16(), persistent=False)
            self.factors = torch.nn.ParameterDict()
            for name in self.stored:
                if name == "generators" or "scales" in tune:
                    self.factors[name] = torch.nn.Parameter(torch.zeros_like(self.stored[name]))

        @staticmethod
        def _rotation(signs, size, tensor, rotations):
            if signs is None:
                return None
            if signs not in rotations:
                rotations[signs] = Rotation(tensor(signs), size)
            return rotations[signs]

        def tuned(self, name: str):
            """A stored number with what was learned. Factors move by parts of the
            number itself; the elements of a generator by parts of its size."""
            stored = self.stored[name]
            if name not in self.factors:
                return stored
            if name == "generators":
                size = stored.square().mean((1, 2), keepdim=True).sqrt() * math.sqrt(stored.shape[1])
                return stored + size * self.factors[name]
            return stored * (1 + self.factors[name])

        def forward(self, x):
            if self.rotate_in is not None:
                x = self.rotate_in.forward(x)
            if "group_scales" in self.stored:
                x = x * self.tuned("group_scales")[self.slot_of_column]
            if self.folds:
                generators = self.tuned("generators")[self.slot_of_group]
                dim, group = self.weight_info.code.dim, self.weight_info.code.group
                groups, columns = len(generators), x.shape[-1]
                points = F.pad(x.reshape(-1, columns), (0, groups * group - columns)).view(
                    -1, groups, group // dim, dim
                )
                x = torch.einsum("ngcd,gde->ngce", points, generators.to(points.dtype)).reshape(*x.shape[:-1], -1)
                x = x[..., :columns]
            y = F.linear(x.bfloat16(), self.values) * self.tuned("scales")
            if self.rotate_out is not None:
                y = self.rotate_out.inverse(y)
            return y if self.bias is None else y + self.bias

        def parts(self) -> dict[str, Any]:
            """The stored numbers that were tuned, in their types, by name."""
            return {
                self.weight_info.part_name(name): self.tuned(name).detach().half().contiguous() for name in self.factors
            }

    return TunedLinear


def _slots(weight: checkpoint.QuantizedWeight, parts: dict):
    """The slot that holds each column."""
    import torch

    columns, group = weight.shape[1], weight.code.group
    slots = -(-columns // group)
    order = parts["order"].long() if "order" in parts else torch.arange(slots)
    return torch.argsort(order)[torch.arange(columns) // group]


def _folds(weight: checkpoint.QuantizedWeight) -> bool:
    """A lattice whose generators can be moved to the activations: no compander,
    and whole points only."""
    code = weight.code
    return (
        isinstance(code, checkpoint.LatticeCode)
        and code.compander == "none"
        and weight.shape[1] % code.dim == 0
        and code.group % code.dim == 0
    )


def _tuned_vector_class():
    import torch

    class Relative(torch.nn.Module):
        """A vector of the model as its stored value and a factor near one; where
        the value is zero the factor is an offset."""

        def __init__(self, value):
            super().__init__()
            self.register_buffer("scale", torch.where(value == 0, value.abs().mean().clamp_min(1e-3), value))

        def forward(self, factor):
            return self.value + self.scale * factor

        def right_inverse(self, value):
            self.value = value.detach().clone()
            return torch.zeros_like(value)

    return Relative


class Student:
    """The model of a checkpoint with TunedLinear in place of its linears."""

    def __init__(self, opened: checkpoint.Checkpoint, tune: tuple[str, ...]):
        import torch
        from torch.nn.utils.parametrize import register_parametrization
        from torch.utils.checkpoint import checkpoint as recompute

        self.opened = opened
        loaded = models.load(opened.path)
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        prefix, layers = decoder_layers(self.model)
        cls, rotations = _tuned_linear_class(), {}
        self.linears: dict[str, Any] = {}
        parts = {p for w in opened.weights.values() for p in w.parts()}
        signs = {s for w in opened.weights.values() for s in (w.signs_in, w.signs_out) if s}
        state = {n: opened.tensor(n) for n in opened.tensor_names if n not in parts and n not in signs}
        for name, weight in opened.weights.items():
            path = name.removesuffix(".weight")
            if not name.startswith(f"{prefix}."):
                state[name] = opened.dense(name)  # embeddings and heads stay as they are
                continue
            bias = state.pop(f"{path}.bias", None)
            module = cls(weight, opened.tensor, None, rotations, tune)
            if bias is not None:
                module.bias = torch.nn.Parameter(bias.float(), requires_grad=False)
            self.linears[name] = module
            parent, _, leaf = path.rpartition(".")
            setattr(self.model.get_submodule(parent), leaf, module)
        _assign_rest(self.model, state, opened.path)
        self.model.eval().requires_grad_(False)
        self.named: dict[str, Any] = {}
        for name, module in self.linears.items():
            for key, factor in module.factors.items():
                factor.requires_grad_(True)
                self.named[f"{name} {key}"] = factor
        # Norms and biases, by the names of the checkpoint.
        self.vectors: dict[str, tuple[Any, str]] = {}
        if "norms" in tune:
            relative = _tuned_vector_class()
            for path, module in list(self.model.named_modules()):
                for key, parameter in list(module.named_parameters(recurse=False)):
                    if parameter.dim() != 1 or isinstance(module, torch.nn.ParameterDict):
                        continue
                    name = f"{path}.{key}" if path else key
                    register_parametrization(module, key, relative(parameter.detach()))
                    factor = module.parametrizations[key].original
                    factor.requires_grad_(True)
                    self.vectors[name] = (module, key)
                    self.named[f"{name} value"] = factor
        for layer in layers:
            layer.forward = bind(recompute, layer.forward, use_reentrant=False)

    def hidden(self, ids):
        return _last_hidden(self.model, ids)

    def head(self):
        return self.model.get_output_embeddings().weight.detach().bfloat16()

    def tensors(self) -> dict[str, Any]:
        """What the tuned checkpoint stores."""
        tensors = {name: self.opened.tensor(name) for name in self.opened.tensor_names}
        for module in self.linears.values():
            tensors.update(module.parts())
        for name, (module, key) in self.vectors.items():
            stored = next(n for n in self._stored_names(name) if n in tensors)
            tensors[stored] = getattr(module, key).detach().to(tensors[stored].dtype).clone()
        return tensors

    def _stored_names(self, name: str) -> Iterator[str]:
        prefix = f"{self.model.base_model_prefix}."
        yield from (name, name.removeprefix(prefix), prefix + name)


def _assign_rest(model, state: dict, origin: Path) -> None:
    """Gives the model everything but its tuned linears."""
    import torch

    expected = {n for n, t in model.state_dict(keep_vars=True).items() if t.is_meta}
    prefix = f"{model.base_model_prefix}."
    named = {}
    for name, tensor in state.items():
        found = next((n for n in (name, prefix + name, name.removeprefix(prefix)) if n in expected), None)
        if found is not None:
            named[found] = tensor.float() if tensor.is_floating_point() else tensor
    model.load_state_dict(named, strict=False, assign=True)
    model.tie_weights()
    models.compute_buffers(model, origin)
    if any(p.is_meta for p in model.parameters()):
        raise GLVQError(f"{origin}: tensors of the model are missing; quantize it again")
    model.to(torch.float32)
    for module in model.modules():  # the conversion above reaches V too
        if hasattr(module, "values") and isinstance(module.values, torch.Tensor):
            module.values = module.values.bfloat16()


def _last_hidden(model, ids):
    with autocast_bfloat16():
        return getattr(model, model.base_model_prefix)(input_ids=ids, use_cache=False).last_hidden_state


def _kl_class():
    import torch

    class HeadKL(torch.autograd.Function):
        """Mean over positions of KL(reference ‖ model) from hidden states [T, D]
        and head matrices [V, D], in nats. The logits exist for some positions at
        a time, and the gradient is made with them."""

        @staticmethod
        def forward(ctx, hidden, reference, head, reference_head, piece=128):
            total, gradient = 0.0, torch.empty_like(hidden, dtype=torch.float32)
            for begin in range(0, len(hidden), piece):
                rows = slice(begin, begin + piece)
                log_p = torch.log_softmax((reference[rows].to(head.dtype) @ reference_head.T).float(), -1)
                log_q = torch.log_softmax((hidden[rows].to(head.dtype) @ head.T).float(), -1)
                p = log_p.exp()
                total += (p * (log_p - log_q)).sum().item()
                gradient[rows] = ((log_q.exp() - p).to(head.dtype) @ head).float()
            ctx.save_for_backward(gradient / len(hidden))
            ctx.dtype = hidden.dtype
            return hidden.new_tensor(total / len(hidden), dtype=torch.float32)

        @staticmethod
        def backward(ctx, factor):
            (gradient,) = ctx.saved_tensors
            return (gradient * factor).to(ctx.dtype), None, None, None, None

    return HeadKL


# --------------------------------------------------------------------------
# Running it


def finetune(
    path: str | Path,
    output: str | Path,
    reference: str | Path,
    text: str | None = None,
    settings: Settings = Settings(),
    force: bool = False,
    resume: bool = False,
    progress: bool = False,
) -> dict:
    """Tunes the checkpoint at ``path`` to predict what the model at ``reference``
    does, on windows of ``text`` (or that the reference samples itself), and
    writes a checkpoint of the same format.

    The numbers kept are those with the least KL divergence on held-out windows,
    the last of the text. Stopped runs go on with ``resume``, to the same result.
    Returns a report. Raises GLVQError for paths that are not a quantized
    checkpoint and its reference, for a text that is too short, and as
    quantize_model does.
    """

    start = time.perf_counter()
    path, output = Path(path), Path(output)
    settings.check()
    refuse_existing(output, force)
    opened = checkpoint.open(path)
    teacher = models.open(reference)
    if teacher.file is None:
        raise GLVQError(f"{reference} is a quantized checkpoint; the reference must have its own weights")
    if teacher.config.vocab_size != opened.config.get("vocab_size"):
        raise GLVQError(
            f"{reference} has a vocabulary of {teacher.config.vocab_size} tokens and {path} one of "
            f"{opened.config.get('vocab_size')}: it is not the model that was quantized"
        )
    count = settings.windows + settings.held_out
    ids = None
    if text is not None:
        tokenizer = teacher.tokenizer or models.open(path).tokenizer
        ids = text_windows(tokenizer, text, count, settings.length)
        if len(ids) <= settings.held_out:
            raise GLVQError(
                f"the text has {len(ids)} windows of {settings.length} tokens, of which {settings.held_out} are held out; "
                "give more text or shorter windows"
            )
    identity = {
        "checkpoint": _digest_file(path),
        "reference": teacher.file.file.digest(),
        "settings": {**settings.__dict__, "tune": list(settings.tune)},
        "text": None if ids is None else hashlib.sha256(ids.numpy().tobytes()).hexdigest(),
    }
    with Partial(output, identity, resume, force) as partial:
        ids, hidden, head = _teach(partial, teacher, ids, count, settings, progress)
        del teacher
        student = Student(opened, settings.tune)
        run = _Run(student, ids, hidden, head, settings, partial)
        report = run.train(progress)
        report["seconds"] = time.perf_counter() - start
        _write(student, output, opened, report, force)
        partial.remove()
    return report


def _digest_file(path: Path) -> str:
    digest = hashlib.sha256()
    for file in (path / "config.json", *sorted(path.glob("*.safetensors"))):
        with open(file, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _teach(partial: Partial, teacher: models.LoadedModel, ids, count: int, settings: Settings, progress: bool):
    """(windows, last hidden states of the reference, its head), from disk. The
    hidden states are a list of [windows, length, D] of the pieces."""
    import torch

    piece_of = 32
    walk = LayerWalk(teacher.model, teacher.file)
    if ids is None:
        if not partial.has("windows"):
            with walk.whole() as model, progress_bar(progress, "sampling text", count * settings.length) as advance:
                sampled = sample_windows(model, count, settings.length, settings.seed + 2_000_003, advance=advance)
                partial.put("windows", {"ids": sampled}, {})
        ids = partial.get("windows")[0]["ids"]
    pieces = ids.split(piece_of)
    with torch.no_grad(), progress_bar(progress, "reference", len(ids)) as advance:
        missing = [i for i in range(len(pieces)) if not partial.has(f"reference-{i:05}")]
        advance(sum(len(p) for i, p in enumerate(pieces) if i not in missing))
        if missing:
            with walk.ready() as model:
                for i in missing:
                    states = []
                    for batch in pieces[i].split(4):
                        states.append(_last_hidden(model, batch).bfloat16())
                        advance(len(batch))
                    partial.put(f"reference-{i:05}", {"hidden": torch.cat(states)}, {})
    hidden = [partial.get(f"reference-{i:05}")[0]["hidden"] for i in range(len(pieces))]
    head = teacher.model.get_output_embeddings().weight.detach().bfloat16()
    return ids, (hidden, piece_of), head


class _Run:
    """The training loop: its state is what resuming needs."""

    def __init__(self, student: Student, ids, hidden, head, settings: Settings, partial: Partial):
        import torch

        self.student, self.ids, self.settings, self.partial = student, ids, settings, partial
        self.hidden, self.piece_of = hidden
        self.reference_head, self.head, self.kl = head, student.head(), _kl_class().apply
        self.trained = len(ids) - settings.held_out
        if self.trained < 1:
            raise GLVQError("no windows are left beside the held-out ones; give more text")
        self.steps = max(1, round(settings.epochs * self.trained / settings.batch))
        self.parameters = student.named
        self.optimizer = torch.optim.Adam(list(self.parameters.values()), lr=settings.rate, betas=(0.9, 0.95))
        self.step = 0
        self.best, self.best_step, self.best_values = math.inf, 0, {}
        self.history: list[dict] = []
        self.running = None

    def _loss(self, window: int):
        piece, row = divmod(window, self.piece_of)
        hidden = self.student.hidden(self.ids[window : window + 1])[0]
        return self.kl(hidden, self.hidden[piece][row], self.head, self.reference_head)

    def _window(self, number: int) -> int:
        """The training window at a position of the endless shuffled sequence."""
        import torch

        epoch, position = divmod(number, self.trained)
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + epoch)
        return int(torch.randperm(self.trained, generator=generator)[position])

    def look(self) -> float:
        """The mean KL divergence on the held-out windows."""
        import torch

        with torch.no_grad():
            return sum(self._loss(w).item() for w in range(self.trained, len(self.ids))) / self.settings.held_out

    def _learn(self) -> None:
        import torch

        settings = self.settings
        warm = min(1.0, (self.step + 1) / 8)
        decay = max(0.02, 0.5 * (1 + math.cos(math.pi * self.step / self.steps)))
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate * warm * decay
        self.optimizer.zero_grad()
        total = 0.0
        for part in range(settings.batch):
            loss = self._loss(self._window(self.step * settings.batch + part)) / settings.batch
            loss.backward()
            total += loss.item()
        if not math.isfinite(total):
            raise GLVQError(f"the loss is not finite at step {self.step}; give a smaller --rate")
        torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), 1.0)
        self.optimizer.step()
        self.step += 1
        self.running = total if self.running is None else 0.9 * self.running + 0.1 * total

    def train(self, progress: bool) -> dict:
        self._restore()
        settings = self.settings
        with progress_bar(progress, "tuning", self.steps) as advance:
            advance(self.step)
            if not self.history:
                self._note()
            while self.step < self.steps and not self._stale():
                self._learn()
                advance(1, f"tuning, KL {self.running:.4f}, held out {self.best:.4f}")
                if self.step % settings.every == 0 or self.step == self.steps:
                    self._note()
        import torch

        with torch.no_grad():
            for name, value in self.best_values.items():
                self.parameters[name].copy_(value)
        return {
            "held-out KL before": self.history[0]["held-out KL"],
            "held-out KL after": self.best,
            "steps": self.step,
            "best step": self.best_step,
            "windows": self.trained,
            "parameters": sum(p.numel() for p in self.parameters.values()),
            "history": self.history,
        }

    def _stale(self) -> bool:
        return self.step - self.best_step >= self.settings.patience * self.settings.every

    def _note(self) -> None:
        """Looks at the held-out windows and keeps everything on disk."""
        held = self.look()
        self.history.append({"step": self.step, "KL": self.running, "held-out KL": held})
        if held < self.best:
            self.best, self.best_step = held, self.step
            self.best_values = {name: p.detach().clone() for name, p in self.parameters.items()}
        tensors = {}
        for name, parameter in self.parameters.items():
            state = self.optimizer.state.get(parameter, {})
            tensors[f"value {name}"] = parameter.detach()
            tensors[f"best {name}"] = self.best_values[name]
            for key in ("exp_avg", "exp_avg_sq"):
                if key in state:
                    tensors[f"{key} {name}"] = state[key]
        data = {
            "step": self.step,
            "best": self.best,
            "best step": self.best_step,
            "history": self.history,
            "running": self.running,
        }
        self.partial.put(f"step-{self.step:08}", tensors, data)
        for name in self.partial.names("step-")[:-1]:
            self.partial.discard(name)

    def _restore(self) -> None:
        import torch

        kept = self.partial.names("step-")
        if not kept:
            return
        tensors, data = self.partial.get(kept[-1])
        self.step, self.best, self.best_step = data["step"], data["best"], data["best step"]
        self.history, self.running = data["history"], data["running"]
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"value {name}"])
                self.best_values[name] = tensors[f"best {name}"].clone()
                if f"exp_avg {name}" in tensors:
                    self.optimizer.state[parameter] = {
                        "step": torch.tensor(float(self.step)),
                        "exp_avg": tensors[f"exp_avg {name}"].clone(),
                        "exp_avg_sq": tensors[f"exp_avg_sq {name}"].clone(),
                    }


def _write(student: Student, output: Path, opened: checkpoint.Checkpoint, report: dict, force: bool) -> None:
    configuration = {k: v for k, v in opened.config.items() if k != "quantization_config"}
    kept = {k: v for k, v in report.items() if k != "seconds"}

    def add_files(folder: Path) -> None:
        for name in (*models.TOKENIZER_FILES, "generation_config.json", "quantization_report.json"):
            if (opened.path / name).exists():
                shutil.copyfile(opened.path / name, folder / name)
        (folder / "finetuning_report.json").write_text(json.dumps(kept, indent=1) + "\n")

    seed = opened.config["quantization_config"].get("seed", 0)
    checkpoint.write(output, configuration, opened.weights, student.tensors(), seed, add_files, force)

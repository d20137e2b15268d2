"""Quantized checkpoints in Transformers: ``from_pretrained`` and ``save_pretrained``.

    import glvq
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained("model-2bit")

Weights stay packed; products run on ``torch.ops.glvq.linear``. Importing this
module registers the method ``glvq`` with Transformers; ``import glvq`` sees to
that by itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from .checkpoint import VERSION, QuantizedWeight, parse_weight
from .errors import GLVQError

_DTYPES = {"I32": torch.int32, "F16": torch.float16, "F32": torch.float32}


class _Packed:
    """What the modules share: the parts of a weight as buffers."""

    def _init_packed(self, weight: QuantizedWeight, persistent: bool) -> None:
        self.code = str(weight.code)
        self.part_names = []
        for name, (dtype, shape) in weight.code.parts(*weight.shape).items():
            self.part_names.append(name)
            self.register_buffer(name, torch.empty(shape, dtype=_DTYPES[dtype]), persistent=persistent)
        for name, signs, size in (
            ("signs_in", weight.signs_in, weight.shape[1]),
            ("signs_out", weight.signs_out, weight.shape[0]),
        ):
            # Their one copy in the checkpoint has a name of its own.
            words = torch.empty(-(-size // 32), dtype=torch.int32) if signs else None
            self.register_buffer(name, words, persistent=False)
        # Transformers draws no random numbers for what it takes as loaded.
        self._is_hf_initialized = True

    @property
    def parts(self) -> list[torch.Tensor]:
        return [getattr(self, name) for name in self.part_names]

    def _apply(self, fn, recurse=True):
        # The types of parts are the format's: `model.to(dtype)` moves but does not convert them.
        before = {name: self._buffers[name] for name in self.part_names}
        super()._apply(fn, recurse)
        for name, old in before.items():
            if self._buffers[name].dtype != old.dtype:
                self._buffers[name] = old.to(self._buffers[name].device)
        return self

    def dequantize(self) -> torch.Tensor:
        """The decoded float32 weight [rows, columns]."""
        return torch.ops.glvq.dequantize(self.code, self.parts, *self.shape, self.signs_in, self.signs_out)

    def extra_repr(self) -> str:
        return f"{self.shape[1]} -> {self.shape[0]}, {self.code}"


class GLVQLinear(_Packed, nn.Linear):
    """y = x Wᵀ + b with a packed W. Replaces ``nn.Linear`` and GPT-2's ``Conv1D``.

    It is an ``nn.Linear``, so that adapters (LoRA) attach to it; its ``weight``
    is decoded each time it is asked for.
    """

    def __init__(self, weight: QuantizedWeight, bias: bool, dtype: torch.dtype, persistent: bool = True):
        nn.Module.__init__(self)
        self.out_features, self.in_features = self.shape = weight.shape
        self._init_packed(weight, persistent)
        self.register_parameter("bias", nn.Parameter(torch.empty(self.out_features, dtype=dtype)) if bias else None)

    @property
    def weight(self) -> torch.Tensor:
        return self.dequantize()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.glvq.linear(x, self.code, self.parts, self.shape[0], self.signs_in, self.signs_out, self.bias)


class GLVQEmbedding(_Packed, nn.Embedding):
    """Rows of a packed table."""

    def __init__(self, weight: QuantizedWeight, padding_idx: int | None, dtype: torch.dtype):
        nn.Module.__init__(self)
        self.num_embeddings, self.embedding_dim = self.shape = weight.shape
        self.padding_idx = padding_idx
        self._init_packed(weight, persistent=True)
        # Follows `model.to(dtype)`; the activations have this type.
        self.register_buffer("activation", torch.empty(0, dtype=dtype), persistent=False)

    @property
    def weight(self) -> torch.Tensor:
        return self.dequantize()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows = torch.ops.glvq.embedding(ids, self.code, self.parts, *self.shape, self.signs_in, self.signs_out)
        return rows.to(self.activation.dtype)


@register_quantization_config("glvq")
class GLVQConfig(QuantizationConfigMixin):
    """``quantization_config`` of docs/CheckpointFormat.md."""

    def __init__(self, weights: dict[str, dict], version: int = VERSION, **others: Any):
        self.quant_method = "glvq"
        self.version = version
        self.weights = weights
        others.pop("quant_method", None)
        for name, value in others.items():
            setattr(self, name, value)
        if version != VERSION:
            raise GLVQError(f"version {version} of the checkpoint format, this glvq reads {VERSION}; quantize again")

    def parse(self) -> dict[str, QuantizedWeight]:
        return {name: parse_weight(name, entry) for name, entry in self.weights.items()}


@register_quantizer("glvq")
class GLVQQuantizer(HfQuantizer):
    """Gives a model on the meta device its packed modules before weights are
    loaded, and ties what is shared afterwards."""

    requires_calibration = True
    quantization_config: GLVQConfig

    def validate_environment(self, device_map=None, **kwargs):
        from . import torch_ops  # noqa: F401 - registers the operators, or says what is missing

        devices = device_map.values() if isinstance(device_map, dict) else [device_map]
        if any(d is not None and str(d) not in ("cpu", "auto") for d in devices):
            raise GLVQError(f"glvq checkpoints run on the CPU in torch, not on {device_map}; for GPU code use glvq-opt")

    def update_device_map(self, device_map):
        return {"": "cpu"} if device_map == "auto" else device_map

    def _process_model_before_weight_loading(self, model, **kwargs):
        dtype = model.dtype
        weights = self.quantization_config.parse()
        tied = dict(model.all_tied_weights_keys)
        self._heads, self._signs = [], []
        for name, weight in weights.items():
            path = _find(model, name.removesuffix(".weight"))
            module = model.get_submodule(path)
            if isinstance(module, nn.Embedding):
                packed = GLVQEmbedding(weight, module.padding_idx, dtype)
            elif isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D":
                packed = GLVQLinear(weight, module.bias is not None, dtype)
            else:
                raise GLVQError(
                    f"weight '{name}' belongs to a {type(module).__name__}, not to a linear layer or an embedding"
                )
            model.set_submodule(path, packed)
            self._remember_signs(model, path, weight)
            # Modules that share the weight (the head of a tied embedding) share its parts.
            for target, source in tied.items():
                if source != f"{path}.weight":
                    continue
                head_path = target.removesuffix(".weight")
                head = model.get_submodule(head_path)
                model.set_submodule(
                    head_path, GLVQLinear(weight, getattr(head, "bias", None) is not None, dtype, persistent=False)
                )
                self._heads.append((head_path, path))
                self._remember_signs(model, head_path, weight)
        packed_names = {f"{path}.weight" for path, m in model.named_modules() if isinstance(m, _Packed)}
        model.all_tied_weights_keys = {t: s for t, s in tied.items() if t not in packed_names}
        # The class lists what its instances tie; this one does it here.
        keys = model._tied_weights_keys
        if isinstance(keys, dict):
            model._tied_weights_keys = {t: s for t, s in keys.items() if t not in packed_names}

    def _remember_signs(self, model, path: str, weight: QuantizedWeight) -> None:
        for side, name, size in (
            ("signs_in", weight.signs_in, weight.shape[1]),
            ("signs_out", weight.signs_out, weight.shape[0]),
        ):
            if name:
                _add_buffer(model, name, torch.empty(-(-size // 32), dtype=torch.int32))
                self._signs.append((path, side, name))

    def _process_model_after_weight_loading(self, model, **kwargs):
        for head_path, path in self._heads:
            head, source = model.get_submodule(head_path), model.get_submodule(path)
            for name in source.part_names:
                head._buffers[name] = source._buffers[name]
        for path, side, name in self._signs:
            model.get_submodule(path)._buffers[side] = model.get_buffer(name)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        return model

    def _dequantize(self, model, dtype=None):
        """Plain modules with decoded weights, for what needs them."""
        for path, module in list(model.named_modules()):
            if isinstance(module, GLVQLinear):
                plain = nn.Linear(module.in_features, module.out_features, module.bias is not None, device="meta")
                plain.bias = module.bias
            elif isinstance(module, GLVQEmbedding):
                plain = nn.Embedding(module.num_embeddings, module.embedding_dim, module.padding_idx, device="meta")
            else:
                continue
            plain.weight = nn.Parameter(module.weight.to(dtype), requires_grad=False)
            model.set_submodule(path, plain)
        for name in {name.split(".")[0] for _, _, name in self._signs}:
            delattr(model, name)
        # The class's own again.
        model.__dict__.pop("_tied_weights_keys", None)
        for head_path, path in self._heads:
            model.get_submodule(head_path).weight = model.get_submodule(path).weight
            model.all_tied_weights_keys[f"{head_path}.weight"] = f"{path}.weight"
        return model

    def is_serializable(self, safe_serialization=None):
        return True

    @property
    def is_trainable(self) -> bool:
        # Packed weights do not learn, but gradients pass through to adapters.
        return True

    @property
    def is_compileable(self) -> bool:
        return True


def _find(model, path: str) -> str:
    """The module of a weight: names may have or lack the base model's prefix."""
    prefix = f"{model.base_model_prefix}."
    for candidate in (path, path.removeprefix(prefix), prefix + path):
        try:
            model.get_submodule(candidate)
            return candidate
        except AttributeError:
            continue
    raise GLVQError(f"the checkpoint quantizes '{path}', which {type(model).__name__} does not have")


def _add_buffer(model, name: str, tensor: torch.Tensor) -> None:
    """Registers a buffer under a dotted name, with modules for its prefixes."""
    *folders, leaf = name.split(".")
    module = model
    for folder in folders:
        if not hasattr(module, folder):
            module.add_module(folder, nn.Module())
        module = getattr(module, folder)
    if leaf not in module._buffers:
        module.register_buffer(leaf, tensor)

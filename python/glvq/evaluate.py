"""Quality of a model: perplexity, and KL divergence to a reference.

A model is any callable from token ids ``[1, S]`` to logits ``[1, S, V]``; torch
models and compiled artefacts are wrapped into one by ``logits_of``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from .errors import GLVQError
from .progress import progress_bar

Logits = Callable


def logits_of(model) -> Logits:
    """A callable from ids to float logits for a Transformers causal model (or
    anything that returns an object with ``logits``); a callable that returns
    an array or tensor passes through."""
    import torch

    def call(ids):
        with torch.inference_mode():
            result = model(ids, use_cache=False) if isinstance(model, torch.nn.Module) else model(ids)
            return torch.as_tensor(getattr(result, "logits", result)).float()

    return call


def artefact_logits(path: str | Path, threads: int = 0) -> Logits:
    """The same for a compiled artefact: its prefill entry from position 0."""
    import numpy as np
    import torch

    from .generate import TextGenerator

    artefact = TextGenerator(path, threads).artefact

    def call(ids):
        tokens = np.ascontiguousarray(ids, dtype=np.int64)
        session = artefact.session(capacity=tokens.shape[1])
        return torch.from_numpy(np.array(session.run("prefill", tokens=tokens, position=0)["logits"]))

    return call


def evaluate(model, windows, reference=None, advance: Callable[[int], None] = lambda n: None) -> dict:
    """Scores ``windows``, int64 ``[N, S]``: exponential of the mean negative
    log-likelihood of tokens 1 … S-1 of each window, and, with a ``reference``,
    its perplexity and the mean of KL(reference || model) over the same
    positions, in nats per token."""
    import torch.nn.functional as F

    if windows.dim() != 2 or windows.shape[1] < 2:
        raise GLVQError(f"windows must be [count, tokens >= 2], not {list(windows.shape)}")
    score, base = logits_of(model), logits_of(reference) if reference is not None else None
    loss = base_loss = divergence = 0.0
    count = windows.shape[0] * (windows.shape[1] - 1)
    for window in windows:
        ids, target = window[None], window[1:]
        log_p = F.log_softmax(score(ids)[0, :-1], -1)
        loss += F.nll_loss(log_p, target, reduction="sum").item()
        if base is not None:
            log_q = F.log_softmax(base(ids)[0, :-1], -1)
            base_loss += F.nll_loss(log_q, target, reduction="sum").item()
            divergence += (log_q.exp() * (log_q - log_p)).sum().item()
        advance(1)
    result = {"perplexity": _exp(loss / count), "tokens": count}
    if base is not None:
        result["reference perplexity"] = _exp(base_loss / count)
        result["KL divergence"] = divergence / count
    return result


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def perplexity(model, windows) -> float:
    """Perplexity of ``windows``, int64 ``[N, S]``; see evaluate."""
    return evaluate(model, windows)["perplexity"]


def _open(path: Path, threads: int):
    """(callable, tokenizer, torch model or None) of whatever lies at a path."""
    from . import checkpoint, models

    if (path / "manifest.json").exists():
        from transformers import PreTrainedTokenizerFast

        return (
            artefact_logits(path, threads),
            PreTrainedTokenizerFast(tokenizer_file=str(path / "tokenizer.json")),
            None,
        )
    loaded = models.load(path)
    if loaded.quantization is not None:
        loaded = checkpoint.load(path)
    return loaded.model, loaded.tokenizer, loaded.model


def evaluate_path(
    model: str | Path,
    text: str | None = None,
    reference: str | Path | None = None,
    windows: int = 16,
    length: int = 512,
    seed: int = 0,
    threads: int = 0,
    progress: bool = False,
) -> dict:
    """evaluate() for files: an artefact, a quantized checkpoint, a Hugging Face
    folder or a GGUF file. Without a text the reference samples one."""
    import torch

    from .calibration import sample_windows, text_windows

    if threads:
        torch.set_num_threads(threads)
    score, tokenizer, _ = _open(Path(model), threads)
    base, base_tokenizer, dense = _open(Path(reference), threads) if reference is not None else (None, None, None)
    if text is not None:
        ids = text_windows(tokenizer or base_tokenizer, text, windows, length)
        source = f"{len(ids)} windows of {length} tokens of the given text"
    elif dense is None:
        raise GLVQError("without a text the reference must be a model that can sample one: a folder or a GGUF file")
    else:
        with progress_bar(progress, "sampling text", windows * length) as advance:
            # Not the seed of the calibration: those windows were seen.
            ids = sample_windows(dense, windows, length, seed + 1_000_003, advance=advance)
        source = f"{len(ids)} windows of {length} tokens, sampled from the reference itself"
    with progress_bar(progress, "evaluating", len(ids)) as advance:
        result = evaluate(score, ids, base, advance)
    return {**result, "text": source}

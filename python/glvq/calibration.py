"""Token windows for calibration and evaluation: from a text, or sampled from
the model itself when there is none."""

from __future__ import annotations

from collections.abc import Callable

from .errors import GLVQError


def text_windows(tokenizer, text: str, windows: int, length: int):
    """The first ``windows`` non-overlapping windows of ``length`` tokens: int64
    ``[windows, length]``, fewer when the text is shorter.

    Raises GLVQError when the text has less than one window.
    """
    import torch

    if tokenizer is None:
        raise GLVQError("the model has no tokenizer, so it cannot read a text; leave the text out to sample one")
    # Most tokens are longer than one character: no more of a long text is needed.
    ids = tokenizer(text[: windows * length * 16], add_special_tokens=False)["input_ids"]
    count = min(windows, len(ids) // length)
    if count == 0:
        raise GLVQError(
            f"the text has {len(ids)} tokens, less than one window of {length}; give more text or shorter windows"
        )
    return torch.tensor(ids[: count * length], dtype=torch.int64).view(count, length)


def sample_windows(
    model, windows: int, length: int, seed: int, batch: int = 16, advance: Callable[[int], None] = lambda tokens: None
):
    """Windows that a causal language model writes itself: int64 ``[windows, length]``.

    Every window starts at a random token of the vocabulary and goes on by
    sampling at temperature 1, through end tokens too, so that the windows
    together follow the model's own distribution. ``advance`` is told the number
    of tokens done since the last call.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    out = torch.empty(windows, length, dtype=torch.int64)
    with torch.inference_mode():
        for begin in range(0, windows, batch):
            rows = out[begin : begin + batch]
            rows[:, 0] = torch.randint(vocabulary, (len(rows),), generator=generator)
            cache = None
            for position in range(1, length):
                result = model(rows[:, position - 1 : position], past_key_values=cache, use_cache=True)
                cache = result.past_key_values
                probabilities = torch.softmax(result.logits[:, -1].float(), -1)
                rows[:, position] = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
                advance(len(rows))
    return out

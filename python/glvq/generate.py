"""Text generation from an artefact: tokenizer, sampling, streaming.

Imports neither torch nor transformers, so that a process starts in a fraction
of a second: the tokenizer is the artefact's ``tokenizer.json``, the model its
compiled entry points.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import GLVQError
from .files import read_json


@dataclass
class Sampling:
    """How the next token is chosen. ``temperature`` 0 is greedy."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self):
        if self.temperature < 0:
            raise GLVQError(f"temperature must not be negative, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise GLVQError(f"top-p must be in (0, 1], got {self.top_p}")
        if self.top_k < 0:
            raise GLVQError(f"top-k must not be negative, got {self.top_k}")


def sample(logits: np.ndarray, how: Sampling, rng: np.random.Generator) -> int:
    """Chooses a token id from logits ``[V]``."""
    if how.temperature == 0:
        return int(np.argmax(logits))
    scaled = logits.astype(np.float64) / how.temperature
    order = np.argsort(-scaled, kind="stable")
    if how.top_k:
        order = order[: how.top_k]
    p = np.exp(scaled[order] - scaled[order[0]])
    p /= p.sum()
    if how.top_p < 1:
        # The smallest set of tokens whose probability reaches top_p.
        keep = int(np.searchsorted(np.cumsum(p), how.top_p)) + 1
        order, p = order[:keep], p[:keep] / p[:keep].sum()
    return int(order[rng.choice(len(order), p=p)])


@dataclass
class Timing:
    """Seconds and tokens of one generation."""

    prompt_tokens: int = 0
    prompt_seconds: float = 0.0
    new_tokens: int = 0
    new_seconds: float = 0.0
    # Whether the model ended its answer itself.
    ended: bool = False

    @property
    def tokens_per_second(self) -> float:
        """Decode speed; the first new token belongs to the prompt."""
        return (self.new_tokens - 1) / self.new_seconds if self.new_tokens > 1 and self.new_seconds > 0 else 0.0


class TextGenerator:
    """A causal language model in an artefact, together with its tokenizer.

    Raises GLVQError when the artefact is not one of a language model.
    """

    def __init__(self, path: str | Path, threads: int = 0, artefact=None):
        path = Path(path)
        if artefact is None:
            from .api import load

            artefact = load(path, threads).artefact
        self.artefact = artefact
        names = {entry["name"] for entry in self.artefact.entries}
        if not {"prefill", "decode"} <= names:
            raise GLVQError(
                f"{path} is not a language model: it has the entries {sorted(names)}, not prefill and decode; use glvq-run"
            )
        if not (path / "tokenizer.json").exists():
            raise GLVQError(f"{path} has no tokenizer.json; compile it again from a checkpoint that has one")
        from tokenizers import Tokenizer

        try:
            self.tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        except Exception as error:  # the tokenizers library raises plain Exceptions
            raise GLVQError(f"{path / 'tokenizer.json'} is not a tokenizer: {error}") from error
        self.path = path
        self.model = self.artefact.model
        self.context_length = int(self.model.get("context_length") or 2048)
        self.eos = set(self.model.get("eos_token_ids") or [])
        self.timing = Timing()

    def chat_template(self) -> str | None:
        """The Jinja chat template of the model, or None."""
        file = self.path / "chat_template.jinja"
        if file.exists():
            return file.read_text()
        return self._tokenizer_settings().get("chat_template")

    def _tokenizer_settings(self) -> dict:
        config = self.path / "tokenizer_config.json"
        return read_json(config, "") if config.exists() else {}

    def render_chat(self, messages: list[dict[str, str]]) -> str:
        """The text of a conversation, ready for the model's answer."""
        import jinja2
        import jinja2.sandbox

        template = self.chat_template()
        if not template:
            raise GLVQError(f"{self.path} has no chat template; use --raw")
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

        def raise_exception(message):
            raise GLVQError(f"the chat template refuses the conversation: {message}")

        environment.globals["raise_exception"] = raise_exception
        special = {
            key: value["content"] if isinstance(value, dict) else value
            for key, value in self._tokenizer_settings().items()
            if key in ("bos_token", "eos_token", "pad_token", "unk_token") and value
        }
        try:
            return environment.from_string(template).render(messages=messages, add_generation_prompt=True, **special)
        except jinja2.TemplateError as error:
            raise GLVQError(f"the chat template of {self.path} is broken: {error}; use --raw") from error

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text."""
        return self.tokenizer.encode(text, add_special_tokens=add_special_tokens).ids

    def conversation(self, capacity: int = 0) -> Conversation:
        """New states for ``capacity`` tokens (0: the model's context)."""
        return Conversation(self, capacity or self.context_length)

    def stream(
        self,
        ids: list[int],
        max_new_tokens: int,
        how: Sampling,
        conversation: Conversation | None = None,
        timing: Timing | None = None,
    ) -> Iterator[int]:
        """Yields new token ids until an end token or the limit.

        ``conversation`` keeps what it has computed for the next call; ``timing``
        is filled in (without it, ``self.timing`` is a new one). Raises GLVQError if
        prompt and answer do not fit into the context.
        """
        if not ids:
            raise GLVQError("the prompt is empty; give at least one token")
        if max_new_tokens < 1:
            raise GLVQError(f"the number of new tokens must be at least 1, got {max_new_tokens}")
        if len(ids) + max_new_tokens > self.context_length:
            raise GLVQError(
                f"{len(ids)} prompt tokens and {max_new_tokens} new ones exceed the model's context of "
                f"{self.context_length}; shorten the prompt or lower --max-tokens"
            )
        rng = np.random.default_rng(how.seed)
        if conversation is None:
            conversation = self.conversation(len(ids) + max_new_tokens)
        if timing is None:
            timing = self.timing = Timing()
        timing.prompt_tokens = len(ids)
        start = time.perf_counter()
        logits = conversation.prefill(ids)
        timing.prompt_seconds = time.perf_counter() - start
        while True:
            token = sample(logits, how, rng)
            timing.new_tokens += 1
            if token in self.eos:
                timing.ended = True
                return
            yield token
            if timing.new_tokens == max_new_tokens:
                return
            start = time.perf_counter()
            logits = conversation.append(token)
            timing.new_seconds += time.perf_counter() - start

    def stream_text(
        self,
        ids: list[int],
        max_new_tokens: int,
        how: Sampling,
        conversation: Conversation | None = None,
        timing: Timing | None = None,
    ) -> Iterator[str]:
        """The same as pieces of text; bytes of unfinished characters wait for the next token."""
        from tokenizers.decoders import DecodeStream

        decoder = DecodeStream(skip_special_tokens=True)
        for token in self.stream(ids, max_new_tokens, how, conversation, timing):
            piece = decoder.step(self.tokenizer, token)
            if piece:
                yield piece


class Conversation:
    """The states of one conversation and the tokens they hold.

    A prompt that begins like what was said before, as each turn of a chat does,
    costs only its new tokens. Serves one call at a time.
    """

    def __init__(self, generator: TextGenerator, capacity: int):
        self.session = generator.artefact.session(capacity=capacity)
        self.tokens: list[int] = []

    def common_prefix(self, ids: list[int]) -> int:
        """How many tokens of a prompt the states hold already."""
        limit = min(len(ids), len(self.tokens))
        return next((i for i in range(limit) if ids[i] != self.tokens[i]), limit)

    def prefill(self, ids: list[int]) -> np.ndarray:
        """Logits ``[V]`` after a prompt, whatever was said before."""
        # At least one token runs, for its logits. States beyond the position of
        # a call are not read, so nothing needs to be erased.
        kept = min(self.common_prefix(ids), len(ids) - 1)
        self.tokens = self.tokens[:kept]
        logits = self.session.run("prefill", tokens=np.asarray([ids[kept:]], np.int64), position=kept)["logits"]
        self.tokens = list(ids)
        return logits[0, -1]

    def append(self, token: int) -> np.ndarray:
        """Logits ``[V]`` after one more token."""
        logits = self.session.run("decode", tokens=np.asarray([[token]], np.int64), position=len(self.tokens))["logits"]
        self.tokens.append(token)
        return logits[0, -1]

"""A conversation on the terminal: ``glvq chat``."""

from __future__ import annotations

import sys
from pathlib import Path

from .errors import GLVQError
from .generate import Sampling, TextGenerator


def chat(artefact: str | Path, system: str | None, max_tokens: int, how: Sampling, threads: int = 0) -> None:
    """Reads lines from standard input and writes the model's answers to standard
    output; prompts appear only on a terminal, so that input can be piped.

    Every turn costs only its own tokens: the states of the model hold the
    conversation. When it outgrows the context, its oldest turns are forgotten.
    Raises GLVQError when the artefact is not one of a chat model.
    """
    generator = TextGenerator(artefact, threads)
    if not generator.chat_template():
        raise GLVQError(f"{artefact} has no chat template, so it is not a chat model; use glvq generate --raw")
    terminal = sys.stdin.isatty()
    beginning = [{"role": "system", "content": system}] if system else []
    messages = list(beginning)
    conversation = generator.conversation()
    # Each turn draws other random numbers, all of them from one seed.
    turn = 0
    while True:
        if terminal:
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        text = line.strip()
        if not text:
            return
        if text == "/reset":
            messages = list(beginning)
            continue
        messages.append({"role": "user", "content": text})
        ids, room = _encode(generator, messages, len(beginning))
        pieces = []
        sampling = Sampling(how.temperature, how.top_k, how.top_p, how.seed + turn)
        turn += 1
        try:
            for piece in generator.stream_text(ids, min(max_tokens, room), sampling, conversation):
                pieces.append(piece)
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            if not terminal:
                raise
            # On a terminal it ends the answer, not the conversation.
        print(flush=True)
        messages.append({"role": "assistant", "content": "".join(pieces)})


def _encode(generator: TextGenerator, messages: list[dict], keep: int) -> tuple[list[int], int]:
    """The conversation's tokens and the room for an answer, of at least an
    eighth of the context. Forgets messages after the first ``keep``, oldest first."""
    while True:
        ids = generator.encode(generator.render_chat(messages), add_special_tokens=False)
        room = generator.context_length - len(ids)
        if room >= max(1, generator.context_length // 8):
            return ids, room
        if len(messages) - keep < 3:
            raise GLVQError(
                f"the message has {len(ids)} tokens, which leaves no room for an answer in the model's context of "
                f"{generator.context_length}; write a shorter one"
            )
        # A question and its answer.
        del messages[keep : keep + 2]

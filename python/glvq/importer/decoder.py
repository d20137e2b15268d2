# Part of glvq. Apache-2.0 WITH LLVM-exception.
"""Decoder-only language models, taken apart.

A model is imported as its parts: embedding, rotary angles, each distinct
decoder layer, and final norm with head. The modules here give each part a
signature with nothing hidden in it: the cache, the position and the rotary
angles are arguments and results. `stitch` puts the parts together again.

Attention here is written for the compiler: grouped queries are multiplied with
the keys of their group without repeating them, only the part of the cache that
is filled is read, and the causal (or sliding) mask is an expression of indices.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import nn

from .errors import ImporterError

_ATTENTION = "glvq_grouped"

# Keyword arguments of Transformers' attention functions that change the result
# and that `_grouped_attention` does not implement.
_UNSUPPORTED_ATTENTION = ("softcap", "s_aux", "head_mask", "position_bias")


def _grouped_attention(module, query, key, value, attention_mask=None, scaling=None, dropout=0.0, **kwargs):
    """Causal attention of `query [1, H, S, D]` over `key, value [1, K, N, D]`.

    The last S of the N positions are those of the queries. H is a multiple of
    K: the H / K queries of a group are rows of one matrix product with the keys
    of the group. Returns `[1, S, H, D]` and no weights.
    """
    for name in _UNSUPPORTED_ATTENTION:
        if kwargs.get(name) is not None:
            raise ImporterError(f"attention with '{name}' is not supported ({type(module).__name__})")
    length, width = query.shape[2:]
    groups, context = key.shape[1], key.shape[2]
    queries = query.shape[1] // groups
    scale = width**-0.5 if scaling is None else scaling
    rows = (query * scale).reshape(groups, queries, length, width).reshape(groups, queries * length, width)
    scores = torch.bmm(rows, key[0].transpose(1, 2)).reshape(groups, queries, length, context)
    window = kwargs.get("sliding_window")
    # One query sees the whole context: nothing to mask without a window.
    if not (isinstance(length, int) and length == 1) or window is not None:
        position = torch.arange(length)[:, None] + (context - length)
        other = torch.arange(context)[None, :]
        visible = other <= position
        if window is not None:
            visible = visible & (other > position - window)
        scores = torch.where(visible, scores, float("-inf"))
    # Softmax, divided by its sum only after the product with the values: there
    # are fewer of those. torch-mlir's own softmax computes an unused argmax.
    weights = torch.exp(scores - torch.amax(scores, -1, keepdim=True))
    total = weights.sum(-1, keepdim=True)
    result = torch.bmm(weights.reshape(groups, queries * length, context), value[0])
    result = result.reshape(groups, queries, length, width) / total
    result = result.reshape(1, groups * queries, length, width)
    return result.transpose(1, 2), None


@contextlib.contextmanager
def compiler_attention(model):
    """Makes `model` use the attention above, in evaluation mode, for a while."""
    from transformers import AttentionInterface

    AttentionInterface.register(_ATTENTION, _grouped_attention)
    before, training = model.config._attn_implementation, model.training
    model.config._attn_implementation = _ATTENTION
    model.eval()
    try:
        yield
    finally:
        model.config._attn_implementation = before
        model.train(training)


class _FunctionalCache:
    """What a decoder layer sees as its cache: `update` writes the new keys and
    values at `position` and returns the filled part."""

    is_compileable = False

    def __init__(self, key, value, position):
        self.key, self.value, self.position = key, value, position

    def get_seq_length(self, layer_idx=0):
        return self.position

    def update(self, key, value, layer_idx, *args, **kwargs):
        end = self.position + key.shape[2]
        self.key = torch.slice_scatter(self.key, key, 2, self.position, end)
        self.value = torch.slice_scatter(self.value, value, 2, self.position, end)
        return self.key[:, :, :end], self.value[:, :, :end]


def _first(result):
    """Layers return the hidden state, or a tuple that starts with it."""
    return result[0] if isinstance(result, tuple) else result


class Embed(nn.Module):
    """Token ids to hidden states."""

    def __init__(self, tokens):
        super().__init__()
        self.embedding = tokens

    def forward(self, tokens):
        return self.embedding(tokens)


class PositionalEmbed(nn.Module):
    """Token ids to hidden states, with learned positions."""

    def __init__(self, tokens, positions):
        super().__init__()
        self.embedding, self.positions = tokens, positions

    def forward(self, tokens, position):
        where = torch.arange(tokens.shape[1]) + position
        return self.embedding(tokens) + self.positions(where[None])


class Rotary(nn.Module):
    """Cosines and sines of the rotary angles, once per step for all layers."""

    def __init__(self, rotary):
        super().__init__()
        self.rotary = rotary

    def forward(self, tokens, position):
        where = torch.arange(tokens.shape[1]) + position
        return self.rotary(torch.empty(0, dtype=torch.float32), where[None])


class RotaryLayer(nn.Module):
    """A decoder layer of the Llama family."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, hidden, cos, sin, position, key, value):
        cache = _FunctionalCache(key, value, position)
        hidden = self.layer(
            hidden,
            attention_mask=None,
            position_ids=None,
            past_key_values=cache,
            use_cache=True,
            position_embeddings=(cos, sin),
        )
        return _first(hidden), cache.key, cache.value


class PlainLayer(nn.Module):
    """A decoder layer of GPT-2."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, hidden, position, key, value):
        cache = _FunctionalCache(key, value, position)
        hidden = self.layer(hidden, past_key_values=cache, attention_mask=None, use_cache=True)
        return _first(hidden), cache.key, cache.value


class Head(nn.Module):
    """Final norm and projection to logits."""

    def __init__(self, norm, head):
        super().__init__()
        self.norm, self.head = norm, head

    def forward(self, hidden):
        return self.head(self.norm(hidden))


@dataclass
class Decoder:
    """The parts of a decoder-only model, sharing its parameters."""

    embed: nn.Module
    rotary: nn.Module | None
    layers: list[nn.Module]
    head: nn.Module
    key_heads: int
    head_width: int
    hidden_width: int


def _llama(model) -> Decoder:
    c, inner = model.config, model.model
    rope = (c.rope_parameters or {}).get("rope_type", "default")
    if rope in ("dynamic", "longrope"):
        raise ImporterError(
            f"rotary embeddings of type '{rope}' change with the length of the context and are not supported; "
            "set rope_type to 'default', 'linear', 'yarn' or 'llama3' in config.json"
        )
    # Made anew: a model without weights has no values for its frequencies.
    rotary = type(inner.rotary_emb)(c)
    return Decoder(
        embed=Embed(inner.embed_tokens),
        rotary=Rotary(rotary),
        layers=[RotaryLayer(layer) for layer in inner.layers],
        head=Head(inner.norm, model.lm_head),
        key_heads=c.num_key_value_heads,
        head_width=getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads,
        hidden_width=c.hidden_size,
    )


def _gpt2(model) -> Decoder:
    c, inner = model.config, model.transformer
    if c.add_cross_attention:
        raise ImporterError("GPT-2 with cross-attention is not a decoder-only model; it is not supported")
    return Decoder(
        embed=PositionalEmbed(inner.wte, inner.wpe),
        rotary=None,
        layers=[PlainLayer(layer) for layer in inner.h],
        head=Head(inner.ln_f, model.lm_head),
        key_heads=c.n_head,
        head_width=c.n_embd // c.n_head,
        hidden_width=c.n_embd,
    )


# By `config.model_type`.
_FAMILIES = {"llama": _llama, "mistral": _llama, "qwen2": _llama, "qwen3": _llama, "gpt2": _gpt2}


def supported_model_types() -> list[str]:
    """The values of `model_type` in config.json that can be imported."""
    return sorted(_FAMILIES)


def take_apart(model) -> Decoder:
    """The parts of `model`. Raises ImporterError for unknown architectures."""
    kind = getattr(getattr(model, "config", None), "model_type", None)
    if kind not in _FAMILIES:
        raise ImporterError(
            f"model type '{kind}' ({type(model).__name__}) is not supported; supported are "
            f"{', '.join(supported_model_types())}; use import_module for other modules"
        )
    other = {p.dtype for p in model.parameters()} - {torch.float32}
    if other:
        raise ImporterError(
            f"the model has weights of type {', '.join(sorted(map(str, other)))}; models are compiled in float32, "
            "so convert it with model.float() (glvq.models.load does)"
        )
    return _FAMILIES[kind](model)


def signature(layer: nn.Module):
    """Equal for layers that compile to the same function.

    Compares module types, shapes and every plain setting of every submodule,
    except the layer's number.
    """
    settings = []
    for path, module in layer.named_modules():
        plain = {
            k: v
            for k, v in vars(module).items()
            if isinstance(v, (int, float, str, bool, type(None))) and k not in ("layer_idx", "training") and k[0] != "_"
        }
        settings.append((path, type(module), tuple(sorted(plain.items(), key=lambda i: i[0]))))
    shapes = tuple((name, tuple(p.shape)) for name, p in layer.named_parameters())
    return tuple(settings), shapes

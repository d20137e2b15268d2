# Imported decoder-only models compute what torch computes: prefill, prefill in
# two parts, and decode after any prefix, for every supported architecture.
# REQUIRES: torch_mlir, transformers
# RUN: %PYTHON %s

import sys

import numpy as np
import torch
import transformers
from helpers import CompiledModule, weights_of

from glvq import importer

COMMON = dict(vocab_size=61, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64)
ROTARY = dict(**COMMON, intermediate_size=48, num_key_value_heads=2)
MODELS = {
    "llama": (transformers.LlamaConfig, dict(**ROTARY, tie_word_embeddings=True)),
    # Odd numbers of heads, and biases.
    "llama-3": (
        transformers.LlamaConfig,
        dict(
            ROTARY,
            hidden_size=48,
            num_attention_heads=6,
            attention_bias=True,
            mlp_bias=True,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        ),
    ),
    # A window shorter than the text.
    "mistral": (transformers.MistralConfig, dict(**ROTARY, sliding_window=5)),
    # One layer with all of the context and one with a window: two functions.
    "qwen2": (
        transformers.Qwen2Config,
        dict(**ROTARY, use_sliding_window=True, sliding_window=4, max_window_layers=1),
    ),
    "qwen3": (transformers.Qwen3Config, dict(**ROTARY, head_dim=16)),
    "gpt2": (transformers.GPT2Config, COMMON),
}
CAPACITY, LENGTH = 20, 12


for name in sys.argv[1:] or MODELS:
    kind, settings = MODELS[name]
    torch.manual_seed(0)
    config = kind(**settings)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger than usual: errors of positions and masks must show.
            parameter.normal_(0, 0.25)
    tokens = torch.randint(0, config.vocab_size, (1, LENGTH))
    with torch.no_grad():
        expected = model(tokens, use_cache=False).logits.numpy()

    compiled = CompiledModule(importer.import_causal_lm(model))
    assert set(compiled.entries) == {"prefill", "decode"}
    weights = weights_of(model)
    heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    empty = np.zeros((1, heads, CAPACITY, width), np.float32)

    def run(entry, first, end, states):
        values = {**weights, **states}
        values["input", "tokens"] = tokens[:, first:end].numpy()
        values["input", "position"] = first
        results = compiled(entry, values)
        logits = results.pop(("output", "logits"))
        worst = np.abs(logits - expected[:, first:end]).max()
        assert worst < 1e-4, f"{name}: {entry} of {first}:{end} differs by {worst}"
        return results, worst

    zero = {("state", f"cache.{i}.{half}"): empty.copy() for i in range(2) for half in ("key", "value")}
    errors = []
    _, worst = run("prefill", 0, LENGTH, dict(zero))
    errors.append(worst)
    # A prefix of any length (one token, too), then the rest in one go, then
    # token by token.
    for prefix in (1, 2, 7):
        states, worst = run("prefill", 0, prefix, {k: v.copy() for k, v in zero.items()})
        errors.append(worst)
        _, worst = run("prefill", prefix, LENGTH, {k: v.copy() for k, v in states.items()})
        errors.append(worst)
        for position in range(prefix, LENGTH):
            states, worst = run("decode", position, position + 1, states)
            errors.append(worst)
    states = zero
    for position in range(LENGTH):
        states, worst = run("decode", position, position + 1, states)
        errors.append(worst)
    print(f"{name}: largest error {max(errors):.2e}, logits up to {np.abs(expected).max():.1f}")

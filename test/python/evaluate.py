# Perplexity and KL divergence: by hand for a known distribution, zero against
# itself, and the same for a model and a plain callable.
# REQUIRES: torch, transformers, learning
# RUN: %PYTHON %s

import math

import torch
import transformers

from glvq.calibration import sample_windows
from glvq.errors import GLVQError
from glvq.evaluate import evaluate, perplexity

torch.set_num_threads(1)
windows = torch.randint(4, (3, 9), generator=torch.Generator().manual_seed(0))


def constant(*probabilities):
    row = torch.tensor(probabilities).log()
    return lambda ids: row.repeat(1, ids.shape[1], 1).numpy()


p, q = (0.1, 0.2, 0.3, 0.4), (0.25, 0.25, 0.25, 0.25)
scored = evaluate(constant(*p), windows, constant(*q))
loss = -sum(math.log(p[t]) for t in windows[:, 1:].flatten().tolist()) / 24
assert abs(scored["perplexity"] - math.exp(loss)) < 1e-5
assert abs(scored["reference perplexity"] - 4) < 1e-5
assert abs(scored["KL divergence"] - sum(0.25 * math.log(0.25 / x) for x in p)) < 1e-5
assert scored["tokens"] == 24

torch.manual_seed(0)
config = transformers.LlamaConfig(
    vocab_size=17,
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    max_position_embeddings=32,
)
model = transformers.LlamaForCausalLM(config).eval()
ids = sample_windows(model, 5, 12, seed=1, batch=2)
assert ids.shape == (5, 12) and int(ids.max()) < 17
assert torch.equal(ids, sample_windows(model, 5, 12, seed=1, batch=2))
assert not torch.equal(ids, sample_windows(model, 5, 12, seed=2, batch=2))
itself = evaluate(model, ids, lambda x: model(x).logits.detach().numpy())
assert abs(itself["KL divergence"]) < 1e-6
assert abs(itself["perplexity"] - itself["reference perplexity"]) < 1e-4

try:
    perplexity(model, torch.zeros(1, 1, dtype=torch.int64))
except GLVQError as error:
    assert "windows must be" in str(error)
else:
    raise AssertionError("windows of one token were accepted")

# Any traceable module becomes `forward`: a perceptron and a BERT encoder with
# dynamic batch and length compute what torch computes; inputs, results and
# dynamic sizes keep their names; what cannot be imported is refused by name.
# REQUIRES: torch_mlir, transformers
# RUN: %PYTHON %s

import numpy as np
import torch
import transformers
from helpers import CompiledModule, weights_of
from torch.export import Dim

from glvq import importer
from glvq.errors import GLVQError


def refusal(function, *arguments):
    try:
        function(*arguments)
    except GLVQError as error:
        return str(error)
    raise AssertionError("not refused")


torch.manual_seed(0)

# Sizes other than those of the example, down to one row.
perceptron = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(approximate="tanh"), torch.nn.Linear(16, 4))
text = importer.import_module(perceptron, (torch.zeros(3, 8),), ({0: Dim("rows")},))
assert 'glvq.input = "input", glvq.shape = ["rows", 8]' in text, text
assert 'glvq.output = "output", glvq.shape = ["rows", 4]' in text, text
assert 'glvq.name = "0.weight"' in text, text
compiled = CompiledModule(text)
for rows in (1, 2, 9):
    x = torch.randn(rows, 8)
    y = compiled("forward", {**weights_of(perceptron), ("input", "input"): x.numpy()})["output", "output"]
    assert np.abs(y - perceptron(x).detach().numpy()).max() < 1e-5

# An encoder: two inputs, a result with a name, a mask that has an effect.
config = transformers.BertConfig(
    attn_implementation="eager",
    vocab_size=61,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=64,
)
bert = transformers.BertModel(config, add_pooling_layer=False).eval()
sizes = {0: Dim("batch", min=2, max=16), 1: Dim("tokens", min=2, max=64)}
example = torch.zeros(2, 7, dtype=torch.int64)
text = importer.import_module(bert, (example, torch.ones_like(example)), (sizes, sizes))
assert 'glvq.output = "last_hidden_state", glvq.shape = ["batch", "tokens", 32]' in text, text
tokens = torch.randint(0, 61, (3, 5))
mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
values = {
    **weights_of(bert),
    ("input", "input_ids"): tokens.numpy(),
    ("input", "attention_mask"): mask.numpy(),
}
y = CompiledModule(text)("forward", values)["output", "last_hidden_state"]
with torch.no_grad():
    expected = bert(tokens, mask).last_hidden_state.numpy()
assert np.abs(y - expected).max() < 1e-4, np.abs(y - expected).max()


class Branches(torch.nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x - 1


class Scatter(torch.nn.Module):
    def forward(self, x, i):
        return torch.index_put(x, [i], torch.ones(2))


message = refusal(importer.import_module, Branches(), (torch.zeros(3),))
assert "torch.export cannot trace 'forward' (Branches)" in message, message
message = refusal(importer.import_module, Scatter(), (torch.zeros(5), torch.tensor([0, 1])))
assert "not upstream MLIR: tm_tensor.scatter" in message, message
message = refusal(importer.import_module, torch.nn.Linear(2, 2).half(), (torch.zeros(1, 2).half(),))
assert "weights of type torch.float16" in message, message
message = refusal(importer.import_causal_lm, bert)
assert "model type 'bert' (BertModel) is not supported; supported are gpt2, llama" in message, message
tiny = dict(vocab_size=61, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48)
rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
dynamic = transformers.LlamaForCausalLM(transformers.LlamaConfig(**tiny, rope_parameters=rope))
message = refusal(importer.import_causal_lm, dynamic)
assert "rotary embeddings of type 'dynamic'" in message, message
half = transformers.LlamaForCausalLM(transformers.LlamaConfig(**tiny)).half()
message = refusal(importer.import_causal_lm, half)
assert "weights of type torch.float16" in message, message

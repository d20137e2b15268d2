"""The whole way for tiny models: quantize, compile, run.

    models.py FOLDER KIND...

A kind of decoder may name one of CODES: llama-trellis.

The artefact runs in a process that loads no torch (run.py); its outputs are
compared with torch's on the decoded weights of the checkpoint.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from torch.export import Dim
from transformers.utils import logging

from glvq import checkpoint, encoders, models
from glvq.compiler import compile_model, compile_module
from glvq.quantization import quantize_model, quantize_module
from glvq.quantizers import make

COMMON = dict(vocab_size=61, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64)
ROTARY = dict(**COMMON, intermediate_size=48, num_key_value_heads=2)
DECODERS = {
    "llama": transformers.LlamaConfig(**ROTARY, tie_word_embeddings=True),
    "qwen2": transformers.Qwen2Config(**ROTARY),
    "qwen3": transformers.Qwen3Config(**ROTARY, head_dim=16),
    "mistral": transformers.MistralConfig(**ROTARY, sliding_window=5),
    "gpt2": transformers.GPT2Config(vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=64),
}
ENCODER = dict(**COMMON, intermediate_size=48)
ENCODERS = {
    "bert": (transformers.BertModel, transformers.BertConfig(**ENCODER)),
    # Positions by a running sum, a tied head, and no segments.
    "roberta": (transformers.RobertaForMaskedLM, transformers.RobertaConfig(**ENCODER, type_vocab_size=1)),
    "vit": (
        transformers.ViTForImageClassification,
        transformers.ViTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            image_size=32,
            patch_size=8,
        ),
    ),
}
# Bits and quantizer.
CODES = {
    "": (3, make("lattice")),
    "trellis": (2, make("trellis", taps=8, group=16)),
    # Runs of widths.
    "mixed": (2.5, make("trellis", taps=6, group=16)),
    "additive": (2, make("trellis", taps=6, group=16, nodes="additive")),
    "binary": (2, make("binary", dim=4, group=16)),
}
LENGTH = 12
# What issue 3 asks for, relative to the range of the outputs.
TOLERANCE = 2e-3
# Activations rounded to int8 are another trade, with tests of its own.
EXACT = dict(activations="f32", quiet=True)


def randomize(model):
    """Larger weights than usual: errors of positions and masks must show."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.25)
    return model.float().eval()


def run(artefact, calls):
    """Outputs of calls [(entry, {input: array}), ...] in one session."""
    arrays = {f"{n}/{entry}/{name}": value for n, (entry, inputs) in enumerate(calls) for name, value in inputs.items()}
    given, got = artefact.with_suffix(".in.npz"), artefact.with_suffix(".out.npz")
    np.savez(given, **arrays)
    subprocess.run([sys.executable, Path(__file__).parent / "run.py", artefact, given, got], check=True)
    with np.load(got) as results:
        return [
            {key.split("/", 1)[1]: results[key] for key in results.files if key.split("/")[0] == str(n)}
            for n in range(len(calls))
        ]


def compare(name, pairs):
    errors = [np.abs(actual - expected).max() / np.ptp(expected) for actual, expected in pairs]
    assert max(errors) < TOLERANCE, (name, errors)
    print(f"{name}: {len(errors)} outputs equal torch's", flush=True)


def decoder(name, folder):
    kind, _, code = name.partition("-")
    bits, quantizer = CODES[code]
    model = randomize(transformers.AutoModelForCausalLM.from_config(DECODERS[kind], attn_implementation="eager"))
    quantize_model(model, None, folder / name, bits=bits, quantizer=quantizer, windows=4, length=32)
    compile_model(folder / name, folder / f"{name}.glvq", **EXACT)
    tokens = torch.randint(0, 61, (1, LENGTH))
    with torch.no_grad():
        expected = checkpoint.load(folder / name).model(tokens, use_cache=False).logits.numpy()
    spans = []
    for prefix in (1, 5, LENGTH):
        spans.append(("prefill", 0, prefix))
        spans += [("decode", p, p + 1) for p in range(prefix, LENGTH)]
    # A prefix in two parts.
    spans += [("prefill", 0, 4), ("prefill", 4, 9), ("decode", 9, 10)]
    calls = [(entry, {"tokens": tokens[:, a:b].numpy(), "position": np.int64(a)}) for entry, a, b in spans]
    results = run(folder / f"{name}.glvq", calls)
    compare(name, [(r["logits"], expected[:, a:b]) for r, (_, a, b) in zip(results, spans)])


def encoder(name, folder):
    kind, config = ENCODERS[name]
    randomize(kind(config)).save_pretrained(folder / f"{name}-plain")
    loaded = models.load(folder / f"{name}-plain")
    if name == "vit":
        images = [(torch.randn(2, 3, 32, 32),) for _ in range(3)]
        quantize_module(loaded.model, images, folder / name, bits=3, keep=lambda n: not n.startswith("vit."))
    else:
        encoders.quantize_encoder(loaded.model, None, folder / name, windows=4, length=32, bits=3)
    compile_model(folder / name, folder / f"{name}.glvq", **EXACT)
    torch.manual_seed(1)
    calls = []
    for batch, length in ((1, 1), (1, 9), (3, 6), (2, 16)):
        if name == "vit":
            calls.append({"pixel_values": torch.randn(batch, 3, 32, 32)})
            continue
        mask = (torch.arange(length) < torch.randint(1, length + 1, (batch, 1))).long()
        ids = torch.where(mask > 0, torch.randint(2, 61, (batch, length)), config.pad_token_id)
        calls.append({"input_ids": ids, "attention_mask": mask})
        if name == "bert":
            calls[-1]["token_type_ids"] = torch.randint(0, 2, (batch, length))
    model = checkpoint.load(folder / name).model
    with torch.no_grad():
        expected = [model(**call)[0].numpy() for call in calls]
    results = run(folder / f"{name}.glvq", [("forward", {k: v.numpy() for k, v in call.items()}) for call in calls])
    compare(name, [(next(iter(r.values())), e) for r, e in zip(results, expected)])


def mlp(name, folder):
    """A module that is no model of Transformers: by a library call, and as a
    file of torch.export."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(20, 33), torch.nn.GELU(), torch.nn.Linear(33, 7))
    sizes = ({0: Dim("rows", min=1, max=100)},)
    example = (torch.randn(3, 20),)
    program = torch.export.export(module, example, dynamic_shapes=sizes)
    torch.export.save(program, folder / "dense.pt2")
    inputs = [torch.randn(rows, 20) for rows in (1, 2, 17)]
    calls = [("forward", {"input": x.numpy()}) for x in inputs]

    compile_model(folder / "dense.pt2", folder / "dense.glvq", **EXACT)
    expected = [module(x).detach().numpy() for x in inputs]
    compare("mlp, .pt2", [(r["output"], e) for r, e in zip(run(folder / "dense.glvq", calls), expected)])

    quantize_module(module, [(torch.randn(16, 20),)], folder / name, bits=3)
    expected = [module(x).detach().numpy() for x in inputs]
    compile_module(module, example, folder / f"{name}.glvq", sizes, checkpoint=folder / name, **EXACT)
    compare(name, [(r["output"], e) for r, e in zip(run(folder / f"{name}.glvq", calls), expected)])
    compile_model(folder / "dense.pt2", folder / "both.glvq", checkpoint=folder / name, **EXACT)
    compare("mlp, quantized .pt2", [(r["output"], e) for r, e in zip(run(folder / "both.glvq", calls), expected)])


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for kind in sys.argv[2:]:
        (decoder if kind.partition("-")[0] in DECODERS else encoder if kind in ENCODERS else mlp)(
            kind, Path(sys.argv[1])
        )

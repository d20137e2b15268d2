# Imported models with random codes for all weights of their layers, embeddings
# and heads: every product is fused, rotations and all, embeddings are gathered whichever way the importer wrote it, and
# the outputs are torch's with the decoded weights.
# REQUIRES: compiler, torch_mlir, transformers
# RUN: %PYTHON %s %t | FileCheck %s
# CHECK: mlp: 2 weights, 2 products, outputs agree
# CHECK: llama: 16 weights, 16 products, outputs agree
# CHECK: gpt2: 9 weights, 10 products, outputs agree
# CHECK: bert: 13 weights, 12 products, outputs agree

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import torch
import transformers

from glvq import importer

TESTS = os.path.join(os.path.dirname(__file__), os.pardir, os.pardir)


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, os.path.join(TESTS, path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


numpy_reference = load("numpy_reference", "Integration/GLVQToLinalg/helpers.py")
upstream = load("upstream", "python/helpers.py")
folder = sys.argv[1]
CAPACITY, LENGTH = 16, 9


def quantize(model, transposed):
    """Random weights in the layers of `model`; the config and all tensors."""
    rng = np.random.default_rng(3)
    tensors = upstream.weights_of(model)
    config = {}

    def rotation(n):
        name = f"glvq.signs.{n}"
        if ("name", name) not in tensors:
            words = rng.integers(0, 2**32, size=-(-n // 32), dtype=np.uint64)
            tensors["name", name] = words.astype(np.uint32).view(np.int32)
        words = tensors["name", name].view(np.uint32)
        signs = [1 - 2 * (int(words[j // 32]) >> (j % 32) & 1) for j in range(n)]
        return numpy_reference.hadamard(n) * np.array(signs)[None, :]

    for name, parameter in list(model.named_parameters()):
        table = any(other in name for other in ("embed_tokens", ".wte", "word_embeddings", "lm_head"))
        if parameter.ndim != 2 or (not table and any(other in name for other in ("embed", ".wpe"))):
            continue
        prefix = name.removesuffix(".weight")
        if table:
            rows, columns = parameter.shape
            w = numpy_reference.Lattice(rng, 1, 8, columns, columns, rows)
            w.scales = (w.scales / 128).astype(np.float16)
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(w.decoded()))
            config[name] = {"shape": [rows, columns], "code": w.code}
            tensors["name", f"{prefix}.codes"] = w.codes().view(np.int32)
            for part, values in w.params().items():
                tensors["name", f"{prefix}.{part}"] = values
            continue
        rows, columns = parameter.shape[::-1] if transposed else parameter.shape
        w = numpy_reference.Lattice(rng, 8, 3, 16, columns, rows)
        w.scales = (w.scales / 4).astype(np.float16)
        matrix = rotation(rows).T @ w.decoded() @ rotation(columns)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(matrix.T if transposed else matrix))
        config[name] = {
            "shape": [rows, columns],
            "code": w.code,
            "transposed": transposed,
            "signs_in": f"glvq.signs.{columns}",
            "signs_out": f"glvq.signs.{rows}",
        }
        tensors["name", f"{prefix}.codes"] = w.codes().view(np.int32)
        for part, values in w.params().items():
            tensors["name", f"{prefix}.{part}"] = values
    return config, tensors


def compile_model(text, config):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        quantization = {"quant_method": "glvq", "version": 1, "weights": config}
        json.dump({"quantization_config": quantization}, file)

    def opt(text, *passes):
        result = subprocess.run(["glvq-opt", *passes], input=text, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout

    fused = opt(
        text,
        f"--glvq-quantize-weights=checkpoint={folder}",
        "--glvq-fuse-decode",
        "--canonicalize",
        "--cse",
        "--glvq-materialize-weights",
    )
    assert "glvq.decode" not in fused and ("tensor.extract_slice" in fused or "embed" not in text)
    # Layers are one function, so a product stands for several weights.
    products = fused.count("glvq.matmul ")
    return products, upstream.CompiledModule(opt(fused, "--convert-glvq-to-linalg"))


def report(name, config, products, pairs):
    for actual, expected in pairs:
        error = np.abs(actual - expected).max() / np.abs(expected).max()
        assert error < 1e-4, f"{name} differs by {error} of the range"
    print(f"{name}: {len(config)} weights, {products} products, outputs agree", flush=True)


def check_module(name, model, inputs, dynamic):
    model = model.eval()
    config, tensors = quantize(model, False)
    products, compiled = compile_model(importer.import_module(model, inputs, dynamic), config)
    arguments, _ = compiled.entries["forward"]
    names = [slot.name for slot in arguments if slot.role == "input"]
    values = {("input", n): value.numpy() for n, value in zip(names, inputs, strict=True)}
    results = compiled("forward", {**tensors, **values})
    with torch.no_grad():
        expected = model(*inputs)
    expected = getattr(expected, "last_hidden_state", expected).numpy()
    report(name, config, products, [(next(iter(results.values())), expected)])


def check_causal_lm(name, settings, transposed=False):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(settings, attn_implementation="eager").eval()
    config, tensors = quantize(model, transposed)
    tokens = torch.randint(0, settings.vocab_size, (1, LENGTH))
    with torch.no_grad():
        expected = model(tokens, use_cache=False).logits.numpy()
    products, compiled = compile_model(importer.import_causal_lm(model), config)
    heads = getattr(settings, "num_key_value_heads", settings.num_attention_heads)
    width = settings.hidden_size // settings.num_attention_heads
    states = {
        ("state", f"cache.{i}.{half}"): np.zeros((1, heads, CAPACITY, width), np.float32)
        for i in range(settings.num_hidden_layers)
        for half in ("key", "value")
    }
    pairs = []
    for entry, first, end in (("prefill", 0, LENGTH - 1), ("decode", LENGTH - 1, LENGTH)):
        inputs = {("input", "tokens"): tokens[:, first:end].numpy(), ("input", "position"): first}
        states = compiled(entry, {**tensors, **states, **inputs})
        pairs.append((states.pop(("output", "logits")), expected[:, first:end]))
    report(name, config, products, pairs)


SIZES = dict(vocab_size=61, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64)
batch = torch.export.Dim("batch")
check_module(
    "mlp",
    torch.nn.Sequential(torch.nn.Linear(24, 40), torch.nn.ReLU(), torch.nn.Linear(40, 16)),
    (torch.randn(3, 5, 24),),
    ({0: batch},),
)
check_causal_lm("llama", transformers.LlamaConfig(**SIZES, intermediate_size=48, num_key_value_heads=2))
check_causal_lm("gpt2", transformers.GPT2Config(**SIZES), transposed=True)
bert = transformers.BertConfig(**SIZES, intermediate_size=48)
check_module(
    "bert",
    transformers.BertModel(bert, add_pooling_layer=False),
    (torch.randint(0, 61, (2, 7)), torch.ones(2, 7, dtype=torch.int64)),
    None,
)

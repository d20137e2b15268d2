# Quantization of whole models: what is written decodes to what the quantized
# model computes, the bytes depend on input and seed only, every architecture
# with its peculiarities passes, and bad input is refused by name.
# REQUIRES: torch, transformers, learning
# RUN: %PYTHON %s

import json
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

from glvq import checkpoint, quantization, tables
from glvq.checkpoint import LatticeCode
from glvq.errors import GLVQError
from glvq.learning import ops
from glvq.quantizers import LatticeQuantizer, Matrix, flat_runs, make

COMMON = dict(vocab_size=61, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64)
ROTARY = dict(**COMMON, intermediate_size=48, num_key_value_heads=2)
MODELS = {
    "llama": transformers.LlamaConfig(**ROTARY, tie_word_embeddings=True),
    "qwen2": transformers.Qwen2Config(**ROTARY),
    "qwen3": transformers.Qwen3Config(**ROTARY, head_dim=8),
    "mistral": transformers.MistralConfig(**ROTARY, sliding_window=16),
    "gpt2": transformers.GPT2Config(vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=64),
}


def build(kind):
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(MODELS[kind]).float().eval()


def decode_by_hand(folder, name):
    """A weight decoded from the words of docs/CheckpointFormat.md, in NumPy."""
    opened = checkpoint.open(folder)
    weight = opened.weights[name]
    part = {p: opened.tensor(weight.part_name(p)).numpy() for p in weight.code.parts(*weight.shape)}
    (rows, columns), code = weight.shape, weight.code
    (width, _), *_ = code.runs
    out = np.zeros((rows, columns))
    word = 0
    for slot in range(code.slots(columns)):
        count = min(code.group, columns - slot * code.group)
        fields = -(-count // code.dim) * code.dim
        words = -(-fields * width // 32)
        segment = part["codes"][:, word : word + words].astype(np.uint32)
        word += words
        bits = ((segment[:, :, None] >> np.arange(32, dtype=np.uint32)) & 1).reshape(rows, -1)
        u = (bits[:, : fields * width].reshape(rows, fields, width) << np.arange(width)).sum(-1)
        z = u + 0.5 - 2 ** (width - 1)
        y = np.einsum("ij,rcj->rci", part["generators"][slot].astype(float), z.reshape(rows, -1, code.dim))
        out[:, slot * code.group : slot * code.group + count] = y.reshape(rows, fields)[:, :count]
    out *= part["scales"].astype(float)[:, None]

    def rotation(signs, size):
        bits = (opened.tensor(signs).numpy().astype(np.uint32)[:, None] >> np.arange(32, dtype=np.uint32)) & 1
        odd = size
        while odd % 2 == 0:
            odd //= 2
        j = np.arange(odd)
        angle = 2 * np.pi * np.outer(j, j) / odd
        h = (np.cos(angle) + np.sin(angle)) / np.sqrt(odd)
        while len(h) < size:
            h = np.kron(h, np.array([[1, 1], [1, -1]]) / np.sqrt(2))
        return h * (1 - 2.0 * bits.reshape(-1)[:size])

    if weight.signs_out:
        out = rotation(weight.signs_out, rows).T @ out
    if weight.signs_in:
        out = out @ rotation(weight.signs_in, columns)
    return out.T if weight.transposed else out


def refused(call, *words):
    try:
        call()
    except GLVQError as error:
        for word in words:
            assert word in str(error), f"'{word}' is not in: {error}"
        return
    raise AssertionError(f"accepted, although: {words}")


def same_bytes(a, b):
    files = sorted(p.name for p in a.iterdir())
    assert files == sorted(p.name for p in b.iterdir())
    for name in files:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def test_architectures(folder):
    ids = torch.arange(20)[None]
    for kind in MODELS:
        model, original = build(kind), build(kind)
        out = folder / kind
        report = quantization.quantize_model(model, None, out, 4, make("lattice"), windows=6, length=32, seed=3)
        expected = 14 if kind != "gpt2" else 8
        assert report["quantized_linears"] == expected, report
        opened = checkpoint.open(out)
        name = next(n for n in sorted(opened.weights) if "layers.0" in n or ".h.0" in n)
        assert opened.weights[name].transposed == (kind == "gpt2")
        table = "transformer.wte.weight" if kind == "gpt2" else "model.embed_tokens.weight"
        for n in (name, table):
            np.testing.assert_allclose(opened.dense(n).numpy(), decode_by_hand(out, n), atol=2e-6)
        with torch.no_grad():
            quantized = model(ids).logits
            assert torch.equal(checkpoint.load(out).model(ids).logits, quantized), kind
            exact = original(ids).logits
            error = ((quantized - exact).pow(2).mean() / exact.var()).item()
        assert error < 0.1, (kind, error)
    stored = json.loads((folder / "llama" / "quantization_report.json").read_text())
    size = sum(32 * t.numel() if t.dtype == torch.int32 else 16 * t.numel() for t in llama_parts(folder / "llama"))
    assert abs(stored["bits_per_weight"] * stored["weights"] + stored["tables"][0]["bits"] - size) < 1e-3


def test_tables(folder):
    """Embedding and head: each once when they are tied, the error of 8 and fewer
    bits, left alone on request."""
    weight = torch.randn(300, 48) * torch.linspace(0.1, 3, 300)[:, None]
    weight[7] = 0
    for bits, limit in ((8, 2e-4), (6, 2e-3), (5, 6e-3), (4, 2.5e-2)):
        parts, decoded, error = tables.quantize_table(weight, bits)
        assert error < limit and not decoded[7].any(), (bits, error)
        code = tables.table_code(48, bits)
        assert {p: list(t.shape) for p, t in parts.items()} == {p: s for p, (_, s) in code.parts(300, 48).items()}
        again = ops().dequantize_lattice(
            parts["codes"], parts["generators"], parts["scales"], None, None, 48, 1, 48, [bits, 1], "none", None, None
        )
        assert torch.allclose(again, decoded, atol=1e-6)
    refused(lambda: quantization.quantize_model(build("llama"), None, folder / "no", head_bits=3), "4 to 8 bits")
    assert list(tables.find_tables(build("llama"))) == ["model.embed_tokens.weight"]
    quantization.quantize_model(build("llama"), None, folder / "kept", bits=2, windows=4, length=32, head_bits=0)
    opened = checkpoint.open(folder / "kept")
    assert "model.embed_tokens.weight" not in opened.weights
    assert torch.equal(opened.tensor("model.embed_tokens.weight"), build("llama").model.embed_tokens.weight)


def llama_parts(folder):
    opened = checkpoint.open(folder)
    for weight in opened.weights.values():
        yield from (opened.tensor(part) for part in weight.parts())
    yield from (opened.tensor(n) for n in opened.tensor_names if n.startswith("glvq.signs."))


def test_same_bytes(folder):
    quantization.quantize_model(build("llama"), None, folder / "a", bits=2, windows=4, length=32, seed=1)
    quantization.quantize_model(build("llama"), None, folder / "b", bits=2, windows=4, length=32, seed=1)
    same_bytes(folder / "a", folder / "b")
    quantization.quantize_model(build("llama"), None, folder / "b", bits=2, windows=4, length=32, seed=2, force=True)
    assert (folder / "a" / "model.safetensors").read_bytes() != (folder / "b" / "model.safetensors").read_bytes()
    # The operator itself gives the same for any number of threads.
    w, x = torch.randn(80, 64), torch.randn(500, 64)
    results, hessian = [], (x.T @ x) / 500
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(ops().quantize_lattice(w, hessian, None, None, [3], 8, 32))
    torch.set_num_threads(1)
    assert all(torch.equal(a, b) for r in results[1:] for a, b in zip(results[0][:3], r[:3]))


def test_module(folder):
    torch.manual_seed(0)
    mlp = torch.nn.Sequential(torch.nn.Linear(20, 33), torch.nn.GELU(), torch.nn.Linear(33, 7, bias=False))
    inputs = [(torch.randn(16, 20),) for _ in range(8)]
    exact = mlp(inputs[0][0])
    report = quantization.quantize_module(mlp, inputs, folder / "mlp", bits=6, force=True)
    assert report["quantized_linears"] == 2
    assert (mlp(inputs[0][0]) - exact).abs().max() < 0.1
    state = checkpoint.open(folder / "mlp").state_dict()
    assert all(torch.equal(state[k], v) for k, v in mlp.state_dict().items())


def test_hadamard():
    x, signs = torch.randn(5, 48, 3), ops().make_signs(48, 7)
    y = ops().hadamard(x, signs, 1)
    assert torch.allclose(y.norm(dim=1), x.norm(dim=1), atol=1e-4)
    assert torch.allclose(ops().hadamard(y, signs, 1, True), x, atol=1e-5)


def test_codes():
    for text in (
        "#glvq.lattice<dim = 8, bits = 2, group = 96>",
        "#glvq.lattice<dim = 4, bits = [1 : 2, 3 : 1], group = 8, compander = mu_law>",
    ):
        assert str(LatticeCode.parse(text)) == text
    refused(lambda: LatticeCode.parse("#glvq.warp<shells = 12>"), "unknown weight code 'warp'")
    refused(lambda: LatticeCode.parse("#glvq.lattice<dim = 8, bits = 9, group = 8>"), "widths are 1 to 8")
    refused(lambda: LatticeCode.parse("#glvq.lattice<dim = 8, group = 8>"), "malformed")
    # Mixed widths with a compander decode as the documentation says: one
    # slot of 8 columns each, slot 0 holds group 1.
    code = LatticeCode.parse("#glvq.lattice<dim = 8, bits = [1 : 1, 2 : 1], group = 8, compander = affine>")
    codes = torch.tensor([[0b10101010, 0b11100100]], dtype=torch.int32)
    dense = ops().dequantize_lattice(
        codes, torch.eye(8).repeat(2, 1, 1).half(), torch.ones(1).half(), torch.tensor([1, 0], dtype=torch.int32),
        torch.tensor([[2.0, 0.0], [1.0, 1.0]]), 16, 8, 8, code.flat_runs(16), "affine", None, None,
    )  # fmt: skip
    assert dense[0, :4].tolist() == [-3.75, -0.75, 0.75, 3.75]
    assert dense[0, 8:12].tolist() == [-1.0, 1.0, -1.0, 1.0]


def test_quantizers():
    """The interface of a code family: storage as announced, mixed widths and a
    ragged group, settings refused by name."""
    torch.manual_seed(0)
    quantizer = make("lattice", dim=8, group=16)
    signs = ops().make_signs(40, 0)
    matrices = [Matrix("w", torch.randn(24, 40), [3, 1, 2], signs), Matrix("v", torch.randn(9, 40), [2])]
    for matrix, encoded in zip(matrices, quantizer.quantize(matrices, None), strict=True):
        rows, columns = matrix.dense.shape
        assert encoded.bits == quantizer.storage_bits(rows, columns, matrix.bits)
        assert {p: list(t.shape) for p, t in encoded.parts.items()} == {
            p: shape for p, (_, shape) in encoded.code.parts(rows, columns).items()
        }
        error = (encoded.decoded - matrix.dense).pow(2).sum() / matrix.dense.pow(2).sum()
        assert abs(error.item() - encoded.proxy_error) < 0.01, (error, encoded.proxy_error)
    assert quantizer.groups(40) == [16, 16, 8]
    assert flat_runs([3, 1, 2], True) == [1, 1, 3, 1, 2, 1] and flat_runs([2, 1, 2], False) == [1, 1, 2, 2]
    refused(lambda: make("warp"), "unknown code 'warp'", "lattice")
    refused(lambda: make("lattice", taps=12), "no setting 'taps'")
    nan = Matrix("broken", torch.full((8, 8), float("nan")), [2])
    refused(lambda: quantizer.quantize([nan], None), "broken")


def edit(folder, source, change):
    """A copy of a checkpoint whose safetensors header was changed."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    file = folder / "model.safetensors"
    data = file.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.dumps(change(json.loads(data[8 : 8 + size]))).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + size :])
    return folder


def test_refusals(folder):
    good, bad = folder / "llama", folder / "bad"
    part = "model.layers.0.mlp.up_proj.codes"

    def renamed(header):
        header["other"] = header.pop(part)
        return header

    def reshaped(header):
        header[part]["shape"] = header[part]["shape"][::-1]
        return header

    refused(lambda: checkpoint.open(edit(bad, good, renamed)), part, "missing")
    refused(lambda: checkpoint.open(edit(bad, good, reshaped)), part, "needs I32 [48, 4]")
    data = (good / "model.safetensors").read_bytes()
    for content in (data[:-10], data[:100], b"", b"\xff" * 64):
        (bad / "model.safetensors").write_bytes(content)
        refused(lambda: checkpoint.open(bad), "model.safetensors", "truncated")
    (bad / "model.safetensors").unlink()
    refused(lambda: checkpoint.open(bad), "no model.safetensors")

    def with_config(change):
        shutil.rmtree(bad)
        shutil.copytree(good, bad)
        config = json.loads((good / "config.json").read_text())
        change(config["quantization_config"])
        (bad / "config.json").write_text(json.dumps(config))
        return lambda: checkpoint.open(bad)

    name = "model.layers.1.mlp.down_proj.weight"
    refused(
        with_config(lambda q: q["weights"][name].update(code="#glvq.warp<shells = 12>")), name, "unknown weight code"
    )
    refused(with_config(lambda q: q["weights"][name].update(shape=[32])), name, "shape")
    refused(with_config(lambda q: q.update(version=99)), "version 99")
    refused(with_config(lambda q: q.update(quant_method="gptq")), "not quantized by glvq")
    (bad / "config.json").write_text("{")
    refused(lambda: checkpoint.open(bad), "not valid JSON")

    model = build("llama")
    refused(lambda: quantization.quantize_model(model, None, good, bits=2), "exists", "--force")
    refused(lambda: quantization.quantize_model(model, None, folder / "x", bits=9), "bits must be 1 to 8")
    refused(
        lambda: quantization.quantize_model(model, None, folder / "x", quantizer=LatticeQuantizer(group=12)),
        "multiple of the dimension",
    )
    refused(lambda: quantization.quantize_model(model, None, folder / "x", length=999), "context of 64")
    refused(
        lambda: quantization.quantize_model(model, None, folder / "x", calibration="text", length=8), "no tokenizer"
    )
    model.model.layers[1].mlp.up_proj.weight.data[0, 0] = float("nan")
    refused(
        lambda: quantization.quantize_model(model, None, folder / "x", windows=2, length=8),
        "layers.1.mlp.up_proj.weight",
        "finite",
    )
    blocked = folder / "blocked"
    blocked.write_text("a file, not a folder")
    refused(lambda: quantization.quantize_module(build("gpt2"), [], blocked / "x"), "cannot be written")
    leftovers = [p.name for p in folder.iterdir() if "partial" in p.name or p.name == "x"]
    assert not leftovers, leftovers


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        test_architectures(folder)
        test_tables(folder)
        test_same_bytes(folder)
        test_module(folder)
        test_hadamard()
        test_codes()
        test_quantizers()
        test_refusals(folder)

# Every code family through the common interface: what it promises about bits,
# bytes and errors, and whole models that decode to what they computed.
# REQUIRES: torch, transformers, learning
# RUN: %PYTHON %s

import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

from glvq import checkpoint, quantization
from glvq.errors import GLVQError
from glvq.learning import ops
from glvq.quantizers import QUANTIZERS, Matrix, make

# Settings that make small matrices quick; the widths of a mixed matrix; the
# largest error at 2 bits.
FAMILIES = {
    "trellis": (dict(taps=8, group=16), [2, 4, 1], 0.12),
    "trellis, additive": (dict(taps=6, group=16, nodes="additive"), [2, 4, 1], 0.12),
    "binary": (dict(dim=4, group=16), [2, 4, 1], 0.14),
    "glvq": (dict(dim=4, group=16, compander="none"), [2, 4, 1], 0.2),
    "glvq, mu_law": (dict(dim=4, group=12, compander="mu_law"), [2, 4, 1, 3], 0.3),
    "glvq, affine": (dict(dim=2, group=16, compander="affine", start="identity"), [2, 4, 1], 0.2),
    "lattice": (dict(dim=4, group=16), [2, 4, 1], 0.16),
    # One rate for all groups.
    "leech": (dict(group=24), [1], 0.10),
    "leech, gain": (dict(shells=12, gain=1, group=48), [2], 0.10),
    "leech, residual": (dict(shells=5, residual=3, group=24), [2], 0.10),
    "e8p": (dict(group=16), [2], 0.12),
}
# Codes with points of 24 or 8 columns waste them on smaller matrices.
POINTS = ("leech", "leech, gain", "leech, residual", "e8p")


def make_family(name):
    return make(name.split(",")[0], **FAMILIES[name][0])


def refused(call, *words):
    try:
        call()
    except GLVQError as error:
        assert all(word in str(error) for word in words), error
        return
    raise AssertionError(f"accepted, although: {words}")


def hessian_of(columns, seed=0):
    x = torch.randn(4 * columns, columns, generator=torch.Generator().manual_seed(seed))
    return x.T @ x / len(x)


def check_parts(encoded, shape, signs):
    stored = encoded.code.parts(*shape)
    types = {"I32": torch.int32, "F16": torch.float16, "F32": torch.float32}
    assert set(stored) == set(encoded.parts)
    for name, (dtype, dims) in stored.items():
        assert list(encoded.parts[name].shape) == dims and encoded.parts[name].dtype == types[dtype], name
    size = sum(8 * t.numel() * t.element_size() for t in encoded.parts.values())
    assert encoded.bits == size, (encoded.bits, size)
    assert torch.equal(encoded.code.dequantize(encoded.parts, shape[1], *signs), encoded.decoded)


def test_interface():
    torch.manual_seed(0)
    for family in FAMILIES:
        quantizer, (_, mixed, limit) = make_family(family), FAMILIES[family]
        weight = torch.randn(80, 44) * torch.linspace(0.5, 2, 80)[:, None]
        signs = ops().make_signs(44, 0), ops().make_signs(80, 0)
        hessian = hessian_of(44)
        for bits, own in (([2], signs), (mixed, (None, None))):
            encoded = quantizer.quantize([Matrix("w", weight, bits, *own)], hessian)[0]
            check_parts(encoded, weight.shape, own)
            assert encoded.bits == quantizer.storage_bits(80, 44, bits), family
            error = weight - encoded.decoded
            loss = ((error @ hessian) * error).sum() / ((weight @ hessian) * weight).sum()
            # The quantizer reports the error in the damped metric.
            assert abs(loss - encoded.proxy_error) < 0.1 * loss, (family, loss, encoded.proxy_error)
            assert bits != [2] or loss < limit, (family, loss)


def test_threads():
    """Weights of a layer, one after the other or at once: the same bytes."""
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    for family in FAMILIES:
        quantizer = make_family(family)
        jobs = [
            ([Matrix("q", torch.randn(64, 48), [2]), Matrix("k", torch.randn(16, 48), [2])], hessian_of(48)),
            ([Matrix("down", torch.randn(48, 96), [min(3, quantizer.widths[-1])])], hessian_of(96)),
        ]
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(quantizer.quantize_layer(jobs))
        assert [len(r) for r in results[0]] == [2, 1]
        for other in results[1:]:
            for a, b in zip((e for r in results[0] for e in r), (e for r in other for e in r)):
                assert all(torch.equal(a.parts[p], b.parts[p]) for p in a.parts), family
    torch.set_num_threads(threads)


def test_models(folder):
    config = transformers.LlamaConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    ids = torch.arange(20)[None]
    for family in FAMILIES:
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
        out = folder / family.replace(", ", "-")
        report = quantization.quantize_model(
            model, None, out, bits=2, quantizer=make_family(family), windows=4, length=32
        )
        assert report["quantized_linears"] == 14
        with torch.no_grad():
            assert torch.equal(checkpoint.load(out).model(ids).logits, model(ids).logits), family


def test_bad_input():
    """Zeros, sizes below a group, Hessians without information; broken ones are
    refused by name."""
    for family in FAMILIES:
        quantizer = make_family(family)
        most = [min(4, quantizer.widths[-1])]
        zero = quantizer.quantize([Matrix("w", torch.zeros(16, 40), [2])], torch.eye(40))[0]
        assert not zero.decoded.any() and zero.proxy_error == 0, family
        half = torch.cat([torch.zeros(16, 16), torch.randn(16, 24)], 1)
        assert quantizer.quantize([Matrix("w", half, most)], torch.eye(40))[0].decoded.isfinite().all()
        rank_one = torch.ones(40, 40)
        for hessian in (rank_one, torch.zeros(40, 40), None):
            assert quantizer.quantize([Matrix("w", half, most)], hessian)[0].decoded.isfinite().all(), family
        for shape in ((1, 48),) if family in POINTS else ((1, 1), (1, 40), (5, 3)):
            weight = torch.randn(*shape)
            encoded = quantizer.quantize([Matrix("w", weight, most)], torch.eye(shape[1]))[0]
            assert (weight - encoded.decoded).norm() < 0.4 * weight.norm(), (family, shape)
        broken = torch.randn(16, 40)
        broken[3, 5] = torch.nan
        refused(lambda: quantizer.quantize([Matrix("layers.7.q", broken, [2])], None), "layers.7.q", "not finite")
        refused(
            lambda: quantizer.quantize([Matrix("layers.7.q", half, [2])], torch.full((40, 40), torch.inf)), "layers.7.q"
        )
    refused(lambda: make("trellis", taps=21).check([2]), "20 at most")
    refused(lambda: make("trellis", taps=3).check([3]), "more than the bits")
    refused(lambda: make("trellis", taps=9, nodes="additive").check([3]), "even number")
    refused(lambda: make("trellis", nodes="quadratic").check([3]), "linear or additive")
    refused(lambda: make("trellis").check([5]), "1 to 4")
    refused(lambda: make("leech").check([1, 2]), "one rate")
    refused(lambda: make("leech").check([4]), "1 to 3")
    refused(lambda: make("leech", gain=1).check([2]), "give shells")
    refused(lambda: make("leech", shells=14).check([2]), "shells are 2 to 13")
    refused(lambda: make("leech", group=32).check([2]), "multiple of 24")
    refused(lambda: make("e8p").check([3]), "2 bits")
    refused(lambda: make("e8p", group=12).check([2]), "multiple of 8")
    refused(lambda: make("glvq", compander="cubic").check([2]), "none, mu_law, affine")
    refused(lambda: make("glvq", start="random").check([2]), "cholesky or identity")
    refused(lambda: make("nothing"), *QUANTIZERS)


def test_corrupt_codes(folder):
    """Numbers beyond the last point, and padding bits that are set, are found
    when a checkpoint is opened."""
    module = torch.nn.Sequential(torch.nn.Linear(40, 16))
    out = folder / "corrupt"
    quantization.quantize_module(module, [(torch.randn(64, 40),)], out, bits=2, quantizer=make("leech", group=72))
    checkpoint.open(out)
    tensors = load_file(out / "model.safetensors")
    codes = tensors["0.codes"].clone()
    assert codes.shape == (16, 3)  # 96 bits
    for row, word, value, reason in ((3, 1, -1, "row 3, point 0"), (5, 2, -1, "row 5, point 1")):
        tensors["0.codes"] = codes.clone()
        tensors["0.codes"][row, word] = value
        save_file(tensors, out / "model.safetensors")
        refused(lambda: checkpoint.open(out), "0.weight", "corrupt", reason, "beyond the last of shell 13")


test_interface()
test_threads()
test_bad_input()
with tempfile.TemporaryDirectory() as path:
    test_models(Path(path))
    test_corrupt_codes(Path(path))

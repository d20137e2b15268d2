# Allocation of bits: averages are met with everything counted, the greedy choice
# is the best one, sdba does what SliM-LLM does, and the sensitivities predict
# the divergence that a small error really causes.
# REQUIRES: torch, transformers, learning
# RUN: %PYTHON %s %t

import itertools
import json
import shutil
import sys
from pathlib import Path

import torch
import transformers

from glvq import allocation, checkpoint, quantization
from glvq.allocation import SDBA, Sensitivity, Uniform, choose, code_errors
from glvq.errors import GLVQError
from glvq.learning import ops
from glvq.quantizers import LatticeQuantizer, Matrix

work = Path(sys.argv[1])
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
torch.set_num_threads(1)
torch.manual_seed(0)


def refused(call, *words):
    try:
        call()
    except GLVQError as error:
        for word in words:
            assert word in str(error), f"'{word}' is not in: {error}"
        return
    raise AssertionError(f"accepted, although: {words}")


quantizer = LatticeQuantizer(dim=8, group=32)

# Uniform: a fraction is met over many linears, ragged groups included.
for bits in (1.5, 2.25, 2.1):
    uniform, spent, weights = Uniform(quantizer, bits), 0, 0
    for rows, columns in ((64, 96), (16, 40), (128, 256), (64, 32), (96, 104)):
        widths = uniform.widths(Matrix("w", torch.zeros(rows, columns), []), None, None)
        sizes = quantizer.groups(columns)
        assert len(widths) == len(sizes) and set(widths) <= {int(bits), int(bits) + 1}
        spent += sum(rows * n * w for n, w in zip(sizes, widths))
        weights += rows * columns
    assert abs(spent - bits * weights) <= 128 * 32, (bits, spent / weights)
assert Uniform(quantizer, 3).widths(Matrix("w", torch.zeros(8, 96), []), None, None) == [3]

# The errors of a real code on Gaussian data fall by about a factor of four a bit.
errors = code_errors(quantizer, range(1, 5))
assert 0.35 < errors[1] < 0.38 and 0.11 < errors[2] < 0.125 and 0.03 < errors[3] < 0.04, errors

# Measured: no affordable choice is better than the greedy one, up to one group.
losses = torch.rand(3, 64, generator=torch.Generator().manual_seed(1)).pow(4)
linears = [Sensitivity(f"w{i}", 64, 64, row.tolist()) for i, row in enumerate(losses)]
plan = choose(quantizer, linears, 2.9, errors)


def loss(plan):
    return sum(sum(s.losses[32 * g : 32 * g + 32]) * errors[w] for s in linears for g, w in enumerate(plan[s.name]))


def stored(plan):
    return sum(quantizer.storage_bits(64, 64, plan[s.name]) for s in linears)


budget = 2.9 * 3 * 64 * 64
assert stored(plan) <= budget and stored(plan) + 2 * 64 * 32 > budget
best = min(
    loss(p)
    for widths in itertools.product(range(1, 5), repeat=6)
    for p in [{f"w{i}": list(widths[2 * i : 2 * i + 2]) for i in range(3)}]
    if stored(p) <= stored(plan)
)
assert loss(plan) <= best * 1.05, (loss(plan), best)
refused(lambda: choose(quantizer, linears, 1.0, errors), "1 bits are too few", "scales and tables included")

# SDBA against its definition: sort by salience, scan k, round to nearest.
dense, x = torch.randn(24, 128) * torch.linspace(0.2, 2, 128), torch.randn(200, 128) @ torch.randn(128, 128) / 11
hessian, signs = x.T @ x / 200, ops().make_signs(128, 0)
matrix = Matrix("w", dense, [], signs)
widths = SDBA(quantizer, 2).widths(matrix, hessian, x)
w, h, xr = (
    ops().hadamard(dense, signs),
    ops().hadamard(ops().hadamard(hessian, signs).T, signs),
    ops().hadamard(x, signs),
)
h += 0.01 * h.diagonal().mean() * torch.eye(128)
u = torch.linalg.cholesky(torch.linalg.inv(h), upper=True).diagonal()
order = (w / u).square().view(24, 4, 32).sum((0, 2)).argsort().tolist()


def divergence(widths):
    low = torch.cat([allocation.round_to_nearest(w[:, 32 * g : 32 * g + 32], b) for g, b in enumerate(widths)], 1)
    p, q = torch.log_softmax(xr @ w.T, -1), torch.log_softmax(xr @ low.T, -1)
    return float((p.exp() * (p - q)).sum(-1).mean())


candidates = []
for k in range(3):
    c = [2] * 4
    for i in range(k):
        c[order[i]], c[order[-1 - i]] = 1, 3
    candidates.append((divergence(c), c))
assert widths == min(candidates)[1], (widths, candidates)
levels = allocation.round_to_nearest(torch.tensor([[-1.0, 0.1, 2.0]]), 2)
assert torch.allclose(levels, torch.tensor([[-1.0, 0.0, 2.0]])), levels
refused(lambda: allocation.check(quantizer, 1.5, "sdba"), "needs 2 bits")
refused(lambda: allocation.check(quantizer, 2, "best"), "uniform, sdba, measured")
refused(lambda: allocation.check(quantizer, 8.5, "uniform"), "bits must be 1 to 8")

# Sensitivities: a small independent error of a weight costs ½ · fisher · tr(E H Eᵀ).
config = transformers.LlamaConfig(
    vocab_size=61,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=64,
)
model = transformers.LlamaForCausalLM(config).float().eval()
with torch.no_grad():
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.mul_(4)
model.save_pretrained(work / "model")
ids = torch.randint(61, (48, 32))
seen = {}


def record(name, linear, hessian, weights, power):
    seen[name] = (linear, hessian, power / linear.weight.shape[0])
    return quantization_sensitivity(name, linear, hessian, weights, power)


quantization_sensitivity, quantization._sensitivity = quantization._sensitivity, record
weights = quantization._Weights(quantizer, 0, "both", quantization.Report("", 0))
found = quantization._sensitivities(quantization.LayerWalk(model), weights, ids, False)
quantization._sensitivity = quantization_sensitivity
names = [s.name for s in found]
assert len(names) == len(set(names)) == 14
with torch.no_grad():
    exact = torch.log_softmax(model(ids).logits, -1)
    ratios = []
    for name, (linear, hessian, fisher) in seen.items():
        error = 0.02 * linear.weight.std() * torch.randn_like(linear.weight)
        linear.weight += error
        changed = torch.log_softmax(model(ids).logits, -1)
        linear.weight -= error
        measured = float((exact.exp() * (exact - changed)).sum(-1).mean())
        ratios.append(measured / float(0.5 * fisher * torch.trace(error @ hessian @ error.T)))
# Errors of the tokens are taken as independent; attention adds those of values.
assert all(0.5 < r < 6 for r in ratios), ratios
assert 0.7 < sorted(ratios)[7] < 1.5, ratios

# End to end, from the mapped file, each way.
from glvq import models  # noqa: E402

for kind, bits in (("measured", 3.1), ("sdba", 3), ("uniform", 2.5)):
    loaded, out = models.open(work / "model"), work / f"{kind}"
    report = quantization.quantize_model(
        loaded.model, None, out, bits, quantizer, kind, windows=4, length=32, file=loaded.file, head_bits=0
    )
    opened = checkpoint.open(out)
    runs = [run for w in opened.weights.values() for run in w.code.runs]
    assert kind == "sdba" or any(slots is not None for _, slots in runs), (kind, runs)
    total = sum(32 * t.numel() if t.dtype == torch.int32 else 16 * t.numel() for t in
                (opened.tensor(n) for n in opened.tensor_names if n.split(".")[-1] in ("codes", "scales", "generators", "order")
                 or n.startswith("glvq.signs")))  # fmt: skip
    assert abs(total / report["weights"] - report["bits_per_weight"]) < 1e-9
    if kind == "measured":
        assert 3.0 < report["bits_per_weight"] <= 3.1, report
    assert checkpoint.load(out).model(ids[:1]).logits.isfinite().all()
assert json.loads((work / "measured" / "quantization_report.json").read_text())["linears"]
refused(
    lambda: quantization.quantize_model(model, None, work / "x", 1.5, quantizer, "measured", windows=2, length=16),
    "1.5 bits are too few",
)

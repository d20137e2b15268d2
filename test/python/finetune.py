# Fine-tuning: the student computes what the checkpoint decodes to, for every
# code, rotated or not, transposed, with biases; its gradients are right; tuning
# lowers the divergence, keeps the codes, and goes on after a stop to the same
# bytes.
# REQUIRES: torch, transformers, learning
# RUN: %PYTHON %s %t

import json
import shutil
import sys
from pathlib import Path

import torch
import transformers
from typer.testing import CliRunner

from glvq import checkpoint, cli, finetune, models, quantization
from glvq.checkpoint import QuantizedWeight
from glvq.errors import GLVQError
from glvq.learning import ops
from glvq.quantizers import Matrix, make

work = Path(sys.argv[1])
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
torch.set_num_threads(1)
torch.manual_seed(0)

# Rotations of activations, for odd factors on either side.
for size in (1, 9, 32, 48, 72):
    x, signs = torch.randn(3, size), ops().make_signs(size, 5)
    rotation = finetune.Rotation(signs, size)
    assert torch.allclose(rotation.forward(x), ops().hadamard(x, signs), atol=1e-5), size
    assert torch.allclose(rotation.inverse(x), ops().hadamard(x, signs, -1, True), atol=1e-5), size

# One linear of each family: V, scales, folded generators, slots out of order.
TunedLinear = finetune._tuned_linear_class()
for quantizer, bits, tune in (
    (make("lattice", group=16), [3], ("scales",)),
    (make("lattice", group=16), [3, 2, 4], ("scales", "generators")),
    (make("lattice", group=16), [4, 3, 3], ("norms",)),
    (make("trellis", group=16, taps=6), [3, 2, 2], ("scales",)),
    (make("trellis", group=16, taps=6, nodes="additive"), [2], ("scales", "generators")),
    (make("binary", group=16), [2, 1, 2], ("scales",)),
    (make("e8p", group=16), [2], ("scales",)),
):
    matrix = Matrix("m.weight", torch.randn(24, 40), bits, ops().make_signs(40, 1), ops().make_signs(24, 1))
    (encoded,) = quantizer.quantize([matrix], None)
    weight = QuantizedWeight("m.weight", (24, 40), encoded.code, False, "in", "out")
    stored = {weight.part_name(k): v for k, v in encoded.parts.items()} | {
        "in": matrix.signs_in,
        "out": matrix.signs_out,
    }
    linear = TunedLinear(weight, stored.__getitem__, torch.ones(24), {}, tune)
    x = torch.randn(5, 40)
    expected = x @ encoded.decoded.T + 1
    error = (linear(x) - expected).norm() / expected.norm()
    assert error < 0.01, (encoded.code, error)
    # A learned factor means the same in the student and in what is stored.
    with torch.no_grad():
        for factor in linear.factors.values():
            factor.add_(0.05 * torch.randn_like(factor))
    stored |= linear.parts()
    expected = x @ checkpoint.decode(weight, stored.__getitem__).T + 1
    error = (linear(x) - expected).norm() / expected.norm()
    assert error < 0.01, (encoded.code, error)
    assert bool(linear.parts()) == (tune != ("norms",))

# The loss and its gradient against autograd.
hidden, reference = torch.randn(7, 12, requires_grad=True), torch.randn(7, 12)
head, other = torch.randn(31, 12), torch.randn(31, 12)
log_p = torch.log_softmax(reference @ other.T, -1)
expected = (log_p.exp() * (log_p - torch.log_softmax(hidden @ head.T, -1))).sum(-1).mean()
(gradient,) = torch.autograd.grad(expected, hidden)
loss = finetune._kl_class().apply(hidden, reference, head, other, 3)
(found,) = torch.autograd.grad(2 * loss, hidden)
assert abs(loss.item() - expected.item()) < 1e-5 and torch.allclose(found, 2 * gradient, atol=1e-5)


# Whole models: one with biases and a tied head, one with transposed weights.
def build(config):
    """A model whose logits are far from uniform, so that there is something to lose."""
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(6)
    return model


COMMON = dict(vocab_size=61, max_position_embeddings=64, bos_token_id=1, eos_token_id=2)
SETTINGS = finetune.Settings(windows=12, length=16, held_out=3, epochs=3, rate=1e-2, every=6)
CONFIGS = {
    "qwen2": transformers.Qwen2Config(
        **COMMON, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    ),
    "gpt2": transformers.GPT2Config(**COMMON, n_embd=32, n_layer=2, n_head=4, n_positions=64),
}  # fmt: skip
for kind, config in CONFIGS.items():
    build(config).save_pretrained(work / kind)
    loaded = models.open(work / kind)
    low = work / f"{kind}-2bit"
    quantization.quantize_model(loaded.model, None, low, bits=2, windows=4, length=16, file=loaded.file)
    opened = checkpoint.open(low)
    student = finetune.Student(opened, ("scales", "norms", "generators"))
    ids = torch.arange(12)[None]
    with torch.no_grad():
        exact = checkpoint.load(low).model(ids).logits
        logits = student.hidden(ids).float() @ student.head().float().T
        assert (logits - exact).pow(2).mean() / exact.var() < 2e-3, kind
    before = finetune.Student(opened, ("scales", "norms")).tensors()
    assert before.keys() == set(opened.tensor_names)
    assert all(torch.equal(before[name], opened.tensor(name)) for name in before), "nothing learned, nothing changed"

    report = finetune.finetune(low, work / f"{kind}-tuned", work / kind, settings=SETTINGS)
    assert report["held-out KL after"] < 0.97 * report["held-out KL before"], report
    tuned = checkpoint.open(work / f"{kind}-tuned")
    assert tuned.weights == opened.weights
    for name in opened.weights:
        codes = opened.weights[name].part_name("codes")
        assert torch.equal(tuned.tensor(codes), opened.tensor(codes))
    kept = json.loads((work / f"{kind}-tuned" / "finetuning_report.json").read_text())
    assert kept["held-out KL after"] == report["held-out KL after"] and "seconds" not in kept
    # The checkpoint is as good as the student was: its own KL, by other means.
    assert checkpoint.load(work / f"{kind}-tuned").model(ids).logits.isfinite().all()
    assert not (work / f"{kind}-tuned.partial").exists()


# Stopped in the middle, resumed: the same bytes.
class Stop(Exception):
    pass


note = finetune._Run._note


def stop_at_second(self):
    note(self)
    if len(self.history) == 3:
        raise Stop


finetune._Run._note = stop_at_second
try:
    finetune.finetune(work / "qwen2-2bit", work / "again", work / "qwen2", settings=SETTINGS)
    raise AssertionError("was not stopped")
except Stop:
    pass
finetune._Run._note = note
assert not (work / "again").exists() and (work / "again.partial").exists()


def refused(call, *words):
    try:
        call()
    except GLVQError as error:
        for word in words:
            assert word in str(error), f"'{word}' is not in: {error}"
        return
    raise AssertionError(f"accepted, although: {words}")


def tune(output="again", low="qwen2-2bit", reference="qwen2", settings=SETTINGS, **more):
    return lambda: finetune.finetune(work / low, work / output, work / reference, settings=settings, **more)


refused(tune(), "finished pieces", "--resume")
refused(tune(settings=finetune.Settings(rate=1.0, length=16), resume=True), "another 'settings'")
tune(resume=True)()
for name in ("model.safetensors", "finetuning_report.json", "config.json"):
    assert (work / "again" / name).read_bytes() == (work / "qwen2-tuned" / name).read_bytes(), name

refused(tune(), "exists", "--force")
refused(tune("x", settings=finetune.Settings(tune=("codes",))), "cannot tune 'codes'", "generators")
refused(tune("x", settings=finetune.Settings(rate=0)), "rate must be positive")
refused(tune("x", low="qwen2"), "not quantized by glvq")
refused(tune("x", reference="gpt2-2bit"), "must have its own weights")
refused(tune("x", text="words"), "no tokenizer")
assert not [p for p in work.iterdir() if p.name.startswith("x")]

# Both steps in one command, and the second alone.
arguments = f"quantize {work / 'qwen2'} --windows 2 --length 16 --finetune --quiet --json -o {work / 'both'}"
result = CliRunner().invoke(cli.app, arguments.split())
assert result.exit_code == 0, result.exception
printed = json.loads(result.stdout)
assert printed["held-out KL after"] < printed["held-out KL before"] and printed["bits per weight"] > 2
assert sorted(p.name for p in work.glob("both*")) == ["both"]
arguments = f"finetune {work / 'qwen2-2bit'} --reference {work / 'qwen2'} -o {work / 'x'} --windows 2 --length 16"
result = CliRunner().invoke(cli.app, [*arguments.split(), "--held-out", "1", "--quiet", "--json"])
assert result.exit_code == 0 and json.loads(result.stdout)["steps"] == 1, result.exception
checkpoint.open(work / "x")

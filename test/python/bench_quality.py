# glvq bench quality: rows are what the commands report, finished rows are not
# measured again, a method that refuses its bits is a row that says so, and the
# table has medians.
# REQUIRES: torch, transformers, learning
# RUN: %PYTHON %s %t

import json
import shutil
import sys
from pathlib import Path

import torch
import transformers
from typer.testing import CliRunner

from glvq import cli
from glvq.bench import quality
from glvq.errors import GLVQError

work = Path(sys.argv[1])
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
torch.set_num_threads(1)
torch.manual_seed(0)
config = transformers.LlamaConfig(
    vocab_size=61,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=1,
    num_attention_heads=4,
    max_position_embeddings=64,
)
transformers.LlamaForCausalLM(config).save_pretrained(work / "model")

# For real: one row that works, one that is refused.
protocol = quality.Protocol(windows=2, length=16, eval_windows=2)
settings = quality.plan(["lattice", "e8p"], [3], 1)
rows = quality.run(work / "model", protocol, settings, work / "rows")
assert "has 2 bits a weight" in rows[1]["error"], rows[1]
report = rows[0]
assert 3 < report["bits_per_weight"] < 8 and report["perplexity"] > 1 and report["kl"] > 0 and report["peak_mib"] > 50
assert not list((work / "rows").glob("checkpoint-*"))


# The second time nothing runs.
def never(arguments):
    raise AssertionError(f"ran again: {arguments}")


command, quality._command = quality._command, never
assert quality.run(work / "model", protocol, settings, work / "rows") == rows

# Medians over seeds, from a command that is made up.
seen = []


def fake(arguments):
    seen.append(arguments)
    seed = int(arguments[arguments.index("--seed") + 1]) if "--seed" in arguments else None
    if arguments[0] == "quantize":
        Path(arguments[arguments.index("-o") + 1]).mkdir()
        fake.seed = seed
        return {"bits per weight": 2.05}, 10.0 + seed, 100.0
    values = [30.0, 50.0, 34.0][fake.seed]
    return {"perplexity": values, "KL divergence": values / 100, "reference perplexity": 20.0}, 1.0, 1.0


quality._command = fake
options = dict(text="t.txt", calibration="c.txt", windows=8)
rows = quality.run("m", quality.Protocol(**options), quality.plan(["trellis", "ablation"], [2, 2.5], 3), work / "more")
(entry, *_) = quality.table(rows)
assert (entry["method"], entry["bits"], entry["seeds"]) == ("trellis", 2, 3)
assert entry["perplexity"] == 34 and entry["range"] == [30, 50] and entry["seconds"] == 11
assert len(rows) == 3 * 2 * (2 + len(quality.ABLATION))
for arguments in seen:
    assert arguments.count("--windows") == 1 and ("--calibration" in arguments) == (arguments[0] == "quantize")
quality.plot(quality.table(rows), work / "plot.png")
assert (work / "plot.png").read_bytes().startswith(b"\x89PNG")

# The command line prints the same, and refuses what it does not know.
quality._command = command
arguments = (
    f"bench quality {work / 'model'} --methods lattice,e8p --bits 3 --seeds 1 --windows 2 --length 16 --eval-windows 2"
)
result = CliRunner().invoke(cli.app, [*arguments.split(), "--work", str(work / "rows"), "--json", "--quiet"])
printed = json.loads(result.stdout)["rows"]
assert printed[0]["perplexity"] == report["perplexity"] and "error" in printed[1]
for words, message in ((["--methods", "best"], "unknown method 'best'"), (["--bits", "two"], "separated by commas")):
    result = CliRunner().invoke(cli.app, ["bench", "quality", str(work / "model"), *words])
    assert isinstance(result.exception, GLVQError) and message in str(result.exception), result

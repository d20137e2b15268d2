"""The command line: glvq quantize | compile | generate | chat | serve | eval | inspect | bench.

Thin over the library: each command parses its options, calls one function and
prints. Exit status 0 is success, 1 an error in the input, 2 wrong usage.
Heavy modules (torch, transformers) are imported by the commands that need
them only, so that ``glvq generate`` starts at once.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from .errors import GLVQError
from .files import read_json, refuse_existing
from .quantizers import QUANTIZERS, default_code, make

app = typer.Typer(
    name="glvq",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Quantize a language model to a few bits a weight, compile it ahead of time, run it.

    Typical use:

        glvq quantize MODEL -o model-2bit --bits 2

        glvq compile model-2bit -o model.glvq

        glvq generate model.glvq --prompt "Once upon a time"

    MODEL is a Hugging Face folder or a GGUF file, of a language model or an encoder.""",
)
bench = typer.Typer(no_args_is_help=True, help="Measure: the figures of the documentation, each from one command.")
app.add_typer(bench, name="bench")
err = Console(stderr=True)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results and errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output folder.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with a run that was stopped; give the same arguments again.")
]
Threads = Annotated[int, typer.Option(help="Threads; 0 uses all cores.", min=0)]


@app.command()
def quantize(
    model: Annotated[Path, typer.Argument(help="Hugging Face folder or GGUF file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the quantized checkpoint to write.")],
    bits: Annotated[
        float,
        typer.Option(
            help="Bits per weight, 1 to 8, such as 2 or 2.1; 3 is nearly lossless to read, 2 the smallest.",
            min=1,
            max=8,
        ),
    ] = 2,
    allocation: Annotated[
        Optional[str],
        typer.Option(
            help="How bits are spread over groups and layers: uniform, sdba (within each linear), measured (over the model; counts all that is stored). By default fractions are measured, whole numbers uniform."
        ),
    ] = None,
    uniform: Annotated[bool, typer.Option("-u", help="Short for --allocation uniform.")] = False,
    code: Annotated[
        Optional[str],
        typer.Option(
            help=f"Family of the code: {', '.join(QUANTIZERS)}. By default trellis, and lattice above 4 bits."
        ),
    ] = None,
    method: Annotated[
        Optional[str],
        typer.Option(
            help="glvq: as GLVQ was published (a square generator and a compander for each 128 columns, no rotation, no error feedback)."
        ),
    ] = None,
    compander: Annotated[
        Optional[str], typer.Option(help="Compander of --method glvq: none, mu_law or affine.")
    ] = None,
    head_bits: Annotated[
        int, typer.Option(help="Bits per weight of embeddings and output head, 4 to 8; 0 leaves them as they are.")
    ] = 8,
    group: Annotated[
        int,
        typer.Option(
            help="Columns that share one learned generator; 0 chooses a divisor of each layer's width near 128.", min=0
        ),
    ] = 0,
    dim: Annotated[Optional[int], typer.Option(help="Dimension of a lattice; 8 by default.")] = None,
    taps: Annotated[
        Optional[int],
        typer.Option(help="Bits that a weight of a trellis depends on; 12 by default. Each one more doubles the time."),
    ] = None,
    nodes: Annotated[
        Optional[str],
        typer.Option(help="Nodes of a trellis: linear (a filter; the fastest to run) or additive (two tables)."),
    ] = None,
    shells: Annotated[
        Optional[int], typer.Option(help="Shells of the Leech lattice, 2 to 13; by default --bits chooses.")
    ] = None,
    gain: Annotated[
        Optional[int], typer.Option(help="Bits of a gain for each point of a Leech code of so many --shells.")
    ] = None,
    calibration: Annotated[
        Optional[Path], typer.Option(help="Text file for the Hessians. Without it the model samples its own text.")
    ] = None,
    windows: Annotated[int, typer.Option(help="Calibration windows.", min=1)] = 64,
    length: Annotated[int, typer.Option(help="Tokens per window.", min=2)] = 512,
    seed: Annotated[int, typer.Option(help="Seed of rotations and sampled text. Same input and seed, same bytes.")] = 0,
    rotation: Annotated[
        Optional[str],
        typer.Option(
            help="Sides of a weight made incoherent by a random Hadamard rotation: both, in, out, none; by default both, and none with --method glvq."
        ),
    ] = None,
    finetune: Annotated[
        bool, typer.Option("--finetune", help="Fine-tune the result on the calibration text, as glvq finetune does.")
    ] = False,
    plot: Annotated[Optional[Path], typer.Option(help="PNG of error and bits of each layer.")] = None,
    force: Force = False,
    resume: Resume = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
):
    """Quantize the linear layers of a model with learned codes.

    Every decoder linear is rotated (randomised Hadamard), quantized column by column with error feedback in the Hessian metric, and its
    filters or generators of its code are fitted in closed form. Embeddings and head are rounded to --head-bits; norms keep their precision.
    """
    from . import models
    from .allocation import check
    from .encoders import quantize_encoder
    from .quantization import quantize_model

    _check_output(output, force)
    if method not in (None, "glvq"):
        raise GLVQError(f"unknown method '{method}'; there is glvq, and the codes of --code")
    if method:
        code = "glvq"
    if rotation is None:
        rotation = "none" if method else "both"
    quantizer = make(
        code or default_code(bits),
        group=group or None,
        dim=dim,
        compander=compander,
        taps=taps,
        nodes=nodes,
        shells=shells,
        gain=gain,
    )
    allocation = "uniform" if uniform else allocation
    check(quantizer, bits, allocation or "uniform")
    text = _read_text(calibration) if calibration else None
    loaded = models.open(model)
    if finetune and not loaded.is_causal_lm:
        raise GLVQError(f"--finetune is for language models; {model} holds an encoder")
    # With fine-tuning the output is the tuned checkpoint; the one before it goes.
    quantized = output.with_name(f"{output.name}.untuned") if finetune else output
    quantize_it = quantize_model if loaded.is_causal_lm else quantize_encoder
    report = (
        {}
        if finetune and resume and quantized.exists()
        else quantize_it(
            loaded.model,
            loaded.tokenizer,
            quantized,
            bits=bits,
            quantizer=quantizer,
            allocation=allocation,
            calibration=text,
            windows=windows,
            length=length,
            seed=seed,
            rotation=rotation,
            force=force,
            resume=resume,
            progress=not quiet and err.is_terminal,
            head_bits=head_bits,
            file=loaded.file,
        )
    )
    if finetune:
        from .finetune import Settings
        from .finetune import finetune as tune

        settings = Settings(length=length, seed=seed)
        tuned = tune(quantized, output, model, text, settings, force, resume, not quiet and err.is_terminal)
        seconds = report.get("seconds", 0.0) + tuned["seconds"]
        report = {**_report(output), **tuned, "seconds": seconds}
        shutil.rmtree(quantized)
    if plot:
        from .report import plot_report

        plot_report(output, plot)
    names = ("held-out KL before", "held-out KL after", "calibration", "seconds")
    _print(
        {
            "output": str(output),
            "bits per weight": report["bits_per_weight"],
            "weights": report["weights"],
            **{name: report[name] for name in names if name in report},
        },
        as_json,
    )


@app.command("finetune")
def finetune_(
    model: Annotated[Path, typer.Argument(help="Quantized checkpoint.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the tuned checkpoint to write.")],
    reference: Annotated[Path, typer.Option(help="The model that was quantized: Hugging Face folder or GGUF file.")],
    text: Annotated[
        Optional[Path], typer.Option(help="Text file to tune on. Without it the reference samples one.")
    ] = None,
    tune: Annotated[
        str,
        typer.Option(help="What is tuned, separated by commas: scales, norms (and biases), generators (of lattices)."),
    ] = "scales,norms",
    windows: Annotated[int, typer.Option(help="Windows to tune on; fewer when the text is shorter.", min=1)] = 256,
    length: Annotated[int, typer.Option(help="Tokens per window.", min=2)] = 512,
    held_out: Annotated[int, typer.Option(help="Further windows that decide when to stop.", min=1)] = 8,
    epochs: Annotated[float, typer.Option(help="Passes over the windows.")] = 1.0,
    batch: Annotated[int, typer.Option(help="Windows per step.", min=1)] = 2,
    rate: Annotated[float, typer.Option(help="Learning rate, relative to the numbers that are tuned.")] = 5e-3,
    seed: Annotated[int, typer.Option(help="Seed of the order of windows, and of sampled text.")] = 0,
    force: Force = False,
    resume: Resume = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
):
    """Tune the scales and norms of a quantized checkpoint to the reference's predictions.

    The codes stay, so the result is a checkpoint of the same format, size and speed. The loss is the KL divergence of all predictions.
    """
    from .finetune import Settings
    from .finetune import finetune as run

    _check_output(output, force)
    settings = Settings(tuple(tune.split(",")), windows, length, held_out, epochs, batch, rate, seed=seed)
    settings.check()
    content = _read_text(text) if text else None
    report = run(model, output, reference, content, settings, force, resume, not quiet and err.is_terminal)
    report.pop("history")
    _print({"output": str(output), **report}, as_json)


@app.command("compile")
def compile_(
    model: Annotated[
        Path,
        typer.Argument(help="Quantized checkpoint, Hugging Face folder, GGUF file, or .pt2 file of torch.export.save."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Artefact folder to write.")],
    checkpoint: Annotated[
        Optional[Path], typer.Option(help="Quantized weights of a .pt2 file, by quantize_module.")
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            help="cpu (this machine), cpu:x86-64-v3, cpu:x86-64-v4 or cpu:NAME, where NAME is a CPU of LLVM, such as znver5."
        ),
    ] = "cpu",
    activations: Annotated[
        str, typer.Option(help="Activations that quantized weights are multiplied by: int8 (fast) or f32.")
    ] = "int8",
    save_ir: Annotated[Optional[Path], typer.Option(help="Folder for the IR after each stage.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing artefact.")] = False,
    quiet: Quiet = False,
):
    """Compile a model ahead of time into an artefact that needs neither Python nor torch.

    Language models get the entries **prefill** and **decode** and run with glvq generate. Encoders (BERT) and exported modules get
    **forward** and run with glvq-run: glvq-run ARTEFACT --list shows its inputs, glvq-run ARTEFACT --entry forward --input x=x.npy
    --output y=y.npy calls it.
    """
    from .compiler import compile_model

    start = time.perf_counter()
    compile_model(model, output, target, save_ir, force, quiet, checkpoint, activations)
    if not quiet:
        err.print(f"{output}: compiled in {time.perf_counter() - start:.1f} s")


@app.command()
def generate(
    artefact: Annotated[Path, typer.Argument(help="Artefact folder made by glvq compile.")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="The prompt; - reads standard input.")],
    max_tokens: Annotated[int, typer.Option(help="New tokens at most.", min=1)] = 128,
    temperature: Annotated[float, typer.Option(help="0 is greedy; higher is more varied.", min=0.0)] = 0.0,
    top_k: Annotated[int, typer.Option(help="Sample among the k likeliest tokens; 0: all.", min=0)] = 0,
    top_p: Annotated[float, typer.Option(help="Sample among the likeliest tokens of this total probability.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of sampling.")] = 0,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the prompt as it is, without the chat template.")
    ] = False,
    threads: Threads = 0,
    stats: Annotated[bool, typer.Option("--stats", help="Print speed at the end, on standard error.")] = False,
):
    """Write text with a compiled model, token by token."""
    from .generate import Sampling, TextGenerator

    how = Sampling(temperature, top_k, top_p, seed)
    text = sys.stdin.read() if prompt == "-" else prompt
    generator = TextGenerator(artefact, threads)
    if raw or not generator.chat_template():
        ids = generator.encode(text)
    else:
        ids = generator.encode(generator.render_chat([{"role": "user", "content": text}]), add_special_tokens=False)
    for piece in generator.stream_text(ids, max_tokens, how):
        print(piece, end="", flush=True)
    print()
    if stats:
        t = generator.timing
        err.print(
            f"prompt: {t.prompt_tokens} tokens in {t.prompt_seconds:.2f} s; "
            f"answer: {t.new_tokens} tokens at {t.tokens_per_second:.1f} tokens/s"
        )


@app.command()
def chat(
    artefact: Annotated[Path, typer.Argument(help="Artefact folder made by glvq compile.")],
    system: Annotated[
        Optional[str], typer.Option("--system", help="What the model is told before the conversation.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="New tokens of an answer at most.", min=1)] = 512,
    temperature: Annotated[float, typer.Option(help="0 is greedy; higher is more varied.", min=0.0)] = 0.7,
    top_k: Annotated[int, typer.Option(help="Sample among the k likeliest tokens; 0: all.", min=0)] = 0,
    top_p: Annotated[float, typer.Option(help="Sample among the likeliest tokens of this total probability.")] = 0.9,
    seed: Annotated[int, typer.Option(help="Seed of sampling.")] = 0,
    threads: Threads = 0,
):
    """Talk to a compiled model. An empty line or end of input ends it, /reset begins anew."""
    from .chat import chat as talk
    from .generate import Sampling

    talk(artefact, system, max_tokens, Sampling(temperature, top_k, top_p, seed), threads)


@app.command()
def serve(
    artefact: Annotated[Path, typer.Argument(help="Artefact folder made by glvq compile.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all of them.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8000,
    name: Annotated[
        Optional[str], typer.Option(help="Name of the model in requests; the artefact's by default.")
    ] = None,
    sessions: Annotated[int, typer.Option(help="Requests answered at the same time.", min=1)] = 2,
    waiting: Annotated[
        int, typer.Option(help="Requests that may wait for a session; more are refused with 429.", min=0)
    ] = 32,
    max_tokens: Annotated[
        int, typer.Option(help="New tokens of an answer at most, whatever a request asks for.", min=1)
    ] = 4096,
    grace: Annotated[
        int, typer.Option(help="Seconds that running requests have to end when the server is stopped.", min=0)
    ] = 30,
    api_key: Annotated[Optional[str], typer.Option(help="Key that requests must carry.", envvar="GLVQ_API_KEY")] = None,
    threads: Threads = 0,
):
    """Serve a compiled model with the OpenAI API: chat completions, completions, models.

    Any client of that API works with the printed address as its base URL.
    """
    try:
        from .serve import Limits
        from .serve import serve as run
    except ModuleNotFoundError as error:
        raise GLVQError(f"serving needs the PyPI package {error.name}; run pip install 'glvq[serve]'") from error

    run(artefact, host, port, name, Limits(sessions, waiting, max_tokens), threads, api_key, grace)


@app.command("eval")
def eval_(
    model: Annotated[Path, typer.Argument(help="Artefact, quantized checkpoint, Hugging Face folder or GGUF file.")],
    text: Annotated[
        Optional[Path], typer.Option(help="Text file to score. Without it the reference model samples the text.")
    ] = None,
    reference: Annotated[
        Optional[Path], typer.Option(help="Model to compare with: adds the KL divergence to it.")
    ] = None,
    windows: Annotated[int, typer.Option(help="Windows of text.", min=1)] = 16,
    length: Annotated[int, typer.Option(help="Tokens per window.", min=2)] = 512,
    seed: Annotated[int, typer.Option(help="Seed of sampled text.")] = 0,
    threads: Threads = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
):
    """Perplexity on a text, and KL divergence against a reference model."""
    from .evaluate import evaluate_path

    if text is None and reference is None:
        raise GLVQError("give --text FILE, or --reference MODEL so that it can sample a text")
    result = evaluate_path(
        model,
        text=_read_text(text) if text else None,
        reference=reference,
        windows=windows,
        length=length,
        seed=seed,
        threads=threads,
        progress=not quiet and err.is_terminal,
    )
    _print(result, as_json)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Quantized checkpoint or artefact.")],
    plot: Annotated[Optional[Path], typer.Option(help="PNG of error and bits of each layer of a checkpoint.")] = None,
    as_json: AsJson = False,
):
    """Show what is inside a quantized checkpoint or an artefact."""
    if plot:
        from .report import plot_report

        plot_report(path, plot)
    from .inspect import describe

    summary, rows = describe(path)
    if as_json:
        print(json.dumps({**summary, "items": rows}, indent=1))
        return
    _print(summary, False)
    if rows:
        table = Table(*rows[0].keys())
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
        Console().print(table)


@bench.command()
def gpu(
    rows: Annotated[int, typer.Option(help="Rows of the weight.", min=1)] = 4096,
    columns: Annotated[
        int, typer.Option(help="Columns of the weight; few make no loop, and the whole kernel is counted.", min=1)
    ] = 16384,
    bits: Annotated[str, typer.Option(help="Widths, separated by commas.")] = "1,2,3,4",
    chips: Annotated[str, typer.Option(help="Chips, separated by commas.")] = "sm_80,sm_89,sm_90,sm_100,sm_120",
    activations: Annotated[str, typer.Option(help="What activations are rounded to: int8 or f16.")] = "int8",
    as_json: AsJson = False,
):
    """Count the instructions of the GPU kernels and say what binds them.

    Compiles products of one token with packed integers by ptxas and
    disassembles them; no GPU is needed.
    """
    from .bench import gpu as bench_gpu

    try:
        widths = tuple(int(width) for width in bits.split(","))
    except ValueError:
        raise GLVQError(f"--bits {bits}: expected numbers from 1 to 8, separated by commas") from None
    names = tuple(chips.split(","))
    if not all(1 <= width <= 8 for width in widths):
        raise GLVQError(f"--bits {bits}: widths are 1 to 8")
    if unknown := set(names) - set(bench_gpu.CHIPS):
        raise GLVQError(f"--chips: unknown {', '.join(sorted(unknown))}; known are {', '.join(bench_gpu.CHIPS)}")
    if activations not in ("int8", "f16"):
        raise GLVQError(f"--activations {activations}: expected int8 or f16")
    kernels = bench_gpu.bench(rows, columns, widths, names, activations)
    if as_json:
        print(json.dumps([kernel.summary() for kernel in kernels], indent=1))
        return
    table = Table(
        "bits",
        "chip",
        "instr/weight",
        "by pipe",
        "registers",
        "spills",
        "shared",
        "loads",
        "in flight",
        "GPU",
        "binds",
        "roofline",
    )
    for kernel in kernels:
        summary = kernel.summary()
        table.add_row(
            str(kernel.bits), kernel.chip, f"{kernel.per_weight:.3f}",
            " ".join(f"{pipe} {count:.3f}" for pipe, count in summary["by_pipe"].items()),
            str(kernel.registers), str(kernel.spill_bytes), str(kernel.shared_bytes),
            " ".join(f"{count}x{width}" for width, count in sorted(kernel.loads.items())),
            str(kernel.bytes_in_flight()), summary.get("gpu", ""), summary.get("binding", ""),
            f"{summary['roofline']:.0%}" if "roofline" in summary else "",
        )  # fmt: skip
    Console(width=200).print(table)


def _print(values: dict, as_json: bool):
    """Prints a flat result for people or for programs."""
    if as_json:
        print(json.dumps(values))
        return
    width = max(len(key) for key in values)
    for key, value in values.items():
        print(f"{key:<{width}}  {f'{value:.4f}' if isinstance(value, float) else value}")


def _report(folder: Path) -> dict:
    """The totals that quantization left in a checkpoint."""
    return read_json(folder / "quantization_report.json", f"{folder} has no quantization_report.json")


def _check_output(output: Path, force: bool):
    refuse_existing(output, force)
    if not output.absolute().parent.is_dir():
        raise GLVQError(f"the folder {output.absolute().parent} does not exist; create it first")


def _read_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise GLVQError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise GLVQError(f"cannot read {path}: {error.strerror}") from error
    if not text.strip():
        raise GLVQError(f"{path} holds no text")
    return text


@bench.command("gaussian")
def bench_gaussian(
    codes: Annotated[
        Optional[list[str]],
        typer.Argument(help="Codes by the beginnings of their names, such as 'trellis'; all without any."),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            help="Weights to quantize; the numbers of a code are counted as stored once for so many.", min=1000
        ),
    ] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    plot: Annotated[Optional[Path], typer.Option(help="PNG file to draw.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
):
    """Error of every code on fresh N(0, 1) data at 2 bits a weight, every stored bit counted."""
    from .bench import gaussian
    from .progress import progress_bar

    with progress_bar(not quiet and err.is_terminal, "measuring", gaussian.count(codes or ())) as advance:
        rows = gaussian.run(samples, seed, codes or (), advance)
    if plot:
        gaussian.plot(rows, plot)
    if as_json:
        print(json.dumps(gaussian.report(rows)))
        return
    table = Table("code", "bits", "error", "at 2.000 bits", "seconds")
    for row in rows:
        table.add_row(row.code, f"{row.bits:.4f}", f"{row.error:.4f}", f"{row.at_two_bits:.4f}", f"{row.seconds:.1f}")
    Console().print(table)


@bench.command("quality")
def bench_quality(
    model: Annotated[Path, typer.Argument(help="Hugging Face folder or GGUF file.")],
    methods: Annotated[
        str, typer.Option(help="Methods, separated by commas; 'ablation' stands for one changed ingredient at a time.")
    ] = "lattice,trellis",
    bits: Annotated[str, typer.Option(help="Bits per weight, separated by commas.")] = "2,3,4",
    seeds: Annotated[int, typer.Option(help="Seeds of rotation and sampled text; the table has medians.", min=1)] = 3,
    text: Annotated[
        Optional[Path], typer.Option(help="Text file to score. Without it the model samples the text.")
    ] = None,
    calibration: Annotated[
        Optional[Path], typer.Option(help="Text file for the Hessians. Without it the model samples its own text.")
    ] = None,
    windows: Annotated[int, typer.Option(help="Calibration windows.", min=1)] = 64,
    eval_windows: Annotated[int, typer.Option(help="Windows of text to score.", min=1)] = 64,
    length: Annotated[int, typer.Option(help="Tokens per window.", min=2)] = 512,
    head_bits: Annotated[
        int, typer.Option(help="Bits per weight of embeddings and head; 0 leaves them, as the literature does.")
    ] = 0,
    work: Annotated[
        Path, typer.Option(help="Folder for finished rows; with the same folder a stopped run goes on.")
    ] = Path("bench-quality"),
    keep: Annotated[bool, typer.Option("--keep", help="Keep the checkpoints in that folder.")] = False,
    plot: Annotated[Optional[Path], typer.Option(help="PNG file to draw.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
):
    """Perplexity, KL divergence, bits, time and memory of methods on a model: every row is glvq quantize and glvq eval."""
    from .bench import quality
    from .progress import progress_bar

    try:
        rates = [float(part) for part in bits.split(",")]
    except ValueError as error:
        raise GLVQError(f"--bits takes numbers separated by commas, not '{bits}'") from error
    for file in (text, calibration):
        if file:
            _read_text(file)
    rows = quality.plan(methods.split(","), rates, seeds)
    protocol = quality.Protocol(
        text and str(text), calibration and str(calibration), windows, length, eval_windows, head_bits
    )
    with progress_bar(not quiet and err.is_terminal, "measuring", len(rows)) as advance:
        entries = quality.table(quality.run(model, protocol, rows, work, keep, advance))
    if plot:
        quality.plot(entries, plot)
    if as_json:
        print(json.dumps({"protocol": protocol.__dict__, "rows": entries}))
        return
    table = Table("method", "bits", "bits/weight", "perplexity", "range", "KL", "seconds", "peak MiB")
    for e in entries:
        if "error" in e:
            table.add_row(e["method"], f"{e['bits']:g}", "", e["error"])
            continue
        low, high = e["range"]
        numbers = (f"{e['bits_per_weight']:.3f}", f"{e['perplexity']:.2f}", f"{low:.2f}-{high:.2f}", f"{e['kl']:.4f}")
        table.add_row(e["method"], f"{e['bits']:g}", *numbers, f"{e['seconds']:.0f}", f"{e['peak_mib']:.0f}")
    Console().print(table)


@bench.command("cpu")
def bench_cpu(
    artefact: Annotated[
        Optional[Path],
        typer.Argument(
            help="Artefact of a language model: tokens a second. Without one: products with weights from memory."
        ),
    ] = None,
    reference: Annotated[Optional[Path], typer.Option(help="Model for torch, measured beside the artefact.")] = None,
    gguf: Annotated[
        Optional[Path],
        typer.Option(help="GGUF file for llama.cpp, measured beside the artefact (pip install llama-cpp-python)."),
    ] = None,
    bits: Annotated[list[int], typer.Option(help="Widths of the products; repeatable.", min=1, max=8)] = [
        1,
        2,
        3,
        4,
        8,
    ],
    rows: Annotated[int, typer.Option(help="Rows of the weights.", min=1)] = 4096,
    columns: Annotated[int, typer.Option(help="Columns of the weights.", min=1)] = 4096,
    gibibytes: Annotated[float, typer.Option(help="Distinct weights that a run reads.")] = 1.0,
    activations: Annotated[str, typer.Option(help="int8 or f32.")] = "int8",
    tokens: Annotated[int, typer.Option(help="Tokens decoded.", min=1)] = 64,
    prompt: Annotated[int, typer.Option(help="Tokens of the prompt.", min=1)] = 512,
    threads: Annotated[list[int], typer.Option(help="Numbers of threads; repeatable.", min=1)] = [1, 2],
    repeats: Annotated[int, typer.Option(help="Runs of each.", min=1)] = 5,
    plot: Annotated[Optional[Path], typer.Option(help="PNG file to draw.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
):
    """Speed on this CPU, beside what its memory allows, and beside torch and llama.cpp."""
    from .bench import cpu
    from .progress import progress_bar

    steps = len(threads) * (1 if artefact else len(bits))
    with progress_bar(not quiet and err.is_terminal, "measuring", steps) as advance:
        if artefact:
            measured = cpu.model(artefact, reference, gguf, threads, tokens, prompt, repeats, advance)
        else:
            measured = cpu.matvec(bits, rows, columns, threads, gibibytes, activations, repeats, advance)
    if plot:
        cpu.plot(measured, plot)
    if as_json:
        print(json.dumps(cpu.report(measured)))
        return
    table = Table("case", "threads", "median", "best", "unit")
    for row in measured:
        table.add_row(row.case, str(row.threads), f"{row.value:.1f}", f"{row.best:.1f}", row.unit)
    Console().print(table)


def _terminate(number: int, frame) -> None:
    """An end from outside unwinds like an exception, so that nothing half-written stays."""
    sys.exit(128 + number)


def main():
    """Entry point of the ``glvq`` command."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _terminate)
    try:
        app()
    except GLVQError as error:
        print(f"glvq: error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"glvq: error: {error.strerror}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

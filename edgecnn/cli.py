"""The command line: parse, call, print. Nothing is decided here, and nothing heavy is imported before it is needed."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecnn.errors import INTERRUPTED, EdgecnnError, StorageError, UsageError, printable
from edgecnn.names import __version__

app = typer.Typer(
    name="edgecnn",
    help="Efficient CNNs from PyTorch to devices: export, quantize, compile, prove that the answers are still right.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")]
Weights = Annotated[
    str | None, typer.Option(help="builtin, imagenet, random, or a .safetensors or .pth state dict.", metavar="W")
]
Size = Annotated[str | None, typer.Option(help="Input size in pixels.", metavar="N|HxW")]
NumClasses = Annotated[int | None, typer.Option(help="Classes, where the weights do not tell.")]
ArtifactFolder = Annotated[Path, typer.Argument(help="The folder that export wrote.", metavar="ARTIFACT")]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop", help="Largest loss of top-1 in percentage points; a larger one exits with 6.", metavar="PP"
    ),
]


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Models, their sizes, weights and targets."""
    from edgecnn.overview import models

    rows = models()
    if as_json:
        _print_json(rows)
        return
    from edgecnn.console import print_models

    print_models(rows)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A name that `edgecnn list` shows.")],
    target: Annotated[
        list[str], typer.Option("--target", "-t", help="onnx, onnxruntime, openvino or tensorrt; may be repeated.")
    ],
    fp32: Annotated[bool, typer.Option("--fp32", help="Float weights and arithmetic (the default).")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Half precision: computed in on GPUs, else stored in.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Quantized on calibration images.")] = False,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or int8, as one word.")] = None,
    weights: Weights = None,
    calib: Annotated[
        str | None,
        typer.Option(
            help="Folder, CSV file path,label, or set to calibrate on; synthetic needs no data.", metavar="DIR|SET"
        ),
    ] = None,
    calib_cache: Annotated[
        Path | None, typer.Option(help="File that keeps the calibration for the next export.", metavar="FILE")
    ] = None,
    size: Size = None,
    num_classes: NumClasses = None,
    batch: Annotated[int | None, typer.Option(help="Images per inference; 1 unless told.")] = None,
    dynamic_batch: Annotated[bool, typer.Option("--dynamic-batch", help="Any number of images per inference.")] = False,
    max_drop: MaxDrop = None,
    effort: Annotated[
        str | None, typer.Option(help="How far INT8 climbs: fast, or balanced unless told.", metavar="E")
    ] = None,
    flavour: Annotated[
        str | None, typer.Option(help="Of TensorRT: auto (the default), tensorrt, tensorrt-rtx or bundle.", metavar="F")
    ] = None,
    gpu_arch: Annotated[
        str | None, typer.Option(help="Of TensorRT-RTX: sm86,sm89,…; every one unless told.", metavar="SM,SM")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; MODEL-TARGET-PRECISION unless told.", metavar="DIR")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an artifact that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Fold, export to ONNX, quantize, build for a target, check against the eager model, and publish."""
    if batch is not None and dynamic_batch:
        raise UsageError("--batch and --dynamic-batch contradict each other; give one")
    if len(set(target)) < len(target):
        raise UsageError(f"--target {' --target '.join(target)} names one target twice; give each once")
    if calib_cache is not None and len(target) > 1:
        raise UsageError("--calib-cache keeps the calibration of one target; give one --target")
    chosen = _precision(fp32, fp16, int8, precision)
    dimensions = _size(size)
    from edgecnn.console import print_exported, watching
    from edgecnn.pipeline import GateError
    from edgecnn.pipeline import export as run
    from edgecnn.request import ExportRequest, plan

    requests = [
        ExportRequest(
            model=model,
            target=name,
            precision=chosen,
            weights=weights,
            calib=calib,
            calib_cache=calib_cache,
            size=dimensions,
            num_classes=num_classes,
            batch=1 if batch is None and not dynamic_batch else batch,
            max_drop_pp=max_drop,
            effort=effort,
            flavour=flavour if name == "tensorrt" or "tensorrt" not in target else None,
            gpu_arch=_architectures(gpu_arch) if name == "tensorrt" or "tensorrt" not in target else (),
            out=out / name if out is not None and len(target) > 1 else out,
            force=force,
        )
        for name in target
    ]
    for request in requests:
        plan(request)  # what is wrong with the last target is said before the first one is built
    documents: list[dict[str, Any]] = []
    refusals: list[GateError] = []
    for request in requests:
        with watching() as progress:
            try:
                exported = run(request, progress)
            except GateError as refusal:
                refusals.append(refusal)
                exported = refusal.exported
        documents.append(exported.as_json())
        if not as_json:
            print_exported(exported)
    if as_json:
        _print_json(documents[0] if len(documents) == 1 else documents)
    if refusals:
        raise refusals[0]


@app.command()
def verify(
    artifact: ArtifactFolder,
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder, CSV file path,label, or set; the artifact's own golden pairs unless told.", metavar="DIR|CSV"
        ),
    ] = None,
    max_drop: MaxDrop = None,
    weights: Annotated[
        str | None, typer.Option(help="The state dict it was exported from, where that was a file.", metavar="FILE")
    ] = None,
    result: Annotated[
        Path | None, typer.Option(help="What the bundle's run.py found on its device, instead.", metavar="FILE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check an artifact here and now, stage by stage; exits with 6 when it fails."""
    from edgecnn.console import out as screen
    from edgecnn.console import print_verification, watching
    from edgecnn.errors import ParityError
    from edgecnn.pipeline import on_device
    from edgecnn.pipeline import verify as run

    if result is not None:
        if (images, max_drop, weights) != (None, None, None):
            raise UsageError("--result is judged as it is; drop --images, --max-drop and --weights")
        device = on_device(artifact, result)
        verification, document = device.verification, device.as_json()
    else:
        with watching() as progress:
            verification = run(artifact, images, max_drop, weights, progress)
        document = verification.as_json()
    if as_json:
        _print_json(document)
    else:
        print_verification(verification)
        if result is not None:
            screen.print(device.text, markup=False)
    if verification.judgement.rejected:
        raise ParityError(f"{artifact} is rejected: {'; '.join(verification.judgement.reasons)}")


@app.command()
def inspect(
    artifact: ArtifactFolder,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Only say what is executed; time nothing.")] = False,
    as_json: Json = False,
) -> None:
    """What the runtime really executes here, and whether INT8 is worth it here."""
    from edgecnn.console import print_inspection, watching
    from edgecnn.inspection import inspect as run

    with watching() as progress:
        inspection = run(artifact, not no_timing, progress)
    if as_json:
        _print_json(inspection.as_json())
    else:
        print_inspection(inspection)


@app.command()
def analyze(
    model: Annotated[str, typer.Argument(help="A name that `edgecnn list` shows.")],
    weights: Weights = None,
    calib: Annotated[
        str | None, typer.Option(help="Folder, CSV file path,label, or set to try layers on.", metavar="DIR|SET")
    ] = None,
    size: Size = None,
    num_classes: NumClasses = None,
    as_json: Json = False,
) -> None:
    """Layers by what INT8 would cost at each alone, by their PyTorch names."""
    dimensions = _size(size)
    from edgecnn.analysis import analyze as run
    from edgecnn.console import print_analysis, watching
    from edgecnn.request import ExportRequest

    request = ExportRequest(model, "onnx", "int8", weights, calib, size=dimensions, num_classes=num_classes)
    with watching() as progress:
        analysis = run(request, progress)
    if as_json:
        _print_json(analysis.as_json())
    else:
        print_analysis(analysis)


@app.command()
def predict(
    artifact: ArtifactFolder,
    images: Annotated[list[Path], typer.Argument(help="JPEG or PNG files.", metavar="IMAGE...")],
    as_json: Json = False,
) -> None:
    """The five likeliest classes of each picture."""
    from edgecnn.console import print_predictions, warn
    from edgecnn.pipeline import predict as run

    predictions = run(artifact, images)
    if predictions.status == "rejected":
        warn(f"{artifact} was rejected by its last check; `edgecnn verify` says why")
    if as_json:
        _print_json(predictions.as_json())
    else:
        print_predictions(predictions)


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="A model whose recipe has a [train] table.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and weights.", metavar="DIR")],
    seed: Annotated[int, typer.Option(help="Decides initial weights, order and augmentation.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's number.")] = None,
    limit: Annotated[int | None, typer.Option(help="Train on so many images only, to try things out.")] = None,
    as_json: Json = False,
) -> None:
    """Train on Fashion-MNIST by the recipe behind the builtin weights; run again to resume."""
    from edgecnn.console import print_trained, watching
    from edgecnn.overview import require

    require("train")
    from edgecnn.train import train_builtin

    with watching() as progress:
        trained = train_builtin(model, out, seed, epochs, limit, progress)
    if as_json:
        _print_json(trained)
    else:
        print_trained(trained)


@app.command()
def doctor(as_json: Json = False) -> None:
    """What is installed, what is missing, and the exact line that would install it. Installs nothing."""
    from edgecnn.overview import diagnose

    rows = diagnose()
    if as_json:
        _print_json(rows)
        return
    from edgecnn.console import print_diagnosis

    print_diagnosis(rows)


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Options before a command."""
    if version:
        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _precision(fp32: bool, fp16: bool, int8: bool, named: str | None) -> str:
    from edgecnn.errors import unknown_name
    from edgecnn.names import PRECISIONS

    if named is not None and named not in PRECISIONS:
        raise unknown_name("precision", named, PRECISIONS)
    flags = {"fp32": fp32, "fp16": fp16, "int8": int8}
    asked = {name for name, given in flags.items() if given} | ({named} if named else set())
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(sorted(asked))} contradict each other; give one precision")
    return asked.pop() if asked else "fp32"


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise UsageError(f"--size is {text!r}, expected N or HxW in pixels, such as 224 or 192x256")
    return int(sides[0]), int(sides[-1])


def _architectures(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(name.strip().lower() for name in text.split(","))


def _print_json(document: object) -> None:
    # Escaped to ASCII, which every stdout takes, whatever a file is called.
    typer.echo(json.dumps(document, indent=1, allow_nan=False))


def main() -> None:
    """The ``edgecnn`` command: runs the app, and turns every refusal into one line and its exit code."""
    signal.signal(signal.SIGINT, _interrupt)
    code = run(sys.argv[1:])
    if code == INTERRUPTED:
        # An interrupt that was handled in a call from C++ would still make Python end as if by a signal, or again stop
        # half way through its own end.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


# Libraries swallow an interrupt that comes while they import themselves, and then fail by what they did not finish.
_interrupted = threading.Event()


def _interrupt(number: int, frame: object) -> None:
    _interrupted.set()
    raise KeyboardInterrupt


# typer keeps a click of its own; its public names lead to the base class of every complaint about arguments.
_ArgumentError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def run(arguments: list[str]) -> int:
    """The exit code of a command line."""
    try:
        result = app(arguments, prog_name="edgecnn", standalone_mode=False)
        sys.stdout.flush()
    except EdgecnnError as error:
        return _refuse(str(error), error.exit_code)
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _refuse("interrupted; nothing was changed", INTERRUPTED)
    except _ArgumentError as error:
        return _refuse(error.format_message(), error.exit_code)
    except BrokenPipeError:  # whoever read stdout has gone, as `head` does; nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1  # what typer exits with where it is the first to notice
    except OSError as error:  # any file or temporary folder that no room expected to fail
        where = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{where}{error.strerror or error}; is the disk full or read-only?", StorageError.exit_code)
    except Exception:
        if not _interrupted.is_set():
            raise
        result = INTERRUPTED
    if result == INTERRUPTED:
        return _refuse("interrupted; nothing was changed", INTERRUPTED)
    return result if isinstance(result, int) else 0


def _refuse(message: str, code: int) -> int:
    if _interrupted.is_set():
        message, code = "interrupted; nothing was changed", INTERRUPTED
    print(f"edgecnn: {printable(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()

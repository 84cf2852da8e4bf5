"""Commands that make something: artifacts and weights."""

from pathlib import Path
from typing import Annotated, Any

import typer

from edgecnn.cli.app import Json, MaxDrop, NumClasses, Recipe, Size, Weights, app, parse_size, print_json
from edgecnn.errors import UsageError


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
    recipe: Recipe = None,
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
    dynamic_batch: Annotated[
        bool, typer.Option("--dynamic-batch", help="Any number of images per inference; 1 to 64 for tensorrt.")
    ] = False,
    max_drop: MaxDrop = None,
    effort: Annotated[
        str | None, typer.Option(help="How far INT8 climbs: fast, best, or balanced unless told.", metavar="E")
    ] = None,
    reduce_range: Annotated[
        bool | None,
        typer.Option(
            "--reduce-range/--no-reduce-range",
            help="INT8 weights that fit x86 CPUs without VNNI; where this CPU needs it, unless told. Not for tensorrt.",
        ),
    ] = None,
    flavour: Annotated[
        str | None, typer.Option(help="Of TensorRT: auto (the default), tensorrt, tensorrt-rtx or bundle.", metavar="F")
    ] = None,
    gpu_arch: Annotated[
        str | None, typer.Option(help="Of TensorRT-RTX: sm86,sm89,…; every one unless told.", metavar="SM,SM")
    ] = None,
    fp16_scales: Annotated[
        bool | None,
        typer.Option(
            "--fp16-scales/--no-fp16-scales",
            help="Of TensorRT's INT8: scales of half precision instead of Casts; the flavour decides unless told.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write, DIR/TARGET for each of several; MODEL-TARGET-PRECISION unless told.", metavar="DIR"
        ),
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
    dimensions = parse_size(size)
    from edgecnn.artifact import check_free
    from edgecnn.console.evidence import print_exported
    from edgecnn.console.screen import watching
    from edgecnn.pipeline import GateError
    from edgecnn.pipeline import export as run
    from edgecnn.request import ExportRequest, plan

    architectures = _architectures(gpu_arch)

    def tensorrts(name: str) -> bool:
        """Whether this target gets TensorRT's own flags; where TensorRT is not asked for, the others refuse them."""
        return name == "tensorrt" or "tensorrt" not in target

    requests = [
        ExportRequest(
            model=model,
            target=name,
            precision=chosen,
            weights=weights,
            recipe=recipe,
            calib=calib,
            calib_cache=calib_cache,
            size=dimensions,
            num_classes=num_classes,
            batch=1 if batch is None and not dynamic_batch else batch,
            max_drop_pp=max_drop,
            effort=effort,
            reduce_range=reduce_range if name != "tensorrt" or len(target) == 1 else None,
            flavour=flavour if tensorrts(name) else None,
            gpu_arch=architectures if tensorrts(name) else (),
            fp16_scales=fp16_scales if tensorrts(name) else None,
            out=out / name if out is not None and len(target) > 1 else out,
            force=force,
        )
        for name in target
    ]
    plans = [plan(request) for request in requests]  # what is wrong with the last is said before the first is built
    network = None
    if len(plans) > 1:
        for planned in plans:
            check_free(planned.out, planned.force)
        from edgecnn.network import Network  # brings torch and ONNX, which plans have seen to be there

        network = Network(plans[0])
    documents: list[dict[str, Any]] = []
    refusals: list[GateError] = []
    try:
        for request in requests:
            with watching() as progress:
                try:
                    exported = run(request, progress, network)
                except GateError as refusal:
                    refusals.append(refusal)
                    exported = refusal.exported
            documents.append(exported.as_json())
            if not as_json:
                print_exported(exported)
    finally:  # what was published before another target was refused is there, and told
        if as_json and documents:
            print_json(documents[0] if len(requests) == 1 else documents)
    if refusals:
        raise refusals[0]


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
    from edgecnn.console.overview import print_trained
    from edgecnn.console.screen import watching
    from edgecnn.overview import require

    require("train")
    from edgecnn.train import train_builtin

    with watching() as progress:
        trained = train_builtin(model, out, seed, epochs, limit, progress)
    if as_json:
        print_json(trained)
    else:
        print_trained(trained)


def _precision(fp32: bool, fp16: bool, int8: bool, named: str | None) -> str:
    flags = {"fp32": fp32, "fp16": fp16, "int8": int8}
    asked = {name for name, given in flags.items() if given} | ({named} if named else set())
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(sorted(asked))} contradict each other; give one precision")
    return asked.pop() if asked else "fp32"


def _architectures(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(name.strip().lower() for name in text.split(","))

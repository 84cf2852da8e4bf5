"""Builds this bundle's engine with the TensorRT of this device. Python 3.8, NumPy and TensorRT alone.

    python3 build.py [--precision int8|fp16|fp32] [--scales fp16|fp32] [--dla CORE]

INT8 that cannot be built falls back to FP16, and says so on screen and in engine.json, where everything else that is
known of the engine stands as well.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import builder
import layers
from checked import ENGINE, HERE, REFUSED, UNAVAILABLE, Stop, check_hash, read_manifest, run_script
from cuda_driver import Gpu, find_gpu

ENGINE_FILE = "model.engine"


class Graph(NamedTuple):
    """A file, whether its own types decide, and the builder flags that it takes where they do not."""

    file: str
    typed: bool
    flags: tuple[str, ...] = ()


FP16_SCALES = "model.int8.fp16-scales.onnx"
GRAPHS = {
    "fp32": (Graph("model.fp32.onnx", True), Graph("model.fp32.onnx", False)),
    "fp16": (Graph("model.fp16.onnx", True), Graph("model.fp32.onnx", False, builder.FLAGS["fp16"])),
    "int8": (
        Graph(FP16_SCALES, True),
        Graph("model.int8.typed.onnx", True),
        Graph("model.int8.onnx", False, builder.FLAGS["int8"]),
    ),
}


class Attempt(NamedTuple):
    """One way to build: a graph, and how."""

    precision: str
    file: str
    options: builder.Options


def import_tensorrt() -> Any:
    """TensorRT, or TensorRT for RTX where that is what is installed.

    Raises:
        Stop: neither is.
    """
    for name in ("tensorrt", "tensorrt_rtx"):
        if importlib.util.find_spec(name) is not None:
            try:
                return importlib.import_module(name)
            except ImportError as error:
                raise Stop(UNAVAILABLE, f"{name} is installed and cannot be imported: {error}") from error
    raise Stop(UNAVAILABLE, "tensorrt is not installed; on a Jetson it comes with JetPack, for RTX as tensorrt_rtx")


def gpu_here() -> Gpu:
    """The GPU.

    Raises:
        Stop: there is none.
    """
    gpu, why = find_gpu()
    if gpu is None:
        raise Stop(UNAVAILABLE, f"an engine is built on its own GPU: {why}")
    return gpu


def check_gpu(trt: Any, gpu: Gpu) -> None:
    """Builds nothing that could not run here.

    Raises:
        Stop: this TensorRT has no engines for this GPU.
    """
    why = builder.not_for(trt, () if trt.__name__ == "tensorrt_rtx" else (gpu.architecture,), gpu)
    if why:
        raise Stop(UNAVAILABLE, f"engines of {trt.__name__} {trt.__version__} are {why}; it needs TensorRT itself")


def attempts(
    trt: Any, manifest: dict[str, Any], precision: str, dla: int | None, scales: str | None = None
) -> list[Attempt]:
    """Ways to build a precision, the best first.

    Strongly typed networks take their types from the graph, of which INT8 has two spellings: scales of half precision,
    which NVIDIA's own quantizer writes, come first, but for RTX float32 ones with Casts, as they were measured. Where
    networks can be typed or not, the untyped spelling comes last: what one refuses another may build. FP16 is what INT8
    falls back to; some INT8 graphs build on one GPU and not on another (NVIDIA/TensorRT issue 4832).

    Args:
        scales: ``fp16`` or ``fp32``, to build INT8 from graphs with such scales alone.
    """
    files = {entry["name"] for entry in manifest["files"]}
    dynamic = manifest["interface"]["batch"] is None
    batches = tuple(manifest["batches"]) if dynamic else None
    possible = {True: builder.is_typed(trt), False: not builder.is_typed(trt, wanted=False)}
    last = FP16_SCALES if trt.__name__ == "tensorrt_rtx" else ""
    found = []
    for name in (precision, "fp16") if precision == "int8" else (precision,):
        for graph in sorted(GRAPHS[name], key=lambda graph: graph.file == last):
            asked = name != "int8" or scales is None or (scales == "fp16") == (graph.file == FP16_SCALES)
            if graph.file in files and possible[graph.typed] and asked:
                options = builder.Options(graph.flags, graph.typed, batches, (), b"", dla)
                found.append(Attempt(name, graph.file, options))
    if not found or found[0].precision != precision:
        kind = precision if scales is None else f"{precision} with {scales} scales"
        has = ", ".join(sorted(files))
        raise Stop(
            REFUSED, f"this bundle holds no graph that {trt.__name__} {trt.__version__} takes as {kind}; it has {has}"
        )
    return found


class Success(NamedTuple):
    """An attempt that built, the kernels that it became, and how many quantized layers of it are float."""

    attempt: Attempt
    built: builder.Built
    kernels: tuple[layers.Kernel, ...]
    lost: int


def build(
    folder: Path,
    trt: Any,
    gpu: Gpu,
    manifest: dict[str, Any],
    precision: str,
    dla: int | None,
    scales: str | None = None,
) -> dict[str, Any]:
    """Builds what was asked for as well as this TensorRT can, and writes the engine and what is known of it.

    The first attempt in which every quantized layer runs in INT8 is taken, else the one in which most do, else FP16.

    Raises:
        Stop: this TensorRT takes none of them.
    """
    hashes = {entry["name"]: entry["sha256"] for entry in manifest["files"]}
    key = "|".join([trt.__name__, trt.__version__, gpu.name, gpu.architecture, gpu.driver])
    cache = folder / f"timing-{hashlib.sha256(key.encode()).hexdigest()[:12]}.cache"
    planned = set(manifest["int8_layers"])
    refused: list[str] = []
    best: Success | None = None
    for attempt in attempts(trt, manifest, precision, dla, scales):
        if best is not None and (best.lost == 0 or attempt.precision != precision):
            break
        content = check_hash(folder / attempt.file, hashes[attempt.file])
        try:
            found = _try(trt, attempt, content, cache, manifest["operators"], planned)
        except builder.Refused as error:
            refused.append(f"{attempt.precision} from {attempt.file}: {error}")
        else:
            if found.lost:
                run = f"{len(planned) - found.lost} of {len(planned)} quantized layers run in int8"
                refused.append(f"{attempt.precision} from {attempt.file}: {run}")
            in_part = attempt.precision != "int8" or found.lost < len(planned)
            if in_part and (best is None or found.lost < best.lost):
                best = found
            if not found.lost:
                continue
        print(f"refused: {refused[-1]}", file=sys.stderr)
    if best is None:
        raise Stop(REFUSED, f"{trt.__name__} {trt.__version__} built none of {len(refused)}: {refused[-1]}")
    return _write(folder, trt, gpu, best, {"asked": precision, "refused": refused, "dla": dla}, hashes)


def _try(
    trt: Any, attempt: Attempt, content: bytes, cache: Path, operators: dict[str, str], planned: set[str]
) -> Success:
    # RTX's timing cache is deprecated and does nothing.
    known = None if trt.__name__ == "tensorrt_rtx" else cache.read_bytes() if cache.exists() else b""
    built = builder.build_alone(trt.__name__, content, attempt.options._replace(timing_cache=known))
    if built.timing_cache is not None:
        cache.write_bytes(built.timing_cache)
    kernels = _kernels(trt, built, operators)
    int8 = {node for kernel in kernels if kernel.precision == "int8" for node in kernel.nodes}
    # Where TensorRT does not say what it made of a graph, it is taken at its word.
    judged = attempt.precision == "int8" and bool(kernels)
    return Success(attempt, built, kernels, len(planned - int8) if judged else 0)


def _write(
    folder: Path, trt: Any, gpu: Gpu, best: Success, asked: dict[str, Any], hashes: dict[str, str]
) -> dict[str, Any]:
    (folder / ENGINE_FILE).write_bytes(best.built.engine)
    found = {
        **asked,
        "file": ENGINE_FILE,
        "sha256": hashlib.sha256(best.built.engine).hexdigest(),
        "size_bytes": len(best.built.engine),
        "precision": best.attempt.precision,
        "graph": {"file": best.attempt.file, "sha256": hashes[best.attempt.file]},
        "module": trt.__name__,
        "version": trt.__version__,
        "typed": builder.is_typed(trt, best.attempt.options.typed),
        "gpu": gpu.name,
        "architecture": gpu.architecture,
        "driver": gpu.driver,
        "kernels": [kernel._asdict() for kernel in best.kernels],
    }
    (folder / ENGINE).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")
    return found


def _kernels(trt: Any, built: builder.Built, operators: dict[str, str]) -> tuple[layers.Kernel, ...]:
    """What was made of each layer: the builder's word, else the inspector's of the engine that was built just now."""
    if built.layers:
        found: tuple[layers.Kernel, ...] = layers.from_log(built.layers, operators)
        return found
    text = builder.inspected(trt, built.engine)
    found = () if text is None else layers.from_inspector(text, operators)
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="the bundle's own unless told")
    parser.add_argument("--scales", choices=("fp16", "fp32"), help="of INT8's quantizers; what works best unless told")
    parser.add_argument("--dla", type=int, metavar="CORE", help="a deep-learning accelerator, where TensorRT has it")
    arguments = parser.parse_args()
    manifest = read_manifest(HERE)
    trt, gpu = import_tensorrt(), gpu_here()
    check_gpu(trt, gpu)
    precision = arguments.precision or manifest["precision"]
    found = build(HERE, trt, gpu, manifest, precision, arguments.dla, arguments.scales)
    planned = set(manifest["int8_layers"])
    int8 = {node for kernel in found["kernels"] if kernel["precision"] == "int8" for node in kernel["nodes"]} & planned
    size = f"{found['size_bytes'] / 1e6:.1f} MB"
    print(f"{found['file']}: {found['precision']}, {size}, {found['module']} {found['version']}")
    if found["precision"] == "int8":
        print(f"{len(int8)} of {len(planned)} quantized layers run in int8")
    if found["precision"] != found["asked"]:
        print(f"WARNING: {found['asked']} could not be built, this is {found['precision']}", file=sys.stderr)


if __name__ == "__main__":
    run_script(main)

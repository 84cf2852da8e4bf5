"""Checks this bundle's engine against its golden pairs, times it, and writes result.json. Python 3.8, NumPy, TensorRT.

    python3 run.py [--seconds S] [--batch N]

Nothing is deserialized before its hash, its TensorRT and its GPU are those of engine.json. Times are of a CUDA graph,
with the image already on the GPU: between CUDA events, and by the clock of the host. Energy is read from a Jetson's own
rails. Times of layers are TensorRT's own, of runs after these, without a graph.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from build import gpu_here, import_tensorrt
from builder import logger
from checked import FAILED, HERE, UNAVAILABLE, USAGE, Stop, read_engine, read_manifest, run_script
from cuda_driver import Cuda, CudaError, Gpu
from engine import Runner
from layer_times import RUNS, layer_times, middle_mean
from layers import Kernel, kernel_called
from rails import Meter, find_rails, total

RESULT = "result.json"
WARM_UP_S = 0.2
FEWEST = 10
UNSTEADY = 0.025  # coefficient of variation beyond which trtexec, too, asks for locked clocks
# Largest difference of a logit, absolute plus a share of the largest: what edgecnn allows these precisions.
TOLERANCES = {"fp32": (1e-4, 1e-4), "fp16": (1e-2, 2e-2)}
IDENTICAL_DB = 300.0  # stands for an infinite ratio, which JSON cannot hold


def parity(want: Any, got: Any, precision: str, gate: dict[str, float]) -> dict[str, Any]:
    """Logits ``(n, classes)`` against the eager model's, and the reasons to reject them, if any.

    Raises:
        Stop: they cannot be compared at all.
    """
    reasons = []
    if want.shape != got.shape or not np.isfinite(got).all():
        raise Stop(FAILED, f"rejected: logits of shape {got.shape}, expected {want.shape}; or they are not finite")
    a, b = want.astype(np.float64), got.astype(np.float64)
    noise, signal = float(np.square(a - b).sum()), float(np.square(a).sum())
    log_p, log_q = _log_softmax(a), _log_softmax(b)
    kl = float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean())
    agreement = float((a.argmax(1) == b.argmax(1)).mean())
    max_abs, largest = float(np.abs(a - b).max()), float(np.abs(a).max())
    if precision in TOLERANCES:
        absolute, relative = TOLERANCES[precision]
        if max_abs > absolute + relative * largest:
            bound = absolute + relative * largest
            reasons.append(f"largest difference {max_abs:.3g}, {precision} allows {bound:.3g}")
    if kl > gate["max_kl"]:
        reasons.append(f"KL divergence {kl:.4f}, at most {gate['max_kl']:g} is allowed")
    return {
        "n": len(a),
        "max_abs": max_abs,
        "cosine": float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-30)),
        "sqnr_db": _decibels(signal, noise),
        "agreement": agreement,
        "kl": kl,
        "reasons": reasons,
    }


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return IDENTICAL_DB
    return max(-IDENTICAL_DB, min(IDENTICAL_DB, 10 * math.log10(signal / noise))) if signal > 0 else -IDENTICAL_DB


def _log_softmax(logits: Any) -> Any:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def batch_size(manifest: dict[str, Any], asked: int | None) -> int:
    """Images per call: as many as the bundle is for, or as asked where its batch is dynamic; one unless told.

    Raises:
        Stop: it is not for so many.
    """
    fixed, most = manifest["interface"]["batch"], manifest["batches"][-1]
    if asked is None or asked == fixed:
        return int(fixed or 1)
    if fixed is not None or not 1 <= asked <= most:
        expected = f"1 to {most}" if fixed is None else fixed
        raise Stop(USAGE, f"--batch is {asked}, this bundle takes {expected}")
    return asked


def answers(runner: Any, images: Any, batch: int) -> Any:
    """Logits of any number of images, batch by batch; the last one is filled up with its first image."""
    found = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        filled = np.concatenate([part, np.repeat(part[:1], batch - len(part), axis=0)])
        found.append(runner.run(np.ascontiguousarray(filled, np.float32))[: len(part)])
    return np.concatenate(found)


def spread(values: list[float]) -> dict[str, float]:
    """Of times in milliseconds."""
    array = np.array(values)
    found = {name: float(np.percentile(array, share)) for name, share in PERCENTILES.items()}
    return dict(found, mean=float(array.mean()), min=float(array.min()), max=float(array.max()), n=len(values))


PERCENTILES = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}


def benchmark(cuda: Any, runner: Any, image: Any, seconds: float, rails: list[Any]) -> dict[str, Any]:
    """Latency of one batch, and power while it runs."""
    runner.run(image)  # TensorRT may build kernels at the first run
    notes = []
    try:
        graph = runner.captured()
    except CudaError as error:
        graph = None
        notes.append(f"no CUDA graph: {error}")

    def launch() -> None:
        if graph is None:
            runner.execute()
        else:
            cuda.call("cuGraphLaunch", graph, runner.stream)

    start, stop = cuda.make("cuEventCreate", 0), cuda.make("cuEventCreate", 0)
    gpu_ms: list[float] = []
    host_ms: list[float] = []
    ends = time.monotonic() + WARM_UP_S
    while time.monotonic() < ends:
        launch()
        cuda.synchronize(runner.stream)
    with Meter(rails) as meter:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends or len(gpu_ms) < FEWEST:
            before = time.perf_counter()
            cuda.call("cuEventRecord", start, runner.stream)
            launch()
            cuda.call("cuEventRecord", stop, runner.stream)
            gpu_ms.append(cuda.elapsed_ms(start, stop))
            host_ms.append(1000 * (time.perf_counter() - before))
    variation = float(np.std(gpu_ms) / np.mean(gpu_ms))
    if variation > UNSTEADY:
        notes.append(f"times vary by {variation:.1%}; lock the clocks (jetson_clocks, or nvidia-smi -lgc)")
    power = None
    if meter.joules is not None:
        power = {
            "rails_w": meter.mean,
            "total_w": total(meter.mean),
            "samples": meter.samples,
            "joules_per_image": meter.joules / (len(gpu_ms) * len(image)),
        }
    return {
        "batch": len(image),
        "cuda_graph": graph is not None,
        "gpu_ms": spread(gpu_ms),
        "host_ms": spread(host_ms),
        "variation": variation,
        "power": power,
        "notes": notes,
        "calls_ms": [round(ms, 5) for ms in gpu_ms],
    }


def machine(gpu: Gpu, root: Path = Path("/")) -> dict[str, Any]:
    """Facts of this machine, in the words of edgecnn's own benchmarks."""
    board = root / "proc/device-tree/model"
    facts = {
        "cpu": {"model": platform.machine(), "cores": os.cpu_count() or 0},
        "gpu": gpu._asdict(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    return dict(facts, board=board.read_text().strip("\0\n")) if board.exists() else facts


def layer_rows(spent: dict[str, list[float]], kernels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per layer, in the order that they ran in, with the nodes of the graph that it stands for.

    Args:
        spent: milliseconds of every run, by TensorRT's name of the layer.
        kernels: of ``engine.json``.
    """
    known = [Kernel(**dict(kernel, nodes=tuple(kernel["nodes"]))) for kernel in kernels]
    rows = []
    for name, runs_ms in spent.items():
        kernel = kernel_called(name, known)
        row = {"name": name, "nodes": kernel.nodes, "kind": kernel.kind, "precision": kernel.precision}
        rows.append(dict(row, ms=middle_mean(runs_ms)))
    return rows


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="to measure; energy wants 10 or more")
    parser.add_argument("--batch", type=int, metavar="N", help="images per call, where that is dynamic; 1 unless told")
    arguments = parser.parse_args()
    manifest = read_manifest(HERE)
    batch = batch_size(manifest, arguments.batch)
    trt, gpu = import_tensorrt(), gpu_here()
    described, content = read_engine(HERE, trt.__name__, trt.__version__, gpu.architecture)
    with np.load(HERE / "golden.npz", allow_pickle=False) as golden:
        inputs, want = golden["inputs"], golden["logits"]
    try:
        cuda, largest = Cuda(), manifest["interface"]["batch"] or manifest["batches"][-1]
        with closing(Runner(trt, cuda, logger(trt), content, largest)) as runner:
            found = parity(want, answers(runner, inputs, batch), described["precision"], manifest["gate"])
            image = np.ascontiguousarray(np.repeat(inputs[:1], batch, axis=0), np.float32)
            timed = benchmark(cuda, runner, image, arguments.seconds, find_rails(Path("/sys")))
            spent = layer_times(trt, runner, [image] * RUNS)
    except (CudaError, RuntimeError) as error:
        raise Stop(UNAVAILABLE, f"the engine did not run: {error}") from error
    result = {
        "schema": 1,
        "bundle": {"sha256": manifest["sha256"], "model": manifest["model"], "edgecnn": manifest["edgecnn"]},
        "engine": described,
        "parity": found,
        "latency": timed,
        "layers": layer_rows(spent, described["kernels"]),
        "machine": machine(gpu),
    }
    (HERE / RESULT).write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{described['precision']} on {gpu.name}: {timed['gpu_ms']['p50']:.3f} ms p50 on the GPU, batch {batch}")
    for note in timed["notes"]:
        print(f"note: {note}", file=sys.stderr)
    if found["reasons"]:
        raise Stop(FAILED, "rejected: " + "; ".join(found["reasons"]))
    print(f"pass on {found['n']} golden pairs, SQNR {found['sqnr_db']:.1f} dB; all of it is in {HERE / RESULT}")


if __name__ == "__main__":
    run_script(main)

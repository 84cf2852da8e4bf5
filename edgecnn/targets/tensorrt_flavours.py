"""Which TensorRT builds here: the one for the GPU in this machine, the one for RTX that needs none, or none."""

import importlib
import importlib.util
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from edgecnn.errors import BuildError, UnavailableError, UsageError, unknown_name
from edgecnn.targets.base import Options
from edgecnn.targets.bundle.builder import Built, inspected
from edgecnn.targets.bundle.cuda_driver import find_gpu
from edgecnn.targets.bundle.layers import Kernel, from_inspector, from_log

AUTO, PROPER, RTX, BUNDLE = "auto", "tensorrt", "tensorrt-rtx", "bundle"
FLAVOURS = (AUTO, PROPER, RTX, BUNDLE)
MODULES = {PROPER: "tensorrt", RTX: "tensorrt_rtx", BUNDLE: ""}
DISTRIBUTIONS = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx-cu13"}
RTX_ARCHITECTURES = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")  # of tensorrt_rtx 1.7.1
INSTALL = "pip install 'edgecnn[tensorrt-rtx]'; or --flavour bundle, which needs nothing here and builds on the device"


@dataclass(frozen=True)
class Flavour:
    """A TensorRT, and why it was taken.

    Args:
        version: of its package; empty for the bundle.
        architecture: of this machine's GPU, where the engine is for that one.
    """

    name: str
    why: str
    version: str = ""
    architecture: str = ""

    @property
    def module(self) -> str:
        """That it is imported as."""
        return MODULES[self.name]

    def kernels(self, trt: Any, built: Built, operators: dict[str, str]) -> tuple[Kernel, ...]:
        """What the build made of a graph: RTX's builder says it, of TensorRT the opened engine is asked."""
        if self.name == RTX:
            return from_log(built.layers, operators)
        text = inspected(trt, built.engine)
        if text is None:
            raise BuildError(f"{self.name} {trt.__version__} does not open the engine that it just built")
        return from_inspector(text, operators)


def choose(options: Options) -> tuple[Flavour, tuple[str, ...]]:
    """The flavour, and the architectures in TensorRT's own spelling.

    Raises:
        UsageError: unknown names, or architectures for a flavour that takes none.
        UnavailableError: what the flavour needs is missing, with the exact remedy.
    """
    wanted = options.flavour or AUTO
    if wanted not in FLAVOURS:
        raise unknown_name("flavour", wanted, FLAVOURS)
    flavour = _find(wanted)
    if options.gpu_arch and flavour.name != RTX:
        raise UsageError(
            f"--gpu-arch is for --flavour {RTX} alone, {flavour.name} builds for the GPU it runs on; drop it"
        )
    for name in options.gpu_arch:
        if name not in RTX_ARCHITECTURES:
            raise UsageError(
                f"--gpu-arch {name!r} is no RTX architecture, known: {', '.join(RTX_ARCHITECTURES)};"
                " for Jetson and data-centre GPUs there is the bundle"
            )
    return flavour, tuple(dict.fromkeys(name.upper() for name in options.gpu_arch))


def load(module: str) -> Any:
    """The package of a flavour.

    Raises:
        UnavailableError: it is not installed, or its libraries are not.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        remedy = (
            INSTALL if module == MODULES[RTX] else "install TensorRT from NVIDIA for this GPU, or use --flavour bundle"
        )
        raise UnavailableError(f"{module} cannot be imported ({error}): {remedy}") from error


def _find(wanted: str) -> Flavour:
    if wanted == BUNDLE:
        return Flavour(BUNDLE, "the device builds the engine")
    gpu, no_gpu = find_gpu()
    installed = {name for name in (PROPER, RTX) if _is_installed(MODULES[name])}
    lacks = no_gpu or ("" if PROPER in installed else "its package is not installed")
    if wanted == PROPER or (wanted == AUTO and gpu is not None and PROPER in installed):
        if lacks or gpu is None:
            raise UnavailableError(
                f"--flavour {PROPER} builds with its package on its GPU: {lacks}; {_otherwise(installed)}"
            )
        return Flavour(PROPER, f"its package and {gpu.name} are here", _version(PROPER), gpu.architecture)
    if RTX not in installed:
        raise UnavailableError(f"target tensorrt needs {MODULES[RTX]}: {INSTALL}")
    why = f"TensorRT itself needs its package and its GPU: {lacks}" if wanted == AUTO else "asked for"
    return Flavour(RTX, why, _version(RTX))


def _is_installed(module: str) -> bool:
    """A folder of that name beside the user, such as one of artifacts, is found too, but has no file."""
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None


def _otherwise(installed: set[str]) -> str:
    return f"--flavour {RTX} needs no GPU" if RTX in installed else INSTALL


def _version(name: str) -> str:
    try:
        return metadata.version(DISTRIBUTIONS[MODULES[name]])
    except metadata.PackageNotFoundError:
        return str(load(MODULES[name]).__version__)

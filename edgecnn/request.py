"""What a user asks for, and what that comes to once the recipe has filled the gaps."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from edgecnn.errors import UnavailableError, UsageError, unknown_name
from edgecnn.files import check_place
from edgecnn.models.registry import ModelSpec, find_model
from edgecnn.models.sources import is_file, sources, trained_here
from edgecnn.names import BALANCED, BEST, EFFORTS, LARGEST_BATCH, PRECISIONS
from edgecnn.recipe import Data, Gate, Recipe, load_recipe
from edgecnn.targets.base import Options, Target
from edgecnn.targets.registry import find_target

EXPORT_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "threadpoolctl", "safetensors")
SMALLEST_SIDE = 32  # every network here halves its input five times
# Beyond these a slip of the finger is likelier than a wish, and memory runs out without a message.
LARGEST_SIDE = 4096
MOST_CLASSES = 1_000_000


@dataclass(frozen=True)
class ExportRequest:
    """What a user asks for; None is the recipe's own choice.

    Args:
        size: (height, width) in pixels.
        batch: images per inference; None is dynamic.
        calib: folder, CSV file or set to calibrate INT8 on; ``synthetic`` makes images from the network's batch norms.
        calib_cache: file that keeps what INT8 calibration found, and gives it back to an export of the same inputs.
        max_drop_pp: largest loss of top-1, percentage points.
        reduce_range: INT8 weights are for x86 CPUs without VNNI, or not; None is what this machine's CPU needs.
        effort: of INT8, ``fast``, ``balanced`` (the default) or ``best``: how far the ladder is climbed.
        flavour: of TensorRT: ``auto``, ``tensorrt``, ``tensorrt-rtx`` or ``bundle``.
        gpu_arch: GPU architectures that a TensorRT-RTX engine is for, such as ``sm86``; none is portable.
        fp16_scales: TensorRT's INT8 has scales of half precision, or of single; None is the flavour's own choice.
        recipe: file that says which images the weights expect, their classes, and the bounds to keep.
    """

    model: str
    target: str
    precision: str = "fp32"
    weights: str | None = None
    calib: str | None = None
    calib_cache: Path | None = None
    size: tuple[int, int] | None = None
    num_classes: int | None = None
    batch: int | None = 1
    max_drop_pp: float | None = None
    effort: str | None = None
    reduce_range: bool | None = None
    flavour: str | None = None
    gpu_arch: tuple[str, ...] = ()
    fp16_scales: bool | None = None
    out: Path | None = None
    force: bool = False
    recipe: Path | None = None


@dataclass(frozen=True)
class Plan:
    """A request with every gap filled.

    Args:
        note: what was taken for granted, which the user should know.
    """

    spec: ModelSpec
    target: Target
    precision: str
    source: str
    data: Data
    calibration: str | None
    calib_cache: Path | None
    num_classes: int | None
    batch: int | None
    effort: str
    gate: Gate
    gated: bool
    note: str
    out: Path
    force: bool


def plan(request: ExportRequest) -> Plan:
    """Checks a request before any work is done.

    Raises:
        UsageError: unknown names, or flags that contradict each other.
        UnavailableError: a package that this export needs is missing.
    """
    spec, target = find_model(request.model), find_target(request.target)
    if request.precision not in PRECISIONS:
        raise unknown_name("precision", request.precision, PRECISIONS)
    recipe = load_recipe(spec.name, request.recipe)
    source = recipe.weights if request.weights is None else request.weights
    if source is None:
        raise UsageError(
            f"{spec.name} has no weights of its own: pass --weights with a .safetensors or .pth state dict,"
            f" or one of {', '.join(sources(spec.name))}"
        )
    if request.calib is not None and request.precision != "int8":
        raise UsageError(f"--calib is for --int8 alone, {request.precision} needs no calibration; drop one of them")
    out = request.out or Path(f"{spec.name}-{target.name}-{request.precision}")
    if request.calib_cache is not None:
        _check_cache(request.calib_cache, request.precision, out)
    if request.effort is not None and request.precision != "int8":
        raise UsageError(f"--effort is for --int8 alone, {request.precision} has no ladder to climb; drop one of them")
    if request.reduce_range is not None and request.precision != "int8":
        raise UsageError(f"--reduce-range is for --int8 alone, {request.precision} has no codes; drop one of them")
    if request.fp16_scales is not None and request.precision != "int8":
        raise UsageError(f"--fp16-scales is for --int8 alone, {request.precision} has no scales; drop one of them")
    if request.effort not in (None, *EFFORTS):
        raise unknown_name("effort", str(request.effort), EFFORTS)
    if request.batch is not None and not 1 <= request.batch <= LARGEST_BATCH:
        raise UsageError(f"--batch is {request.batch}, expected 1 to {LARGEST_BATCH}")
    if request.num_classes is not None and not 1 <= request.num_classes <= MOST_CLASSES:
        raise UsageError(f"--num-classes is {request.num_classes}, expected 1 to {MOST_CLASSES:,}")
    gate = with_max_drop(recipe.gate, request.max_drop_pp)
    if request.size is not None:
        _check_size("--size", request.size)
    require_packages()
    data, note = _data(recipe, source)
    if request.size is not None:
        data = replace(data, preprocess=replace(data.preprocess, height=request.size[0], width=request.size[1]))
    _check_size("the recipe's size", (data.preprocess.height, data.preprocess.width))
    calibration = data.calibration if request.calib is None else request.calib
    options = Options(request.flavour, request.gpu_arch, request.reduce_range, request.fp16_scales)
    target = target.configured(options)
    if request.effort == BEST and target.absence:
        raise UnavailableError(
            f"--effort best times layers on the device, and {target.name} cannot run here: {target.absence};"
            f" use --effort {BALANCED}"
        )
    return Plan(
        spec=spec,
        target=target,
        precision=request.precision,
        source=source,
        data=data,
        calibration=calibration if request.precision == "int8" else None,
        calib_cache=request.calib_cache,
        num_classes=request.num_classes,
        batch=request.batch,
        effort=request.effort or BALANCED,
        gate=gate,
        gated=source != "random",
        note=note,
        out=out,
        force=request.force,
    )


def _data(recipe: Recipe, source: str) -> tuple[Data, str]:
    """What images the weights expect, and what was taken for granted there."""
    if recipe.own is not None or not is_file(source):
        return recipe.data(source), ""
    if trained_here(source):
        return recipe.data("builtin"), ""
    return recipe.data(source), "weights of yours, taken to expect ImageNet's preprocessing: --recipe says what else"


def _check_size(what: str, size: tuple[int, int]) -> None:
    if not SMALLEST_SIDE <= min(size) <= max(size) <= LARGEST_SIDE:
        raise UsageError(f"{what} is {size[0]}x{size[1]}, expected sides of {SMALLEST_SIDE} to {LARGEST_SIDE}")


def _check_cache(path: Path, precision: str, out: Path) -> None:
    if precision != "int8":
        raise UsageError(f"--calib-cache is for --int8 alone, {precision} needs no calibration; drop one of them")
    if out.absolute() in path.absolute().parents:
        raise UsageError(f"--calib-cache {path} lies in --out {out}, whose artifact holds its own files alone; move it")
    if not path.is_file():  # one that is there is read alone
        check_place(path, "--calib-cache")


def with_max_drop(gate: Gate, max_drop_pp: float | None) -> Gate:
    """The gate with another largest drop, if one is asked for.

    Raises:
        UsageError: it is no number of percentage points.
    """
    if max_drop_pp is None:
        return gate
    if not 0 <= max_drop_pp <= 100:  # also false for NaN
        raise UsageError(f"--max-drop is {max_drop_pp}, expected percentage points from 0 to 100")
    return replace(gate, max_drop_pp=max_drop_pp)


def require_packages() -> None:
    """Refuses to export where torch and its companions are missing; nothing is ever installed."""
    missing = [package for package in EXPORT_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise UnavailableError(f"export needs {', '.join(missing)}: pip install 'edgecnn[export]'")

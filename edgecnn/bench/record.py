"""A run on record: what was timed, where, how steady, and each artifact's evidence. ``report`` and ``compare`` read it.

The document is one JSON file. Milliseconds, bytes, joules and watts are in the names; what could not be measured is
null, and a word beside it says why.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec

from edgecnn.errors import InputError
from edgecnn.files import check_regular

SCHEMA = 1
# Figures that may be absent, for people.
FIGURES = {
    "load_ms": "load time",
    "first_ms": "first answer",
    "memory_bytes": "memory",
    "ratio": "the ratio",
    "layers": "time by layer",
}

RAPL, NVML, RAILS = "RAPL", "NVML", "Jetson rails"  # sources of joules
MEASURES = {RAPL: "all of the CPU's packages", NVML: "all of the GPUs' boards", RAILS: "all of the board's"}
IMAGES = "golden pairs of each artifact"  # that ``bench`` times


# What lies beyond these nobody has measured, and no chart has an axis for: 1e12 ms are 30 years.
Milliseconds = Annotated[float, msgspec.Meta(ge=1e-9, le=1e12)]
Joules = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


def now() -> str:
    """Such as ``2026-01-31T23:59:59Z``."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Ratio(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many times as long a row takes as the run's first: below 1 it is faster.

    Args:
        ratio: of the medians.
        ratio_ci95: bootstrap interval over rounds.
    """

    against: str
    ratio: float
    ratio_ci95: tuple[float, float]


class Distribution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Milliseconds of ``n`` counted calls or requests, the tail unclipped.

    Args:
        p99_ms: None where ``n`` is too small to have one.
    """

    n: int
    p50_ms: Milliseconds
    p90_ms: Milliseconds
    p99_ms: Milliseconds | None
    mean_ms: Milliseconds


class Times(Distribution, frozen=True, forbid_unknown_fields=True):
    """Milliseconds per call; in throughput mode of each turn, on average over its calls.

    Args:
        rounds_ms: every counted call, in order. Where there is no p99, its row's ``absences`` says why.
    """

    min_ms: Milliseconds
    rounds_ms: tuple[Milliseconds, ...]


class Requests(Distribution, frozen=True, forbid_unknown_fields=True):
    """Milliseconds from a request's begin to its answer, one batch, with as many others as the runtime likes.

    Args:
        at_once: how many those were, itself counted; None in runs of before it was recorded.
    """

    max_ms: Milliseconds
    at_once: int | None = None


class Energy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Joules of one image, or why there are none.

    Args:
        source: one of ``MEASURES``, or empty.
        absence: "not measurable: " and why, or empty.
    """

    joules_per_image: Joules | None
    source: str
    absence: str


class LayerTime(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kernel by the runtime's own profiler.

    Args:
        module: PyTorch module, such as ``features.0.0``; empty where the runtime added the kernel.
        kind: the runtime's own word.
        share: of the whole, 0..1.
    """

    module: str
    kind: str
    precision: str
    ms: float
    share: float


class Roofline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arithmetic per second of a row, beside what this machine was measured to reach.

    Args:
        gops: 2 x multiply-accumulates per second / 1e9, at the median.
        peak_gops: of the precision that most of the row runs in.
        share: ``gops / peak_gops``.
    """

    precision: str
    gops: float
    peak_gops: float
    share: float


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One candidate of a run.

    Args:
        name: unique in the run: an artifact's folder name, ``eager`` or ``compile``.
        kind: ``artifact``, ``eager`` or ``compile``.
        status: ``ok``, or in one line why there are no figures.
        precision: that the artifact was exported with.
        executed: multiply-accumulates by the precision that kernels really compute in, as shares, 0..1; empty where the
            runtime does not say.
        runtime: ``openvino 2026.4.1``.
        images_per_s: at the median; in throughput mode over the whole run.
        requests: of throughput mode alone.
        load_ms, first_ms: opening, and the first inference after it.
        memory_bytes: resident memory that opening and running added.
        size_bytes: of the files that the runtime opens.
        ratio: None for the run's reference, and for a row that was timed alone, which says so in ``absences``.
        absences: why a figure is None, by its name here, where it was asked for and could not be had.
        unstable: why these times should not be trusted, or empty.
        manifest: of the artifact, whole but for the class names; None for PyTorch itself.
    """

    name: str
    kind: str
    model: str
    target: str
    precision: str
    status: str
    runtime: str = ""
    executed: dict[str, float] = {}
    times: Times | None = None
    requests: Requests | None = None
    images_per_s: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    memory_bytes: int | None = None
    size_bytes: int | None = None
    ratio: Ratio | None = None
    energy: Energy | None = None
    roofline: Roofline | None = None
    layers: tuple[LayerTime, ...] = ()
    absences: dict[str, str] = {}
    unstable: tuple[str, ...] = ()
    manifest: dict[str, Any] | None = None

    @property
    def alone(self) -> bool:
        """Whether it was not timed in turns with the others, and so is to be held against none of them."""
        return "ratio" in self.absences

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """What is not there and why, a sentence for each reason; a p99 that is not there says so in its cell."""
        reasons: dict[str, list[str]] = {}
        for figure, why in self.absences.items():
            if figure != "p99_ms":
                reasons.setdefault(why, []).append(FIGURES.get(figure, figure))
        return tuple(f"{_listed(names)} not measured: {why}" for why, names in reasons.items())


def _listed(names: list[str]) -> str:
    return f"{names[0]} was" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} were"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was asked for.

    Args:
        mode: ``latency`` or ``throughput``.
        threads: of each runtime; None is the runtime's own choice.
        duration_s: of counted calls, per row.
    """

    mode: str
    threads: int | None
    batch: int
    duration_s: float
    images: str


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole run.

    Args:
        kind: ``bench`` or ``benchmark``.
        created: ISO 8601, UTC.
        machine: facts by name, as in ``edgecnn.bench.machine``; nested tables of plain values.
        verdict: for people, such as which row to ship here; may be empty.
    """

    schema: int
    kind: str
    edgecnn: str
    created: str
    machine: dict[str, Any]
    settings: Settings
    rows: tuple[Row, ...]
    verdict: str = ""

    @property
    def reference(self) -> Row | None:
        """The row that ratios are to: the first that was timed, but for those that were timed alone."""
        return next((row for row in self.rows if row.times is not None and not row.alone), None)


def encode(run: Run) -> bytes:
    """The document, UTF-8 JSON. Of a file name that is no Unicode, odd bytes are question marks."""
    return msgspec.json.format(msgspec.json.encode(_unicode(msgspec.to_builtins(run))), indent=1)


def _unicode(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_unicode(key): _unicode(item) for key, item in value.items()}
    return [_unicode(item) for item in value] if isinstance(value, list | tuple) else value


def read_run(path: Path) -> Run:
    """A run from a file that ``bench --out`` or ``benchmark --out`` wrote.

    Raises:
        InputError: there is none, it cannot be read, is no run, or is of another schema.
    """
    check_regular(path, "expected a run that `edgecnn bench --out` wrote")
    try:
        run = msgspec.json.decode(path.read_bytes(), type=Run)
    except FileNotFoundError as error:
        expected = "expected a run that `edgecnn bench --out` or `edgecnn benchmark --out` wrote"
        raise InputError(f"{path}: no such file; {expected}") from error
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: is no run that `edgecnn bench --out` wrote ({error})") from error
    if run.schema != SCHEMA:
        raise InputError(f"{path}: has schema {run.schema}, this edgecnn reads {SCHEMA}; measure again")
    return run

"""A model for every installed target in every precision: built, checked, timed, and which one to ship here."""

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from edgecnn.artifact import REJECTED, VERIFIED
from edgecnn.bench.bench import BenchRequest, bench, check
from edgecnn.bench.latency import Race, differs
from edgecnn.bench.record import Row, Run
from edgecnn.bench.steady import UNSTABLE
from edgecnn.errors import EdgecnnError, StorageError, UnavailableError, UsageError
from edgecnn.export_process import export_apart
from edgecnn.models.registry import find_model
from edgecnn.names import DURATION_S, LATENCY, PRECISIONS
from edgecnn.progress import Progress
from edgecnn.request import ExportRequest, plan
from edgecnn.targets.registry import TARGETS


@dataclass(frozen=True)
class BenchmarkRequest:
    """What a user asks for; None is the recipe's own choice, as in ``ExportRequest``.

    Args:
        targets: None is every one whose packages are installed.
        keep: folder to keep the artifacts in, ``TARGET-PRECISION`` each; None keeps none.
        batch: images per call, which the artifacts are exported for.
        threads, duration_s, mode, layers: as in ``BenchRequest``.
    """

    model: str
    weights: str | None = None
    size: tuple[int, int] | None = None
    num_classes: int | None = None
    calib: str | None = None
    effort: str | None = None
    targets: tuple[str, ...] | None = None
    keep: Path | None = None
    batch: int = 1
    threads: int | None = None
    duration_s: float = DURATION_S
    mode: str = LATENCY
    layers: bool = False
    recipe: Path | None = None


def benchmark(request: BenchmarkRequest, progress: Progress | None = None) -> Run:
    """Exports, checks and times; what fails has a row that says so, and does not stop the others.

    Raises:
        UsageError: names or values that are wrong for all of them.
        InputError: weights that cannot be used, or images that nothing can be calibrated on.
        StorageError: ``keep`` is occupied.
        UnavailableError: nothing of it can run here.
        EdgecnnError: nothing could be built; of the first of them.
    """
    progress = progress or Progress()
    targets = request.targets or tuple(name for name, target in TARGETS.items() if not target.missing())
    if len(set(targets)) < len(targets):
        raise UsageError(f"--targets {','.join(targets)} names one target twice; give each once")
    timing = BenchRequest(
        (),
        threads=request.threads,
        batch=request.batch,
        duration_s=request.duration_s,
        mode=request.mode,
        layers=request.layers,
    )
    check(timing)
    with _folder(request.keep) as folder:
        wanted = {
            f"{target}-{precision}": _export_request(request, target, precision, folder)
            for target in targets
            for precision in PRECISIONS
        }
        errors: dict[str, EdgecnnError] = {}
        for name, each in wanted.items():
            try:
                plan(each)  # what is wrong with the last one is said before the first is built
            except UnavailableError as error:
                errors[name] = error
        possible = {name: each for name, each in wanted.items() if name not in errors}
        if possible:
            with progress.stage("export", len(possible)):
                for name, failed in export_apart(possible):
                    if failed is not None:
                        errors[name] = failed
                    progress.advance()
        built = tuple(folder / name for name in wanted if name not in errors)
        if not built:
            raise next(iter(errors.values()))
        run = bench(dataclasses.replace(timing, artifacts=built), progress)
    rows = {row.name: row for row in run.rows}
    rows |= {name: _failed(name, wanted[name], error) for name, error in errors.items()}
    ordered = tuple(rows[name] for name in wanted)
    return replace(run, kind="benchmark", rows=ordered, verdict=verdict(ordered))


def verdict(rows: Sequence[Row]) -> str:
    """Which row to ship here: the fastest that passed its gate, or a more accurate one that is as fast within noise.

    Args:
        rows: of one race, so that every row with times has the same rounds.
    """
    timed = [row for row in rows if row.times is not None and _status(row) != REJECTED]
    passed = [row for row in timed if _status(row) == VERIFIED]
    if not timed:
        return "ship none of these here: none that ran passed its gate"
    names = passed or timed
    race = Race({row.name: row.times.rounds_ms for row in names if row.times is not None})
    leaders = race.leaders([row.name for row in names])
    equals = [row for row in names if row.name in leaders]
    chosen = max(equals, key=_sqnr_db)
    text = f"ship {chosen.name} here: {_margin(race, chosen.name, [row.name for row in equals])}"
    for others, nearness in (
        ([row.name for row in equals if _sqnr_db(row) < _sqnr_db(chosen)], "less like the eager model"),
        ([row.name for row in equals if row is not chosen and _sqnr_db(row) == _sqnr_db(chosen)], "as close to it"),
    ):
        if others:
            which = "which is" if len(others) == 1 else "which are"
            text += f"; no difference beyond noise from {' and '.join(others)}, {which} {nearness}"
    if not passed:
        text += f"; its gate said {_status(chosen)}, none was verified"
    return text + (UNSTABLE if chosen.unstable else "")


def _margin(race: Race, chosen: str, equals: Sequence[str]) -> str:
    """How it compares with the next that is slower beyond noise."""
    others = race.by_median([name for name in race.rounds_ms if name not in equals])
    slower = next(filter(differs, (race.ratio(chosen, name) for name in others)), None)
    if slower is None:
        return "nothing that passed is faster" if len(race.rounds_ms) > 1 else "nothing else ran and passed"
    low, high = slower.ratio_ci95
    return f"{slower.ratio:.2f} of the time of {slower.against}, 95 % [{low:.2f}, {high:.2f}]"


def _status(row: Row) -> str:
    return "" if row.manifest is None else str(row.manifest["status"])


def _sqnr_db(row: Row) -> float:
    return 0.0 if row.manifest is None else float(row.manifest["evidence"]["sqnr_db"])


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where artifacts go: the user's folder, or one that is gone afterwards."""
    if keep is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise StorageError(f"{keep}: is there already and not an empty folder; name another with --keep")
    yield keep


def _export_request(request: BenchmarkRequest, target: str, precision: str, folder: Path) -> ExportRequest:
    int8 = precision == "int8"
    return ExportRequest(
        request.model,
        target,
        precision,
        request.weights,
        request.calib if int8 else None,
        batch=request.batch,
        size=request.size,
        num_classes=request.num_classes,
        effort=request.effort if int8 else None,
        out=folder / f"{target}-{precision}",
        recipe=request.recipe,
    )


def _failed(name: str, request: ExportRequest, error: EdgecnnError) -> Row:
    model = find_model(request.model).name
    return Row(name, "artifact", model, request.target, request.precision, f"not built: {error}")

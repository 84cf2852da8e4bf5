"""A run: artifacts and PyTorch side by side in one process, and everything that is known of them and of the machine."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from edgecnn.bench.candidates import ARTIFACT, Candidate, agreed_batch, candidates
from edgecnn.bench.energy import SECONDS as ENERGY_S
from edgecnn.bench.energy import measure_energy
from edgecnn.bench.gpu_peak import GPU_PACKAGES
from edgecnn.bench.latency import Race, race, without_p99
from edgecnn.bench.layers import layer_times
from edgecnn.bench.machine import facts, snapshot
from edgecnn.bench.opening import Opening, measure_opening
from edgecnn.bench.peak import measure_peak, roofline
from edgecnn.bench.record import IMAGES, SCHEMA, Energy, LayerTime, Row, Run, Settings, now
from edgecnn.bench.steady import unsteady_machine, unsteady_times
from edgecnn.bench.throughput import TURNS, Load, flood_in_turns
from edgecnn.data.preprocess import Float
from edgecnn.errors import EdgecnnError, UnavailableError, UsageError, unknown_name
from edgecnn.names import DURATION_S, LARGEST_BATCH, LATENCY, MODES, THROUGHPUT, __version__
from edgecnn.progress import Progress
from edgecnn.targets.base import Session, Tuning
from edgecnn.targets.registry import find_target

LONGEST_S, MOST_THREADS = 3600.0, 1024
MOST_ROUNDS = 10_000  # beyond them a record only grows


@dataclass(frozen=True)
class BenchRequest:
    """What a user asks for.

    Args:
        artifacts: folders.
        against: ``eager``, ``compile`` or folders, which come first, and the first of which all are compared with.
        threads: of each runtime; None is its own choice.
        batch: images per call; None is what the artifacts were exported for.
        duration_s: of counted calls, per row on average.
        mode: ``latency``, one call at a time, or ``throughput``, as many at once as the runtime likes.
        weights: the state dict of PyTorch's networks, where artifacts were exported from a file.
        layers: whether the runtimes' profilers shall say where the time goes.
    """

    artifacts: tuple[Path, ...]
    against: tuple[str, ...] = ()
    threads: int | None = None
    batch: int | None = None
    duration_s: float = DURATION_S
    mode: str = LATENCY
    layers: bool = False
    weights: str | None = None


@dataclass(frozen=True)
class Opened:
    """A candidate that answers here.

    Args:
        opening: what it costs, or why that is not known.
    """

    candidate: Candidate
    session: Session
    batches: list[Float]
    opening: Opening | str


def bench(request: BenchRequest, progress: Progress | None = None) -> Run:
    """Times artifacts in turns.

    Raises:
        UsageError: a value out of range, or a batch that an artifact was not exported for.
        UnavailableError: nothing of it can run here.
        InputError: ``weights`` is no state dict of such a network.
        IntegrityError: an artifact is not what its manifest says, or was made from other ``weights``.
    """
    progress = progress or Progress()
    check(request)
    found = candidates(request.artifacts, request.against, request.weights)
    batch = agreed_batch(found, request.batch)
    tuning = Tuning(request.threads, request.mode == THROUGHPUT)
    with progress.stage("open", len(found)):
        ready, refusals = _open(found, tuning, batch, progress)
        if not ready:
            raise UnavailableError(f"nothing of it can run here: {'; '.join(refusals.values())}")
    with progress.stage("peaks and energy"):
        executed = {row.candidate.name: row.candidate.executed(row.session) for row in ready}
        peaks = _peaks(ready, executed, tuning)
    before = snapshot()
    result, loads = _timed(ready, request, progress)
    after = snapshot()
    with progress.stage("peaks and energy"):
        peaks = _higher(peaks, _peaks(ready, executed, tuning))
        energies = {row.candidate.name: _energy(row, batch, request) for row in ready}
    with progress.stage("layers"):
        layers = {
            row.candidate.name: _layers(row, tuning)
            for row in ready
            if request.layers and row.candidate.kind == ARTIFACT
        }
    openings = {row.candidate.name: row.opening for row in ready}
    first = ready[0].candidate.name
    meanwhile = unsteady_machine(before, after)
    rounds = "turns" if request.mode == THROUGHPUT else "calls"
    rows = []
    for candidate in found:
        name = candidate.name
        if name in refusals:
            rows.append(_row(candidate, refusals[name], {"size_bytes": candidate.size_bytes()}))
            continue
        times = result.times(name)
        load = loads.get(name)
        per_s = batch * (1000 / times.p50_ms if load is None else load.batches_per_s)
        macs = sum(candidate.artifact.layer_macs.values())
        measured = {
            "runtime": _runtime(candidate.package),
            "executed": executed[name],
            "times": times,
            "images_per_s": round(per_s, 3),
            "requests": load and load.requests,
            "size_bytes": candidate.size_bytes(),
            "ratio": None if name == first else result.ratio(name, first),
            "energy": energies[name],
            "roofline": roofline(executed[name], round(per_s * macs), 1.0, peaks[candidate.package]),
            "unstable": (*unsteady_times(times.rounds_ms, name not in result.unsettled, rounds), *meanwhile),
        }
        opening, unopened = _opening(openings[name])
        kernels, unprofiled = layers.get(name, ((), {}))
        absences = without_p99(times) | unopened | unprofiled
        rows.append(_row(candidate, "ok", measured | opening | {"layers": kernels, "absences": absences}))
    return Run(
        SCHEMA,
        "bench",
        __version__,
        now(),
        facts(before, after),
        Settings(request.mode, request.threads, batch, request.duration_s, IMAGES),
        tuple(rows),
    )


def check(request: BenchRequest) -> None:
    """Refuses what is wrong with a request, before any work is done.

    Raises:
        UsageError: a value out of range.
    """
    if request.mode not in MODES:
        raise unknown_name("mode", request.mode, MODES)
    if not 0 < request.duration_s <= LONGEST_S:  # also false for NaN
        raise UsageError(f"--duration is {request.duration_s:g}, expected seconds, above 0 and up to {LONGEST_S:g}")
    if request.threads is not None and not 1 <= request.threads <= MOST_THREADS:
        raise UsageError(f"--threads is {request.threads}, expected 1 to {MOST_THREADS}")
    if request.batch is not None and not 1 <= request.batch <= LARGEST_BATCH:
        raise UsageError(f"--batch is {request.batch}, expected 1 to {LARGEST_BATCH}")


def _open(
    found: Sequence[Candidate], tuning: Tuning, batch: int, progress: Progress
) -> tuple[list[Opened], dict[str, str]]:
    """Those that answer here, and why the others do not."""
    ready: list[Opened] = []
    refusals = {}
    for candidate in found:
        try:
            opening = measure_opening(candidate, tuning, batch)  # a runtime that crashes does so there, and not here
            session = candidate.open(tuning)
            batches = candidate.batches(batch)
            for image in batches:
                session.run(image)
            ready.append(Opened(candidate, session, batches, opening))
        except EdgecnnError as error:
            refusals[candidate.name] = str(error)
        progress.advance()
    return ready, refusals


def _timed(ready: Sequence[Opened], request: BenchRequest, progress: Progress) -> tuple[Race, Mapping[str, Load]]:
    """Times of each, and what came of each load where they were flooded."""
    if request.mode == THROUGHPUT:
        floods = [
            (row.candidate.name, lambda seconds, row=row: row.session.flood(row.batches, seconds)) for row in ready
        ]
        with progress.stage("time", TURNS):
            flooded = flood_in_turns(floods, request.duration_s, progress.advance)
        return flooded.race, flooded.loads
    runs = [(row.candidate.name, _in_rotation(row.session, row.batches)) for row in ready]
    with progress.stage("time"):
        return race(runs, request.duration_s * len(ready), MOST_ROUNDS, on_round=progress.advance), {}


def _peaks(
    ready: Sequence[Opened], executed: Mapping[str, Mapping[str, float]], tuning: Tuning
) -> dict[str, dict[str, float]]:
    """Giga-operations per second by runtime and by precision, of those that rows run in."""
    single = replace(tuning, many=False)  # all threads on one run, whatever the rows do
    found: dict[str, dict[str, float]] = {}
    for row in ready:
        peaks = found.setdefault(row.candidate.package, {})
        for precision in executed[row.candidate.name]:
            if precision not in peaks:
                peak = measure_peak(row.candidate.package, precision, single)
                peaks |= {} if peak is None else {precision: peak}
    return found


def _higher(one: dict[str, dict[str, float]], other: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """What was reached before and after the rows were timed: a peak is the most that was seen."""
    return {
        package: {precision: max(gops, other[package].get(precision, gops)) for precision, gops in peaks.items()}
        for package, peaks in one.items()
    }


def _layers(row: Opened, tuning: Tuning) -> tuple[tuple[LayerTime, ...], dict[str, str]]:
    """Their times, or why there are none: whatever a profiler does, the row's own times are there by now."""
    try:
        return layer_times(row.candidate, tuning, row.batches), {}
    except EdgecnnError as error:
        return (), {"layers": str(error)}


def _opening(found: Opening | str) -> tuple[dict[str, Any], dict[str, str]]:
    """Its figures, or why there are none."""
    if isinstance(found, Opening):
        return asdict(found), {}
    return {}, dict.fromkeys((field.name for field in fields(Opening)), found)


def _energy(row: Opened, batch: int, request: BenchRequest) -> Energy:
    def work() -> int:
        return batch * len(row.session.flood(row.batches, ENERGY_S).requests_ms)

    return measure_energy(work, row.candidate.package in GPU_PACKAGES)


def _in_rotation(session: Session, batches: Sequence[Float]) -> Any:
    """A call that answers the next batch; counted and uncounted calls of a turn see the same images over time."""
    turn = 0

    def run() -> None:
        nonlocal turn
        session.run_again(batches[turn % len(batches)])
        turn += 1

    return run


def _runtime(package: str) -> str:
    """Such as ``openvino 2026.4.1``; where its distribution has another name, the module knows its version itself."""
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} {getattr(sys.modules.get(package), '__version__', '')}".strip()


def refused_row(candidate: Candidate, why: str) -> Row:
    """A row without figures.

    Args:
        why: there are none, in one line.
    """
    return _row(candidate, why, {})


def _row(candidate: Candidate, status: str, measured: Mapping[str, Any]) -> Row:
    manifest = candidate.artifact.manifest
    is_artifact = candidate.kind == ARTIFACT
    return Row(
        name=candidate.name,
        kind=candidate.kind,
        model=manifest["model"]["name"],
        target=find_target(manifest["target"]).name if is_artifact else "torch",
        precision=manifest["precision"] if is_artifact else "fp32",
        status=status,
        manifest={key: value for key, value in manifest.items() if key != "labels"} if is_artifact else None,
        **measured,
    )

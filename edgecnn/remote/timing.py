"""``bench`` on a board: one run of artifacts, in turns where edgecnn times them there, alone where a bundle does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from edgecnn.artifact import Artifact, load_artifact
from edgecnn.bench.bench import BenchRequest, check, refused_row
from edgecnn.bench.candidates import ARTIFACT, COMPILE, EAGER, Candidate, agreed_batch, check_names, unique
from edgecnn.bench.device import ALONE, device_row, machine_facts
from edgecnn.bench.record import IMAGES, SCHEMA, Row, Run, Settings, now
from edgecnn.errors import EdgecnnError, UnavailableError, UsageError
from edgecnn.names import LATENCY, __version__
from edgecnn.progress import Progress
from edgecnn.remote.jobs import bundle_job, decoded, has_bundle, judged, package_job
from edgecnn.remote.parcel import Item, artifact_items
from edgecnn.remote.session import run_there
from edgecnn.remote.ssh import Host


@dataclass(frozen=True)
class _Plan:
    """What is timed, and how.

    Args:
        references: what ``--against`` names: ``eager``, ``compile`` or artifacts.
        in_turns: artifacts that one ``bench`` of ours times there.
        engines: artifacts whose bundle builds their engine there and times it alone.
        batch: images per call, of them all.
    """

    references: tuple[str | Artifact, ...]
    in_turns: tuple[Artifact, ...]
    engines: tuple[Artifact, ...]
    batch: int


def bench_there(host: Host, request: BenchRequest, keep: bool = False, progress: Progress | None = None) -> Run:
    """Times artifacts on a board, those for TensorRT by their bundles. They are the last rows, and have no ratio.

    The facts of the machine are the board's own run's, with the GPU that a bundle found; where bundles alone ran, which
    need no edgecnn there, they are what the first of them found. What fails there is a row that says so.

    Args:
        keep: leave the files on the board for the next call.

    Raises:
        UsageError: a value out of range, no such reference, or an option that an engine from a bundle cannot follow.
        UnavailableError: nothing of it can run there.
        EdgecnnError: as ``run_there``, or the board's own refusal.
    """
    check(request)
    check_names(request.against)
    plan = _plan(request)
    settings = Settings(request.mode, request.threads, plan.batch, request.duration_s, IMAGES)
    run = Run(SCHEMA, "bench", __version__, now(), {}, settings, ())
    progress = progress or Progress()
    if plan.in_turns:
        run = _with_turns(run, host, plan, request, keep, progress)
    if plan.engines:
        run = _with_engines(run, host, plan, request, keep, progress)
    if all(row.times is None for row in run.rows):
        whys = "; ".join(dict.fromkeys(row.status for row in run.rows))
        raise UnavailableError(f"{host.destination}: nothing of it can run there: {whys}")
    return run


def _plan(request: BenchRequest) -> _Plan:
    references = [name if name in (EAGER, COMPILE) else load_artifact(Path(name)) for name in request.against]
    artifacts = [load_artifact(folder) for folder in request.artifacts]
    engines = [artifact for artifact in artifacts if has_bundle(artifact)]
    in_turns = [artifact for artifact in artifacts if not has_bundle(artifact)]
    for reference in references:
        if isinstance(reference, Artifact) and has_bundle(reference):
            raise UsageError(
                f"--against {reference.folder} is for TensorRT, whose engine is timed alone there, so nothing can be"
                " held against it; name it without --against"
            )
    batch = agreed_batch(_candidates([*references, *artifacts]), request.batch)
    if engines:
        _check_engines(request, engines, bool(in_turns))
    return _Plan(tuple(references), tuple(in_turns), tuple(engines), batch)


def _check_engines(request: BenchRequest, engines: Sequence[Artifact], others: bool) -> None:
    """Refuses what an engine from a bundle cannot follow, before any is built.

    Args:
        others: whether artifacts are timed in turns beside them.
    """
    first = engines[0].folder
    if request.mode != LATENCY:
        raise UsageError(
            f"--mode {request.mode} is not for {first}, whose bundle times one call after another; drop it, or time the"
            " others apart"
        )
    if request.against and not others:
        raise UsageError(
            f"--against needs artifacts that are timed in turns, and {first} is timed alone; drop it, or add one of"
            " another target"
        )
    if request.threads is not None and not others:
        raise UsageError("--threads is for runtimes on a CPU, and every artifact here is an engine's; drop it")


def _candidates(found: Sequence[str | Artifact]) -> list[Candidate]:
    """The artifacts of these, called as they are in a run."""
    artifacts = [artifact for artifact in found if isinstance(artifact, Artifact)]
    names = unique([artifact.name for artifact in artifacts])
    return [Candidate(name, ARTIFACT, artifact) for name, artifact in zip(names, artifacts, strict=True)]


def _with_turns(run: Run, host: Host, plan: _Plan, request: BenchRequest, keep: bool, progress: Progress) -> Run:
    """What ``bench`` there measures; the run is its own. Where it cannot run, and engines may, its rows say why."""
    sent = _Sent()
    options = ["--mode", request.mode, "--duration", repr(request.duration_s), "--batch", str(plan.batch)]
    options += ["--layers"] if request.layers else []
    options += [] if request.threads is None else ["--threads", str(request.threads)]
    for reference in plan.references:
        options += ["--against", reference if isinstance(reference, str) else sent.place(reference)]
    places = [sent.place(artifact) for artifact in plan.in_turns]
    step = ("-m", "edgecnn", "bench", *places, *options, "--json")
    done = run_there(host, package_job(sent.artifacts, sent.items, step, every_runtime=False), keep, progress)
    try:
        return decoded(host, done, Run)
    except UnavailableError as error:
        if not plan.engines:
            raise
        why = _without_host(error, host)
        return replace(
            run, rows=tuple(refused_row(row, why) for row in _candidates([*plan.references, *plan.in_turns]))
        )


class _Sent:
    """Artifacts and their folders on the board."""

    def __init__(self) -> None:
        self.artifacts: list[Artifact] = []
        self.items: list[Item] = []

    def place(self, artifact: Artifact) -> str:
        """An artifact's folder there. It keeps its name, which its row is called by and which others may share."""
        there = f"artifacts/{len(self.artifacts)}/{artifact.name}"
        self.artifacts.append(artifact)
        self.items += artifact_items(artifact, there)
        return there


def _with_engines(run: Run, host: Host, plan: _Plan, request: BenchRequest, keep: bool, progress: Progress) -> Run:
    """The same, and a row for each engine, with its layers where they are asked for: bundles time them anyway."""
    names = unique([*(row.name for row in run.rows), *(engine.name for engine in plan.engines)])
    alone = {"ratio": ALONE} if len(names) > 1 else {}
    rows: list[Row] = []
    machine = run.machine
    for name, engine in zip(names[len(run.rows) :], plan.engines, strict=True):
        options = ["--seconds", repr(request.duration_s)]
        options += ["--batch", str(plan.batch)] if engine.interface.batch is None else []
        done = run_there(host, bundle_job(engine, *options), keep, progress)
        try:
            found = judged(host, engine, done)
        except EdgecnnError as error:
            rows.append(refused_row(Candidate(name, ARTIFACT, engine), _without_host(error, host)))
            continue
        row = device_row(engine, found, name)
        rows.append(replace(row, absences=row.absences | alone, layers=row.layers if request.layers else ()))
        machine = _with_gpu(machine, machine_facts(found))
    return replace(run, machine=machine, rows=(*run.rows, *rows))


def _with_gpu(machine: dict[str, Any], bundles: dict[str, Any]) -> dict[str, Any]:
    """The board's facts, and the GPU that a bundle knows where they have none; a bundle's own where there are none."""
    if not machine:
        return bundles
    return machine if {"gpu", "gpus"} & machine.keys() else machine | {"gpu": bundles["gpu"]}


def _without_host(error: EdgecnnError, host: Host) -> str:
    """A row's word for it: all rows are of that host."""
    return str(error).removeprefix(f"{host.destination}: ")

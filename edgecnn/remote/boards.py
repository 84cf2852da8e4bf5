"""``verify`` and ``bench`` on a board: what each sends and runs there, and what its answer becomes here."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import msgspec

from edgecnn.artifact import Artifact, load_artifact
from edgecnn.bench.bench import BenchRequest
from edgecnn.bench.candidates import COMPILE, EAGER, check_names
from edgecnn.bench.record import Run
from edgecnn.errors import EdgecnnError, InputError, UnavailableError, UsageError, printable
from edgecnn.progress import Progress
from edgecnn.remote.parcel import SOURCE, Item, artifact_items, image_items, item, source
from edgecnn.remote.session import Done, Job, run_there
from edgecnn.remote.ssh import Host
from edgecnn.targets.registry import find_target
from edgecnn.targets.tensorrt_bundle import FOLDER as BUNDLE
from edgecnn.verify.device import OnDevice, read_result
from edgecnn.verify.stages import Verification

T = TypeVar("T")

PYTHON = (3, 11)  # what edgecnn takes; a bundle does with less
BUNDLE_PYTHON = (3, 8)
# What every command of ours imports, as `dependencies` in pyproject.toml has it.
BASE_MODULES = ("numpy", "PIL", "msgspec", "platformdirs", "rich", "typer")


def verify_there(
    host: Host,
    folder: Path,
    images: str | None = None,
    max_drop_pp: float | None = None,
    keep: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Checks an artifact on a board. Its word never marks the artifact here, which may be another runtime's to judge.

    Args:
        images: a folder of images or a shipped set; the golden pairs unless told.
        max_drop_pp: instead of the gate that the artifact was exported with.
        keep: leave the files on the board for the next call.

    Raises:
        EdgecnnError: as ``run_there``, or the board's own refusal.
    """
    artifact = load_artifact(folder)
    pictures, spec = ([], "") if images is None else image_items(images)
    step = ("-m", "edgecnn.remote.there", "artifact", spec, "" if max_drop_pp is None else repr(max_drop_pp))
    job = _job([artifact], [*artifact_items(artifact, "artifact"), *pictures], step)
    found = _decoded(host, run_there(host, job, keep, progress or Progress()), Verification)
    return replace(found, images=found.images | {"name": f"{found.images['name']} on {host.destination}"})


def bench_there(host: Host, request: BenchRequest, keep: bool = False, progress: Progress | None = None) -> Run:
    """Times artifacts on a board. The run is the board's own: its machine's facts, and its refusals row by row.

    Args:
        keep: leave the files on the board for the next call.

    Raises:
        UsageError: an artifact for TensorRT, which ``verify`` builds and times there; no such reference.
        EdgecnnError: as ``run_there``, or the board's own refusal.
    """
    check_names(request.against)
    sent = _Sent(host)
    against = [name if name in (EAGER, COMPILE) else sent.place(Path(name)) for name in request.against]
    places = [sent.place(folder) for folder in request.artifacts]
    options = [
        "--mode",
        request.mode,
        "--duration",
        repr(request.duration_s),
        *(["--layers"] if request.layers else []),
    ]
    for flag, value in (("--threads", request.threads), ("--batch", request.batch)):
        options += [] if value is None else [flag, str(value)]
    for name in against:
        options += ["--against", name]
    step = ("-m", "edgecnn", "bench", *places, *options, "--json")
    job = _job(sent.artifacts, sent.items, step, every_runtime=False)
    return _decoded(host, run_there(host, job, keep, progress or Progress()), Run)


class _Sent:
    """Artifacts and their folders on the board."""

    def __init__(self, host: Host) -> None:
        self.artifacts: list[Artifact] = []
        self.items: list[Item] = []
        self._host = host

    def place(self, folder: Path) -> str:
        """An artifact's folder there. It keeps its name, which its row is called by and which others may share."""
        artifact = load_artifact(folder)
        if "bundle.zip" in artifact.files:
            raise UsageError(
                f"{folder}: is for TensorRT, whose engine its board builds, checks and times by"
                f" `edgecnn verify {folder} --host {self._host.destination}`"
            )
        there = f"artifacts/{len(self.artifacts)}/{folder.resolve().name}"
        self.artifacts.append(artifact)
        self.items += artifact_items(artifact, there)
        return there


def run_bundle_there(host: Host, folder: Path, keep: bool = False, progress: Progress | None = None) -> OnDevice:
    """Builds, checks and times a TensorRT artifact's engine on its board, and judges the outcome here.

    Args:
        keep: leave the bundle on the board for the next call.

    Raises:
        EdgecnnError: as ``run_there``, or the board's own refusal.
    """
    artifact = load_artifact(folder)
    job = Job(
        items=(item("bundle", artifact.files["bundle.zip"], unpack=True),),
        steps=(("build.py",), ("run.py",)),
        python=BUNDLE_PYTHON,
        modules=("numpy",),
        install="numpy",
        cwd=f"bundle/{BUNDLE}",
        collect="result.json",
    )
    done = run_there(host, job, keep, progress or Progress())
    if done.collected is None:
        raise _refusal(host, done)
    with tempfile.TemporaryDirectory() as temporary:
        result = Path(temporary) / "result.json"
        result.write_text(done.collected, "utf-8")
        return read_result(artifact, result)


def has_bundle(folder: Path) -> bool:
    """Whether a board builds this artifact's engine itself.

    Raises:
        IntegrityError: the artifact is not what its manifest says.
    """
    return "bundle.zip" in load_artifact(folder).files


def _job(artifacts: list[Artifact], items: list[Item], step: tuple[str, ...], every_runtime: bool = True) -> Job:
    """A command of ours.

    Args:
        every_runtime: whether one that is missing there ends it, before anything is sent.
    """
    targets = [find_target(artifact.manifest["target"]) for artifact in artifacts]
    runtimes = [package for target in targets for package in target.packages] if every_runtime else []
    modules = dict.fromkeys([*BASE_MODULES, *runtimes])
    extras = ",".join(dict.fromkeys(target.extra for target in targets))
    return Job(
        items=(*source(), *items),
        steps=(step,),
        python=PYTHON,
        modules=tuple(modules),
        install=f"'edgecnn[{extras}]'",
        source=SOURCE,
    )


def _decoded(host: Host, done: Done, of: type[T]) -> T:
    if done.code:
        raise _refusal(host, done)
    try:
        return msgspec.json.decode(done.stdout, type=of)
    except msgspec.MsgspecError as error:
        raise InputError(f"{host.destination}: answered what is no {of.__name__} ({error})") from error


def _refusal(host: Host, done: Done) -> EdgecnnError:
    """The board's own refusal: its last line, under its exit code."""
    if done.code < 0:
        return UnavailableError(f"{host.destination}: the run was killed there by signal {-done.code}; out of memory?")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    text = printable(lines[-1]).removeprefix("edgecnn: ") if lines else f"ended with {done.code}"
    kinds: dict[int, type[EdgecnnError]] = {kind.exit_code: kind for kind in EdgecnnError.__subclasses__()}
    return kinds.get(done.code, UnavailableError)(f"{host.destination}: {text}")

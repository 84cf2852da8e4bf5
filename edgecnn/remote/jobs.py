"""What runs on a board, which is our own package or a bundle's scripts, and what its answer becomes here."""

from typing import TypeVar

import msgspec

from edgecnn.artifact import Artifact
from edgecnn.errors import EdgecnnError, InputError, UnavailableError, printable, refusal_of
from edgecnn.remote.parcel import SOURCE, Item, item, source
from edgecnn.remote.session import Done, Job
from edgecnn.remote.ssh import Host
from edgecnn.targets.registry import find_target
from edgecnn.targets.tensorrt_bundle import FOLDER
from edgecnn.verify.device import OnDevice, judge_result

T = TypeVar("T")

PYTHON = (3, 11)  # what edgecnn takes; a bundle does with less
BUNDLE_PYTHON = (3, 8)
# What every command of ours imports, as `dependencies` in pyproject.toml has it.
BASE_MODULES = ("numpy", "PIL", "msgspec", "platformdirs", "rich", "typer")
BUNDLE, RESULT = "bundle.zip", "result.json"


def package_job(artifacts: list[Artifact], items: list[Item], step: tuple[str, ...], every_runtime: bool = True) -> Job:
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


def has_bundle(artifact: Artifact) -> bool:
    """Whether a board builds this artifact's engine itself."""
    return BUNDLE in artifact.files


def bundle_job(artifact: Artifact, *options: str) -> Job:
    """Builds an artifact's engine on its board, checks and times it.

    Args:
        options: of ``run.py``.
    """
    return Job(
        items=(item("bundle", artifact.files[BUNDLE], unpack=True),),
        steps=(("build.py",), ("run.py", *options)),
        python=BUNDLE_PYTHON,
        modules=("numpy",),
        install="numpy",
        cwd=f"bundle/{FOLDER}",
        collect=RESULT,
    )


def judged(host: Host, artifact: Artifact, done: Done) -> OnDevice:
    """What ``bundle_job`` came to, by this machine's policy.

    Raises:
        InputError: the answer is no result of a bundle.
        IntegrityError: it is of another bundle.
        EdgecnnError: the board's own refusal.
    """
    if done.collected is None:
        raise refusal(host, done)
    return judge_result(artifact, done.collected.encode(), f"{host.destination}: {RESULT}")


def decoded(host: Host, done: Done, of: type[T]) -> T:
    """The document that a command of ours printed.

    Raises:
        InputError: it is none.
        EdgecnnError: the board's own refusal.
    """
    if done.code:
        raise refusal(host, done)
    try:
        return msgspec.json.decode(done.stdout, type=of)
    except msgspec.MsgspecError as error:
        raise InputError(f"{host.destination}: answered what is no {of.__name__} ({error})") from error


def refusal(host: Host, done: Done) -> EdgecnnError:
    """The board's own refusal: its last line, under its exit code."""
    if done.code < 0:
        return UnavailableError(f"{host.destination}: the run was killed there by signal {-done.code}; out of memory?")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    text = printable(lines[-1]).removeprefix("edgecnn: ") if lines else f"ended with {done.code}"
    return (refusal_of(done.code) or UnavailableError)(f"{host.destination}: {text}")

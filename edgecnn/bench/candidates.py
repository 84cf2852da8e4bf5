"""What can be timed: an artifact in its own runtime, and the PyTorch network behind it, eager or compiled."""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.artifact import Artifact, load_artifact
from edgecnn.data.preprocess import Float
from edgecnn.errors import UnavailableError, UsageError, unknown_name
from edgecnn.targets.base import UNTUNED, Session, Tuning
from edgecnn.targets.registry import find_target
from edgecnn.verify.coverage import layer_precisions, shares
from edgecnn.verify.golden import read_golden
from edgecnn.verify.reopen import eager_model, open_session

if TYPE_CHECKING:
    from edgecnn.bench.torch_session import TorchSession

ARTIFACT, EAGER, COMPILE = "artifact", "eager", "compile"


@dataclass(frozen=True)
class Candidate:
    """What is to be timed, not opened yet.

    Args:
        name: unique in a run.
        kind: ``artifact``, or ``eager`` or ``compile`` for the network that the artifact was made from.
        weights: the file with that network's state dict, where it was made from one.
    """

    name: str
    kind: str
    artifact: Artifact
    weights: str | None = None

    @property
    def package(self) -> str:
        """The module of its runtime."""
        if self.kind != ARTIFACT:
            return "torch"
        return find_target(self.artifact.manifest["target"]).runtime(self.artifact.model_files())

    def open(self, tuning: Tuning = UNTUNED) -> Session:
        """It, ready to answer.

        Raises:
            UnavailableError: it cannot run here, and why.
            BuildError: its runtime refuses it.
            EdgecnnError: as ``eager_model``, for PyTorch's.
        """
        if self.kind != ARTIFACT:
            return self._network(tuning)
        session = open_session(self.artifact, tuning)
        if session.absence:
            raise UnavailableError(session.absence)
        return session

    def _network(self, tuning: Tuning) -> "TorchSession":
        from edgecnn.bench.torch_session import TorchSession

        model = eager_model(self.artifact, self.weights)
        return TorchSession(model, self.artifact.interface, self.kind == COMPILE, tuning)

    def batches(self, size: int) -> list[Float]:
        """Its golden pairs' inputs, (size, C, H, W) each; every image is used as often as any other, or nearly."""
        images = read_golden(self.artifact).inputs
        count = len(images) // math.gcd(len(images), size) if size < len(images) else 1
        picks = np.arange(count * size).reshape(count, size) % len(images)
        return [np.ascontiguousarray(images[rows]) for rows in picks]

    def executed(self, session: Session) -> dict[str, float]:
        """Shares of the multiply-accumulates by the precision that they are really computed in."""
        macs = self.artifact.layer_macs
        kernels = session.executed()
        return shares(layer_precisions(kernels, macs), macs) if kernels else {}

    def size_bytes(self) -> int | None:
        """Of the files that the runtime opens; None where there are none."""
        files = self.artifact.model_files().values() if self.kind == ARTIFACT else ()
        return sum(path.stat().st_size for path in files) or None


def candidates(folders: Sequence[Path], against: Sequence[str], weights: str | None = None) -> list[Candidate]:
    """Everything that a run shall time, the references first.

    Args:
        folders: of artifacts.
        against: ``eager``, ``compile``, or more folders; PyTorch's come once for each different network.
        weights: the state dict of the networks that were exported from a file.

    Raises:
        UsageError: no such reference, or ``weights`` of none of them.
        InputError: ``weights`` is no state dict of such a network.
        UnavailableError: torch is asked for, and not installed.
        IntegrityError: a folder is no artifact, or not what its manifest says; ``weights`` are other ones.
    """
    check_names(against)
    if {EAGER, COMPILE} & set(against) and importlib.util.find_spec("torch") is None:
        raise UnavailableError(f"--against {EAGER} and {COMPILE} need torch: pip install 'edgecnn[export]'")
    if len(set(against)) < len(against):
        raise UsageError(f"--against {' --against '.join(against)} names one reference twice; give each once")
    artifacts = [load_artifact(folder) for folder in folders]
    networks = {_network(artifact): artifact for artifact in reversed(artifacts)}
    found = []
    for name in against:
        if name in (EAGER, COMPILE):
            found += [(name, name, artifact) for artifact in reversed(networks.values())]
        else:
            artifact = load_artifact(Path(name))
            found.append((artifact.name, ARTIFACT, artifact))
    found += [(artifact.name, ARTIFACT, artifact) for artifact in artifacts]
    names = unique([name for name, _, _ in found])
    rows = [Candidate(name, kind, artifact) for name, (_, kind, artifact) in zip(names, found, strict=True)]
    return rows if weights is None else _with_weights(rows, weights)


def _with_weights(rows: Sequence[Candidate], weights: str) -> list[Candidate]:
    networks = [row for row in rows if row.kind != ARTIFACT]
    if not networks:
        raise UsageError(f"--weights is for --against {EAGER} or {COMPILE}; give one of them, or drop it")
    made = [row for row in networks if row.artifact.manifest["weights"]["source"] == "file"]
    if not made:
        raise UsageError("--weights is for artifacts that were exported from a file, and none of these was; drop it")
    for row in made:
        eager_model(row.artifact, weights)  # what was named is refused at once, and not as a row that failed
    return [replace(row, weights=weights) if row in made else row for row in rows]


def check_names(against: Sequence[str]) -> None:
    """Refuses what is no reference, with the ones that there are.

    Raises:
        UsageError: one is neither PyTorch's nor a folder.
    """
    for name in against:
        if name not in (EAGER, COMPILE) and not Path(name).is_dir():
            raise unknown_name("--against", name, (EAGER, COMPILE, "the folder of an artifact"))


def _network(artifact: Artifact) -> tuple[Any, ...]:
    """What makes two artifacts' PyTorch networks one and the same, with the same input."""
    shape = artifact.interface
    return artifact.manifest["model"]["name"], artifact.manifest["weights"]["sha256"], shape.height, shape.width


def unique(names: Sequence[str]) -> list[str]:
    """The same names, with a number where one comes again."""
    found: list[str] = []
    for name in names:
        number, free = 2, name
        while free in found or (free != name and free in names):
            free, number = f"{name}-{number}", number + 1
        found.append(free)
    return found


def agreed_batch(found: Sequence[Candidate], asked: int | None) -> int:
    """Images per call, the same for all.

    Raises:
        UsageError: an artifact was exported for another number, or for fewer.
    """
    artifacts = {row.name: row.artifact for row in found if row.kind == ARTIFACT}
    fixed = {name: batch for name, artifact in artifacts.items() if (batch := artifact.interface.batch) is not None}
    if asked is None and len(set(fixed.values())) > 1:
        listed = ", ".join(f"{name} for {batch}" for name, batch in fixed.items())
        raise UsageError(f"artifacts were exported for different batches ({listed}); time them apart")
    agreed = next(iter(fixed.values()), 1) if asked is None else asked
    for name, artifact in artifacts.items():
        own, most = artifact.interface.batch, find_target(artifact.manifest["target"]).largest_batch
        if own not in (None, agreed):
            raise UsageError(
                f"--batch is {agreed}, but {name} was exported for a batch of {own}; export it with --batch {agreed}"
                " or --dynamic-batch"
            )
        if own is None and most is not None and agreed > most:
            given = "the artifacts' batch" if asked is None else "--batch"
            raise UsageError(f"{given} is {agreed}, but {name} takes 1 to {most}; time it apart, or in smaller batches")
    return agreed

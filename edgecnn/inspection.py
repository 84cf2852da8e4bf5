"""What an artifact comes to on this machine: how much of it runs in INT8, and whether that is worth it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.artifact import Artifact, load_artifact
from edgecnn.bench.latency import MOST_ROUNDS
from edgecnn.bench.versus import Versus, versus
from edgecnn.progress import Progress
from edgecnn.targets.registry import find_target
from edgecnn.verify.coverage import Coverage
from edgecnn.verify.golden import read_golden
from edgecnn.verify.reopen import coverage_of, open_session


@dataclass(frozen=True)
class Inspection:
    """What an artifact's runtime makes of it on this machine.

    Args:
        coverage: None where nothing was compiled yet.
        versus: None where nothing was timed.
        absence: why it could not be timed, or empty.
    """

    artifact: Artifact
    coverage: Coverage | None
    versus: Versus | None
    absence: str = ""

    def as_json(self) -> dict[str, Any]:
        """The keys that scripts rely on."""
        manifest = self.artifact.manifest
        return {
            "artifact": str(self.artifact.folder),
            "model": manifest["model"]["name"],
            "target": manifest["target"],
            "precision": manifest["precision"],
            "status": manifest["status"],
            "coverage": self.coverage and self.coverage.as_json(),
            "advice": self.artifact.advice,
            "timing": self.versus and self.versus.as_json(),
            "not_timed": self.absence,
        }


def inspect(folder: Path, timing: bool = True, progress: Progress | None = None) -> Inspection:
    """What an artifact's runtime executes here and, unless told otherwise, how fast it is beside its FP32 graph.

    Raises:
        IntegrityError: the artifact is not what its manifest says.
        UnavailableError: the runtime is not installed.
        BuildError: the runtime refuses the artifact.
    """
    progress = progress or Progress()
    artifact = load_artifact(folder)
    with progress.stage("open"):
        session = open_session(artifact)
        coverage = coverage_of(artifact, session)
    if not timing or session.absence:
        return Inspection(artifact, coverage, None, session.absence)
    with progress.stage("time", MOST_ROUNDS):
        image = read_golden(artifact).inputs[:1].repeat(artifact.interface.batch or 1, axis=0)
        timed = versus(
            artifact.manifest["precision"],
            session,
            find_target(artifact.manifest["target"]),
            artifact.files["reference.onnx"].read_bytes(),
            image,
            artifact.layer_macs,
            on_round=progress.advance,
        )
    return Inspection(artifact, coverage, timed)

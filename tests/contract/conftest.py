"""Every target and precision, exported once; a session of each."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest

from edgecnn.artifact import Artifact
from edgecnn.data.preprocess import Float
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.names import PRECISIONS
from edgecnn.pipeline import Exported
from edgecnn.targets.base import FP32, Interface, Session, Target
from edgecnn.targets.registry import TARGETS
from edgecnn.verify.golden import read_golden

CASES = [(target, precision) for target in TARGETS for precision in PRECISIONS]


class Case(NamedTuple):
    """One target at one precision, as it was published."""

    target: Target
    precision: str
    exported: Exported
    graph: Graph  # lowered, with a dynamic batch

    @property
    def artifact(self) -> Artifact:
        return self.exported.artifact

    def interface(self, batch: int | None) -> Interface:
        shape = self.artifact.interface
        return Interface(batch, shape.channels, shape.height, shape.width, shape.classes)


@pytest.fixture(scope="session", params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest, tiny_export: Callable[..., Exported]) -> Case:
    target, precision = request.param
    exported = tiny_export(target, precision)
    files = exported.artifact.files
    lowered = files.get("lowered.onnx") or files["model.onnx"]
    return Case(TARGETS[target], precision, exported, Graph(onnx.load(lowered)))


@pytest.fixture
def session(case: Case) -> Session:
    return case.target.open(case.artifact.model_files(), case.artifact.interface)


@pytest.fixture
def running(session: Session) -> Session:
    """A session that answers here; where only a GPU would, the test is skipped by name."""
    if session.absence:
        pytest.skip(f"built, not executed here: {session.absence}")
    return session


@pytest.fixture
def open_with_batch(case: Case, tmp_path: Path) -> Callable[[int | None], Session]:
    """Builds the case's graph for another batch, and opens it from disk."""

    def build(batch: int | None) -> Session:
        files = {}
        for suffix, content in case.target.build(with_batch(case.graph, batch)).items():
            files[suffix] = tmp_path / f"model{suffix}"
            files[suffix].write_bytes(content)
        return case.target.open(files, case.interface(batch))

    return build


@pytest.fixture
def open_reference(case: Case) -> Callable[[], Session]:
    """Opens the FP32 graph that travels with the artifact in the artifact's runtime."""

    def build() -> Session:
        content = case.artifact.files["reference.onnx"].read_bytes()
        return case.target.open_float(content, case.artifact.interface, FP32)

    return build


@pytest.fixture
def images(case: Case) -> Float:
    """(n, 3, 32, 32): real photographs, preprocessed."""
    return read_golden(case.artifact).inputs

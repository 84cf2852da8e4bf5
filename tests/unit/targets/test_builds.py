"""The latest builds of a target are remembered, and no others."""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edgecnn.errors import BuildError
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.targets.base import UNTUNED, Interface, Session, Tuning
from edgecnn.targets.builds import KEPT, Builds, Built
from edgecnn.targets.onnxruntime import OnnxTarget


class Counted(OnnxTarget):
    """Counts what it builds."""

    def __init__(self) -> None:
        self.built: list[str] = []

    def build(self, graph: Graph) -> dict[str, bytes]:
        self.built.append(graph.sha256)
        return super().build(graph)


def test_the_latest_graphs_are_built_and_opened_once(tiny_graph: Callable[..., Graph]) -> None:
    target = Counted()
    graphs = [with_batch(tiny_graph(), batch) for batch in range(1, KEPT + 2)]
    wanted = [OnnxTarget().build(graph) for graph in graphs]
    with Builds(target) as builds:

        def opened(position: int) -> Built:
            return builds.open(graphs[position], Interface(position + 1, 3, 32, 32, 10))

        first = [opened(position) for position in range(KEPT)]
        assert [built.files for built in first] == wanted[:KEPT]
        assert [opened(position).session is first[position].session for position in range(KEPT)] == [True] * KEPT
        assert len(target.built) == KEPT
        assert opened(KEPT).files == wanted[KEPT]
        assert opened(KEPT - 1).session is first[KEPT - 1].session
        assert opened(0).session is not first[0].session  # the oldest was forgotten
    assert target.built == [graph.sha256 for graph in (*graphs, graphs[0])]


def test_what_cannot_be_opened_leaves_no_files(
    tiny_graph: Callable[..., Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(OnnxTarget):
        def open_built(self, built: Any, folder: Path, interface: Interface, tuning: Tuning = UNTUNED) -> Session:
            raise BuildError("closed")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Builds(Closed()) as builds:
        for _ in range(2):
            with pytest.raises(BuildError):
                builds.open(tiny_graph(), Interface(1, 3, 32, 32, 10))
            assert not list(tmp_path.iterdir())


def test_another_interface_is_another_session(tiny_graph: Callable[..., Graph]) -> None:
    dynamic = with_batch(tiny_graph(), None)
    with Builds(OnnxTarget()) as builds:
        many, one = (builds.open(dynamic, Interface(batch, 3, 32, 32, 10)) for batch in (None, 1))
        assert (many.session.interface.batch, one.session.interface.batch) == (None, 1)


def test_sessions_have_their_files_until_the_end(
    tiny_graph: Callable[..., Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Builds(OnnxTarget()) as builds, ThreadPoolExecutor(2) as threads:
        graphs = [with_batch(tiny_graph(), batch) for batch in (1, 1, 2, 3)]  # threads may build the same one twice
        interfaces = [Interface(batch, 3, 32, 32, 10) for batch in (1, 1, 2, 3)]
        list(threads.map(builds.open, graphs, interfaces))
        assert len(list(tmp_path.iterdir())) == KEPT
    assert not list(tmp_path.iterdir())

"""The latest builds of a target are remembered, and no others."""

from collections.abc import Callable

from edgecnn.graph.graph import Graph, with_batch
from edgecnn.targets.builds import KEPT, Builds
from edgecnn.targets.onnxruntime import OnnxTarget


class Counted(OnnxTarget):
    """Counts what it builds."""

    def __init__(self) -> None:
        self.built: list[str] = []

    def build(self, graph: Graph) -> dict[str, bytes]:
        self.built.append(graph.sha256)
        return super().build(graph)


def test_the_latest_graphs_are_built_once(tiny_graph: Callable[..., Graph]) -> None:
    target = Counted()
    builds = Builds(target)
    graphs = [with_batch(tiny_graph(), batch) for batch in range(1, KEPT + 2)]
    wanted = [OnnxTarget().build(graph) for graph in graphs]
    assert [builds.build(graph) for graph in graphs[:KEPT]] == wanted[:KEPT]
    assert [builds.build(graph) for graph in graphs[:KEPT]] == wanted[:KEPT]
    assert len(target.built) == KEPT
    assert builds.build(graphs[KEPT]) == wanted[KEPT]
    assert builds.build(graphs[KEPT - 1]) == wanted[KEPT - 1]
    assert builds.build(graphs[0]) == wanted[0]  # the oldest was forgotten
    assert target.built == [graph.sha256 for graph in (*graphs, graphs[0])]

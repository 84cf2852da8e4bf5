"""Networks that differ in their INT8 layers, on the real runtime."""

from collections.abc import Callable

import numpy as np
import pytest

from edgecnn.bench.tables import table_timer
from edgecnn.graph.graph import Graph
from edgecnn.quant.lower.profiles import OPENVINO
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.table import QuantizerTable
from edgecnn.targets.base import Interface
from edgecnn.targets.builds import Builds
from edgecnn.targets.registry import find_target


@pytest.mark.parametrize("batch", [1, 4, None])
def test_every_table_is_built_as_an_artifact_is_and_timed_against_the_first(
    tiny_graph: Callable[..., Graph],
    tiny_table: Callable[..., QuantizerTable],
    batch: int | None,
) -> None:
    finished: list[int] = []

    def finish(graph: Graph, table: QuantizerTable) -> Graph:
        finished.append(len(table.layers))
        return lower(graph, table, OPENVINO)

    graph, table = tiny_graph(), tiny_table()
    fewer = table.without([table.layers[1].node])
    image = np.zeros((1, 3, 32, 32), np.float32)
    target, interface = find_target("openvino"), Interface(batch, 3, 32, 32, 10)
    with Builds(target) as builds:
        timer = table_timer(builds, interface, image, finish, budget_s=0.0)
        found = timer(graph, [table, fewer, table])
    # Built side by side, they may end in any order.
    assert sorted(finished) == [len(table.layers) - 1, len(table.layers), len(table.layers)]
    assert len(found) == 2
    for slowdown in found:
        low, high = slowdown.ratio_ci95
        assert 0 < low <= slowdown.ratio <= high

"""Which layers stay float: costly ones first, inside a budget of work, and none that cost nothing."""

from collections.abc import Callable

import pytest

from edgecnn.graph.graph import Graph
from edgecnn.graph.macs import layer_macs
from edgecnn.quant.islands import BUDGET, float_islands
from edgecnn.quant.table import QuantizerTable


@pytest.fixture
def graph(tiny_graph: Callable[..., Graph]) -> Graph:
    return tiny_graph()


@pytest.fixture
def table(tiny_table: Callable[..., QuantizerTable]) -> QuantizerTable:
    return tiny_table()


def test_the_costliest_layer_is_float_where_the_budget_allows_it(graph: Graph, table: QuantizerTable) -> None:
    macs = layer_macs(graph)
    least = min(table.layers, key=lambda layer: macs[layer.node])
    most = max(table.layers, key=lambda layer: macs[layer.node])
    assert macs[most.node] > BUDGET * sum(macs.values()) > macs[least.node]
    cost = {layer.input: 0.0 for layer in table.layers}
    assert float_islands(cost | {least.input: 1.0, most.input: 2.0}, table, macs) == tuple(
        layer.node for layer in table.layers if layer.input == least.input
    )


def test_no_layer_is_float_where_all_cost_alike(graph: Graph, table: QuantizerTable) -> None:
    assert len(table.layers) > 20  # so that each is under a twentieth
    assert float_islands({layer.input: 1.0 for layer in table.layers}, table, layer_macs(graph)) == ()


def test_islands_together_stay_inside_the_budget(graph: Graph, table: QuantizerTable) -> None:
    macs = layer_macs(graph)
    small = sorted(table.layers, key=lambda layer: macs[layer.node])[:15]
    chosen = float_islands({layer.input: 1.0 for layer in small}, table, macs)
    assert chosen
    assert sum(macs[node] for node in chosen) <= BUDGET * sum(macs.values())

"""Which layers stay float: costly ones first, inside a budget of work, and none that cost nothing."""

from collections.abc import Callable

import pytest

from edgecnn.graph.graph import Graph
from edgecnn.graph.macs import layer_macs
from edgecnn.quant.islands import BUDGET, costliest, float_islands
from edgecnn.quant.table import QuantizerTable


@pytest.fixture
def graph(tiny_graph: Callable[..., Graph]) -> Graph:
    return tiny_graph()


@pytest.fixture
def table(inputs_alone: QuantizerTable) -> QuantizerTable:
    return inputs_alone


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


def test_a_tensor_that_has_codes_anyway_gains_nothing(
    table: QuantizerTable, tiny_table: Callable[..., QuantizerTable]
) -> None:
    """Of runtimes whose kernels are INT8 to INT8, what an INT8 layer writes stays codes whoever reads them."""
    everywhere = tiny_table()
    written = {layer.output for layer in everywhere.layers if not layer.gate} & {
        layer.input for layer in everywhere.layers
    }
    cost = {layer.input: 1.0 for layer in everywhere.layers}
    assert written
    assert written <= dict(costliest(cost, table, 0.0001)).keys()
    assert not written & dict(costliest(cost, everywhere, 0.0001)).keys()


def test_nothing_is_costly_where_nothing_costs(table: QuantizerTable) -> None:
    """As of one class, whose softmax knows no divergence."""
    assert not dict(costliest({layer.input: 0.0 for layer in table.layers}, table, 0.05))

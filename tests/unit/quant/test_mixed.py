"""Mixed precision: the best bargains inside a budget of time, on devices whose times are made up to be known."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from edgecnn.graph.graph import Graph
from edgecnn.quant.mixed import AT_ONCE, SLOWER, mixed_precision, worthwhile
from edgecnn.quant.rungs import Slowdown, Timer
from edgecnn.quant.table import QuantizerTable


@pytest.fixture
def graph(tiny_graph: Callable[..., Graph]) -> Graph:
    return tiny_graph()


@pytest.fixture
def table(inputs_alone: QuantizerTable) -> QuantizerTable:
    return inputs_alone


def device(costs: Mapping[str, float], together: float = 1.0) -> Timer:
    """A made-up device: every layer in float takes its share of the time more.

    Args:
        together: how many times as much several cost as the sum of each alone.
    """

    def timer(graph: Graph, tables: Sequence[QuantizerTable]) -> list[Slowdown]:
        assert len(tables) <= AT_ONCE + 1
        first = {layer.node for layer in tables[0].layers}
        found = []
        for other in tables[1:]:
            missing = first - {layer.node for layer in other.layers}
            ratio = 1 + sum(costs.get(node, 0.0) for node in missing) * (together if len(missing) > 1 else 1)
            found.append(Slowdown(ratio, (ratio - 0.01, ratio + 0.01)))
        return found

    return timer


def lone_inputs(table: QuantizerTable, count: int) -> dict[str, str]:
    """Layers that are the only readers of their input, by that."""
    inputs = [layer.input for layer in table.layers]
    lone = [layer for layer in table.layers if inputs.count(layer.input) == 1]
    return {layer.input: layer.node for layer in lone[:count]}


def floats(table: QuantizerTable, mixed: QuantizerTable) -> set[str]:
    return {layer.node for layer in table.layers} - {layer.node for layer in mixed.layers}


def test_what_buys_most_accuracy_for_its_time_is_float_and_the_rest_is_not(graph: Graph, table: QuantizerTable) -> None:
    (cheap, dear, poor), nodes = lone_inputs(table, 3), lone_inputs(table, 3)
    sensitivity = {cheap: 0.5, dear: 0.4, poor: 0.1}
    timer = device({nodes[cheap]: 0.03, nodes[dear]: 0.04, nodes[poor]: 0.02})
    mixed, slowdown = mixed_precision(graph, table, sensitivity, timer)
    assert floats(table, mixed) == {nodes[cheap], nodes[poor]}  # the dear one is past the budget, beside the cheap one
    assert slowdown is not None
    assert slowdown.ratio == pytest.approx(1.05)


def test_layers_that_gain_nothing_by_int8_are_float(graph: Graph, table: QuantizerTable) -> None:
    nodes = lone_inputs(table, 10)
    mixed, slowdown = mixed_precision(
        graph, table, dict.fromkeys(nodes, 0.1), device(dict.fromkeys(nodes.values(), -0.02))
    )
    assert floats(table, mixed) == set(nodes.values())
    assert slowdown is not None
    assert slowdown.ratio < 1


def test_what_costs_more_together_loses_its_poorest_bargains(graph: Graph, table: QuantizerTable) -> None:
    nodes = lone_inputs(table, 4)
    sensitivity = dict(zip(nodes, (0.4, 0.3, 0.2, 0.1), strict=True))
    mixed, slowdown = mixed_precision(
        graph, table, sensitivity, device(dict.fromkeys(nodes.values(), 0.01), together=2)
    )
    assert floats(table, mixed) == set(list(nodes.values())[:2])
    assert slowdown is not None
    assert slowdown.ratio <= SLOWER


def test_nothing_changes_where_everything_is_too_dear(graph: Graph, table: QuantizerTable) -> None:
    nodes = lone_inputs(table, 4)
    timer = device(dict.fromkeys(nodes.values(), 0.2))
    assert mixed_precision(graph, table, dict.fromkeys(nodes, 0.25), timer) == (table, None)


def test_what_costs_hardly_any_accuracy_is_not_even_timed(table: QuantizerTable) -> None:
    costly, free, _ = lone_inputs(table, 3)
    nodes = lone_inputs(table, 3)
    assert worthwhile({costly: 0.995, free: 0.005}, table) == {costly: (nodes[costly],)}

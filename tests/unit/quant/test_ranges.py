"""The search of ranges: min-max unless the logits say that another is clearly better."""

from collections.abc import Callable

import numpy as np
import pytest

from edgecnn.graph.graph import Graph
from edgecnn.quant.alone import Alone
from edgecnn.quant.calibrate import Range
from edgecnn.quant.histogram import MIN_MAX, Histogram
from edgecnn.quant.placement import Placement, Role, place
from edgecnn.quant.ranges import Chosen, observe_histograms, search_ranges
from edgecnn.quant.table import Float

TinyGraph = Callable[..., Graph]
NAME = "mobilenetv2"
SPOILT = "features.1.conv.0.2/Clip"


def noise(count: int, seed: int) -> Float:
    return np.random.default_rng(seed).normal(0, 1, (count, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def observed(tiny_graph: TinyGraph) -> tuple[Graph, Placement, dict[str, Histogram]]:
    graph = tiny_graph(NAME)
    placement = place(graph)
    histograms, _ = observe_histograms(graph, placement, [noise(8, 0), noise(8, 1)])
    return graph, placement, histograms


def min_max(histograms: dict[str, Histogram]) -> dict[str, Chosen]:
    return {name: Chosen(MIN_MAX, histogram.extremes) for name, histogram in histograms.items()}


def test_a_histogram_for_each_tensor_that_may_be_quantized(
    observed: tuple[Graph, Placement, dict[str, Histogram]],
) -> None:
    _, placement, histograms = observed
    assert histograms.keys() == placement.roles.keys()
    assert all(histogram.counts.sum() > 0 for histogram in histograms.values())


def test_images_held_out_widen_ranges_and_are_counted_nowhere(
    tiny_graph: TinyGraph, observed: tuple[Graph, Placement, dict[str, Histogram]]
) -> None:
    _, placement, alone = observed
    histograms, ranges = observe_histograms(
        tiny_graph(NAME), placement, [noise(8, 0), noise(8, 1)], [noise(1, 2), 1.5 * noise(1, 3)]
    )
    for name, histogram in histograms.items():
        assert (histogram.counts == alone[name].counts).all()
        assert histogram.extremes == alone[name].extremes
        assert ranges[name].low <= histogram.extremes.low
        assert ranges[name].high >= histogram.extremes.high
    assert any(ranges[name].high > histogram.extremes.high for name, histogram in histograms.items())


def test_a_range_ruined_by_one_value_is_replaced_and_no_range_is_widened(
    observed: tuple[Graph, Placement, dict[str, Histogram]],
) -> None:
    graph, placement, histograms = observed
    tensor = next(name for name, roles in placement.roles.items() if roles >= {Role.INPUT, Role.SKIP})
    widest = min_max(histograms)
    low, high = widest[tensor].range
    widest[tensor] = Chosen(MIN_MAX, Range(20 * low, 20 * high))
    seen: list[None] = []
    before, (found, costs) = search_ranges(graph, placement, histograms, widest, noise(4, 2), lambda: seen.append(None))
    assert found.keys() == widest.keys()
    assert len(seen) == len(costs)  # of those that are tried
    assert found[tensor].method != MIN_MAX
    for name, chosen in found.items():
        assert chosen.range.low >= widest[name].range.low
        assert chosen.range.high <= widest[name].range.high
        assert (chosen.method == MIN_MAX) == (chosen.range == widest[name].range)
    assert costs.keys() == {name for name, roles in placement.roles.items() if roles & {Role.INPUT, Role.SKIP}}
    alone = Alone(graph, placement, {Role.INPUT, Role.SKIP}, noise(4, 2))
    assert costs[tensor] == pytest.approx(alone.divergence(tensor, found[tensor].range))
    assert before.ranges == widest
    assert before.costs.keys() == costs.keys()
    assert before.costs[tensor] == pytest.approx(alone.divergence(tensor, widest[tensor].range))


def test_one_image_is_enough(observed: tuple[Graph, Placement, dict[str, Histogram]]) -> None:
    graph, placement, histograms = observed
    widest = min_max(histograms)
    assert search_ranges(graph, placement, histograms, widest, noise(1, 2)).best.ranges.keys() == widest.keys()

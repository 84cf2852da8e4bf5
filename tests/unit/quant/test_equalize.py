"""Equalization changes nothing in float, and undoes what rescaling does to INT8."""

from collections.abc import Callable

import numpy as np
import pytest

from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session
from edgecnn.names import INPUT, OUTPUT
from edgecnn.parity import Parity, compare
from edgecnn.quant.calibrate import observe_ranges
from edgecnn.quant.equalize import equalize, find_groups
from edgecnn.quant.lower.profiles import OPENVINO
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.placement import place
from edgecnn.quant.table import Float, make_table
from tests.rescaling import rescaled

TinyGraph = Callable[..., Graph]
NAMES = ["mobilenetv1", "mobilenetv2", "mobilenetv3_small", "efficientnet_b0", "efficientnet_lite0"]


def noise(count: int, seed: int = 0) -> Float:
    return np.random.default_rng(seed).normal(0, 1, (count, 3, 32, 32)).astype(np.float32)


def logits(graph: Graph, images: Float) -> Float:
    session = inference_session(with_batch(graph, None).content, int8_kernels=False)
    return np.asarray(session.run([OUTPUT], {INPUT: images})[0], np.float32)


def int8(graph: Graph, reference: Graph) -> Parity:
    """What min-max INT8 of a graph loses of another graph's logits."""
    placement = place(graph)
    table = make_table(graph, placement, observe_ranges(graph, placement.roles, [noise(8)]))
    return compare(logits(reference, noise(8, 1)), logits(lower(graph, table, OPENVINO), noise(8, 1)))


@pytest.mark.parametrize("name", NAMES)
def test_the_float_function_stays(tiny_graph: TinyGraph, name: str) -> None:
    graph = tiny_graph(name)
    other = equalize(graph, [noise(4), noise(4, 1)])
    assert compare(logits(graph, noise(4, 2)), logits(other, noise(4, 2))).sqnr_db > 90
    assert [node.SerializeToString() for node in graph.nodes] == [node.SerializeToString() for node in other.nodes]
    assert graph.input_shape == other.input_shape


def test_equalizing_twice_gives_the_same_bytes(tiny_graph: TinyGraph) -> None:
    graph = tiny_graph("mobilenetv2")
    assert equalize(graph, [noise(4)]).content == equalize(graph, [noise(4)]).content


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_large", "efficientnet_lite0"])
def test_a_residual_stream_is_one_group(tiny_graph: TinyGraph, name: str) -> None:
    graph = tiny_graph(name)
    groups = find_groups(graph)
    # The first block of MobileNetV3-Large adds to a HardSwish, which ends a group.
    adds = {node.output[0] for node in graph.nodes if node.op_type == "Add"} - {"features.1/Add"}
    assert adds <= {tensor for group in groups for tensor in group.tensors}
    for group in groups:
        # Nothing else may read a group's tensors, or make them.
        assert {graph.producers[tensor].op_type for tensor in group.tensors} <= {
            "Conv", "Add", "Relu", "GlobalAveragePool", "Flatten",
        }  # fmt: skip
        for tensor in group.tensors:
            for node in graph.consumers[tensor]:
                assert node in group.consumers or node.output[0] in group.tensors


def test_gates_and_bounds_end_a_group(tiny_graph: TinyGraph) -> None:
    """Scaling does not commute with HardSwish, SiLU or ReLU6."""
    for name in NAMES:
        graph = tiny_graph(name)
        grouped = {tensor for group in find_groups(graph) for tensor in group.tensors}
        for node in graph.nodes:
            if node.op_type in ("Clip", "HardSwish", "Sigmoid", "HardSigmoid"):
                assert not grouped & {node.input[0], node.output[0]}


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_small", "efficientnet_lite0"])
def test_rescaled_channels_are_fatal_to_int8_without_it_and_harmless_with_it(tiny_graph: TinyGraph, name: str) -> None:
    graph = tiny_graph(name)
    for seed in range(3):
        other = rescaled(graph, seed)
        # Powers of two: not a bit of the float function changes.
        np.testing.assert_array_equal(logits(other, noise(4)), logits(graph, noise(4)))
        plain, spoilt = int8(equalize(graph, [noise(8)]), graph), int8(other, graph)
        mended = int8(equalize(other, [noise(8)]), graph)
        assert spoilt.sqnr_db < plain.sqnr_db - 6
        assert mended.sqnr_db > plain.sqnr_db - 2

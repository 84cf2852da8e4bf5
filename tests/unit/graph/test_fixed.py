"""Tensors that no image changes, found from weights alone, against what noise does to them."""

from collections.abc import Callable

import numpy as np
from onnx import numpy_helper

from edgecnn.graph.fixed import dead_channels, fixed_tensors, in_words
from edgecnn.graph.graph import Graph, with_weights
from edgecnn.quant.observe import observe_values

PROJECTION = "features.5.block.3.0"  # ends a block with a residual Add


def without_weights(graph: Graph, *modules: str) -> Graph:
    """The graph with all weights of these layers zero; biases stay."""
    model = graph.copy()
    for tensor in model.graph.initializer:
        if tensor.name in [f"{module}.weight" for module in modules]:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), tensor.name))
    return Graph(model)


def test_a_living_network_has_none(tiny_graph: Callable[..., Graph]) -> None:
    assert fixed_tensors(tiny_graph()) == set()


def test_what_a_dead_layer_alone_feeds_is_fixed(tiny_graph: Callable[..., Graph]) -> None:
    dead = without_weights(tiny_graph(), PROJECTION)
    assert fixed_tensors(dead) == {f"{PROJECTION}/Conv"}  # its Add still has the skip
    first = fixed_tensors(without_weights(tiny_graph(), "features.0.0"))
    assert first == {name for node in dead.nodes for name in node.output}  # all that follows


def test_no_image_changes_them(tiny_graph: Callable[..., Graph]) -> None:
    dead = without_weights(tiny_graph(), PROJECTION, "features.4.block.2.fc1")
    fixed = fixed_tensors(dead)
    assert len(fixed) > 2
    noise = np.random.default_rng(0).normal(0, 1, (4, 3, 32, 32)).astype(np.float32)
    names = [name for node in dead.nodes for name in node.output]
    (values,) = observe_values(dead, names, [noise])
    for name, value in values.items():
        assert (name in fixed) == bool((value == value[:1]).all()), name


def test_dead_channels_are_counted_and_named(tiny_graph: Callable[..., Graph]) -> None:
    assert dead_channels(tiny_graph()) == {}
    assert in_words({}) == ""
    graph = tiny_graph()
    weight = graph.weights["features.0.0.weight"].copy()
    weight[[1, 4]] = 0
    assert dead_channels(with_weights(graph, {"features.0.0.weight": weight})) == {"features.0.0": (2, 16)}
    found = dead_channels(without_weights(graph, PROJECTION))
    assert found == {PROJECTION: (len(graph.weights[f"{PROJECTION}.bias"]),) * 2}
    told = in_words({"a": (1, 8), "b": (2, 8), "c": (3, 8), "d": (4, 8)})
    assert told.endswith("stay as they are: 4 of 8 in d, 3 of 8 in c, 2 of 8 in b and more in 1 other layers")

"""Refinement: no error is felt behind a layer on average, and nothing but codes and biases changes."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn.errors import InputError
from edgecnn.graph.graph import Graph
from edgecnn.graph.session import in_chunks
from edgecnn.quant.bias import Felt, observe_felt, slope
from edgecnn.quant.calibrate import observe_ranges
from edgecnn.quant.lower.profiles import OPENVINO
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.observe import observe_values
from edgecnn.quant.refine import CHUNK, refine
from edgecnn.quant.table import QuantizerTable

IMAGES = 48
TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]


def noise(count: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, (count, 3, 32, 32)).astype(np.float32)


def felt(graph: Graph, images: NDArray[np.float32]) -> Felt:
    return observe_felt(graph, in_chunks(images, CHUNK))


def felt_errors(graph: Graph, table: QuantizerTable, images: NDArray[np.float32]) -> list[float]:
    """The largest mean error that is felt of a channel, of each INT8 layer, as a share of its largest output."""
    outputs = ["logits" if layer.node.startswith("classifier.3") else layer.node for layer in table.layers]
    (want,) = observe_values(graph, outputs, [images])
    (got,) = observe_values(lower(graph, table, OPENVINO), outputs, [images])
    found = []
    for name in outputs:
        felt = slope(graph, name, want[name]) ** 2
        axes = tuple(axis for axis in range(felt.ndim) if axis != 1)
        error = ((got[name] - want[name]) * felt).sum(axis=axes) / np.maximum(felt.sum(axis=axes), 1e-3)
        found.append(float(np.abs(error).max() / np.abs(want[name]).max()))
    return found


@pytest.fixture(scope="module")
def refined(tiny_graph: TinyGraph, tiny_table: TinyTable) -> QuantizerTable:
    return refine(tiny_graph(), tiny_table(), noise(IMAGES), felt(tiny_graph(), noise(IMAGES)))


def test_less_error_is_felt_behind_layers_on_other_images_too(
    tiny_graph: TinyGraph, tiny_table: TinyTable, refined: QuantizerTable
) -> None:
    for images in (noise(IMAGES), noise(IMAGES, seed=2)):
        before, after = (felt_errors(tiny_graph(), table, images) for table in (tiny_table(), refined))
        # Later layers of a random network are mostly noise from earlier ones, which is not trusted.
        assert np.mean(after[:10]) < np.mean(before[:10]) / 1.5
        assert np.mean(after) < np.mean(before)


def test_refinement_changes_weights_and_biases_alone(
    tiny_graph: TinyGraph, tiny_table: TinyTable, refined: QuantizerTable
) -> None:
    table = tiny_table()
    assert refined.activations == table.activations
    assert refined.layers == table.layers
    assert set(refined.biases) == set(table.biases)
    for layer in table.layers:
        # The given table is not touched.
        np.testing.assert_array_equal(table.biases[layer.bias], tiny_graph().weights[layer.bias])
        assert refined.biases[layer.bias].dtype == np.float32
        np.testing.assert_allclose(refined.weights[layer.weight].scale, table.weights[layer.weight].scale, rtol=0.051)
        assert int(np.abs(refined.weights[layer.weight].codes.astype(np.int64)).max()) <= 127


def test_refining_twice_gives_the_same_table_and_counts_its_layers(
    tiny_graph: TinyGraph, tiny_table: TinyTable, refined: QuantizerTable
) -> None:
    seen: list[None] = []
    shares = felt(tiny_graph(), noise(IMAGES))
    again = refine(tiny_graph(), tiny_table(), noise(IMAGES), shares, lambda: seen.append(None))
    assert len(seen) == len(refined.layers)
    for name, quantizer in refined.weights.items():
        np.testing.assert_array_equal(again.weights[name].codes, quantizer.codes)
    for name, bias in refined.biases.items():
        np.testing.assert_array_equal(again.biases[name], bias)


def test_biases_alone_follow_where_weights_are_rounded_already(
    tiny_graph: TinyGraph, tiny_table: TinyTable, refined: QuantizerTable
) -> None:
    """With one layer in float, what the layers behind it are given is another input."""
    mixed = refined.without([refined.layers[3].node])
    shares = felt(tiny_graph(), noise(IMAGES))
    again = refine(tiny_graph(), mixed, noise(IMAGES), shares, rounded=True)
    for name, quantizer in again.weights.items():
        np.testing.assert_array_equal(quantizer.codes, refined.weights[name].codes)
    before, after = [layer.bias for layer in refined.layers[:3]], [layer.bias for layer in refined.layers[4:]]
    for name in before:
        np.testing.assert_allclose(again.biases[name], refined.biases[name], atol=1e-5)
    assert any(np.abs(again.biases[name] - refined.biases[name]).max() > 1e-5 for name in after)


# What the ranges are made from


def test_ranges_are_those_of_all_batches(tiny_graph: TinyGraph) -> None:
    graph, images = tiny_graph(), noise(7)
    tensors = ["image", "features.0.0/Conv", "logits"]
    whole = observe_ranges(graph, tensors, [images])
    parts = observe_ranges(graph, tensors, [images[:4], images[4:6], images[6:]])
    for name in tensors:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5)
    assert whole["image"] == (images.min(), images.max())


def test_ranges_of_nothing_are_refused(tiny_graph: TinyGraph) -> None:
    with pytest.raises(InputError, match="0 images"):
        observe_ranges(tiny_graph(), ["image"], [])


def test_values_that_are_not_finite_are_refused_by_name(tiny_graph: TinyGraph) -> None:
    images = noise(1)
    images[0, 0, 0, 0] = np.inf
    with pytest.raises(InputError, match=r"tensor '(image|logits)' is not finite"):
        observe_ranges(tiny_graph(), ["image", "logits"], [images])

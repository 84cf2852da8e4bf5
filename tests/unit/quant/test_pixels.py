"""Pixels that the first layer reads without any loss, whatever they were normalised with."""

from collections.abc import Callable

import numpy as np
import pytest

from edgecnn.data.preprocess import normalise
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session, logits
from edgecnn.names import INPUT, OUTPUT
from edgecnn.parity import compare
from edgecnn.quant.observe import observe_values
from edgecnn.quant.pixels import SHIFTED, on_pixel_grid
from edgecnn.quant.table import Float, activation_quantizer
from edgecnn.recipe import Preprocess

TinyGraph = Callable[..., Graph]
HALF, LITE = (0.5, 0.5), (127 / 255, 128 / 255)  # mean and std


def how(mean: float, std: float) -> Preprocess:
    return Preprocess(32, 32, 1.0, "bilinear", (mean,) * 3, (std,) * 3)


def pixels() -> np.ndarray:
    """Every value of a pixel, (1, 32, 32, 3) uint8."""
    return np.random.default_rng(0).permutation(np.arange(3 * 32 * 32) % 256).astype(np.uint8).reshape(1, 32, 32, 3)


def normalised(preprocess: Preprocess) -> Float:
    return np.stack([normalise(image, preprocess) for image in pixels()])


@pytest.mark.parametrize(("mean", "std"), [HALF, LITE, (0.0, 1.0), (0.3, 0.25), (1.0, 0.5)])
def test_codes_are_the_pixels(tiny_graph: TinyGraph, mean: float, std: float) -> None:
    graph, exact = on_pixel_grid(tiny_graph(), how(mean, std))
    ((tensor, found),) = exact.items()
    (values,) = observe_values(graph, [tensor, OUTPUT], [normalised(how(mean, std))])
    quantizer = activation_quantizer(tensor, found, frozenset())
    # Far from half-way between two codes, where a runtime's rounding would decide.
    codes = values[tensor] / np.float32(quantizer.scale) + quantizer.zero_point
    np.testing.assert_allclose(codes, pixels().transpose(0, 3, 1, 2), atol=0.01)


@pytest.mark.parametrize("name", ["mobilenetv3_large", "efficientnet_b0"])
def test_a_shifted_image_changes_next_to_nothing_in_float(tiny_graph: TinyGraph, name: str) -> None:
    graph = tiny_graph(name)
    other, exact = on_pixel_grid(graph, how(*HALF))
    assert list(exact) == [SHIFTED]
    images = normalised(how(*HALF))
    want, got = (logits(inference_session(with_batch(one, None).content), images) for one in (graph, other))
    assert compare(want, got).sqnr_db > 45
    assert graph.input_shape == other.input_shape


def test_a_grid_that_holds_zero_needs_no_shift(tiny_graph: TinyGraph) -> None:
    graph = tiny_graph()
    other, exact = on_pixel_grid(graph, how(*LITE))
    assert other is graph
    assert list(exact) == [INPUT]


def test_channels_of_different_grids_are_left_alone(tiny_graph: TinyGraph) -> None:
    graph = tiny_graph()
    imagenet = Preprocess(32, 32, 1.0, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert on_pixel_grid(graph, imagenet) == (graph, {})

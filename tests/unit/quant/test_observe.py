"""What the runtime makes of a tensor is what NumPy makes of its values."""

from collections.abc import Callable

import numpy as np
import pytest

from edgecnn.errors import InputError
from edgecnn.graph.graph import Graph, with_weights
from edgecnn.names import INPUT, OUTPUT
from edgecnn.quant.observe import SAMPLE, Observer, Summary, observe_values, sample_step
from edgecnn.quant.table import Float

TinyGraph = Callable[..., Graph]
CONV = "features.0.0/Conv"
TENSORS = [INPUT, CONV, OUTPUT]


def noise(count: int, seed: int = 0, side: int = 32) -> Float:
    return np.random.default_rng(seed).normal(0, 1, (count, 3, side, side)).astype(np.float32)


def test_summaries_are_those_of_each_images_values(tiny_graph: TinyGraph) -> None:
    graph, batches = tiny_graph(), [noise(3), noise(2, 1)]
    values = list(observe_values(graph, TENSORS, batches))
    found = list(Observer(graph, TENSORS, list(Summary), positions=16).over(batches))
    assert len(found) == len(batches)
    for batch, summaries in zip(values, found, strict=True):
        for tensor in TENSORS:
            rows = batch[tensor].reshape(*batch[tensor].shape[:2], -1)
            side = batch[tensor].shape[-1] // 4  # of four by four positions
            want = {
                Summary.LOW: rows.min(axis=(1, 2)),
                Summary.HIGH: rows.max(axis=(1, 2)),
                Summary.MEAN: rows.mean(axis=(1, 2)),
                Summary.CHANNEL_LOWS: rows.min(axis=2),
                Summary.CHANNEL_HIGHS: rows.max(axis=2),
                Summary.CHANNEL_POWERS: np.square(rows).mean(axis=2),
                Summary.SAMPLE: rows.reshape(len(rows), -1),  # all of them: they are few
                Summary.GRID: batch[tensor] if tensor == OUTPUT else batch[tensor][:, :, ::side, ::side],
            }
            assert summaries[tensor].keys() == want.keys()
            for summary, value in want.items():
                np.testing.assert_allclose(summaries[tensor][summary], value, rtol=1e-5, atol=1e-5)


def test_a_sample_is_even_and_bounded(tiny_graph: TinyGraph) -> None:
    images = noise(2, side=96)
    assert images[0].size > 2 * SAMPLE
    (found,) = Observer(tiny_graph(side=96), [INPUT], [Summary.SAMPLE]).over([images])
    step = sample_step(3, 96 * 96)
    assert step >= images[0].size / SAMPLE
    np.testing.assert_array_equal(found[INPUT][Summary.SAMPLE], images.reshape(2, -1)[:, ::step])


@pytest.mark.parametrize(
    ("channels", "height", "width"),
    [(144, 56, 56), (1152, 7, 7), (576, 14, 14), (816, 10, 10), (96, 112, 112), (9999, 1, 1)],
)
def test_a_sample_sees_rows_columns_and_channels_alike(channels: int, height: int, width: int) -> None:
    places = np.arange(channels * height * width)[:: sample_step(channels, height * width)]
    assert SAMPLE / 2 < len(places) <= SAMPLE
    for seen, there in ((places % width, width), (places // width % height, height)):
        counts = np.bincount(seen, minlength=there)
        assert counts.min() > 0.8 * counts.mean()
        assert counts.max() < 1.2 * counts.mean()
    if channels < SAMPLE:
        assert len(set(places // (height * width))) == channels


def test_the_first_tensor_that_overflows_is_named_with_its_image(tiny_graph: TinyGraph) -> None:
    graph = tiny_graph()
    spoilt = with_weights(graph, {"features.0.0.weight": np.full_like(graph.weights["features.0.0.weight"], 3e38)})
    batches = [np.zeros((2, 3, 32, 32), np.float32), noise(1)]
    with pytest.raises(InputError, match=rf"tensor '{CONV}', of module 'features.0.0', is not finite on image 2,"):
        list(Observer(spoilt, [OUTPUT, CONV], [Summary.LOW]).over(batches))


def test_a_mean_that_overflows_where_no_value_does_is_no_mistake(tiny_graph: TinyGraph) -> None:
    graph = tiny_graph()
    large = with_weights(graph, {"features.0.0.bias": np.full_like(graph.weights["features.0.0.bias"], 3e38)})
    (found,) = Observer(large, [CONV], [Summary.HIGH]).over([noise(1)])
    assert np.isfinite(found[CONV][Summary.HIGH]).all()

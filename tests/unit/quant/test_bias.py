"""Bias correction: a layer's own error is taken out whole, earlier layers' only where images agree on it."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import NodeProto

from edgecnn.graph.attributes import attributes
from edgecnn.graph.graph import Graph
from edgecnn.quant import bias as correction
from edgecnn.quant.bias import STEP, Errors, corrected_bias, observe_felt, output_errors, slope
from edgecnn.quant.observe import observe_values
from edgecnn.quant.patches import apart
from edgecnn.quant.placement import place
from edgecnn.quant.table import weight_quantizer

Float = NDArray[np.float32]
Double = NDArray[np.float64]
TinyGraph = Callable[..., Graph]
RANDOM = np.random.default_rng(0)
ZERO = np.zeros(4, np.float32)


def noise(count: int, seed: int = 1) -> Float:
    return np.random.default_rng(seed).normal(0, 1, (count, 3, 32, 32)).astype(np.float32)


def corrected(upstream: Double, felt: Double | None = None, lost: float = 0.0) -> Float:
    """The bias of a layer of four channels that is off by so much: (images, 4).

    Args:
        felt: (images, 4), all of it where nothing is said.
        lost: by rounding, in each image and channel.
    """
    felt = np.ones_like(upstream) if felt is None else felt
    inputs = felt.sum(axis=0).reshape(1, 4, 1)  # an input of 1 everywhere
    return corrected_bias(ZERO, np.full((4, 1), lost, np.float32), [Errors(inputs, upstream, felt)])


def layer(node: NodeProto, value: Float, weight: Float) -> Float:
    """What a layer without bias makes of a value, by torch."""
    if node.op_type == "Gemm":
        return np.asarray(value @ weight.T, np.float32)
    known = attributes(node)
    top, left, bottom, right = known.get("pads", (0, 0, 0, 0))
    wide = torch.nn.functional.pad(torch.from_numpy(value), (left, right, top, bottom))
    stride, groups = known.get("strides", 1), known.get("group", 1)
    return np.asarray(torch.nn.functional.conv2d(wide, torch.from_numpy(weight), stride=stride, groups=groups))


# What is felt of an error


@pytest.mark.parametrize(
    ("name", "module", "activation"),
    [
        ("mobilenetv3_small", "features.2.block.0.0", torch.nn.functional.relu),
        ("mobilenetv3_small", "features.0.0", torch.nn.functional.hardswish),
        ("mobilenetv3_small", "features.1.block.1.fc2", torch.nn.functional.hardsigmoid),
        ("efficientnet_lite0", "features.0.0", torch.nn.functional.relu6),
        ("efficientnet_b0", "features.0.0", torch.nn.functional.silu),
        ("efficientnet_b0", "features.1.0.block.1.fc2", torch.sigmoid),
        ("mobilenetv3_small", "features.1.block.2.0", torch.nn.Identity()),
    ],
)
def test_slopes_are_those_of_the_activation_behind(
    tiny_graph: TinyGraph, name: str, module: str, activation: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    values = np.append(RANDOM.normal(0, 4, 200), [-1000, 1000]).astype(np.float32)
    exact = torch.from_numpy(values).requires_grad_()
    activation(exact).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    assert exact.grad is not None
    np.testing.assert_allclose(slope(tiny_graph(name), f"{module}/Conv", values), exact.grad, atol=1e-5)


@pytest.mark.parametrize("values", [2**30, 2**18])
@pytest.mark.parametrize("name", ["mobilenetv3_small", "efficientnet_b0"])
def test_errors_are_those_of_the_layers_output(
    tiny_graph: TinyGraph, name: str, values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correction, "MOST_VALUES", values)
    graph, chunks = tiny_graph(name), [noise(3), noise(2, 2)]
    felt = observe_felt(graph, chunks)
    layers = [node for node in graph.nodes if node.name in place(graph).layers]
    inputs = list(observe_values(graph, {node.input[0] for node in layers}, chunks))
    outputs = list(observe_values(graph, {node.output[0] for node in layers}, chunks))
    for node in layers:
        weight, bias = (graph.weights[name].astype(np.float32) for name in node.input[1:3])
        lost = weight_quantizer("w", weight, np.zeros(len(weight), np.float32), 1.0).real - weight
        moved = [chunk[node.input[0]] + 1 for chunk in inputs]
        batches = list(zip([partial(np.asarray, value) for value in moved], felt.batches[node.output[0]], strict=True))
        found = output_errors(node, weight, felt.positions, batches)
        want = np.concatenate([chunk[node.output[0]] for chunk in outputs])
        offset = bias.reshape(1, -1, *[1] * (want.ndim - 2))
        value = np.concatenate(moved)
        own = layer(node, value, lost)
        upstream = layer(node, value, weight) + offset - want
        shares = np.square(np.rint(slope(graph, node.output[0], want) / STEP).astype(np.float32) * np.float32(STEP))
        if want.ndim == 4:
            step = apart(want.shape[2], want.shape[3], felt.positions)
            own, upstream, shares = (one[:, :, ::step, ::step] for one in (own, upstream, shares))
        columns = lost.reshape(len(lost), -1)
        got = (columns * found.inputs.reshape(columns.shape)).sum(axis=1), found.upstream, found.felt
        made = [(one * shares).reshape(*want.shape[:2], -1).sum(axis=2) for one in (own, upstream)]
        sums = made[0].sum(axis=0), made[1], shares.reshape(*want.shape[:2], -1).sum(axis=2)
        for one, other in zip(got, sums, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4 * max(1.0, float(np.abs(other).max())))


def test_what_is_felt_fits_in_its_memory(tiny_graph: TinyGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = observe_felt(tiny_graph(), [noise(4)])
    count = sum(found.slopes.size for batches in whole.batches.values() for found in batches)
    monkeypatch.setattr(correction, "MOST_VALUES", count // 3)
    fewer = observe_felt(tiny_graph(), [noise(4)])
    assert sum(found.slopes.size for batches in fewer.batches.values() for found in batches) <= count // 3
    assert fewer.positions < whole.positions


# What becomes of the bias


def test_what_rounding_moves_is_taken_out_whole_however_images_differ() -> None:
    inputs, lost = RANDOM.normal(0, 3, (2, 2, 5)), RANDOM.normal(0, 1, (4, 5)).astype(np.float32)
    felt = RANDOM.uniform(0.5, 2, (40, 4))
    batches = [Errors(inputs, np.zeros((20, 4)), part) for part in (felt[:20], felt[20:])]
    own = (lost * 2 * inputs.reshape(4, 5)).sum(axis=1)
    np.testing.assert_allclose(corrected_bias(ZERO, lost, batches), -own / felt.sum(axis=0), rtol=1e-5)


def test_an_error_that_all_images_share_is_taken_out() -> None:
    np.testing.assert_allclose(
        corrected(np.tile([[-0.5, 2.0, 0.0, -1e-3]], (20, 1))), [0.5, -2.0, 0.0, 1e-3], rtol=1e-6
    )


def test_an_error_within_two_standard_errors_is_left_alone() -> None:
    errors = RANDOM.normal(0, 1, (50, 4))
    errors += -errors.mean(axis=0) + [0, 0.1, 0.25, 1.0]  # the standard error is about 0.14
    found = corrected(-errors)
    np.testing.assert_array_equal(found[:3], 0)
    assert 0.85 < found[3] < 1


def test_one_image_says_nothing_of_others() -> None:
    np.testing.assert_array_equal(corrected(np.ones((1, 4))), ZERO)


def test_a_channel_that_nothing_is_felt_of_keeps_its_bias() -> None:
    felt = np.ones((20, 4))
    felt[:, 1] = 0
    found = corrected(np.ones((20, 4)), felt, lost=1.0)
    np.testing.assert_allclose(found, [-2, 0, -2, -2])


def test_an_error_that_is_not_felt_moves_nothing_that_is() -> None:
    """Most of an image lies where HardSwish is flat and is off by 1; where it is steep nothing is off."""
    felt = np.array([0.0] * 9 + [1.0])
    errors = np.array([1.0] * 9 + [0.0])
    found = corrected(np.full((20, 4), (errors * felt).sum()), np.full((20, 4), felt.sum()))
    np.testing.assert_array_equal(found, ZERO)

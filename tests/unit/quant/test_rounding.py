"""Moments against sums written out by hand, and rounding against rounding to the nearest."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import NodeProto, helper

from edgecnn.quant.rounding import Moments, _inverse, observe_moments, round_weights
from edgecnn.quant.saturation import WEIGHT_MAX
from edgecnn.quant.table import WeightQuantizer, weight_quantizer

Float = NDArray[np.float32]
RANDOM = np.random.default_rng(0)


def conv(stride: int = 1, pad: int = 0, groups: int = 1) -> NodeProto:
    return helper.make_node(
        "Conv", ["x", "w", "b"], ["y"], strides=[stride, stride], pads=[pad, pad, pad, pad], group=groups
    )


def normal(*shape: int) -> Float:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


def made(*batches: Float) -> list[Callable[[], Float]]:
    return [lambda batch=batch: batch for batch in batches]  # type: ignore[misc]  # bound now


def correlated(rows: int, columns: int) -> Float:
    """Inputs with a few strong directions and a mean, as behind an activation function."""
    mixed = normal(rows, 4) @ normal(4, columns) + normal(rows, columns) / 4
    return np.maximum(mixed, 0).astype(np.float32)


def covariance(value: Float) -> NDArray[np.float64]:
    return np.asarray(np.cov(value.T.astype(np.float64), bias=True))


def nearest(weight: Float) -> WeightQuantizer:
    return weight_quantizer("w", weight, np.zeros(len(weight), np.float32), 1.0)


# Moments


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "groups"), [(1, 1, 0, 1), (3, 2, 1, 1), (3, 1, 1, 6), (5, 2, 2, 6)]
)
def test_moments_are_those_of_torchs_unfolded_input(kernel: int, stride: int, pad: int, groups: int) -> None:
    value, weight = normal(3, 6, 9, 7), normal(12, 6 // groups, kernel, kernel)
    moments = observe_moments(conv(stride, pad, groups), weight, made(value[:2], value[2:]))
    columns = torch.nn.functional.unfold(torch.from_numpy(value), kernel, padding=pad, stride=stride)
    rows = columns.transpose(1, 2).reshape(-1, groups, 6 // groups * kernel**2).numpy()
    assert moments.images == 3
    for group in range(groups):
        np.testing.assert_allclose(moments.covariance[group], covariance(rows[:, group]), atol=1e-5)


def test_moments_of_a_classifier_are_those_of_its_rows() -> None:
    value = normal(20, 5)
    moments = observe_moments(helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1), normal(3, 5), made(value))
    np.testing.assert_allclose(moments.covariance[0], covariance(value), atol=1e-6)


# Rounding


@pytest.mark.parametrize("groups", [1, 4])
def test_the_output_errs_less_than_with_rounding_to_the_nearest(groups: int) -> None:
    weight = normal(64, 128 // groups, 1, 1)
    images = [correlated(400, 128).reshape(400, 128, 1, 1) for _ in range(2)]
    plain = nearest(weight)
    rounded = round_weights(weight, plain.scale, observe_moments(conv(groups=groups), weight, made(*images)))

    def error(quantizer: WeightQuantizer) -> float:
        """Power of the output's error on the inputs, its mean apart, which the bias takes."""
        outputs = [
            torch.nn.functional.conv2d(torch.from_numpy(np.concatenate(images)), torch.from_numpy(real), groups=groups)
            for real in (weight, quantizer.real)
        ]
        return float((outputs[0] - outputs[1]).var(dim=0, correction=0).sum())

    assert error(rounded) < error(plain) / 2


def test_codes_are_the_nearest_where_inputs_are_independent() -> None:
    weight = normal(8, 32, 1, 1)
    plain = nearest(weight)
    moments = Moments(np.eye(32)[None] * RANDOM.uniform(0.1, 10, 32), 8, 5000)
    np.testing.assert_array_equal(round_weights(weight, plain.scale, moments).codes, plain.codes)


def test_few_images_are_trusted_less_than_many() -> None:
    """Rounding moves further from the nearest code, the more images say how inputs hang together."""
    weight = normal(32, 256, 1, 1)
    plain, found = nearest(weight), covariance(correlated(5000, 256))[None]

    def moved(images: int, patches: int) -> float:
        moments = Moments(found, images, patches)
        return float(np.mean(round_weights(weight, plain.scale, moments).codes != plain.codes))

    assert moved(1, 4096) < moved(8, 8 * 4096) < moved(500, 500 * 4096)
    assert moved(500, 500) < moved(500, 500 * 4096)  # one patch per image, behind a global pool
    assert moved(500, 500 * 4096) == moved(500, 500 * 100)  # neighbours say nothing new


@pytest.mark.parametrize("excited", [0.0, 1.0])
def test_inputs_that_never_move_keep_the_nearest_codes(excited: float) -> None:
    weight = normal(4, 16, 1, 1)
    plain = nearest(weight)
    moments = Moments(np.zeros((1, 16, 16)), 4, 4)
    moments.covariance[0, 0, 0] = excited
    rounded = round_weights(weight, plain.scale, moments)
    np.testing.assert_array_equal(rounded.codes, plain.codes)
    assert rounded.codes.dtype == np.int8


def test_codes_stay_in_range_when_errors_add_up() -> None:
    weight = np.ones((4, 64, 1, 1), np.float32)
    value = np.repeat(normal(100, 1), 64, axis=1).reshape(100, 64, 1, 1)  # one direction: all errors are pushed along
    scale = np.full(4, 1 / WEIGHT_MAX * 0.996, np.float32)  # every weight lies above the highest code
    rounded = round_weights(weight, scale, observe_moments(conv(), weight, made(value)))
    assert int(np.abs(rounded.codes.astype(np.int64)).max()) == WEIGHT_MAX


def test_an_input_that_hardly_moves_has_a_covariance_all_the_same() -> None:
    """Beside a mean a thousand times as large, float32 would lose it in the squares."""
    moving = normal(64, 12, 8, 8)
    still = (moving / 100 + 10).astype(np.float32)
    weight = normal(4, 12, 1, 1)
    found = observe_moments(conv(), weight, made(still[:32], still[32:]))
    want = observe_moments(conv(), weight, made(moving))
    np.testing.assert_allclose(found.covariance * 10_000, want.covariance, atol=2e-3)
    assert np.linalg.eigvalsh(found.covariance[0]).min() > 0


def test_scales_are_the_best_for_their_codes() -> None:
    weight = normal(16, 32, 1, 1)
    images = [correlated(400, 32).reshape(400, 32, 1, 1)]
    moments = observe_moments(conv(), weight, made(*images))
    rounded = round_weights(weight, nearest(weight).scale, moments)

    def error(scale: Float) -> NDArray[np.float64]:
        """Of each output channel, its mean apart."""
        lost = (weight - WeightQuantizer(rounded.codes, scale).real).reshape(16, 32).astype(np.float64)
        return np.asarray((images[0].reshape(400, 32) @ lost.T).var(axis=0))

    for factor in (0.998, 1.002):
        assert (error(rounded.scale) < error(rounded.scale * np.float32(factor))).mean() > 0.9


def test_a_dead_channel_keeps_its_scale() -> None:
    weight = normal(4, 8, 1, 1)
    weight[1] = 0
    scale = nearest(weight).scale
    rounded = round_weights(
        weight, scale, observe_moments(conv(), weight, made(correlated(50, 8).reshape(50, 8, 1, 1)))
    )
    assert not rounded.codes[1].any()
    assert rounded.scale[1] == scale[1]


@pytest.mark.parametrize(("groups", "columns"), [(1, 1), (5, 9), (1, 64), (1, 65), (2, 200)])
def test_a_triangle_has_its_inverse(groups: int, columns: int) -> None:
    lower = np.tril(RANDOM.normal(0, 1, (groups, columns, columns)) / columns + np.eye(columns))
    np.testing.assert_allclose(_inverse(lower) @ lower, np.broadcast_to(np.eye(columns), lower.shape), atol=1e-10)

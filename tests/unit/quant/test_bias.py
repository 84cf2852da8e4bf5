"""Bias correction: a layer's own error is taken out whole, earlier layers' only where images agree on it."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper

from edgecnn.quant.bias import corrected_bias, mean_outputs
from edgecnn.quant.rounding import patch_means
from edgecnn.quant.table import WeightQuantizer, weight_quantizer

Float = NDArray[np.float32]
Double = NDArray[np.float64]
RANDOM = np.random.default_rng(0)
ZERO = np.zeros(4, np.float32)


def normal(*shape: int) -> Float:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


def nearest(weight: Float) -> WeightQuantizer:
    return weight_quantizer("w", weight, np.zeros(len(weight), np.float32), 1.0)


def corrected(errors: Double) -> Float:
    """The bias of a layer of weight one, whose inputs lack these errors: (images, 4)."""
    weight = np.ones((4, 1, 1, 1), np.float32)
    exact = WeightQuantizer(np.ones((4, 1, 1, 1), np.int8), np.ones(4, np.float32))
    inputs = np.zeros((len(errors), 4, 1))
    return corrected_bias(ZERO, weight, exact, inputs, errors)


@pytest.mark.parametrize(("groups", "pad"), [(1, 0), (1, 1), (8, 1)])
def test_mean_outputs_are_those_of_the_convolution(groups: int, pad: int) -> None:
    value, weight = normal(4, 8, 6, 6) + 1, normal(16, 8 // groups, 3, 3)
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[2, 2], pads=[pad] * 4, group=groups)
    output = torch.nn.functional.conv2d(
        torch.from_numpy(value), torch.from_numpy(weight), stride=2, padding=pad, groups=groups
    )
    found = mean_outputs(weight, patch_means(node, weight, [lambda: value]))
    np.testing.assert_allclose(found, output.mean((2, 3)).numpy(), atol=1e-5)


def test_what_rounding_moves_is_taken_out_whole_however_images_differ() -> None:
    weight, value = normal(6, 5), normal(40, 5) * 3 + 1
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    means, quantizer, bias = patch_means(node, weight, [lambda: value]), nearest(weight), normal(6)
    wanted = mean_outputs(weight, means) + bias  # nothing was lost before
    found = corrected_bias(bias, weight, quantizer, means, wanted)
    np.testing.assert_allclose(
        (mean_outputs(quantizer.real, means) + found).mean(axis=0), wanted.mean(axis=0), atol=1e-6
    )


def test_an_error_that_all_images_share_is_taken_out() -> None:
    np.testing.assert_allclose(corrected(np.tile([[0.5, -2.0, 0.0, 1e-3]], (20, 1))), [0.5, -2.0, 0.0, 1e-3], rtol=1e-6)


def test_an_error_within_two_standard_errors_is_left_alone() -> None:
    errors = RANDOM.normal(0, 1, (50, 4))
    errors += -errors.mean(axis=0) + [0, 0.1, 0.25, 1.0]  # the standard error is about 0.14
    found = corrected(errors)
    np.testing.assert_array_equal(found[:3], 0)
    assert 0.85 < found[3] < 1


def test_one_image_says_nothing_of_others() -> None:
    np.testing.assert_array_equal(corrected(np.ones((1, 4))), ZERO)

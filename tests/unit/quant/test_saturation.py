"""Codes of weights that fit kernels which add products in pairs."""

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, helper

from edgecnn.quant.rounding import observe_moments, round_weights
from edgecnn.quant.saturation import EIGHT_BITS, Bounds, Limits, code_limits
from edgecnn.quant.table import WeightQuantizer, weight_quantizer

Float = NDArray[np.float32]
RANDOM = np.random.default_rng(0)
DENSE = [(24, 16, 1, 1), (24, 15, 1, 1), (24, 1, 1, 1), (8, 4, 3, 3), (8, 3, 3, 3), (8, 1, 3, 3)]


def conv(groups: int = 1) -> NodeProto:
    return helper.make_node("Conv", ["x", "w", "b"], ["y"], group=groups)


def normal(*shape: int) -> Float:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


def nearest(weight: Float, limits: Limits) -> WeightQuantizer:
    return weight_quantizer("w", weight, np.zeros(len(weight), np.float32), 1.0, limits)


def largest_sum(codes: NDArray[np.int8]) -> int:
    """That kernels make of 255 and neighbours: (out, channels, ...); with an odd number of channels, of any two."""
    columns = codes.astype(np.int64).reshape(*codes.shape[:2], -1)
    channels, places = columns.shape[1:]
    sums = []
    for sign in (1, -1):
        one_sided = np.maximum(sign * columns, 0)
        if channels % 2 and places > 1:
            sums.append(2 * one_sided.max())
        else:
            padded = np.pad(one_sided, ((0, 0), (0, channels % 2), (0, 0)))
            sums.append((padded[:, ::2] + padded[:, 1::2]).max())
    return 255 * int(max(sums))


@pytest.mark.parametrize("shape", DENSE, ids=str)
def test_no_sum_of_neighbours_leaves_16_bits(shape: tuple[int, ...]) -> None:
    weight, node = normal(*shape), conv()
    limits = code_limits(node, weight, reduced=True)
    plain = nearest(weight, limits)
    value = normal(40, shape[1], *(2 * side for side in shape[2:]))
    value[:, ::2] = value[:, :1]  # errors add up along one direction
    rounded = round_weights(weight, plain.scale, observe_moments(node, weight, [lambda: value]), limits)
    for found in (plain, rounded):
        assert largest_sum(found.codes) <= 2**15 - 1


def test_weights_that_stand_alone_have_all_codes() -> None:
    weight = np.tile(np.array([1.0, 0.0, -1.0, 0.0], np.float32), (3, 4)).reshape(3, 16, 1, 1)
    found = nearest(weight, code_limits(conv(), weight, reduced=True))
    np.testing.assert_array_equal(found.codes, 127 * weight)


def test_a_pair_shares_128_codes() -> None:
    weight = np.array([[0.75, 0.25, -0.5, 0.5]], np.float32).reshape(1, 4, 1, 1)
    found = nearest(weight, code_limits(conv(), weight, reduced=True))
    np.testing.assert_array_equal(found.codes.ravel(), [95, 32, -64, 64])


def test_rounding_leaves_the_second_of_a_pair_what_the_first_left() -> None:
    limits = Limits(neighbours=np.array([[0, 1], [2, 3]]))
    bounds = Bounds(limits, np.array([3, 0, 2, 1]))
    found = {column: bounds.rounded(column, np.array([100.4, -100.4])).tolist() for column in range(4)}
    assert found == {0: [100, -100], 1: [100, -100], 2: [28, -28], 3: [28, -28]}


@pytest.mark.parametrize(("groups", "reduced"), [(6, True), (6, False), (1, False)])
def test_kernels_that_widen_first_take_the_whole_range(groups: int, reduced: bool) -> None:
    weight = normal(6, 6 // groups, 3, 3)
    assert code_limits(conv(groups), weight, reduced) is EIGHT_BITS


def test_pairs_cost_less_than_seven_bits() -> None:
    weight = normal(64, 96, 1, 1)

    def error(limits: Limits) -> float:
        return float(np.square(nearest(weight, limits).real - weight).mean())

    whole, paired, seven = (
        error(limits) for limits in (EIGHT_BITS, code_limits(conv(), weight, reduced=True), Limits(63))
    )
    assert whole < paired < 0.6 * seven

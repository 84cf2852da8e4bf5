"""What must hold of every quantizer, whatever was observed."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecnn.errors import InputError
from edgecnn.quant.calibrate import Range
from edgecnn.quant.placement import Role
from edgecnn.quant.saturation import EIGHT_BITS, PAIR_MAX, Limits
from edgecnn.quant.table import ActivationQuantizer, activation_quantizer, weight_quantizer

Float = NDArray[np.float32]
TINY = float(np.finfo(np.float32).tiny)
ROUNDING = 1 + 1e-4  # float32's own, in the quantizers' arithmetic

magnitudes = st.floats(2.0**-60, 2.0**30, width=32)
signed = st.one_of(magnitudes, magnitudes.map(lambda value: -value), st.just(0.0))


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    low, high = sorted((draw(signed), draw(signed)))
    assume(low != 0 or high != 0)
    return Range(low, high)


def quantizer(observed: Range) -> ActivationQuantizer:
    return activation_quantizer("x", observed, frozenset({Role.INPUT}))


def quantized(found: ActivationQuantizer, value: Float) -> Float:
    """QuantizeLinear by its ONNX definition, and back."""
    codes = np.clip(np.rint(value / np.float32(found.scale)) + np.float32(found.zero_point), 0, 255)
    return found.dequantize(codes.astype(np.uint8))


@settings(deadline=None)
@given(ranges())
def test_activation_scales_are_normal_and_zero_is_exact(observed: Range) -> None:
    found = quantizer(observed)
    assert found.scale == float(np.float32(found.scale))
    assert TINY <= found.scale < math.inf
    assert 0 <= found.zero_point <= 255
    assert found.dequantize(np.array([found.zero_point], np.uint8))[0] == 0
    if observed.low >= 0:
        assert found.zero_point == 0
    if observed.high <= 0:
        assert found.zero_point == 255


@settings(deadline=None)
@given(ranges(), st.lists(st.floats(0, 1, width=32), min_size=1, max_size=32))
def test_activations_inside_the_range_err_by_half_a_step_and_saturate_outside(
    observed: Range, shares: list[float]
) -> None:
    found = quantizer(observed)
    low, high = -found.zero_point * found.scale, (255 - found.zero_point) * found.scale
    inside = np.array([low + share * (high - low) for share in shares], np.float32)
    error = np.abs(quantized(found, inside).astype(np.float64) - inside)
    # Half a step, and what float32 itself loses of a value this large.
    assert (error <= found.scale / 2 * ROUNDING).all()
    far = np.float32(4 * (high - low))
    np.testing.assert_allclose(quantized(found, np.array([-far, far])), [low, high], rtol=1e-6, atol=0)
    # What was seen is hardly cut off: the range moves by less than a step, so that zero has a code.
    assert low <= min(observed.low, 0) + found.scale * ROUNDING
    assert high >= max(observed.high, 0) - found.scale * ROUNDING


@settings(deadline=None)
@given(magnitudes)
def test_codes_never_reach_beyond_a_relus_bound(bound: float) -> None:
    found = quantizer(Range(0.0, bound))
    assert 255 * found.scale <= bound  # in float64, which holds the product exactly


@settings(deadline=None)
@given(ranges(), st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=32))
def test_signed_codes_are_symmetric_and_hold_the_range(observed: Range, shares: list[float]) -> None:
    found = activation_quantizer("x", observed, frozenset({Role.INPUT}), symmetric=True)
    largest = max(-observed.low, observed.high)
    assert (found.zero_point, found.dtype) == (0, np.int8)
    assert largest / ROUNDING <= 127 * found.scale <= largest  # in float64, which holds the product exactly
    inside = np.array([share * 127 * found.scale for share in shares], np.float32)
    codes = np.rint(inside / np.float32(found.scale))
    assert (np.abs(codes) <= 127).all()
    error = np.abs(found.dequantize(codes.astype(np.int8)).astype(np.float64) - inside)
    assert (error <= found.scale / 2 * ROUNDING).all()


@pytest.mark.parametrize("value", [1e-44, -1e-44])
def test_a_scale_that_would_be_denormal_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="tensor 'x' never varies"):
        quantizer(Range(min(value, 0), max(value, 0)))


def test_zero_is_exact_whatever_its_scale() -> None:
    found = quantizer(Range(0.0, 0.0))
    assert TINY <= found.scale < math.inf
    assert found.dequantize(np.array([found.zero_point], np.uint8))[0] == 0


@pytest.mark.parametrize(("low", "high"), [(0.0, math.inf), (-math.inf, 1.0), (math.nan, math.nan), (0.0, math.nan)])
def test_a_range_that_is_not_finite_is_refused(low: float, high: float) -> None:
    with pytest.raises(InputError, match=r"tensor 'a\.b/Conv', of module 'a\.b', has the range .*, not finite"):
        activation_quantizer("a.b/Conv", Range(low, high), frozenset({Role.INPUT}))


@st.composite
def layers(draw: st.DrawFn) -> tuple[Float, Float, float]:
    """A weight whose channels differ in size by many orders, its bias, and the scale of its input."""
    channels, columns = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    unit = st.floats(-1, 1, width=32)
    values = draw(st.lists(unit, min_size=channels * columns, max_size=channels * columns))
    sizes = draw(
        st.lists(st.sampled_from([0.0, 1e-30, 1e-12, 1e-6, 1e-2, 1.0, 1e3]), min_size=channels, max_size=channels)
    )
    bias = draw(st.lists(st.floats(-64, 64, width=32), min_size=channels, max_size=channels))
    weight = np.array(values, np.float32).reshape(channels, columns) * np.array(sizes, np.float32)[:, None]
    input_scale = draw(st.sampled_from([1e-30, 1e-6, 1e-3, 0.05, 10.0]))
    return weight.astype(np.float32), np.array(bias, np.float32), input_scale


@settings(deadline=None)
@given(layers(), st.sampled_from([EIGHT_BITS, Limits(PAIR_MAX // 2)]))
def test_weights_err_by_half_a_step_and_never_use_the_lowest_code(
    layer: tuple[Float, Float, float], limits: Limits
) -> None:
    weight, bias, input_scale = layer
    found = weight_quantizer("w", weight, bias, input_scale, limits)
    assert found.codes.dtype == np.int8
    assert np.abs(found.codes.astype(np.int64)).max() <= limits.largest
    assert found.scale.dtype == np.float32
    assert np.isfinite(found.scale).all()
    assert (found.scale >= TINY).all()
    error = np.abs(found.real.astype(np.float64) - weight)
    assert (error <= found.scale[:, None].astype(np.float64) / 2 * ROUNDING).all()
    assert (found.codes[weight == 0] == 0).all()
    # No code is wasted where no floor was needed.
    widest = np.abs(weight).max(axis=1)
    full = found.scale == widest / np.float32(limits.largest)
    assert (np.abs(found.codes[full].astype(np.int64)).max(axis=1, initial=0) == limits.largest).all()


@settings(deadline=None)
@given(layers())
def test_a_bias_in_units_of_the_accumulator_fits_int32(layer: tuple[Float, Float, float]) -> None:
    weight, bias, input_scale = layer
    found = weight_quantizer("w", weight, bias, input_scale)
    step = np.float32(input_scale) * found.scale
    assert (step >= TINY * (1 - 1e-6)).all()
    assert (np.abs(bias.astype(np.float64) / step.astype(np.float64)) <= 2**30 * ROUNDING).all()


@settings(deadline=None)
@given(layers(), st.randoms(use_true_random=False))
def test_the_order_of_channels_does_not_matter(
    layer: tuple[Float, Float, float], random: "np.random.Generator"
) -> None:
    weight, bias, input_scale = layer
    order = list(range(len(weight)))
    random.shuffle(order)
    found, other = (
        weight_quantizer("w", weight, bias, input_scale),
        weight_quantizer("w", weight[order], bias[order], input_scale),
    )
    np.testing.assert_array_equal(found.codes[order], other.codes)
    np.testing.assert_array_equal(found.scale[order], other.scale)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_refused(value: float) -> None:
    weight = np.array([[1, value]], np.float32)
    with pytest.raises(InputError, match="weight 'w' holds NaN or infinite values"):
        weight_quantizer("w", weight, np.zeros(1, np.float32), 0.1)

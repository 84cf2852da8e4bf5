"""Histograms against numpy's own counts, and the ranges that are read from them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn.quant.calibrate import Range
from edgecnn.quant.histogram import BINS, Histogram, candidates, percentile, smallest_error
from edgecnn.quant.table import LEVELS

Float = NDArray[np.float32]


def filled(*batches: Float) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.add(Range(float(batch.min()), float(batch.max())), batch)
    return histogram


def normal(count: int, seed: int = 0) -> Float:
    return np.random.default_rng(seed).normal(0, 1, count).astype(np.float32)


def error(values: Float, found: Range) -> float:
    """Mean squared error of eight-bit codes over a range."""
    step = (found.high - found.low) / LEVELS
    codes = np.clip(np.rint((values - found.low) / step), 0, LEVELS)
    return float(np.square(codes * step + found.low - values).mean())


def test_counts_and_extremes_are_those_of_all_batches_whatever_their_order() -> None:
    small, large = normal(5000), normal(5000, 1) * 50
    for batches in ((small, large), (large, small)):
        histogram = filled(*batches)
        values = np.concatenate(batches)
        assert histogram.counts.sum() == len(values)
        assert histogram.extremes == (values.min(), values.max())
        edges = (np.arange(BINS + 1) - BINS // 2) * histogram.width
        np.testing.assert_array_equal(histogram.counts, np.histogram(values, edges)[0])


def test_a_percentile_leaves_its_share_outside() -> None:
    values = normal(50_000)
    found = percentile(filled(values), 0.01)
    assert 0.008 < float(((values < found.low) | (values > found.high)).mean()) < 0.0105


def test_the_smallest_error_is_smaller_than_min_maxs_where_tails_are_long() -> None:
    values = np.random.default_rng(0).laplace(0, 1, 50_000).astype(np.float32)
    histogram = filled(values)
    found = smallest_error(histogram, histogram.extremes)
    assert found.high < 0.9 * histogram.extremes.high
    assert error(values, found) < error(values, histogram.extremes)


def test_an_end_that_is_short_already_is_left_alone() -> None:
    """HardSwish never goes below -0.375, and every value there matters."""
    values = normal(20_000) * 4
    histogram = filled(values * np.clip(values / 6 + 0.5, 0, 1))
    assert smallest_error(histogram, histogram.extremes).low == histogram.extremes.low


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_candidates_hold_zero_lie_within_min_max_and_differ(shift: float) -> None:
    found = candidates(filled(normal(20_000) ** 3 + np.float32(shift)))
    widest = found["min-max"]
    assert len(found) > 1
    for candidate in found.values():
        assert widest.low <= candidate.low <= 0 <= candidate.high <= widest.high
    assert len(set(found.values())) == len(found)


def test_an_even_tensor_has_one_candidate_but_those_that_cut_it() -> None:
    """All methods that respect its ends agree on a tensor without tails."""
    found = candidates(filled(np.linspace(0, 6, 10_000, dtype=np.float32)))
    assert "MSE" not in found
    assert found["min-max"] == (0, 6)


@pytest.mark.parametrize("value", [0.0, 1e-40, float(np.finfo(np.float32).tiny), 0.1, 1.0, 4.0, -4.0, 3e38])
def test_any_finite_value_has_a_bin(value: float) -> None:
    histogram = filled(np.full(7, value, np.float32))
    assert histogram.counts.sum() == 7
    (bin_,) = histogram.counts.nonzero()[0]
    assert abs(histogram.centres[bin_] - np.float32(value)) <= histogram.width / 2

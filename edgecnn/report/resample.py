"""Intervals of medians, by resampling rounds (Efron and Tibshirani 1993, An Introduction to the Bootstrap)."""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
BLOCK = 1 << 22  # values in memory at a time

Numbers = NDArray[np.float64]
Column = Sequence[float] | Numbers


def medians(columns: Sequence[Column], seed: int) -> tuple[Numbers, ...]:
    """``RESAMPLES`` medians of each column.

    Columns of one length are rounds that were timed in turns, and are drawn together: what disturbed a round disturbed
    all of them. Columns of several lengths are drawn apart.
    """
    values = [np.asarray(column, np.float64) for column in columns]
    together = len({len(column) for column in values}) == 1
    random = np.random.default_rng(seed)
    found = [np.empty(RESAMPLES) for _ in values]
    step = max(1, BLOCK // max(len(column) for column in values))
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        picks = None
        for column, result in zip(values, found, strict=True):
            if picks is None or not together:
                picks = random.integers(0, len(column), (count, len(column)))
            result[start : start + count] = np.median(column[picks], axis=1)
    return tuple(found)


def interval(samples: Numbers) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.percentile(samples, (2.5, 97.5))
    return float(low), float(high)


@functools.lru_cache(maxsize=256)
def median_interval(rounds_ms: tuple[float, ...], seed: int = 0) -> tuple[float, float]:
    """95 % interval of a median, in the unit of the rounds."""
    return interval(medians([rounds_ms], seed)[0])

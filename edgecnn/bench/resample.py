"""Intervals of medians, by resampling rounds in runs of neighbours: those of ``bench``, ``report`` and ``compare``.

A busy second slows many rounds in a row; drawn one by one, these would pass for as many independent witnesses
(circular blocks: Politis and Romano 1992, in Exploring the Limits of Bootstrap). And what differs from run to run
(clocks, neighbours in the caches) is alike for all rounds of one, so that more rounds do not average it away. It is
about as large as what differs between eighths of a run, so so many are drawn. Of a short run half are: few blocks vary
too little among themselves, and all of the rounds make an interval that is too narrow.
"""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

RESAMPLES = 2000
FEWEST_DRAWN = 200  # rounds of a resample, where there are twice as many
MOST_BLOCKS = 16  # a run of seconds has no more independent parts than this: load comes and goes by the second
AT_ONCE = 1 << 22  # values in memory

Numbers = NDArray[np.float64]
Column = Sequence[float] | Numbers


def medians(columns: Sequence[Column], seed: int) -> tuple[Numbers, ...]:
    """``RESAMPLES`` medians of each column.

    Columns of one length are rounds that were timed in turns, and are drawn together: what disturbed a round disturbed
    all of them. Columns of several lengths are drawn apart.
    """
    random = np.random.default_rng(seed)
    values = [np.asarray(column, np.float64) for column in columns]
    if len({len(column) for column in values}) == 1:
        starts = _starts(len(values[0]), random)
        return tuple(_medians(column, starts) for column in values)
    return tuple(_medians(column, _starts(len(column), random)) for column in values)


def interval(samples: Numbers) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.percentile(samples, (2.5, 97.5))
    return float(low), float(high)


@functools.lru_cache(maxsize=256)
def median_interval(rounds_ms: tuple[float, ...], seed: int = 0) -> tuple[float, float]:
    """95 % interval of a median, in the unit of the rounds."""
    return interval(medians([rounds_ms], seed)[0])


def _sizes(rounds: int) -> tuple[int, int]:
    """How long a block is, which is as long as disturbances last, and how many rounds a resample has."""
    return max(round(rounds**0.5), rounds // MOST_BLOCKS), max(rounds // 8, min(FEWEST_DRAWN, -(-rounds // 2)))


def _starts(rounds: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Where blocks begin: (``RESAMPLES``, blocks of one)."""
    length, drawn = _sizes(rounds)
    return random.integers(0, rounds, (RESAMPLES, -(-drawn // length)))


def _medians(rounds: Numbers, starts: NDArray[np.int64]) -> Numbers:
    length, drawn = _sizes(len(rounds))
    circle = np.concatenate([rounds, rounds[: length - 1]])  # after the last round comes the first
    blocks = sliding_window_view(circle, length)
    step = max(1, AT_ONCE // drawn)
    found = np.empty(len(starts))
    for first in range(0, len(starts), step):
        part = blocks[starts[first : first + step]]
        found[first : first + step] = np.median(part.reshape(len(part), -1)[:, :drawn], axis=1)
    return found

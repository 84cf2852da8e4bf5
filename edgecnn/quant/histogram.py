"""Histograms of activations that grow with what they see, and the ranges that can be read from them.

Which range suits a tensor is not decided here: the candidates go to ``ranges``, which asks the logits.
"""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgecnn.quant.calibrate import Range
from edgecnn.quant.table import LEVELS, NOTHING, Float

MIN_MAX = "min-max"
BINS = 4096  # half of them below zero
SHRINKAGE = np.linspace(0.3, 1.0, 36)  # of either end of the range, for the search of the smallest squared error
MOMENTUM = 0.9  # of the moving average, per batch (Jacob et al. 2018, arXiv 1712.05877, section 3.1)


@dataclass
class Histogram:
    """Counts of a tensor's values, in bins of one width, and its exact extremes.

    Args:
        width: of a bin; it doubles whenever a value lies outside, which merges bins in pairs.
        average: of the smallest and largest value of each batch, exponentially weighted.
    """

    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    width: float = 0.0
    extremes: Range = NOTHING
    average: Range = NOTHING

    def add(self, seen: Range, sample: Float) -> None:
        """Counts a batch.

        Args:
            seen: all of its values lie in it.
            sample: those that are counted, of any shape.
        """
        if self.width == 0.0:
            largest = max(abs(seen.low), abs(seen.high), float(np.finfo(np.float32).tiny))
            self.width = 2.0 ** math.ceil(math.log2(largest)) * 2 / BINS
            self.extremes = self.average = seen
        self.extremes = Range(min(self.extremes.low, seen.low), max(self.extremes.high, seen.high))
        self.average = Range(
            *(MOMENTUM * old + (1 - MOMENTUM) * new for old, new in zip(self.average, seen, strict=True))
        )
        while max(-seen.low, seen.high) > self.width * BINS / 2:
            self._widen()
        # A power of two divides float32 exactly; only the largest value may lie on the last bin's far edge.
        index = np.floor(sample.reshape(-1) / np.float32(self.width)).astype(np.int16) + np.int16(BINS // 2)
        self.counts += np.bincount(np.minimum(index, BINS - 1, out=index), minlength=BINS)

    def _widen(self) -> None:
        merged = np.zeros(BINS)
        merged[BINS // 4 : 3 * BINS // 4] = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts, self.width = merged, self.width * 2

    @property
    def centres(self) -> NDArray[np.float64]:
        """(BINS,), of the bins."""
        return np.asarray((np.arange(BINS) - BINS // 2 + 0.5) * self.width, np.float64)


def candidates(histogram: Histogram) -> dict[str, Range]:
    """Ranges by the method that finds them; ``min-max`` always, others where they differ from it."""
    widest = _with_zero(histogram.extremes)
    if widest == NOTHING:
        return {MIN_MAX: widest}
    found = {
        MIN_MAX: widest,
        "moving average": _within(histogram.average, widest),
        "99.99 %": _within(percentile(histogram, 1e-4), widest),
        "99.9 %": _within(percentile(histogram, 1e-3), widest),
        "MSE": _within(smallest_error(histogram, widest), widest),
        "entropy": _within(smallest_divergence(histogram, widest), widest),
    }
    distinct: dict[str, Range] = {}
    for name, found_range in found.items():
        width = found_range.high - found_range.low
        if width > 0 and not any(_close(found_range, other) for other in distinct.values()):
            distinct[name] = found_range
    return distinct


def percentile(histogram: Histogram, outside: float) -> Range:
    """The range that leaves this share of the values outside, half of it at either end."""
    cumulative = histogram.counts.cumsum() / histogram.counts.sum()
    low = int(np.searchsorted(cumulative, outside / 2))
    high = int(np.searchsorted(cumulative, 1 - outside / 2))
    edges = (np.arange(BINS + 1) - BINS // 2) * histogram.width
    return Range(float(edges[low]), float(edges[high + 1]))


def smallest_error(histogram: Histogram, widest: Range) -> Range:
    """The range whose codes have the smallest squared error over the counted values."""
    used = histogram.counts > 0
    counts, centres = histogram.counts[used], histogram.centres[used]
    # An end that is short already, as HardSwish's -0.375, is left alone.
    lows = widest.low * (SHRINKAGE if -widest.low > widest.high / 8 else np.ones(1))
    highs = widest.high * (SHRINKAGE if widest.high > -widest.low / 8 else np.ones(1))
    best, found = np.inf, widest
    for low, high in itertools.product(lows, highs):
        step = (high - low) / LEVELS
        codes = np.clip(np.rint((centres - low) / step), 0, LEVELS)
        error = float(counts @ np.square(codes * step + low - centres))
        if error < best:
            best, found = error, Range(float(low), float(high))
    return found


def smallest_divergence(histogram: Histogram, widest: Range) -> Range:
    """The range whose quantized distribution is nearest in KL divergence to the real one (Migacz 2017, GTC S7310)."""
    total = histogram.counts.sum()
    best, found = np.inf, widest
    for share in SHRINKAGE:
        low, high = widest.low * share, widest.high * share
        inside = (histogram.centres >= low) & (histogram.centres <= high)
        clipped = histogram.counts[inside].copy()
        if len(clipped) <= LEVELS:
            continue
        level = (np.arange(len(clipped)) * (LEVELS + 1)) // len(clipped)
        sums = np.bincount(level, clipped, minlength=LEVELS + 1)
        filled = np.bincount(level, clipped > 0, minlength=LEVELS + 1)
        # Each level's mass, spread over those of its bins that are not empty.
        quantized = np.where(clipped > 0, sums[level] / np.maximum(filled[level], 1), 0)
        lower, upper = histogram.counts[histogram.centres < low].sum(), histogram.counts[histogram.centres > high].sum()
        clipped[0] += lower
        clipped[-1] += upper
        p, q = clipped / total, quantized / max(quantized.sum(), 1e-30)
        there = p > 0
        divergence = float((p[there] * np.log(p[there] / np.maximum(q[there], 1e-12))).sum())
        if divergence < best:
            best, found = divergence, Range(low, high)
    return found


def _with_zero(found: Range) -> Range:
    return Range(min(found.low, 0.0), max(found.high, 0.0))


def _within(found: Range, widest: Range) -> Range:
    return _with_zero(Range(max(found.low, widest.low), min(found.high, widest.high)))


def _close(one: Range, other: Range) -> bool:
    """Whether two ranges differ by less than a step of either."""
    step = max(one.high - one.low, other.high - other.low) / LEVELS
    return max(abs(one.low - other.low), abs(one.high - other.high)) < step

"""Latency of several ways to answer, timed in turns so that whatever else the machine does befalls all of them alike.

A round runs every candidate once, in an order that is drawn anew: whoever always came after another would always find
its threads and its caches. Medians and ratios are taken over rounds, and so are their intervals: what disturbed a round
disturbed all of it (``edgecnn.bench.resample``).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.bench.record import Ratio, Times
from edgecnn.bench.resample import interval, medians

WINDOW = 5  # rounds that are held against as many before them
LEVEL = 0.05  # how far their medians may be apart
WARM_UP_S, MOST_WARM_UP = 3.0, 100  # where warming up ends in any case, once the fewest rounds are done
FEWEST_ROUNDS, MOST_ROUNDS = 20, 200
BUDGET_S = 4.0  # of counted calls, once the fewest rounds are done

# The fewest calls of which the slowest lies beyond the true 99th percentile with 95 % confidence, whatever the
# distribution: 1 - 0.99^n >= 0.95 (Wilks 1941). With fewer, a p99 would be the tail that happened not to be seen.
FEWEST_FOR_P99 = math.ceil(math.log(0.05) / math.log(0.99))

Run = Callable[[], object]


def distribution(ms: NDArray[np.float64]) -> tuple[int, float, float, float | None, float]:
    """The fields of a ``Distribution``; there is no p99 of fewer than ``FEWEST_FOR_P99`` calls."""
    p50, p90, p99 = (round(float(value), 4) for value in np.percentile(ms, (50, 90, 99)))
    return len(ms), p50, p90, p99 if len(ms) >= FEWEST_FOR_P99 else None, round(float(ms.mean()), 4)


@dataclass(frozen=True)
class Latency:
    """One candidate's time per call over ``n`` rounds."""

    name: str
    n: int
    p50_ms: float
    mean_ms: float
    min_ms: float


@dataclass(frozen=True)
class Gain:
    """How many times as fast one candidate is as another: above 1 it is faster.

    Args:
        ratio: of the medians, ``against`` over ``candidate``.
        ratio_ci95: its bootstrap interval over rounds.
    """

    candidate: str
    against: str
    ratio: float
    ratio_ci95: tuple[float, float]

    @property
    def real(self) -> bool:
        """Whether the whole interval is above 1, by a hundredth: a gain that noise does not explain, and that shows."""
        return round(self.ratio_ci95[0], 2) > 1


@dataclass(frozen=True)
class Race:
    """Milliseconds of every round by candidate, in the order that they were given in; all have the same rounds.

    Args:
        unsettled: candidates whose times never became level while warming up.
    """

    rounds_ms: dict[str, tuple[float, ...]]
    unsettled: tuple[str, ...] = ()

    @property
    def latencies(self) -> tuple[Latency, ...]:
        return tuple(
            Latency(name, len(ms), float(np.median(ms)), float(np.mean(ms)), min(ms))
            for name, ms in self.rounds_ms.items()
        )

    def by_median(self, names: Sequence[str]) -> list[str]:
        """These candidates, the fastest first."""
        return sorted(names, key=lambda name: float(np.median(self.rounds_ms[name])))

    def leaders(self, names: Sequence[str]) -> list[str]:
        """The fastest of these candidates, and behind it those that do not differ from it beyond noise."""
        fastest, *others = self.by_median(names)
        return [fastest, *(name for name in others if not differs(self.ratio(name, fastest)))]

    def times(self, name: str) -> Times:
        """For the record. Nothing is cut off."""
        ms = np.array(self.rounds_ms[name])
        return Times(
            *distribution(ms),
            min_ms=round(float(ms.min()), 4),
            rounds_ms=tuple(round(float(value), 4) for value in ms),
        )

    def ratio(self, name: str, against: str) -> Ratio:
        """How many times as long a candidate takes: above 1 it is slower."""
        ratio, (low, high) = self._ratio(name, against)
        return Ratio(against, round(ratio, 4), (round(low, 4), round(high, 4)))

    def gain(self, candidate: str, against: str) -> Gain:
        """How many times as fast a candidate is."""
        return Gain(candidate, against, *self._ratio(against, candidate))

    def _ratio(self, above: str, below: str) -> tuple[float, tuple[float, float]]:
        """Of the medians, with its interval; the same times give the same one."""
        over, under = self.rounds_ms[above], self.rounds_ms[below]
        drawn = medians([over, under], seed=0)
        return float(np.median(over) / np.median(under)), interval(drawn[0] / drawn[1])


def without_p99(times: Times) -> dict[str, str]:
    """Why a row has no p99, as its ``absences`` have it; empty where it has one."""
    return {} if times.p99_ms is not None else {"p99_ms": f"{times.n} calls, expected at least {FEWEST_FOR_P99}"}


def differs(ratio: Ratio) -> bool:
    """Whether two rows differ beyond noise: the whole interval is on one side of 1, and a hundredth of it shows."""
    low, high = (round(bound, 2) for bound in ratio.ratio_ci95)
    return low > 1 or high < 1


def race(
    runs: Sequence[tuple[str, Run]],
    budget_s: float = BUDGET_S,
    most_rounds: int = MOST_ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
    on_round: Callable[[], object] = lambda: None,
) -> Race:
    """Times named candidates in turns, once they are warm.

    Each turn is one call that is not counted and one that is: the first brings the candidate's weights back into the
    caches, and outlasts the threads that the candidate before it left spinning.

    Args:
        budget_s: of counted calls; rounds stop when it is spent, but never before ``FEWEST_ROUNDS``.
        clock: seconds, for tests.
        on_round: called after each counted round.
    """
    times: dict[str, list[float]] = {name: [] for name, _ in runs}
    unsettled = warm_up(runs, clock)
    order, spent = np.random.default_rng(0), 0.0
    for done in range(most_rounds):
        if done >= FEWEST_ROUNDS and spent > budget_s:
            break
        for place in order.permutation(len(runs)):
            name, run = runs[place]
            run()
            took = _timed(run, clock)
            spent += took
            times[name].append(1000 * took)
        on_round()
    return Race({name: tuple(ms) for name, ms in times.items()}, unsettled)


def warm_up(runs: Sequence[tuple[str, Run]], clock: Callable[[], float] = time.perf_counter) -> tuple[str, ...]:
    """Runs candidates in turns until each was level once: caches, thread pools and clocks have found their place.

    Level is a median of ``WINDOW`` calls that is within ``LEVEL`` of the one before. Bounded by ``WARM_UP_S`` and
    ``MOST_WARM_UP`` rounds.

    Returns:
        The candidates that never were.
    """
    times: dict[str, list[float]] = {name: [] for name, _ in runs}
    restless = dict.fromkeys(times)
    started = clock()
    for done in range(1, MOST_WARM_UP + 1):
        for name, run in runs:
            times[name].append(_timed(run, clock))
        restless = {name: None for name in restless if not _level(times[name])}
        # Nobody can be level before two windows, however slow it is.
        if not restless or (done >= 2 * WINDOW and clock() - started > WARM_UP_S):
            break
    return tuple(restless)


def _level(times: Sequence[float]) -> bool:
    if len(times) < 2 * WINDOW:
        return False
    before, now = np.median(times[-2 * WINDOW : -WINDOW]), np.median(times[-WINDOW:])
    return bool(abs(now - before) <= LEVEL * before)


def _timed(run: Run, clock: Callable[[], float]) -> float:
    before = clock()
    run()
    return clock() - before

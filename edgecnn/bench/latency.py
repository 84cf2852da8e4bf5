"""Latency of several ways to answer, timed in turns so that whatever else the machine does befalls all of them alike.

A round runs every candidate once: A B C A B C. Medians and ratios are taken over rounds, and the interval of a ratio by
a paired bootstrap of rounds (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 8).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

WARM_UP = 5  # rounds that are not counted: caches, thread pools and clocks find their place
FEWEST_ROUNDS, MOST_ROUNDS = 20, 200
BUDGET_S = 8.0  # of counted rounds, once the fewest are done
RESAMPLES = 2000

Run = Callable[[], object]


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
    """Milliseconds of every round by candidate, in the order that they were given in; all have the same rounds."""

    rounds_ms: dict[str, tuple[float, ...]]

    @property
    def latencies(self) -> tuple[Latency, ...]:
        return tuple(
            Latency(name, len(ms), float(np.median(ms)), float(np.mean(ms)), min(ms))
            for name, ms in self.rounds_ms.items()
        )

    def by_median(self, names: Sequence[str]) -> list[str]:
        """These candidates, the fastest first."""
        return sorted(names, key=lambda name: float(np.median(self.rounds_ms[name])))

    def gain(self, candidate: str, against: str, seed: int = 0) -> Gain:
        """Resamples rounds, not single times: what disturbed a round disturbed both."""
        fast, slow = np.array(self.rounds_ms[candidate]), np.array(self.rounds_ms[against])
        picks = np.random.default_rng(seed).integers(0, len(fast), (RESAMPLES, len(fast)))
        ratios = np.median(slow[picks], axis=1) / np.median(fast[picks], axis=1)
        low, high = (float(bound) for bound in np.percentile(ratios, (2.5, 97.5)))
        return Gain(candidate, against, float(np.median(slow) / np.median(fast)), (low, high))


def race(
    runs: Sequence[tuple[str, Run]],
    warm_up: int = WARM_UP,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.perf_counter,
    on_round: Callable[[], object] = lambda: None,
) -> Race:
    """Times named candidates in turns.

    Each turn is one call that is not counted and one that is: the first brings the candidate's weights back into the
    caches, and outlasts the threads that the candidate before it left spinning.

    Args:
        budget_s: rounds stop when it is spent, but never before ``FEWEST_ROUNDS``.
        clock: seconds, for tests.
        on_round: called after each counted round.
    """
    times: dict[str, list[float]] = {name: [] for name, _ in runs}
    for _ in range(warm_up):
        for _, run in runs:
            run()
    started = clock()
    for done in range(MOST_ROUNDS):
        if done >= FEWEST_ROUNDS and clock() - started > budget_s:
            break
        for name, run in runs:
            run()
            before = clock()
            run()
            times[name].append(1000 * (clock() - before))
        on_round()
    return Race({name: tuple(ms) for name, ms in times.items()})

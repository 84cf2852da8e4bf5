"""Latencies side by side: every candidate has its turn in every round, so that what slows the machine slows all."""

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgecnn.bench.resample import interval
from tools.bench_int8.results import Latency, Ratio

Rounds = NDArray[np.float64]  # (rounds,) milliseconds: the median inference of each turn
WARM_UP = 10
RESAMPLES = 5000
SEED = 0


def time_interleaved(runs: Mapping[str, Callable[[], object]], rounds: int, inferences: int) -> dict[str, Rounds]:
    """The median inference of each turn, milliseconds.

    The order is drawn anew in every round, and a turn begins with an inference that does not count: it brings the
    candidate's weights back into the caches and gives other candidates' threads time to rest.
    """
    random = np.random.default_rng(SEED)
    names = list(runs)
    found = {name: np.zeros(rounds) for name in names}
    for run in runs.values():
        for _ in range(WARM_UP):
            run()
    for index in range(rounds):
        for position in random.permutation(len(names)):
            run = runs[names[position]]
            run()
            turn = []
            for _ in range(inferences):
                started = time.perf_counter()
                run()
                turn.append(time.perf_counter() - started)
            found[names[position]][index] = 1000 * np.median(turn)
    return found


def ratio(numerator: Rounds, denominator: Rounds) -> Ratio:
    """The median over rounds of one candidate's time as a share of another's in the same round.

    Its 95 % interval is a percentile bootstrap over rounds (Efron 1979, Annals of Statistics 7, 1-26): a round is the
    unit that repeats, since its inferences share whatever else the machine did.
    """
    shares = numerator / denominator
    random = np.random.default_rng(SEED)
    medians = np.median(shares[random.integers(0, len(shares), (RESAMPLES, len(shares)))], axis=1)
    return Ratio(float(np.median(shares)), *interval(medians))


def latencies(times: Mapping[str, Rounds], fp32: str, ours: str) -> dict[str, Latency]:
    """The latency of each candidate of one runtime, held against FP32's and against edgecnn's where those ran."""
    found = {}
    for name, rounds in times.items():
        p10, median, p90 = np.quantile(rounds, [0.1, 0.5, 0.9])
        found[name] = Latency(
            float(median),
            float(p10),
            float(p90),
            ratio(rounds, times[fp32]) if fp32 in times and name != fp32 else None,
            ratio(times[ours], rounds) if ours in times and name != ours else None,
        )
    return found

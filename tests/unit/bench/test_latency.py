"""Timing with a clock of our own: what is faster is found, what is not is said, and the machine has no say."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from edgecnn.bench.latency import (
    FEWEST_FOR_P99,
    FEWEST_ROUNDS,
    MOST_ROUNDS,
    MOST_WARM_UP,
    WARM_UP_S,
    WINDOW,
    Race,
    differs,
    race,
    warm_up,
)


class Clock:
    """Seconds that pass only when a candidate runs, with noise that is the same in every test."""

    def __init__(self, noise: float = 0.0) -> None:
        self.now = 0.0
        self._noise, self._random = noise, np.random.default_rng(0)
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def takes(self, name: str, ms: float) -> tuple[str, Callable[[], object]]:
        def run() -> None:
            self.calls.append(name)
            self.now += ms / 1000 * (1 + self._noise * float(self._random.standard_exponential()))

        return name, run


def test_known_durations_are_measured() -> None:
    clock = Clock()
    found = race([clock.takes("fp32", 4.0), clock.takes("int8", 2.0)], clock=clock)
    first, second = found.latencies
    assert (first.name, second.name) == ("fp32", "int8")
    for row, ms in ((first, 4.0), (second, 2.0)):
        assert (row.p50_ms, row.mean_ms, row.min_ms) == pytest.approx((ms, ms, ms))
    gain = found.gain("int8", "fp32")
    assert gain.ratio == pytest.approx(2)
    assert gain.ratio_ci95 == pytest.approx((2, 2))
    assert gain.real


def test_candidates_take_turns() -> None:
    clock = Clock()
    race([clock.takes(name, 1.0) for name in "ABC"], budget_s=0, clock=clock)
    warm, turns = clock.calls[: 3 * 2 * WINDOW], clock.calls[3 * 2 * WINDOW :]
    assert "".join(warm) == "ABC" * 2 * WINDOW
    rounds = ["".join(turns[start : start + 6]) for start in range(0, len(turns), 6)]
    assert len(rounds) == FEWEST_ROUNDS
    assert {"".join(sorted(names)) for names in rounds} == {"AABBCC"}
    assert all(names[0] == names[1] != names[2] == names[3] for names in rounds)


def test_nobody_always_comes_after_the_same_one() -> None:
    """Whoever runs after a slow neighbour pays for it, so a neighbour must not always be the same."""
    clock = Clock()
    after = {"A": 0.0, "B": 0.0, "C": 2.0}  # milliseconds that the next candidate's two calls pay
    last = "A"

    def runs(name: str) -> Callable[[], object]:
        def run() -> None:
            nonlocal last
            clock.now += 0.001 * (10 + after[last if last != name else name] * (last != name))
            last = name

        return run

    found = race([(name, runs(name)) for name in "ABC"], most_rounds=400, budget_s=1000, clock=clock)
    assert found.ratio("B", "A").ratio == pytest.approx(1, abs=0.01)


def test_ten_percent_are_found_in_noise() -> None:
    clock = Clock(noise=0.05)
    found = race([clock.takes("fp32", 5.5), clock.takes("int8", 5.0)], clock=clock)
    gain = found.gain("int8", "fp32")
    assert gain.real
    assert gain.ratio_ci95[0] < 1.1 < gain.ratio_ci95[1]
    back = found.gain("fp32", "int8")
    assert not back.real
    assert back.ratio_ci95[1] < 1


def test_equals_are_inside_the_noise() -> None:
    clock = Clock(noise=0.3)
    gain = race([clock.takes("fp32", 5.0), clock.takes("int8", 5.0)], clock=clock).gain("int8", "fp32")
    assert gain.ratio_ci95[0] < 1 < gain.ratio_ci95[1]
    assert not gain.real


def test_what_disturbs_a_round_disturbs_both() -> None:
    """A machine that becomes three times as slow half way through changes no ratio."""
    slow = np.repeat([1.0, 3.0], 50)
    noise = np.random.default_rng(0).normal(1, 0.01, (2, 100))
    found = Race({"fp32": tuple(2.2 * slow * noise[0]), "int8": tuple(2.0 * slow * noise[1])})
    gain = found.gain("int8", "fp32")
    assert gain.real
    assert gain.ratio == pytest.approx(1.1, abs=0.02)


def test_the_interval_is_the_same_every_time() -> None:
    found = Race({"a": tuple(np.linspace(1, 2, 30)), "b": tuple(np.linspace(1.1, 2.3, 30))})
    assert found.gain("a", "b") == found.gain("a", "b")


@pytest.mark.parametrize(("ms", "rounds"), [(1.0, MOST_ROUNDS), (100.0, 81), (10_000.0, FEWEST_ROUNDS)])
def test_rounds_stop_with_the_budget(ms: float, rounds: int) -> None:
    clock, seen = Clock(), []
    found = race([clock.takes("a", ms)], budget_s=8, clock=clock, on_round=lambda: seen.append(1))
    assert found.latencies[0].n == len(seen) == rounds
    assert len(clock.calls) == 2 * WINDOW + 2 * rounds


def test_the_fastest_has_the_smallest_median() -> None:
    found = Race({"a": (1.0, 5.0, 5.0), "b": (2.0, 2.0, 9.0)})
    assert found.by_median(["a", "b"]) == ["b", "a"]
    assert found.by_median(["a"]) == ["a"]


# warming up


def test_warming_up_lasts_until_times_are_level() -> None:
    clock, spent = Clock(), iter([8.0] * 4 + [6.0, 5.0, 4.0, 3.0, 2.0] + [1.0] * 200)

    def run() -> None:
        clock.calls.append("A")
        clock.now += next(spent) / 1000

    assert warm_up([("A", run)], clock) == ()
    assert len(clock.calls) == 9 + 3 + WINDOW  # three level ones make the median of the window before


def test_whoever_never_is_level_is_named() -> None:
    clock, seconds = Clock(), 1e-9

    def growing() -> None:
        nonlocal seconds
        seconds *= 1.1
        clock.now += seconds

    found = race([clock.takes("A", 0.001), ("B", growing)], most_rounds=1, clock=clock)
    assert found.unsettled == ("B",)


def test_slow_candidates_have_time_to_be_level() -> None:
    clock = Clock()
    assert warm_up([clock.takes(name, 350) for name in "AB"], clock) == ()


def test_warming_up_is_bounded() -> None:
    clock, fast = Clock(), Clock()
    warm_up([clock.takes("slow", 1000 * WARM_UP_S)], clock)
    assert len(clock.calls) == 2 * WINDOW
    noisy = iter(np.tile([1.0] * WINDOW + [2.0] * WINDOW, 100))

    def run() -> None:
        fast.calls.append("A")
        fast.now += float(next(noisy)) / 1e6

    warm_up([("A", run)], lambda: fast.now)
    assert len(fast.calls) <= MOST_WARM_UP


# what a record says


def test_the_tail_is_not_cut_off_and_not_invented() -> None:
    ms = [1.0] * (FEWEST_FOR_P99 - 4) + [50.0] * 4
    times = Race({"A": tuple(ms)}).times("A")
    assert (times.n, times.p50_ms, times.min_ms, times.p99_ms) == (FEWEST_FOR_P99, 1.0, 1.0, 50.0)
    assert times.mean_ms == pytest.approx(np.mean(ms), abs=1e-4)
    assert times.rounds_ms == tuple(ms)
    assert Race({"A": tuple(ms[1:])}).times("A").p99_ms is None


def test_the_fewest_calls_of_a_p99_see_it_with_95_percent() -> None:
    assert 1 - 0.99**FEWEST_FOR_P99 >= 0.95 > 1 - 0.99 ** (FEWEST_FOR_P99 - 1)


def test_a_ratio_is_above_one_where_a_row_is_slower() -> None:
    found = Race({"A": (2.0,) * 30, "B": (3.0,) * 30})
    assert (found.ratio("B", "A").ratio, found.ratio("B", "A").ratio_ci95) == (1.5, (1.5, 1.5))
    assert found.ratio("B", "A").against == "A"


# Two runs on a busy machine


def busy_machine(seed: int, slower: float, rounds: int = 1200, uneven: float = 1.0) -> Race:
    """Times as two busy cores give them: seconds in which everything takes longer, single late calls, and jitter.

    Args:
        uneven: above 1 load strikes the slow one harder, so that in busy seconds the true ratio is another.
    """
    random = np.random.default_rng(seed)
    phases = np.repeat(random.choice([1.0, 1.3, 2.5], rounds // 60, p=[0.6, 0.3, 0.1]), 60)
    found = {}
    for name, factor, struck in (("fast", 1.0, 1.0), ("slow", slower, uneven)):
        late, load = random.random(rounds) < 0.05, phases**struck
        found[name] = tuple(0.3 * factor * load * random.gamma(400, 1 / 400, rounds) * np.where(late, 8.0, 1.0))
    return Race(found)


@pytest.mark.parametrize("uneven", [1.0, 1.2])
@pytest.mark.parametrize("seed", range(5))
def test_two_runs_on_a_busy_machine_agree(seed: int, uneven: float) -> None:
    for slower in (1.0, 1.1):
        runs = (busy_machine(2 * seed + run, slower, uneven=uneven) for run in (0, 1))
        first, second = (run.ratio("slow", "fast") for run in runs)
        lowest, highest = zip(first.ratio_ci95, second.ratio_ci95, strict=True)
        assert max(lowest) <= min(highest)
        assert [differs(found) for found in (first, second)] == [slower > 1] * 2


def test_intervals_hold_what_they_promise() -> None:
    """Of many runs in which nothing differs, about 95 % say so; rounds drawn one by one would promise too much."""
    found = [busy_machine(seed, 1.0, rounds=300).ratio("slow", "fast").ratio_ci95 for seed in range(40)]
    assert sum(low <= 1 <= high for low, high in found) >= 34


def test_ten_percent_more_work_is_found_here() -> None:
    """Real loops, in processor time, which waiting for a core does not add to."""

    def loop(count: int) -> Callable[[], object]:
        return lambda: sum(range(count))

    runs = [("model", loop(100_000)), ("the same", loop(100_000)), ("slower", loop(110_000))]
    found = race(runs, most_rounds=150, budget_s=60, clock=time.process_time)
    low, _ = found.ratio("slower", "model").ratio_ci95
    assert low > 1
    same, slower = found.ratio("the same", "model"), found.ratio("slower", "model")
    assert abs(same.ratio - 1) < abs(slower.ratio - 1)

"""Timing with a clock of our own: what is faster is found, what is not is said, and the machine has no say."""

from collections.abc import Callable

import numpy as np
import pytest

from edgecnn.bench.latency import FEWEST_ROUNDS, MOST_ROUNDS, WARM_UP, Race, race


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
    race([clock.takes(name, 1.0) for name in "ABC"], warm_up=2, budget_s=0, clock=clock)
    assert "".join(clock.calls) == "ABC" * 2 + "AABBCC" * FEWEST_ROUNDS


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


@pytest.mark.parametrize(("ms", "rounds"), [(1.0, MOST_ROUNDS), (100.0, 41), (10_000.0, FEWEST_ROUNDS)])
def test_rounds_stop_with_the_budget(ms: float, rounds: int) -> None:
    clock, seen = Clock(), []
    found = race([clock.takes("a", ms)], budget_s=8, clock=clock, on_round=lambda: seen.append(1))
    assert found.latencies[0].n == len(seen) == rounds
    assert len(clock.calls) == WARM_UP + 2 * rounds


def test_the_fastest_has_the_smallest_median() -> None:
    found = Race({"a": (1.0, 5.0, 5.0), "b": (2.0, 2.0, 9.0)})
    assert found.by_median(["a", "b"]) == ["b", "a"]
    assert found.by_median(["a"]) == ["a"]

import numpy as np
import pytest

from edgecnn.bench import resample
from edgecnn.bench.resample import interval, median_interval, medians
from tests.made_up import busy


def test_rows_of_one_length_are_drawn_together() -> None:
    """So that a ratio knows nothing of what disturbed both."""
    load = np.random.default_rng(0).uniform(1, 3, 200)
    low, high = interval(np.divide(*medians([1.1 * load, load], seed=0)))
    assert high - low < 1e-9
    assert low == pytest.approx(1.1)


def test_rows_of_two_lengths_are_drawn_apart() -> None:
    load = np.random.default_rng(0).uniform(1, 3, 200)
    low, high = interval(np.divide(*medians([1.1 * load, load[:-1]], seed=0)))
    assert high - low > 0.1


def test_the_interval_covers_the_median() -> None:
    """19 of 20 times; 60 trials leave room for chance, and none for a wrong level."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(60):
        low, high = median_interval(tuple(random.exponential(1, 80)))
        covered += low <= np.log(2) <= high
    assert covered >= 51


def test_the_interval_covers_the_median_of_a_busy_machine() -> None:
    """Drawn one by one, rounds of one busy second are as many witnesses, and 11 of these 60 intervals held."""
    median = np.median(np.concatenate([busy(seed)[0] for seed in range(1000, 1200)]))
    found = [median_interval(tuple(busy(seed)[0])) for seed in range(60)]
    assert sum(low <= median <= high for low, high in found) >= 54


@pytest.mark.parametrize("rounds", [20, 60, 200])
@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_rows_that_are_alike_seldom_differ_in_few_rounds(rounds: int, memory: float) -> None:
    """With all of the rounds drawn, 20 that remember half of the one before did so in a sixth of the trials."""
    random, outside = np.random.default_rng(rounds), 0
    for trial in range(100):
        noise = random.normal(0, 0.05, (2, rounds))
        for index in range(1, rounds):
            noise[:, index] = memory * noise[:, index - 1] + np.sqrt(1 - memory**2) * noise[:, index]
        low, high = interval(np.divide(*medians(list(np.exp(noise)), trial)))
        outside += not low <= 1 <= high
    assert outside <= 12


def test_memory_is_bounded_and_changes_nothing_of_one_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = np.random.default_rng(2).exponential(1, 100)
    whole = medians([rounds], seed=3)[0]
    monkeypatch.setattr(resample, "AT_ONCE", 1000)
    parts = medians([rounds], seed=3)[0]
    assert len(parts) == resample.RESAMPLES
    assert (parts == whole).all()


def test_a_seed_decides() -> None:
    rounds = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert (medians([rounds], 1)[0] == medians([rounds], 1)[0]).all()
    assert (medians([rounds], 1)[0] != medians([rounds], 2)[0]).any()

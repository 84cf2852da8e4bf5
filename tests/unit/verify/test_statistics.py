"""Accuracy as a paired experiment, against scipy and against numbers worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from edgecnn.verify.statistics import accuracy, mcnemar_p, paired_interval_pp, share_interval, top_k


@pytest.mark.parametrize(
    ("lost", "won"), [(0, 0), (1, 0), (0, 5), (3, 3), (10, 2), (2, 10), (40, 60), (499, 500), (600, 400), (2500, 2400)]
)
def test_mcnemar_is_the_exact_binomial_test(lost: int, won: int) -> None:
    want = 1.0 if lost + won == 0 else stats.binomtest(lost, lost + won, 0.5).pvalue
    assert mcnemar_p(lost, won) == pytest.approx(want, rel=1e-9)


def test_mcnemar_keeps_its_digits_where_they_are_tiny() -> None:
    assert mcnemar_p(900, 0) == 2.0**-899
    assert mcnemar_p(1060, 0) == 2.0**-1059
    assert mcnemar_p(5000, 0) == 0
    assert mcnemar_p(25_000, 25_000) == 1
    assert mcnemar_p(25_000, 26_000) == pytest.approx(stats.binomtest(25_000, 51_000, 0.5).pvalue, rel=1e-9, abs=0)
    assert mcnemar_p(900, 200) == pytest.approx(stats.binomtest(200, 1100, 0.5).pvalue, rel=1e-6, abs=0)


@pytest.mark.parametrize(("lost", "won", "n"), [(0, 0, 10), (5, 3, 100), (30, 10, 1000), (10, 0, 10), (0, 10, 10)])
def test_the_paired_interval_is_walds_with_half_an_observation_more_in_each_cell(lost: int, won: int, n: int) -> None:
    b, c, size = lost + 0.5, won + 0.5, n + 2
    p, q = b / size, c / size
    centre, half = p - q, stats.norm.ppf(0.975) * math.sqrt((p + q - (p - q) ** 2) / size)
    low, high = paired_interval_pp(lost, won, n)
    assert low == pytest.approx(100 * max(-1, centre - half))
    assert high == pytest.approx(100 * min(1, centre + half))


def test_no_discordant_pair_in_few_images_is_not_certainty() -> None:
    low, high = paired_interval_pp(0, 0, 10)
    assert low == pytest.approx(-high)
    assert high == pytest.approx(16.33, abs=0.01)
    assert paired_interval_pp(0, 0, 1000)[1] < 0.3


def test_the_interval_covers_the_truth() -> None:
    """Simulated: of many experiments with a drop of 2 points, about 95 % of the intervals hold it."""
    random = np.random.default_rng(0)
    cells = random.multinomial(400, [0.04, 0.02, 0.94], size=4000)
    held = [low <= 2 <= high for lost, won, _ in cells for low, high in [paired_interval_pp(int(lost), int(won), 400)]]
    assert 0.94 <= np.mean(held) <= 0.97


def test_accuracy_by_hand() -> None:
    labels = np.array([0, 1, 2, 3])
    reference = np.eye(4, dtype=np.float32)  # all right
    candidate = np.eye(4, dtype=np.float32)[[0, 1, 3, 2]]  # two lost
    found = accuracy(reference, candidate, labels)
    assert (found.n, found.top1, found.top1_reference, found.drop_pp) == (4, 0.5, 1.0, 50.0)
    assert (found.top5, found.top5_reference) == (1.0, 1.0)
    assert found.mcnemar_p == 0.5
    assert found.drop_ci95_pp == paired_interval_pp(2, 0, 4)
    back = accuracy(candidate, reference, labels)
    assert (back.drop_pp, back.mcnemar_p) == (-50.0, 0.5)


def test_what_is_lost_and_won_elsewhere_cancels_in_the_drop_but_not_in_the_interval() -> None:
    labels = np.zeros(4, np.int64)
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    found = accuracy(
        np.array([right, wrong, right, right], np.float32), np.array([wrong, right, right, right], np.float32), labels
    )
    assert found.drop_pp == 0
    assert found.drop_ci95_pp == paired_interval_pp(1, 1, 4)
    assert found.mcnemar_p == 1


def test_top_k() -> None:
    logits = np.array([[0.1, 0.5, 0.3, 0.2], [9, 1, 1, 1]], np.float32)
    assert [top_k(logits, np.array([3, 0]), k) for k in (1, 2, 3, 4)] == [0.5, 0.5, 1.0, 1.0]
    assert top_k(logits, np.array([0, 3]), 9) == 1.0  # more than there are classes


@pytest.mark.parametrize(("right", "n"), [(0, 5), (10, 12), (97, 100), (400, 400)])
def test_the_interval_of_a_share_is_wilsons(right: int, n: int) -> None:
    known = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert share_interval(right / n, n) == pytest.approx((known.low, known.high), abs=1e-9)

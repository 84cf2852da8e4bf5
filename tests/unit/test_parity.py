"""Parity's numbers against ones worked out by hand, and its refusals."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn.errors import ParityError
from edgecnn.parity import IDENTICAL_DB, compare


def logits(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def test_by_hand() -> None:
    found = compare(logits([3, 4], [0, 0]), logits([3, 3], [1, 0]))
    assert found.n == 2
    assert found.max_abs == 1
    assert found.cosine == pytest.approx(21 / (5 * math.sqrt(19)))
    assert found.sqnr_db == pytest.approx(10 * math.log10(25 / 2))
    assert found.agreement == 0.5  # [3, 3] ties, and the first wins: 0 against 1; [0, 0] and [1, 0] agree
    p = [1 / (1 + math.e), math.e / (1 + math.e)]
    first = sum(x * math.log(x / 0.5) for x in p)
    second = 0.5 * math.log(0.5 / p[1]) + 0.5 * math.log(0.5 / p[0])
    assert found.kl == pytest.approx((first + second) / 2)


def test_identical_logits() -> None:
    same = logits([1, 2, 3])
    found = compare(same, same.copy())
    assert (found.max_abs, found.agreement, found.kl, found.sqnr_db) == (0, 1, 0, IDENTICAL_DB)
    assert found.cosine == pytest.approx(1)


def test_all_zero_logits_are_identical_only_to_themselves() -> None:
    zero = logits([0, 0])
    assert compare(zero, zero).sqnr_db == IDENTICAL_DB
    assert compare(zero, zero).cosine == 1
    found = compare(zero, logits([1, 0]))
    assert found.sqnr_db == -IDENTICAL_DB
    assert found.cosine == 0


def test_huge_logits_neither_overflow_nor_divide_by_zero() -> None:
    found = compare(logits([3e38, -3e38]), logits([-3e38, 3e38]))
    assert found.cosine == pytest.approx(-1)
    assert math.isfinite(found.kl)
    assert found.sqnr_db == pytest.approx(10 * math.log10(1 / 4))


def test_a_common_offset_changes_the_logits_but_not_the_softmax() -> None:
    found = compare(logits([1, 2, 3]), logits([11, 12, 13]))
    assert found.max_abs == 10
    assert found.kl == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_logits_that_are_not_finite_are_refused_with_their_image(value: float, side: str) -> None:
    good, bad = logits([1, 2], [3, 4]), logits([1, 2], [3, value])
    with pytest.raises(ParityError, match=f"{side} logits of image 1 are not finite"):
        compare(*((bad, good) if side == "reference" else (good, bad)))


@pytest.mark.parametrize(("a", "b"), [((0, 10), (0, 10)), ((2, 0), (2, 0)), ((2, 10), (3, 10)), ((2, 10), (2, 9))])
def test_nothing_to_compare_is_refused(a: tuple[int, int], b: tuple[int, int]) -> None:
    with pytest.raises(ParityError, match="nothing was compared"):
        compare(np.zeros(a, np.float32), np.zeros(b, np.float32))

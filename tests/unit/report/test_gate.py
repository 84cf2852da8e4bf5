"""The rule is verify's: certain is a failure, and so is a measured loss beyond the gate that nothing makes certain."""

import math
from typing import Any

import pytest

from edgecnn.errors import UsageError
from edgecnn.report.difference import Change, Difference, Measured
from edgecnn.report.gate import Comparison, Gates, judge
from edgecnn.verify.policy import Verdict


def judged(gates: Gates | None = None, **change: Any) -> Comparison:
    made = Change("row", **{"here": "both", **change})
    return judge(Difference("", (made,), ()), gates or Gates())


@pytest.mark.parametrize("what", ["slowdown_percent", "drop_pp"])
@pytest.mark.parametrize(
    ("measured", "verdict", "rejected"),
    [
        (Measured(2.0, (1.0, 4.0)), Verdict.PASS, False),
        (Measured(2.0, (-3.0, 8.0)), Verdict.INCONCLUSIVE, False),
        (Measured(6.0, (4.0, 8.0)), Verdict.INCONCLUSIVE, True),
        (Measured(8.0, (6.0, 9.0)), Verdict.FAIL, True),
        (None, Verdict.PASS, False),
    ],
)
def test_the_interval_decides(what: str, measured: Measured | None, verdict: Verdict, rejected: bool) -> None:
    (row,) = judged(Gates(5, 5), **{what: measured}).rows
    assert (row.verdict, row.rejected) == (verdict, rejected)
    assert bool(row.reasons) == (verdict is not Verdict.PASS)
    if row.reasons:
        assert row.reasons[0].startswith("inconclusive") == (verdict is Verdict.INCONCLUSIVE)


def test_two_images_in_a_thousand_are_inside_a_gate_of_two() -> None:
    assert not judged(drop_pp=Measured(0.2, (0.2, 0.2))).rejected


def test_the_machines_own_change_is_not_judged() -> None:
    slow = Measured(50.0, (45.0, 55.0))
    assert not judged(anchor=True, slowdown_percent=slow).rejected
    assert judged(slowdown_percent=slow).rejected
    assert judged(anchor=True, slowdown_percent=slow, drop_pp=Measured(5.0, (4.0, 6.0))).rejected


def test_an_unstable_run_is_no_proof_of_a_slow_down_and_no_excuse() -> None:
    (row,) = judged(slowdown_percent=Measured(43.0, (7.0, 97.0)), steady=False).rows
    assert (row.verdict, row.rejected) == (Verdict.INCONCLUSIVE, True)
    assert row.reasons[0].startswith("inconclusive, an unstable run: slow-down +43.00 %")
    (row,) = judged(drop_pp=Measured(2.0, (1.0, 3.0)), steady=False).rows
    assert row.verdict is Verdict.FAIL  # answers do not depend on what the machine does


def test_a_row_that_is_gone_fails_unless_it_may() -> None:
    gone: dict[str, Any] = {"here": "missing", "lost": ("the row is gone",)}
    assert judged(**gone).verdict is Verdict.FAIL
    assert judged(**gone).rejected
    assert not judged(Gates(allow_missing=True), **gone).rejected
    assert not judged(here="added").rejected


def test_a_row_that_is_here_may_not_lose_its_figures() -> None:
    assert judged(Gates(allow_missing=True), lost=("it worked, now: no memory",)).rejected


def test_the_worst_row_is_the_verdict() -> None:
    rows = [Measured(0.0, (-1.0, 1.0)), Measured(0.0, (-9.0, 9.0)), Measured(20.0, (19.0, 21.0))]
    made = tuple(Change(str(index), "both", slowdown_percent=row) for index, row in enumerate(rows))
    found = [judge(Difference("", made[:count], ()), Gates()).verdict for count in (1, 2, 3)]
    assert found == [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_gate_is_a_number(value: float) -> None:
    with pytest.raises(UsageError, match="--max-slowdown"):
        Gates(max_slowdown=value)
    with pytest.raises(UsageError, match="--max-drop"):
        Gates(max_drop_pp=value)

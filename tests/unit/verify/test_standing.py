"""What an artifact stands as: the strongest check decides, and a weaker one may only find fault."""

import pytest

from edgecnn.artifact import INCONCLUSIVE, NOT_GATED, REJECTED, VERIFIED
from edgecnn.verify.standing import Check, Standing

OWN_PP = 1.0  # of the artifact's gate


def check(
    status: str, n: int = 1000, labelled: bool = True, synthetic: bool = False, max_drop_pp: float = OWN_PP
) -> Check:
    return Check(status, "images", n, labelled, synthetic, max_drop_pp, ())


def golden(status: str) -> Check:
    return check(status, n=16, labelled=False)


def after(first: Check, *others: Check) -> Standing:
    standing = Standing(first, first)
    for other in others:
        standing = standing.after(other, OWN_PP)
    return standing


@pytest.mark.parametrize(
    ("first", "then", "status"),
    [
        (check(REJECTED), golden(VERIFIED), REJECTED),
        (check(REJECTED), check(VERIFIED, n=999), REJECTED),
        (check(REJECTED), check(VERIFIED, n=9999, labelled=False), REJECTED),
        (check(REJECTED), check(VERIFIED), VERIFIED),
        (check(INCONCLUSIVE, n=50), golden(VERIFIED), INCONCLUSIVE),
        (check(INCONCLUSIVE, n=64, synthetic=True), golden(VERIFIED), VERIFIED),
        (check(VERIFIED), golden(REJECTED), REJECTED),
        (check(VERIFIED), golden(INCONCLUSIVE), INCONCLUSIVE),
        (check(VERIFIED), check(REJECTED, n=1001), REJECTED),
        (golden(NOT_GATED), check(NOT_GATED), NOT_GATED),
        (check(REJECTED), check(VERIFIED, n=9999, max_drop_pp=OWN_PP + 1), REJECTED),
        (check(INCONCLUSIVE), check(VERIFIED, n=9999, max_drop_pp=OWN_PP + 1), INCONCLUSIVE),
        (check(VERIFIED), check(REJECTED, max_drop_pp=OWN_PP + 1), REJECTED),
        (check(REJECTED), check(VERIFIED, max_drop_pp=OWN_PP - 0.5), VERIFIED),
    ],
)
def test_one_check_after_another(first: Check, then: Check, status: str) -> None:
    assert after(first, then).deciding.status == status


def test_a_fault_that_is_gone_is_forgotten() -> None:
    """A device with an old runtime fails the golden pairs; with a new one the artifact is again what it was."""
    assert after(check(VERIFIED), golden(REJECTED), golden(VERIFIED)).deciding == check(VERIFIED)
    assert after(check(INCONCLUSIVE), golden(REJECTED), golden(VERIFIED)).deciding == check(INCONCLUSIVE)
    assert after(check(REJECTED), golden(REJECTED), golden(VERIFIED)).deciding == check(REJECTED)


def test_a_check_says_what_it_was_on() -> None:
    assert str(check(VERIFIED)) == "1000 labelled images"
    assert str(golden(VERIFIED)) == "16 images without labels"
    assert str(check(VERIFIED, n=8, labelled=False, synthetic=True)) == "8 synthetic images"

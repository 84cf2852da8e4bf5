"""The verdict: what passes, what fails, and what the labels cannot tell."""

from dataclasses import replace

import pytest

from edgecnn.parity import Parity
from edgecnn.recipe import Gate
from edgecnn.verify.policy import FLOAT_TOLERANCES, Verdict, judge
from edgecnn.verify.statistics import Accuracy, mcnemar_p, paired_interval_pp

CLASSES = 10
GATE = Gate(max_drop_pp=1.0, min_agreement=0.9, max_kl=0.1)


def parity(max_abs: float = 0.0, agreement: float = 1.0, kl: float = 0.0, n: int = 100) -> Parity:
    return Parity(n, max_abs, 1.0, 40.0, agreement, kl)


def labelled(lost: int, won: int, n: int) -> Accuracy:
    return Accuracy(
        n, 0.5, 0.5, 0.9, 0.9, 100 * (lost - won) / n, paired_interval_pp(lost, won, n), mcnemar_p(lost, won)
    )


# Without labels, fidelity judges


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_equal_answers_pass(precision: str) -> None:
    assert judge(precision, parity(), 10, None, GATE, CLASSES).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (
            parity(agreement=0.8),
            "top-1 agreement 0.8000 at n=100, 95 % [0.711, 0.867], at least 0.9 is asked",
        ),
        (parity(kl=0.11), "KL divergence 0.1100, at most 0.1 is allowed"),
    ],
)
def test_int8_outside_the_fidelity_bounds_fails(found: Parity, reason: str) -> None:
    judgement = judge("int8", found, 10, None, GATE, CLASSES)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.reasons == (reason,)


def test_a_few_images_cannot_show_too_little_agreement() -> None:
    few = judge("int8", parity(agreement=10 / 12, n=12), 10, None, GATE, CLASSES)
    assert (few.verdict, few.rejected) == (Verdict.INCONCLUSIVE, False)
    assert few.reasons[0].startswith("inconclusive: top-1 agreement 0.8333 at n=12, 95 % [")
    assert judge("int8", parity(agreement=0.8333, n=1200), 10, None, GATE, CLASSES).verdict is Verdict.FAIL


def test_the_bounds_themselves_pass() -> None:
    assert judge("int8", parity(agreement=0.9, kl=0.1), 10, None, GATE, CLASSES).verdict is Verdict.PASS


def test_int8_has_no_bound_on_single_logits() -> None:
    assert judge("int8", parity(max_abs=9), 10, None, GATE, CLASSES).verdict is Verdict.PASS


@pytest.mark.parametrize("precision", FLOAT_TOLERANCES)
def test_float_precisions_have_a_bound_that_grows_with_the_logits(precision: str) -> None:
    absolute, relative = FLOAT_TOLERANCES[precision]
    bound = absolute + relative * 50
    assert judge(precision, parity(max_abs=bound * 0.999), 50, None, GATE, CLASSES).verdict is Verdict.PASS
    judgement = judge(precision, parity(max_abs=bound * 1.001), 50, None, GATE, CLASSES)
    assert judgement.verdict is Verdict.FAIL
    assert "largest difference" in judgement.reasons[0]
    # Good accuracy excuses no numerical defect.
    assert (
        judge(precision, parity(max_abs=bound * 1.001), 50, labelled(0, 0, 10_000), GATE, CLASSES).verdict
        is Verdict.FAIL
    )


@pytest.mark.parametrize(("sqnr_db", "verdict"), [(40.0, Verdict.INCONCLUSIVE), (-1.0, Verdict.FAIL)])
def test_one_class_agrees_with_anything(sqnr_db: float, verdict: Verdict) -> None:
    found = Parity(100, 0.0, 1.0, sqnr_db, 1.0, 0.0)
    assert judge("int8", found, 10, None, GATE, classes=1).verdict is verdict
    assert judge("fp32", found, 10, None, GATE, classes=1).verdict is Verdict.PASS, "each logit has its tolerance"


# With labels, the paired interval judges


def test_a_drop_that_is_surely_small_passes_even_with_low_fidelity() -> None:
    judgement = judge("int8", parity(agreement=0.5, kl=1), 10, labelled(10, 10, 10_000), GATE, CLASSES)
    assert judgement.verdict is Verdict.PASS


def test_a_drop_that_is_surely_large_fails_whatever_the_fidelity() -> None:
    judgement = judge("int8", parity(), 10, labelled(500, 100, 10_000), GATE, CLASSES)
    assert judgement.verdict is Verdict.FAIL
    assert "drop +4.00 pp, 95 % [" in judgement.reasons[0]
    assert "gate 1" in judgement.reasons[0]


def test_a_large_drop_in_enough_images_fails_although_its_interval_reaches_below_the_gate() -> None:
    accuracy = labelled(18, 5, 1000)
    assert accuracy.drop_ci95_pp[0] < 1 < accuracy.drop_pp
    gate = Gate(max_drop_pp=1.0)
    too_wide = accuracy.drop_ci95_pp[1] - accuracy.drop_ci95_pp[0] > gate.max_drop_pp
    assert too_wide
    wide = judge("int8", parity(), 10, accuracy, gate, CLASSES)
    assert wide.verdict is Verdict.INCONCLUSIVE
    assert wide.rejected, "the gate fails closed"
    narrow = labelled(180, 60, 10_000)
    assert narrow.drop_ci95_pp[0] < 1 < narrow.drop_pp
    assert judge("int8", parity(), 10, narrow, gate, CLASSES).verdict is Verdict.FAIL


def test_no_discordant_pair_in_ten_images_is_inconclusive() -> None:
    judgement = judge("int8", parity(n=10), 10, labelled(0, 0, 10), GATE, CLASSES)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert not judgement.rejected
    assert judgement.reasons[0].startswith("inconclusive at n=10: drop +0.00 pp, 95 % [-16.33, +16.33]")


def test_no_discordant_pair_in_a_thousand_images_passes() -> None:
    assert judge("int8", parity(), 10, labelled(0, 0, 1000), GATE, CLASSES).verdict is Verdict.PASS


def test_where_labels_cannot_tell_fidelity_must() -> None:
    judgement = judge("int8", parity(agreement=0.5), 10, labelled(0, 0, 10), GATE, CLASSES)
    assert judgement.verdict is Verdict.FAIL
    assert [reason.partition(" ")[0] for reason in judgement.reasons] == ["top-1", "inconclusive"]


@pytest.mark.parametrize(("agreement", "verdict"), [(0.99, Verdict.INCONCLUSIVE), (0.002, Verdict.FAIL)])
def test_labels_that_the_reference_only_guesses_say_nothing(agreement: float, verdict: Verdict) -> None:
    guessed = replace(labelled(0, 0, 1000), top1=0.1, top1_reference=0.1)
    judgement = judge("int8", parity(agreement=agreement, n=1000), 10, guessed, GATE, CLASSES)
    assert judgement.verdict is verdict
    assert judgement.reasons[-1].startswith("labels say nothing at n=1000") or judgement.verdict is Verdict.FAIL


def test_labels_that_say_nothing_are_no_better_where_their_interval_is_wide() -> None:
    guessed = replace(labelled(30, 30, 1000), top1=0.1, top1_reference=0.1)
    judgement = judge("int8", parity(agreement=0.99, n=1000), 10, guessed, GATE, CLASSES)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.reasons[0].startswith("labels say nothing at n=1000")


def test_a_better_artifact_passes() -> None:
    assert judge("int8", parity(), 10, labelled(20, 120, 10_000), GATE, CLASSES).verdict is Verdict.PASS


def test_a_gate_of_zero_is_never_passed_by_luck() -> None:
    strict = Gate(max_drop_pp=0.0)
    assert judge("int8", parity(), 10, labelled(0, 0, 10_000), strict, CLASSES).verdict is Verdict.INCONCLUSIVE
    assert judge("int8", parity(), 10, labelled(3, 0, 10_000), strict, CLASSES).verdict is not Verdict.PASS

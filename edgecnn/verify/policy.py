"""Tolerances per precision, and the verdict: what passes, what fails, and what the images cannot tell."""

from dataclasses import dataclass
from enum import Enum

from edgecnn.parity import Parity
from edgecnn.recipe import Gate
from edgecnn.verify.statistics import Accuracy, share_interval


class Verdict(Enum):
    """INCONCLUSIVE: no bound is broken beyond doubt, but images or labels are too few to tell, or none is real."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Judgement:
    """A verdict, the reasons a person reads, and whether the artifact is rejected.

    Every FAIL is rejected. So is an INCONCLUSIVE whose measured drop is beyond the gate: the gate fails closed.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    rejected: bool


# Float precisions: largest difference of a logit, absolute plus a share of the largest logit. FP32 covers the order of
# sums in other kernels; FP16 the rounding of weights to eleven bits, accumulated over a network's layers.
FLOAT_TOLERANCES = {"fp32": (1e-4, 1e-4), "fp16": (1e-2, 2e-2)}


def judge(
    precision: str, parity: Parity, largest_logit: float, accuracy: Accuracy | None, gate: Gate, classes: int
) -> Judgement:
    """Judges an artifact. INT8 is held to its recipe's gate; float precisions to numerical tolerances as well.

    Args:
        largest_logit: magnitude of the reference's largest logit.
        classes: how many logits there are.
    """
    problems = list(_tolerance(precision, parity, largest_logit))
    fidelity, doubts = _fidelity(precision, parity, gate, classes)
    if accuracy is None:
        return _without_labels([*problems, *fidelity], doubts)
    low, high = accuracy.drop_ci95_pp
    text = f"drop {accuracy.drop_pp:+.2f} pp, 95 % [{low:+.2f}, {high:+.2f}], gate {gate.max_drop_pp:g}"
    above, too_wide = accuracy.drop_pp > gate.max_drop_pp, high - low > gate.max_drop_pp
    if low > gate.max_drop_pp or (above and not too_wide):
        return _judgement([*problems, text])
    if by_guessing(accuracy.top1_reference, accuracy.n, classes):
        doubt = (
            f"labels say nothing at n={accuracy.n}: the reference is right on {accuracy.top1_reference:.4f} of them,"
            f" which is no better than guessing one of {classes} classes"
        )
        return _without_labels([*problems, *fidelity], [doubt, *doubts])
    if high <= gate.max_drop_pp:
        return _judgement(problems)
    # The labels cannot tell, so fidelity must.
    text = f"inconclusive at n={accuracy.n}: {text}"
    if problems or fidelity:
        return _judgement([*problems, *fidelity, text])
    return Judgement(Verdict.INCONCLUSIVE, (text, *doubts), rejected=above)


NONE_REAL = "judged on synthetic images alone, which say little of real ones; verify with --images"


def doubted(judgement: Judgement, doubt: str) -> Judgement:
    """What a judgement is worth where something could not be seen: a failure is one, a pass is inconclusive."""
    if judgement.verdict is not Verdict.PASS:
        return judgement
    return Judgement(Verdict.INCONCLUSIVE, (doubt,), rejected=False)


def _judgement(problems: list[str]) -> Judgement:
    return Judgement(Verdict.FAIL if problems else Verdict.PASS, tuple(problems), rejected=bool(problems))


def _without_labels(problems: list[str], doubts: list[str]) -> Judgement:
    if problems or not doubts:
        return _judgement(problems)
    return Judgement(Verdict.INCONCLUSIVE, tuple(doubts), rejected=False)


def by_guessing(top1_reference: float, n: int, classes: int) -> bool:
    """Whether the reference is right no oftener than chance: then these are not the labels of what it knows."""
    return share_interval(top1_reference, n)[0] <= 1 / classes


def _tolerance(precision: str, parity: Parity, largest_logit: float) -> list[str]:
    if precision not in FLOAT_TOLERANCES:
        return []
    absolute, relative = FLOAT_TOLERANCES[precision]
    bound = absolute + relative * largest_logit
    if parity.max_abs <= bound:
        return []
    return [f"largest difference {parity.max_abs:.3g}, {precision} allows {bound:.3g}"]


def _fidelity(precision: str, parity: Parity, gate: Gate, classes: int) -> tuple[list[str], list[str]]:
    """Bounds that are broken, and bounds of which this cannot be told."""
    broken, doubts = [], []
    # A share of a few images says little: it fails when the bound is above its whole interval.
    low, high = share_interval(parity.agreement, parity.n)
    text = (
        f"top-1 agreement {parity.agreement:.4f} at n={parity.n}, 95 % [{low:.3f}, {high:.3f}],"
        f" at least {gate.min_agreement:g} is asked"
    )
    if high < gate.min_agreement:
        broken.append(text)
    elif parity.agreement < gate.min_agreement:
        doubts.append(f"inconclusive: {text}")
    if parity.kl > gate.max_kl:
        broken.append(f"KL divergence {parity.kl:.4f}, at most {gate.max_kl:g} is allowed")
    if classes == 1 and precision not in FLOAT_TOLERANCES:
        text = f"one class: agreement and KL say nothing, and its logit is at {parity.sqnr_db:.1f} dB"
        (broken if parity.sqnr_db < 0 else doubts).append(text)
    return broken, doubts

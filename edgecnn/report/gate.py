"""Whether a new run may follow an old one: intervals against gates as in ``verify``, of times as well as of answers.

Unlike there the width of an interval does not matter, and nothing decides in place of one that reaches across its gate.
"""

import math
from typing import Any

import msgspec

from edgecnn.errors import UsageError
from edgecnn.report.difference import Change, Difference, Measured
from edgecnn.verify.policy import Verdict


class Gates(msgspec.Struct, frozen=True):
    """What a row may lose.

    Args:
        max_slowdown: percent.
        max_drop_pp: of top-1, or of agreement without labels, percentage points.
        allow_missing: whether rows may be gone.

    Raises:
        UsageError: a bound is no number of at least 0.
    """

    max_slowdown: float = 5.0
    max_drop_pp: float = 0.2
    allow_missing: bool = False

    def __post_init__(self) -> None:
        for flag, value in (("--max-slowdown", self.max_slowdown), ("--max-drop", self.max_drop_pp)):
            if not 0 <= value < math.inf:  # also false for NaN
                raise UsageError(f"{flag} is {value}, expected a number of at least 0")


class Judged(msgspec.Struct, frozen=True):
    """One row's verdict.

    Args:
        rejected: every FAIL, and an INCONCLUSIVE whose measured loss is beyond its gate.
    """

    change: Change
    verdict: Verdict
    rejected: bool
    reasons: tuple[str, ...]


class Comparison(msgspec.Struct, frozen=True):
    """A difference under its gates."""

    difference: Difference
    gates: Gates
    rows: tuple[Judged, ...]

    @property
    def rejected(self) -> tuple[Judged, ...]:
        return tuple(row for row in self.rows if row.rejected)

    @property
    def verdict(self) -> Verdict:
        return _worst([row.verdict for row in self.rows])

    def as_json(self) -> dict[str, Any]:
        """The keys that scripts rely on."""
        return {
            "verdict": self.verdict.value,
            "rejected": [row.change.name for row in self.rejected],
            "anchor": self.difference.anchor or None,
            "gates": msgspec.to_builtins(self.gates),
            "notes": list(self.difference.notes),
            "rows": [
                msgspec.to_builtins(row.change)
                | {"verdict": row.verdict.value, "rejected": row.rejected, "reasons": list(row.reasons)}
                for row in self.rows
            ],
        }


def judge(found: Difference, gates: Gates) -> Comparison:
    """Judges every row. The anchor's times are not judged, they are the machine's; its answers are."""
    return Comparison(found, gates, tuple(_judge(change, gates) for change in found.changes))


def _judge(change: Change, gates: Gates) -> Judged:
    if change.here == "added" or (change.here == "missing" and gates.allow_missing):
        return Judged(change, Verdict.PASS, rejected=False, reasons=())
    losses = [("drop", "pp", change.drop_pp, gates.max_drop_pp, True)]
    if not change.anchor:
        losses.insert(0, ("slow-down", "%", change.slowdown_percent, gates.max_slowdown, change.steady))
    verdicts, rejected, reasons = [Verdict.FAIL] if change.lost else [], bool(change.lost), [*change.lost]
    for what, unit, measured, gate, steady in losses:
        if measured is None:
            continue
        verdict, beyond = _against(measured, gate, steady)
        verdicts.append(verdict)
        rejected |= beyond
        if verdict is not Verdict.PASS:
            low, high = measured.ci95
            text = f"{what} {measured.value:+.2f} {unit}, 95 % [{low:+.2f}, {high:+.2f}], gate {gate:g}"
            reasons.append(_doubt(verdict, steady) + text)
    return Judged(change, _worst(verdicts), rejected, tuple(reasons))


def _worst(verdicts: list[Verdict]) -> Verdict:
    return next((verdict for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE) if verdict in verdicts), Verdict.PASS)


def _against(measured: Measured, gate: float, steady: bool) -> tuple[Verdict, bool]:
    """The verdict, and whether it rejects; what was not measured steadily fails nobody, whatever its interval."""
    low, high = measured.ci95
    if high <= gate:
        return Verdict.PASS, False
    verdict = Verdict.FAIL if low > gate and steady else Verdict.INCONCLUSIVE
    return verdict, verdict is Verdict.FAIL or measured.value > gate


def _doubt(verdict: Verdict, steady: bool) -> str:
    """What a reason begins with."""
    if verdict is Verdict.FAIL:
        return ""
    return "inconclusive: " if steady else "inconclusive, an unstable run: "

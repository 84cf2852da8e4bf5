"""edgecnn's OpenVINO artifact against the figures that it must reach."""

from dataclasses import dataclass

from tools.bench_int8.candidates import NNCF, OURS
from tools.bench_int8.results import CaseResult, Row

REACHED, FALLS_SHORT, NOT_MEASURED = "reached", "falls short", "not measured"
NONE = "–"


@dataclass(frozen=True)
class Verdict:
    """One goal.

    Args:
        goal: what is asked, such as ``drop ≤ 0.15 pp``.
        measured: the figure, with its interval where it has one.
    """

    goal: str
    measured: str
    outcome: str


def verdicts(result: CaseResult) -> list[Verdict]:
    """One for every goal of the case, judged by the figure itself, not by the friendly end of its interval."""
    goals, found = result.case.goals, []
    ours, nncf = result.row("openvino", OURS), result.row("openvino", NNCF)
    parity = ours.parity if ours else None
    lost = ours.accuracy if ours else None
    share = nncf.latency.edgecnn_takes if nncf and nncf.latency else None
    if goals.drop_pp is not None:
        goal = f"drop ≤ {goals.drop_pp:.2f} pp"
        if lost:
            measured = f"{lost.drop_pp:+.2f} pp [{lost.drop_ci95_pp[0]:+.2f}, {lost.drop_ci95_pp[1]:+.2f}]"
            found.append(_judged(goal, measured, lost.drop_pp <= goals.drop_pp))
        else:
            found.append(Verdict(goal, NONE, NOT_MEASURED))
    if goals.agreement is not None:
        goal = f"agreement ≥ {goals.agreement}"
        if ours and parity:
            found.append(_judged(goal, agreement(ours), parity.agreement >= goals.agreement))
        else:
            found.append(Verdict(goal, NONE, NOT_MEASURED))
    if goals.sqnr_db is not None:
        goal = f"SQNR ≥ {goals.sqnr_db:g} dB"
        if parity:
            found.append(_judged(goal, f"{parity.sqnr_db:.1f} dB", parity.sqnr_db >= goals.sqnr_db))
        else:
            found.append(Verdict(goal, NONE, NOT_MEASURED))
    goal = f"latency ≤ {goals.latency_ratio} of NNCF's"
    if share:
        measured = f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]"
        found.append(_judged(goal, measured, share.value <= goals.latency_ratio))
    else:
        found.append(Verdict(goal, NONE, NOT_MEASURED))
    return found


def agreement(row: Row) -> str:
    """Of a row that was judged, with its interval."""
    if row.parity is None or row.agreement_ci95 is None:
        return NONE
    low, high = row.agreement_ci95
    return f"{row.parity.agreement:.4f} [{low:.4f}, {high:.4f}]"


def _judged(goal: str, measured: str, reached: bool) -> Verdict:
    return Verdict(goal, measured, REACHED if reached else FALLS_SHORT)

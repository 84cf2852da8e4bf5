"""A new run beside an old one."""

from rich.markup import escape

from edgecnn.console.evidence import COLOURS
from edgecnn.console.screen import out, shown, table_of
from edgecnn.report.difference import Change, Measured
from edgecnn.report.gate import Comparison, Judged


def print_comparison(comparison: Comparison) -> None:
    """A row per row, why it was judged so, what else differs, the verdict."""
    found = comparison.difference
    table = table_of("row", "old ms|", "new ms|", "slow-down %, 95 %|", "loss pp, 95 %|", "verdict")
    for row in comparison.rows:
        change = row.change
        table.add_row(
            shown(change.name),
            "" if change.old_ms is None else f"{change.old_ms:.3f}",
            "" if change.new_ms is None else f"{change.new_ms:.3f}",
            _measured(change.slowdown_percent, 1),
            _measured(change.drop_pp, 2),
            f"[{'red' if row.rejected else COLOURS[row.verdict]}]{_word(change, row)}[/]",
        )
    out.print(table)
    for words, names in _by_reason(comparison).items():
        out.print(shown(f"{'all rows' if len(names) == len(comparison.rows) > 1 else ', '.join(names)}: {words}"))
    for note in found.notes:
        out.print(f"note: {shown(note)}")
    if found.anchor:
        out.print(
            f"times are ratios to {shown(found.anchor)}, which is the same in both; its own change is the machine's"
        )
    else:
        out.print(
            "no row is the same in both and timed in turns with another: plain times, with the machine's own changes"
        )
    gates = f"slow-down {comparison.gates.max_slowdown:g} %, loss {comparison.gates.max_drop_pp:g} pp"
    colour = "red" if comparison.rejected else COLOURS[comparison.verdict]
    count = f", {len(comparison.rejected)} of {len(comparison.rows)} rows rejected" if comparison.rejected else ""
    out.print(f"[{colour}]{comparison.verdict.value}[/] by the gates {gates}{count}")


def _by_reason(comparison: Comparison) -> dict[str, list[str]]:
    """The rows that each reason and note is of, in the order of the first: load befalls many alike."""
    found: dict[str, list[str]] = {}
    for row in comparison.rows:
        for words in (*row.reasons, *row.change.notes):
            found.setdefault(words, []).append(row.change.name)
    return found


def _word(change: Change, row: Judged) -> str:
    return row.verdict.value if change.here == "both" else change.here


def _measured(found: Measured | None, digits: int) -> str:
    if found is None:
        return ""
    words = f"{found.value:+.{digits}f}"
    if found.ci95[0] < found.ci95[1]:
        words += f" [{found.ci95[0]:+.{digits}f}, {found.ci95[1]:+.{digits}f}]"
    return escape(words)

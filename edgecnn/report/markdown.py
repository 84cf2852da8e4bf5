"""A run as a table for a pull request, in GitHub's Markdown."""

import re
from collections.abc import Sequence

from edgecnn.bench.record import Run
from edgecnn.errors import InputError, printable
from edgecnn.report.columns import COLUMNS, DASH, cells, ms
from edgecnn.report.difference import Difference, Measured, difference
from edgecnn.report.headline import headline
from edgecnn.report.reading import flat

SPECIAL = re.compile(r"([\\`*_\[\]#!~])|([<>&@|]|:(?=//))")


def markdown(runs: Sequence[tuple[str, Run]]) -> str:
    """The verdict, a table and the warnings of each run; of two, those of the second and what changed since the first.

    Raises:
        InputError: a row's manifest is not what an export writes.
    """
    if len(runs) != 2:
        return "\n\n".join(_run(run) for _, run in runs) + "\n"
    old, new = (run for _, run in runs)
    try:
        parts = [_run(new), _changes(difference(old, new))]
    except InputError as obstacle:
        parts = [_run(new), f"> {text(str(obstacle))}", _run(old)]
    return "\n\n".join(parts) + "\n"


def text(words: str) -> str:
    """Somebody else's words, on one line, of which Markdown makes nothing."""
    return SPECIAL.sub(lambda sign: f"\\{sign[1]}" if sign[1] else f"&#{ord(sign[2])};", printable(words))


def _run(run: Run) -> str:
    settings = run.settings
    threads = "default" if settings.threads is None else settings.threads
    lines = [
        f"**{text(headline(run))}**",
        "",
        text(
            f"{settings.mode} mode, {threads} threads, batch {settings.batch}; {_machine(run)}; edgecnn {run.edgecnn}"
        ),
        "",
        *_table(run),
    ]
    warnings = [f"{row.name}: {row.status}" for row in run.rows if row.status != "ok"]
    warnings += [f"{row.name}: {absence}" for row in run.rows for absence in row.unmeasured]
    warnings += [f"{row.name} is unstable: {why}" for row in run.rows for why in row.unstable]
    if warnings:
        lines += ["", *(f"* {text(warning)}" for warning in warnings)]
    return "\n".join(lines)


def _machine(run: Run) -> str:
    """The names of its processors, or all that is known."""
    facts = flat(run.machine)
    named = [value for name, value in facts.items() if name.rpartition(".")[2] in ("model", "name")]
    return ", ".join(named or facts.values()) or "an unknown machine"


def _table(run: Run) -> list[str]:
    """Columns in which no row has anything are left out."""
    rows = [cells(row, run) for row in run.rows]
    kept = [
        index
        for index, column in enumerate(COLUMNS)
        if column.key == "status" or any(row[index].text != DASH for row in rows)
    ]
    titles = [f"{COLUMNS[index].title} {COLUMNS[index].unit}".strip() for index in kept]
    lines = [f"| | {' | '.join(titles)} |", f"|---|{'|'.join('---' if index == 0 else '---:' for index in kept)}|"]
    for row, found in zip(run.rows, rows, strict=True):
        shown = [
            _cell(found[index].text, found[index].detail if COLUMNS[index].key in ("drop", "ratio") else "")
            for index in kept
        ]
        lines.append(f"| {text(row.name)}{' ⚠' if row.unstable else ''} | {' | '.join(shown)} |")
    return lines


def _cell(words: str, detail: str) -> str:
    return text(words) + (f" ({text(detail)})" if detail else "")


def _changes(found: Difference) -> str:
    basis = f"against {text(found.anchor)}" if found.anchor else "plain times"
    lines = [f"| | before ms | now ms | slow-down %, {basis} | loss pp | |", "|---|---:|---:|---:|---:|---|"]
    for change in found.changes:
        words = [] if change.here == "both" else [change.here]
        words += ["the machine's own"] if change.anchor else []
        words += [*change.lost, *change.notes] if change.here == "both" else []
        times = [DASH if value is None else ms(value) for value in (change.old_ms, change.new_ms)]
        cell = [text(change.name), *times, _measured(change.slowdown_percent, 1), _measured(change.drop_pp, 2)]
        lines.append(f"| {' | '.join(cell)} | {text('; '.join(words))} |")
    notes = [f"* {text(note)}" for note in found.notes]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _measured(found: Measured | None, digits: int) -> str:
    if found is None:
        return DASH
    words = f"{found.value:+.{digits}f}"
    if found.ci95[0] < found.ci95[1]:
        words += f" ({found.ci95[0]:+.{digits}f} to {found.ci95[1]:+.{digits}f})"
    return text(words)

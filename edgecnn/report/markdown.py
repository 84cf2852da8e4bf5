"""A run as a table for a pull request, in GitHub's Markdown."""

import re
from collections.abc import Sequence

from edgecnn.bench.record import Run
from edgecnn.errors import InputError, printable
from edgecnn.report.columns import DASH, Table, main_table, more_table, ms
from edgecnn.report.difference import Change, Difference, Measured, difference, time_word
from edgecnn.report.headline import headline
from edgecnn.report.notes import Note, losses, of_run, remarks
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
        *_table(run, main_table(run)),
        *_notes(of_run(run)),
    ]
    more = more_table(run)
    if more.columns:
        lines += ["", "<details><summary>More figures</summary>", "", *_table(run, more), "", "</details>"]
    return "\n".join(lines)


def _machine(run: Run) -> str:
    """The names of its processors, or all that is known."""
    facts = flat(run.machine)
    named = [value for name, value in facts.items() if name.rpartition(".")[2] in ("model", "name")]
    return ", ".join(named or facts.values()) or "an unknown machine"


def _table(run: Run, table: Table) -> list[str]:
    titles = [text(f"{column.title} {column.unit}".strip()) for column in table.columns]
    sides = ["---" if column.words else "---:" for column in table.columns]
    lines = [f"| | {' | '.join(titles)} |", f"|---|{'|'.join(sides)}|"]
    for row, found in zip(run.rows, table.rows, strict=True):
        shown = [
            _cell(cell.text, cell.detail if column.key in ("drop", "ratio") else "")
            for column, cell in zip(table.columns, found, strict=True)
        ]
        lines.append(f"| {text(row.name)}{' ⚠' if row.unstable else ''} | {' | '.join(shown)} |")
    return lines


def _notes(found: Sequence[Note]) -> list[str]:
    """A list, after an empty line."""
    return ["", *(f"* {text(note.who)}: {text('; '.join(note.words))}" for note in found)] if found else []


def _cell(words: str, detail: str) -> str:
    return text(words) + (f" ({text(detail)})" if detail else "")


def _changes(found: Difference) -> str:
    basis = f"against {text(found.anchor)}" if found.anchor else "plain times"
    lines = [f"| | slow-down %, {basis} | | before ms | now ms | loss pp |", "|---|---:|---|---:|---:|---:|"]
    lines += [f"| {' | '.join(_change(change))} |" for change in found.changes]
    lines += _notes([*losses(found), *remarks(found)])
    return "\n".join([*lines, *([""] if found.notes else []), *(f"* {text(note)}" for note in found.notes)])


def _change(change: Change) -> list[str]:
    times = [DASH if value is None else ms(value) for value in (change.old_ms, change.new_ms)]
    slow, drop = _measured(change.slowdown_percent, 1), _measured(change.drop_pp, 2)
    return [text(change.name), slow, text(time_word(change)) or DASH, *times, drop]


def _measured(found: Measured | None, digits: int) -> str:
    if found is None:
        return DASH
    words = f"{found.value:+.{digits}f}"
    if found.ci95[0] < found.ci95[1]:
        words += f" ({found.ci95[0]:+.{digits}f} to {found.ci95[1]:+.{digits}f})"
    return text(words)

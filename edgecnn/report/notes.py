"""What a reader of a table must know, below it: what befell many rows alike is said once."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edgecnn.bench.record import Row, Run
from edgecnn.report.columns import FEW
from edgecnn.report.difference import Difference
from edgecnn.report.reading import manifest_of
from edgecnn.report.speed import of_throughput


class Note(NamedTuple):
    """Sentences that hold for the same rows.

    Args:
        who: names of rows, or a word for all of them.
    """

    who: str
    words: tuple[str, ...]


def grouped(said: Mapping[str, Sequence[str]], crowds: Mapping[str, Sequence[str]]) -> list[Note]:
    """Sentences by the rows that they are of, those of most rows first.

    Args:
        said: sentences by row.
        crowds: rows by the word for all of them; of two words for the same rows the first is used.
    """
    names: dict[str, list[str]] = {}
    for name, sentences in said.items():
        for words in dict.fromkeys(sentences):
            names.setdefault(words, []).append(name)
    groups: dict[tuple[str, ...], list[str]] = {}
    for words, who in names.items():
        groups.setdefault(tuple(who), []).append(words)
    ordered = sorted(groups.items(), key=lambda group: -len(group[0]))
    return [Note(_called(who, crowds), tuple(sentences)) for who, sentences in ordered]


def _called(who: Sequence[str], crowds: Mapping[str, Sequence[str]]) -> str:
    words = [word for word, names in crowds.items() if len(names) > 1 and list(names) == list(who)]
    return words[0] if words else ", ".join(who)


def of_run(run: Run) -> list[Note]:
    """Why rows have no figures, and why not to trust those that they have."""
    crowds = {
        "all rows": [row.name for row in run.rows],
        "all timed rows": [row.name for row in run.rows if row.times is not None],
    }
    return grouped({row.name: _of_row(row, run) for row in run.rows}, crowds)


def _of_row(row: Row, run: Run) -> list[str]:
    manifest = manifest_of(row)
    found = [] if row.status == "ok" else [row.status]
    if manifest is not None:
        found += [f"{manifest.status}: {reason}" for reason in manifest.reasons]
    found += row.unmeasured
    if row.times is not None and row.times.p99_ms is None and not of_throughput(run):
        why = row.absences.get("p99_ms", f"{row.times.n} calls")  # older runs do not say why
        found.append(f"p99: {FEW}, {why}")
    if row.energy is not None and row.energy.absence:
        found.append(f"energy {row.energy.absence}")
    return [*found, *(f"unstable: {why}" for why in row.unstable)]


def losses(found: Difference) -> list[Note]:
    """What rows of both runs no longer have."""
    return _of_changes(found, {change.name: change.lost for change in found.changes if change.here == "both"})


def remarks(found: Difference) -> list[Note]:
    """What else differs in rows of both runs, and why not to trust their times."""
    return _of_changes(found, {change.name: change.notes for change in found.changes if change.here == "both"})


def _of_changes(found: Difference, said: Mapping[str, Sequence[str]]) -> list[Note]:
    crowds = {"all rows": [change.name for change in found.changes], "all rows of both runs": list(said)}
    return grouped(said, crowds)

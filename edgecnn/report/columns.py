"""The table of a run, cell by cell; page and Markdown say the same. What is not known is a dash and never a zero."""

from typing import NamedTuple

from edgecnn.bench.record import Energy, Row, Run
from edgecnn.report.quality import TOP1, Quality, quality
from edgecnn.report.reading import manifest_of

DASH = "–"


class Column(NamedTuple):
    """One heading; ``unit`` may be empty, ``why`` says in a sentence what is in it."""

    key: str
    title: str
    unit: str
    why: str


class Cell(NamedTuple):
    """What people read, and what sorting goes by; None sorts last, whichever way.

    Args:
        detail: an interval or a reason, in small print.
    """

    text: str
    value: float | str | None
    detail: str = ""


COLUMNS = (
    Column("status", "Status", "", "The artifact's last check, or why there are no figures"),
    Column("accuracy", "Accuracy", "%", "Top-1, or agreement with the reference where there are no labels"),
    Column(
        "drop", "Drop", "pp", "Top-1 lost against the eager model on the same images, with its paired 95 % interval"
    ),
    Column("p50", "p50", "ms", "Median of all calls"),
    Column("p90", "p90", "ms", "Nine of ten calls took at most so long"),
    Column("p99", "p99", "ms", "Of a hundred calls 99 took at most so long; a dash where there were too few"),
    Column(
        "ratio",
        "Ratio",
        "",
        "Median against the first timed row's, with its 95 % interval; below 1 is faster; a dash if timed alone",
    ),
    Column("runs", "Runs in", "", "Multiply-accumulates by the precision that kernels really compute in"),
    Column("rate", "Rate", "images/s", "Images per second"),
    Column("size", "Size", "MB", "Files that the runtime opens"),
    Column("memory", "Memory", "MB", "Resident memory that opening and running added"),
    Column("energy", "Energy", "mJ", "Of one image"),
)


def cells(row: Row, run: Run) -> tuple[Cell, ...]:
    """One per column."""
    times, found = row.times, quality(row, run)
    shares = sorted(row.executed.items(), key=lambda item: -item[1])
    runs = ", ".join(f"{name} {100 * share:.3g} %" for name, share in shares)
    return (
        _status(row),
        _accuracy(found),
        _drop(found),
        _number(times.p50_ms if times else None),
        _number(times.p90_ms if times else None),
        _number(times.p99_ms if times else None),
        _ratio(row, run),
        Cell(runs or DASH, runs or None),
        _number(row.images_per_s),
        _number(row.size_bytes, 1e6),
        _number(row.memory_bytes, 1e6),
        _energy(row.energy),
    )


def ms(value: float) -> str:
    """Four digits, as far as they go."""
    return f"{value:,.{max(0, min(3, 3 - len(str(int(abs(value)))) + 1))}f}"


def _number(value: float | None, unit: float = 1) -> Cell:
    return Cell(DASH, None) if value is None else Cell(ms(value / unit), value)


def _status(row: Row) -> Cell:
    if row.status != "ok":
        return Cell("failed", "failed", row.status)
    manifest = manifest_of(row)
    word = manifest.status if manifest else "ok"
    return Cell(word, word, manifest.evidence.reasons[0] if manifest and manifest.evidence.reasons else "")


def _accuracy(found: Quality | None) -> Cell:
    if found is None:
        return Cell(DASH, None)
    what = "" if found.measure == TOP1 else "agrees, "
    return Cell(f"{100 * found.value:.2f}", found.value, f"{what}n={found.n:,}")


def _drop(found: Quality | None) -> Cell:
    if found is None or found.drop_pp is None or found.drop_ci95_pp is None:
        return Cell(DASH, None)
    low, high = found.drop_ci95_pp
    return Cell(f"{found.drop_pp:+.2f}", found.drop_pp, f"{low:+.2f} to {high:+.2f}")


def _ratio(row: Row, run: Run) -> Cell:
    if row.ratio is not None:
        low, high = row.ratio.ratio_ci95
        return Cell(f"{row.ratio.ratio:.3f}", row.ratio.ratio, f"{low:.3f}–{high:.3f}")
    return Cell("1", 1.0) if row is run.reference else Cell(DASH, None)


def _energy(energy: Energy | None) -> Cell:
    if energy is None:
        return Cell(DASH, None)
    if energy.joules_per_image is None:
        return Cell("not measurable", None)  # its row says why
    return Cell(ms(1000 * energy.joules_per_image), energy.joules_per_image, energy.source)

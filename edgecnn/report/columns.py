"""The tables of a run, cell by cell; page and Markdown say the same. What is not known is a dash and never a zero."""

from typing import NamedTuple

from edgecnn.bench.record import Distribution, Energy, Row, Run
from edgecnn.report.quality import TOP1, Quality, quality
from edgecnn.report.reading import manifest_of
from edgecnn.report.speed import of_throughput

DASH = "–"
FEW = "few n"  # of a p99 that is not there
LATENCIES = ("p50", "p90", "p99", "mean", "min", "max")  # columns that a run of throughput has none of


class Column(NamedTuple):
    """One heading; ``unit`` may be empty, ``why`` says in a sentence what is in it, ``words`` that it is no numbers."""

    key: str
    title: str
    unit: str
    why: str
    words: bool = False


class Cell(NamedTuple):
    """What people read, and what sorting goes by; None sorts last, whichever way.

    Args:
        detail: such as an interval, in small print.
    """

    text: str
    value: float | str | None
    detail: str = ""


class Table(NamedTuple):
    """A row of cells per row of the run, and a cell per column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


STATUS = Column("status", "Status", "", "The artifact's last check; the notes say why", words=True)
COLUMNS = (
    Column("p50", "p50", "ms", "Median of all calls"),
    Column(
        "ratio",
        "Ratio",
        "",
        "Median against the first timed row's, with its 95 % interval; below 1 is faster; a dash if timed alone",
    ),
    STATUS,
    Column("accuracy", "Accuracy", "%", "Top-1, or agreement with the reference where there are no labels"),
    Column(
        "drop", "Drop", "pp", "Top-1 lost against the eager model on the same images, with its paired 95 % interval"
    ),
    Column("p90", "p90", "ms", "Nine of ten calls took at most so long"),
    Column("p99", "p99", "ms", "Of a hundred calls 99 took at most so long"),
    Column("runs", "Runs in", "", "Multiply-accumulates by the precision that kernels really compute in", words=True),
    Column("rate", "Rate", "images/s", "Images per second"),
    Column("request50", "Request p50", "ms", "Median of all requests under load, each from its begin to its answer"),
    Column("request99", "Request p99", "ms", "Of a hundred requests under load 99 took at most so long"),
    Column("size", "Size", "MB", "Files that the runtime opens"),
    Column("energy", "Energy", "mJ", "Of one image"),
)
MORE = (
    Column("n", "Counted", "", "Calls; in throughput mode turns of many calls"),
    Column("mean", "Mean", "ms", "Of all calls"),
    Column("min", "Fastest", "ms", "The fastest call"),
    Column("max", "Slowest", "ms", "The slowest call; nothing is cut off"),
    Column("at_once", "At once", "", "Requests under way together, as many as the runtime likes"),
    Column("request90", "Request p90", "ms", "Nine of ten requests under load took at most so long"),
    Column("request_max", "Slowest request", "ms", "Under load; nothing is cut off"),
    Column("load", "Load", "ms", "Opening, in a process of its own"),
    Column("first", "First inference", "ms", "The first call after opening"),
    Column("memory", "Memory", "MB", "Resident memory that opening and running added"),
    Column("gops", "Arithmetic", "Gop/s", "Twice the multiply-accumulates per second, at the median"),
    Column("peak", "Of peak", "%", "Of what this machine reached with the same runtime, in the row's main precision"),
)


def main_table(run: Run) -> Table:
    """What a run is judged by: its latencies, or the rate first where it was of throughput."""
    table = _table(COLUMNS, [cells(row, run) for row in run.rows], run)
    return _rate_first(table) if of_throughput(run) else table


def more_table(run: Run) -> Table:
    """What else was measured."""
    return _table(MORE, [more_cells(row) for row in run.rows], run)


def _table(columns: tuple[Column, ...], rows: list[tuple[Cell, ...]], run: Run) -> Table:
    """Without the columns in which no row has a value: the notes say why."""
    without = LATENCIES if of_throughput(run) else ()
    kept = [
        index
        for index, column in enumerate(columns)
        if column is STATUS or (column.key not in without and any(row[index].value is not None for row in rows))
    ]
    return Table(tuple(columns[index] for index in kept), tuple(tuple(row[index] for index in kept) for row in rows))


def _rate_first(table: Table) -> Table:
    order = sorted(range(len(table.columns)), key=lambda index: table.columns[index].key != "rate")
    return Table(
        tuple(table.columns[index] for index in order),
        tuple(tuple(row[index] for index in order) for row in table.rows),
    )


def cells(row: Row, run: Run) -> tuple[Cell, ...]:
    """One per column of ``COLUMNS``."""
    times, found = row.times, quality(row, run)
    shares = sorted(row.executed.items(), key=lambda item: -item[1])
    runs = ", ".join(f"{name} {100 * share:.3g} %" for name, share in shares)
    word = status_word(row)
    return (
        _number(times.p50_ms if times else None),
        _ratio(row, run),
        Cell(word, word),
        _accuracy(found),
        _drop(found),
        _number(times.p90_ms if times else None),
        _p99(times),
        Cell(runs or DASH, runs or None),
        _number(row.images_per_s),
        _number(row.requests.p50_ms if row.requests else None),
        _p99(row.requests),
        _number(row.size_bytes, 1e6),
        _energy(row.energy),
    )


def more_cells(row: Row) -> tuple[Cell, ...]:
    """One per column of ``MORE``."""
    times, requests, roofline = row.times, row.requests, row.roofline
    return (
        _count(times.n if times else None),
        _number(times.mean_ms if times else None),
        _number(times.min_ms if times else None),
        _number(max(times.rounds_ms) if times else None),
        _count(requests.at_once if requests else None),
        _number(requests.p90_ms if requests else None),
        _number(requests.max_ms if requests else None),
        _number(row.load_ms),
        _number(row.first_ms),
        _number(row.memory_bytes, 1e6),
        _number(roofline.gops if roofline else None),
        Cell(f"{100 * roofline.share:.1f}", roofline.share, roofline.precision) if roofline else Cell(DASH, None),
    )


def ms(value: float) -> str:
    """Four digits, as far as they go."""
    return f"{value:,.{max(0, min(3, 3 - len(str(int(abs(value)))) + 1))}f}"


def status_word(row: Row) -> str:
    """The artifact's last check in a word or two; the console says the same."""
    manifest = manifest_of(row)
    if manifest is None:
        return "ok" if row.status == "ok" else "failed"
    if not manifest.evidence.executed:
        return f"{manifest.status}, not run"  # its lowered graph answered in its place
    return manifest.status if row.status == "ok" else f"{manifest.status}, not timed"


def is_failure(word: str) -> bool:
    """Whether a status is a failure, and not just something that cannot be had on this machine."""
    return word.partition(",")[0] in ("failed", "rejected")


def _number(value: float | None, unit: float = 1) -> Cell:
    return Cell(DASH, None) if value is None else Cell(ms(value / unit), value)


def _count(value: int | None) -> Cell:
    return Cell(DASH, None) if value is None else Cell(f"{value:,}", value)


def _p99(found: Distribution | None) -> Cell:
    return Cell(FEW, None) if found and found.p99_ms is None else _number(found.p99_ms if found else None)


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
        return Cell("not measurable", None)  # the notes say why
    return Cell(ms(1000 * energy.joules_per_image), energy.joules_per_image, energy.source)

"""A benchmark as one table: what each artifact came to, and which one to ship here."""

from rich.markup import escape

from edgecnn.artifact import VERIFIED
from edgecnn.bench.machine import one_line
from edgecnn.bench.record import Row, Run
from edgecnn.console.screen import out, shown, table_of
from edgecnn.console.timing import conditions, print_layers, print_unstable, ratio_cell
from edgecnn.names import LATENCY
from edgecnn.report.columns import is_failure, status_word


def print_benchmark(run: Run) -> None:
    """A row per target and precision, the verdict, and what makes it doubtful."""
    table = table_of(
        "name",
        "gate",
        "size MB|",
        "n|",
        "agreement|",
        "drop pp",
        "SQNR dB|",
        "p50 ms|" if run.settings.mode == LATENCY else "request p50 ms|",
        "images/s|",
        "times as long",
        "",
    )
    for row in run.rows:
        table.add_row(shown(row.name), *_evidence(row), *_times(row, run))
    out.print(table)
    out.print(conditions(run))
    for row in run.rows:
        if row.status != "ok":
            out.print(f"[yellow]{shown(row.name)}[/]: {shown(row.status)}")
    print_unstable(run)
    print_layers(run.rows)
    out.print(shown(one_line(run.machine)))
    out.print(f"[bold]{shown(run.verdict)}[/]")


def _evidence(row: Row) -> list[str]:
    word = status_word(row)
    status = f"[{_colour(word)}]{shown(word)}[/]"
    if row.manifest is None:
        return [status, *["–"] * 5]
    evidence = row.manifest["evidence"]
    drop = "–"
    if evidence["drop_pp"] is not None:
        low, high = evidence["drop_ci95_pp"]
        drop = escape(f"{evidence['drop_pp']:+.2f} [{low:+.2f}, {high:+.2f}]")
    return [
        status,
        "–" if row.size_bytes is None else f"{row.size_bytes / 1e6:.1f}",
        str(evidence["n"]),
        f"{evidence['agreement']:.4f}",
        drop,
        f"{evidence['sqnr_db']:.1f}",
    ]


def _colour(word: str) -> str:
    if is_failure(word):
        return "red"
    return "green" if word == VERIFIED else "yellow"


def _times(row: Row, run: Run) -> list[str]:
    if row.times is None:
        return ["–", "–", "–", ""]
    times = row.requests or row.times  # of a turn of many requests, what each of them took
    return [
        f"{times.p50_ms:.3f}",
        f"{row.images_per_s:,.0f}",
        ratio_cell(row, run),
        "[yellow]unstable[/]" if row.unstable else "",
    ]

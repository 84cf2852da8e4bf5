"""A run as tables: what was timed, how fast it is, where the time goes, and how far to trust it."""

from rich.markup import escape

from edgecnn.bench.machine import one_line
from edgecnn.bench.record import Row, Run
from edgecnn.console.screen import out, shown, table_of

MOST_LAYERS = 12


def print_run(run: Run) -> None:
    """The table, then the machine, what could not be timed, and what makes the times doubtful."""
    latency = run.settings.mode == "latency"
    per = "call" if run.settings.batch == 1 else f"batch of {run.settings.batch}"
    table = table_of(
        "name", "computes in", "n|", "p50 ms|", "p90|", "p99|", "mean|", "min|", "images/s|", "times as long",
        "load ms|", "first ms|", "memory MB|", "size MB|", "",
    )  # fmt: skip
    for row in run.rows:
        if row.times is not None:
            table.add_row(*_cells(row))
    out.print(table)
    per_turn = "" if latency else "; in throughput mode n counts turns, and times are theirs per call"
    threads = "the runtime's own threads" if run.settings.threads is None else f"{run.settings.threads} threads"
    out.print(f"{run.settings.mode} per {per}, {threads}, on {shown(run.settings.images)}{per_turn}")
    for row in run.rows:
        if row.status != "ok":
            out.print(f"[yellow]{shown(row.name)} was not timed[/]: {shown(row.status)}")
    _print_verdicts(run)
    for row in run.rows:
        _print_layers(row)
    out.print(shown(one_line(run.machine)))
    if run.verdict:
        out.print(shown(run.verdict))


def warnings(run: Run) -> list[str]:
    """What a reader of the times must know first."""
    rejected = [row.name for row in run.rows if row.manifest is not None and row.manifest["status"] == "rejected"]
    return [f"{name} was rejected by its last check; `edgecnn verify` says why" for name in rejected]


def _cells(row: Row) -> list[str]:
    times, ratio = row.times, row.ratio
    assert times is not None  # noqa: S101  # the caller's condition
    low, high = ratio.ratio_ci95 if ratio else (0.0, 0.0)
    return [
        shown(row.name),
        ", ".join(name if share == 1 else f"{name} {share:.0%}" for name, share in row.executed.items()) or "?",
        str(times.n),
        f"{times.p50_ms:.3f}",
        f"{times.p90_ms:.3f}",
        "few n" if times.p99_ms is None else f"{times.p99_ms:.3f}",
        f"{times.mean_ms:.3f}",
        f"{times.min_ms:.3f}",
        f"{row.images_per_s:,.1f}",
        escape(f"{ratio.ratio:.3f} [{low:.3f}, {high:.3f}]") if ratio else "1",
        _figure(row.load_ms),
        _figure(row.first_ms),
        _figure(None if row.memory_bytes is None else row.memory_bytes / 1e6),
        _figure(None if row.size_bytes is None else row.size_bytes / 1e6),
        "[yellow]unstable[/]" if row.unstable else "",
    ]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _print_verdicts(run: Run) -> None:
    for row in run.rows:
        if row.ratio is not None:
            low, high = row.ratio.ratio_ci95
            measured = f"{row.ratio.ratio:.3f} of its time, 95 % [{low:.3f}, {high:.3f}]"
            if low <= 1 <= high:
                out.print(shown(f"{row.name} and {row.ratio.against}: no difference beyond noise ({measured})"))
                continue
            word, colour = ("faster", "green") if high < 1 else ("slower", "yellow")
            out.print(f"[{colour}]{shown(f'{row.name} is {word} than {row.ratio.against}')}[/] ({shown(measured)})")
    shared = set.intersection(*(set(row.unstable) for row in run.rows if row.times is not None))
    for row in run.rows:
        for reason in row.unstable:
            if reason not in shared:
                out.print(f"[yellow]unstable[/] {shown(row.name)}: {shown(reason)}")
    for reason in sorted(shared):
        out.print(f"[yellow]unstable[/] all rows: {shown(reason)}")


def _print_layers(row: Row) -> None:
    if not row.layers:
        return
    out.print()
    table = table_of(shown(row.name), "kernel", "precision", "ms|", "share|")
    slowest = sorted(row.layers, key=lambda layer: -layer.ms)
    for layer in slowest[:MOST_LAYERS]:
        module = shown(layer.module) or "(added by the runtime)"
        table.add_row(module, shown(layer.kind), layer.precision, f"{layer.ms:.4f}", f"{layer.share:.1%}")
    out.print(table)
    rest = slowest[MOST_LAYERS:]
    if rest:
        out.print(f"{len(rest)} more kernels: {sum(layer.share for layer in rest):.1%} together; --json lists them")

"""A run as tables: what was timed, how fast it is, where the time goes, and how far to trust it."""

from collections.abc import Sequence

from rich.markup import escape

from edgecnn.bench.latency import differs
from edgecnn.bench.machine import one_line
from edgecnn.bench.modules import Line, Part, layer_table
from edgecnn.bench.record import MEASURES, Row, Run, Times
from edgecnn.console.screen import out, shown, table_of
from edgecnn.names import LATENCY
from edgecnn.report.columns import FEW

MOST_KINDS = 3  # of a line's kernels that are named


def print_run(run: Run) -> None:
    """The table, then the machine, what could not be timed, and what makes the times doubtful."""
    latency = run.settings.mode == LATENCY
    calls = ("n|", "p50 ms|", "p90|", "p99|", "mean|", "min|", "images/s|", "times as long")
    turns = ("turns|", "images/s|", "times as long", "at once|", "request p50 ms|", "p90|", "p99|", "max|")
    table = table_of(
        "name", "computes in", *(calls if latency else turns), "of peak|", "load ms|", "first ms|", "memory MB|",
        "size MB|", "",
    )  # fmt: skip
    for row in run.rows:
        if row.times is not None:
            table.add_row(*_cells(row, run))
    out.print(table)
    at_once = "" if latency else "; at once: requests under way together, as many as the runtime likes"
    out.print(f"{conditions(run)}{at_once}")
    for row in run.rows:
        if row.status != "ok":
            out.print(f"[yellow]{shown(row.name)} was not timed[/]: {shown(row.status)}")
    for row in run.rows:
        for absence in row.unmeasured:
            out.print(shown(f"{row.name}: {absence}"))
    _print_verdicts(run)
    _print_peaks(run)
    _print_energy(run)
    print_layers(run.rows)
    out.print(shown(one_line(run.machine)))
    if run.verdict:
        out.print(shown(run.verdict))


def conditions(run: Run) -> str:
    """What was timed, and how, in a line."""
    asked = run.settings
    per = "call" if asked.batch == 1 else f"batch of {asked.batch}"
    threads = "the runtime's own threads" if asked.threads is None else f"threads: {asked.threads}"
    return f"{asked.mode} per {per}, {threads}, on {shown(asked.images)}"


def warnings(run: Run) -> list[str]:
    """What a reader of the times must know first."""
    rejected = [row.name for row in run.rows if row.manifest is not None and row.manifest["status"] == "rejected"]
    found = [f"{name} was rejected by its last check; `edgecnn verify` says why" for name in rejected]
    engines = [row.name for row in run.rows if row.target == "tensorrt" and row.times is not None]
    if run.settings.threads is not None and engines:
        found.append(f"--threads is for runtimes on a CPU, and does nothing to {', '.join(engines)}")
    return found


def ratio_cell(row: Row, run: Run) -> str:
    """How many times as long a row takes as the run's reference; a dash where nothing says."""
    if row.ratio is None:
        return "1" if row is run.reference else "–"
    low, high = row.ratio.ratio_ci95
    return escape(f"{row.ratio.ratio:.3f} [{low:.3f}, {high:.3f}]")


def _cells(row: Row, run: Run) -> list[str]:
    times = row.times
    assert times is not None  # noqa: S101  # the caller's condition
    return [
        shown(row.name),
        ", ".join(name if share == 1 else f"{name} {share:.0%}" for name, share in row.executed.items()) or "?",
        *(_calls(row, times, run) if run.settings.mode == LATENCY else _turns(row, times, run)),
        "–" if row.roofline is None else f"{row.roofline.share:.1%}",
        _figure(row.load_ms),
        _figure(row.first_ms),
        _figure(None if row.memory_bytes is None else row.memory_bytes / 1e6),
        _figure(None if row.size_bytes is None else row.size_bytes / 1e6),
        "[yellow]unstable[/]" if row.unstable else "",
    ]


def _calls(row: Row, times: Times, run: Run) -> list[str]:
    return [
        str(times.n),
        f"{times.p50_ms:.3f}",
        f"{times.p90_ms:.3f}",
        _tail(times.p99_ms),
        f"{times.mean_ms:.3f}",
        f"{times.min_ms:.3f}",
        f"{row.images_per_s:,.1f}",
        ratio_cell(row, run),
    ]


def _turns(row: Row, times: Times, run: Run) -> list[str]:
    found = row.requests
    assert found is not None  # noqa: S101  # of every row of throughput that has times
    return [
        str(times.n),
        f"{row.images_per_s:,.1f}",
        ratio_cell(row, run),
        "–" if found.at_once is None else str(found.at_once),
        f"{found.p50_ms:.3f}",
        f"{found.p90_ms:.3f}",
        _tail(found.p99_ms),
        f"{found.max_ms:.3f}",
    ]


def _tail(p99_ms: float | None) -> str:
    return FEW if p99_ms is None else f"{p99_ms:.3f}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _print_verdicts(run: Run) -> None:
    unstable = {row.name for row in run.rows if row.unstable}
    for row in run.rows:
        if row.ratio is not None:
            low, high = row.ratio.ratio_ci95
            measured = f"{row.ratio.ratio:.3f} of its time, 95 % [{low:.3f}, {high:.3f}]"
            if not differs(row.ratio):
                out.print(shown(f"{row.name} and {row.ratio.against}: no difference beyond noise ({measured})"))
                continue
            word, colour = ("faster", "green") if row.ratio.ratio < 1 else ("slower", "yellow")
            doubt = ", in an unstable run" if unstable & {row.name, row.ratio.against} else ""
            out.print(
                f"[{colour}]{shown(f'{row.name} is {word} than {row.ratio.against}')}[/] ({shown(measured)}){doubt}"
            )
    print_unstable(run)


def print_unstable(run: Run) -> None:
    """Why times should not be trusted, and said once what befell all rows."""
    timed = [row for row in run.rows if row.times is not None]
    shared = [reason for reason in timed[0].unstable if all(reason in row.unstable for row in timed)]
    for reason in shared:
        out.print(f"[yellow]unstable[/] all rows: {shown(reason)}")
    for row in timed:
        for reason in row.unstable:
            if reason not in shared:
                out.print(f"[yellow]unstable[/] {shown(row.name)}: {shown(reason)}")


def _print_peaks(run: Run) -> None:
    """Once for each runtime and precision."""
    peaks = {
        (row.runtime, row.roofline.precision): row.roofline.peak_gops for row in run.rows if row.roofline is not None
    }
    for (runtime, precision), gops in peaks.items():
        out.print(f"peak of {shown(runtime)} here: {gops:,.0f} G operations/s in {precision}, 512-channel convolutions")


def _print_energy(run: Run) -> None:
    absences = {row.energy.absence: None for row in run.rows if row.energy is not None and row.energy.absence}
    for row in run.rows:
        if row.energy is not None and row.energy.joules_per_image is not None:
            source = row.energy.source
            measured = f"{source}, {MEASURES[source]}" if source in MEASURES else source
            joules = f"{1000 * row.energy.joules_per_image:.3g} mJ an image ({measured})"
            out.print(f"{shown(row.name)}: {shown(joules)}")
    for absence in absences:
        out.print(f"energy {shown(absence)}")


def print_layers(rows: Sequence[Row]) -> None:
    """A line per module and a column per row; of one row alone there is space to say which kernels they are."""
    table = layer_table(rows)
    if not table.rows:
        return
    alone = len(table.rows) == 1
    shown_as = table_of(
        "module",
        *(("kernels", "precision") if alone else ()),
        *(f"{shown(row.name)}\nms  share|" for row in table.rows),
    )
    for line in (*table.modules, *table.sums):
        shown_as.add_row(shown(line.name), *(_kernels(line) if alone else ()), *map(_time, line.parts))
    out.print()
    out.print(shown_as)
    out.print("shares are of each runtime's own profiler, which slows it; ms are scaled to sum to the row's p50")
    out.print(
        "a fused kernel counts to its convolution or linear layer; –: no kernel of its own; --json has every kernel"
    )


def _kernels(line: Line) -> tuple[str, str]:
    """Of the only row: kinds and precisions."""
    (part,) = line.parts
    assert part is not None  # noqa: S101  # the line is of this row
    kinds = part.kinds if len(part.kinds) <= MOST_KINDS else (*part.kinds[:MOST_KINDS], "...")
    return shown(", ".join(kinds)), shown(", ".join(part.precisions))


def _time(part: Part | None) -> str:
    return "–" if part is None else f"{part.ms:.4f} {part.share:6.1%}"

"""A run as tables: what was timed, how fast it is, where the time goes, and how far to trust it."""

from collections.abc import Sequence

from rich.markup import escape

from edgecnn.bench.latency import differs
from edgecnn.bench.machine import one_line
from edgecnn.bench.record import LayerTime, Row, Run
from edgecnn.console.screen import out, shown, table_of

MOST_LAYERS = 12


def print_run(run: Run) -> None:
    """The table, then the machine, what could not be timed, and what makes the times doubtful."""
    latency = run.settings.mode == "latency"
    per = "call" if run.settings.batch == 1 else f"batch of {run.settings.batch}"
    table = table_of(
        "name", "computes in", "n|", "p50 ms|", "p90|", "p99|", "mean|", "min|", "images/s|", "times as long",
        "of peak|", "load ms|", "first ms|", "memory MB|", "size MB|", "",
    )  # fmt: skip
    for row in run.rows:
        if row.times is not None:
            table.add_row(*_cells(row, run))
    out.print(table)
    per_turn = "" if latency else "; in throughput mode n counts turns, and times are theirs per call"
    threads = "the runtime's own threads" if run.settings.threads is None else f"threads: {run.settings.threads}"
    out.print(f"{run.settings.mode} per {per}, {threads}, on {shown(run.settings.images)}{per_turn}")
    for row in run.rows:
        if row.status != "ok":
            out.print(f"[yellow]{shown(row.name)} was not timed[/]: {shown(row.status)}")
    for row in run.rows:
        for absence in row.unmeasured:
            out.print(shown(f"{row.name}: {absence}"))
    _print_verdicts(run)
    _print_peaks(run)
    _print_energy(run)
    for row in run.rows:
        _print_layers(row)
    out.print(shown(one_line(run.machine)))
    if run.verdict:
        out.print(shown(run.verdict))


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
        str(times.n),
        f"{times.p50_ms:.3f}",
        f"{times.p90_ms:.3f}",
        "few n" if times.p99_ms is None else f"{times.p99_ms:.3f}",
        f"{times.mean_ms:.3f}",
        f"{times.min_ms:.3f}",
        f"{row.images_per_s:,.1f}",
        ratio_cell(row, run),
        "–" if row.roofline is None else f"{row.roofline.share:.1%}",
        _figure(row.load_ms),
        _figure(row.first_ms),
        _figure(None if row.memory_bytes is None else row.memory_bytes / 1e6),
        _figure(None if row.size_bytes is None else row.size_bytes / 1e6),
        "[yellow]unstable[/]" if row.unstable else "",
    ]


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
            joules = f"{1000 * row.energy.joules_per_image:.3g} mJ an image ({row.energy.source}, all of the package)"
            out.print(f"{shown(row.name)}: {shown(joules)}")
    for absence in absences:
        out.print(f"energy {shown(absence)}")


def _print_layers(row: Row) -> None:
    """A row per module, the slowest first; what the runtime added is one of them."""
    if not row.layers:
        return
    modules: dict[str, list[LayerTime]] = {}
    for layer in row.layers:
        modules.setdefault(layer.module, []).append(layer)
    slowest = sorted(modules.values(), key=lambda layers: -_ms(layers))
    out.print()
    table = table_of(shown(row.name), "kernels", "precision", "ms|", "share|")
    for layers in slowest[:MOST_LAYERS]:
        table.add_row(
            shown(layers[0].module) or f"({len(layers)} kernels that the runtime added)",
            shown(", ".join(dict.fromkeys(layer.kind for layer in layers))),
            ", ".join(dict.fromkeys(layer.precision for layer in layers)),
            f"{_ms(layers):.4f}",
            f"{sum(layer.share for layer in layers):.1%}",
        )
    out.print(table)
    rest = [layer for layers in slowest[MOST_LAYERS:] for layer in layers]
    if rest:
        share = sum(layer.share for layer in rest)
        out.print(f"{len(slowest) - MOST_LAYERS} more modules: {share:.1%} together; --json has every kernel")
    out.print(f"{_ms(row.layers):.3f} ms in all kernels, with the profiler's own cost")


def _ms(layers: Sequence[LayerTime]) -> float:
    return sum(layer.ms for layer in layers)

"""Tables, bars and colours for people. Results go to stdout; bars and warnings to stderr, bars on a terminal only."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from edgecnn.analysis import Analysis
from edgecnn.bench.versus import Versus
from edgecnn.errors import printable
from edgecnn.inspection import Inspection
from edgecnn.pipeline import Exported, Predictions
from edgecnn.progress import Progress
from edgecnn.verify.coverage import Coverage
from edgecnn.verify.policy import Verdict
from edgecnn.verify.stages import Verification

if TYPE_CHECKING:
    from edgecnn.quant.ladder import Rung

# Piped output is read by programs and people with wide windows: it is never folded.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False, soft_wrap=True)
COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}


class BarProgress(Progress):
    """A bar per stage."""

    def __init__(self, bars: Bars) -> None:
        super().__init__()
        self._bars = bars
        self._task: Any = None

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[None]:
        self._task = self._bars.add_task(name, total=total)
        with super().stage(name, total):
            yield
        self._bars.update(self._task, total=total or 1, completed=total or 1)

    def advance(self, count: int = 1) -> None:
        self._bars.advance(self._task, count)


@contextmanager
def watching() -> Iterator[Progress]:
    """A progress that draws bars where a person is looking, else a silent one."""
    if not sys.stderr.isatty():
        yield Progress()
        return
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=err) as bars:
        yield BarProgress(bars)


def warn(text: str) -> None:
    """One line on stderr."""
    err.print(f"[yellow]warning:[/] {_shown(text)}")


def print_models(rows: list[dict[str, Any]]) -> None:
    """One line per model."""
    table = _table("model", "parameters|", "MACs|", "input|", "weights", "also called")
    for row in rows:
        channels, height, width = row["input"]
        table.add_row(
            row["name"],
            f"{row['params']:,}",
            f"{row['macs'] / 1e6:,.0f} M",
            f"{channels}×{height}×{width}",
            ", ".join(row["weights"]),
            ", ".join(row["aliases"]),
        )
    out.print(table)
    out.print(f"targets: {', '.join(rows[0]['targets'])}")


def print_exported(exported: Exported) -> None:
    """The evidence, and where the artifact is."""
    manifest = exported.artifact.manifest
    if exported.rungs:
        print_rungs(exported.rungs)
    note = (manifest["calibration"] or {}).get("note", "")
    if note and note != exported.verification.note:
        out.print(f"calibration: {_shown(note)}")
    print_verification(exported.verification)
    if exported.remark:
        out.print(_shown(exported.remark))
    if exported.advice is not None:
        out.print(_shown(exported.advice.text))
    size = _size(manifest, "model.") or _size(manifest, "bundle.")
    verification = exported.verification
    state = manifest["status"] if verification.executed else f"{manifest['status']}, {verification.not_here}"
    seconds = sum(exported.elapsed_s.values())
    folder = _shown(str(exported.artifact.folder))
    out.print(
        f"{folder}  {manifest['model']['name']} {manifest['precision']} for {manifest['target']},"
        f" {size / 1e6:.1f} MB, {state}, in {seconds:.1f} s"
    )


def _size(manifest: dict[str, Any], role: str) -> int:
    """Bytes of the files whose role begins so."""
    return sum(entry["size_bytes"] for entry in manifest["files"] if entry["role"].startswith(role))


def print_rungs(rungs: "tuple[Rung, ...]") -> None:
    """What each rung of the ladder gained on the images held out of calibration."""
    table = _table("rung", "n|", "agreement|", "SQNR dB|", "KL|", "ranges", "float|", "seconds|", "")
    for rung in rungs:
        table.add_row(
            rung.name,
            str(rung.n),
            f"{rung.agreement:.4f}",
            f"{rung.sqnr_db:.1f}",
            f"{rung.kl:.2g}",
            ", ".join(f"{count} {method}" for method, count in rung.ranges.items()),
            str(len(rung.float_layers)),
            f"{rung.elapsed_s:.1f}",
            "" if rung.kept else "not kept",
        )
    out.print(table)


def print_verification(verification: Verification) -> None:
    """A row per stage, accuracy where there are labels, the verdict."""
    table = _table("stage", "n|", "agreement|", "SQNR dB|", "cosine|", "max abs|", "SQNR to previous|")
    for row in verification.stages:
        parity = row.against_reference
        table.add_row(
            row.name,
            str(parity.n),
            f"{parity.agreement:.4f}",
            f"{parity.sqnr_db:.1f}",
            f"{parity.cosine:.6f}",
            f"{parity.max_abs:.2g}",
            f"{row.against_previous.sqnr_db:.1f}",
        )
    out.print(table)
    found = verification.accuracy
    if found is not None:
        low, high = found.drop_ci95_pp
        out.print(
            f"top-1 {found.top1:.4f} against {found.top1_reference:.4f} on {found.n} labelled images: drop"
            f" {found.drop_pp:+.2f} pp, 95 % [{low:+.2f}, {high:+.2f}], McNemar p {found.mcnemar_p:.2g};"
            f" top-5 {found.top5:.4f} against {found.top5_reference:.4f}"
        )
    if verification.coverage is not None and verification.coverage.planned:
        out.print(_share(verification.coverage))
    if verification.note:
        out.print(f"note: {_shown(verification.note)}")
    verdict = verification.judgement.verdict
    colour = "red" if verification.judgement.rejected else COLOURS[verdict]
    reasons = f": {'; '.join(verification.judgement.reasons)}" if verification.judgement.reasons else ""
    out.print(
        f"[{colour}]{verdict.value}[/] against {verification.reference}"
        f" on {verification.parity.n} images of {_shown(verification.images['name'])}{_shown(reasons)}"
    )


def print_inspection(inspection: Inspection) -> None:
    """What is executed, then the latencies and the verdict."""
    manifest, coverage = inspection.artifact.manifest, inspection.coverage
    folder = _shown(str(inspection.artifact.folder))
    out.print(
        f"{folder}  {manifest['model']['name']} {manifest['precision']} for {manifest['target']}, {manifest['status']}"
    )
    advice = manifest["advice"]
    if advice is not None:
        out.print(_shown(advice["text"]))
    if coverage is not None:
        _print_coverage(coverage)
    if inspection.absence:
        built = "not built here" if coverage is None else "built, not executed or timed here"
        out.print(_shown(f"{built}: {inspection.absence}"))
    if inspection.versus is not None:
        _print_versus(inspection.versus)


def _print_coverage(coverage: Coverage) -> None:
    out.print(_share(coverage))
    for planned, words in ((True, "quantized, but in float"), (False, "in float as planned")):
        layers = [layer for layer in coverage.float_layers if layer.planned is planned]
        share = sum(layer.macs_share for layer in layers)
        if layers:
            out.print(_listed(f"{words} ({share:.2%} of the MACs)", [layer.name for layer in layers]))
    if coverage.unfused:
        out.print(_listed("activations with a kernel of their own", list(coverage.unfused)))
    added = ", ".join(f"{count} {kind}" for kind, count in sorted(coverage.reformats.items()))
    out.print(f"reformats: {added or 'none'}")


def _print_versus(timed: Versus) -> None:
    table = _table("precision", "rounds|", "p50 ms|", "mean ms|", "min ms|", "INT8 gains")
    gains = {gain.against: gain for gain in timed.gains}
    for row in timed.latencies:
        gain = gains.get(row.name)
        low, high = gain.ratio_ci95 if gain else (0.0, 0.0)
        times = f"{gain.ratio:.2f}x [{low:.2f}, {high:.2f}]" if gain else ""
        table.add_row(
            row.name, str(row.n), f"{row.p50_ms:.3f}", f"{row.mean_ms:.3f}", f"{row.min_ms:.3f}", escape(times)
        )
    out.print(table)
    for missing in timed.omitted:
        out.print(f"{missing.name} was not timed: {_shown(missing.reason)}")
    if timed.gain is not None:
        out.print(f"[{'green' if timed.gain.real else 'yellow'}]{_shown(timed.verdict)}[/]")


def _share(coverage: Coverage) -> str:
    layers = coverage.int8_layers + len(coverage.float_layers)
    share = f"{coverage.int8_macs_share:.2%} of {coverage.macs / 1e6:,.1f} M MACs run in int8 kernels"
    quantized = f", {coverage.planned_int8} of {coverage.planned} quantized ones" if coverage.planned else ""
    return f"{share}: {coverage.int8_layers} of {layers} layers{quantized}"


def _listed(what: str, nodes: list[str], most: int = 4) -> str:
    """How many nodes, and the modules of the first."""
    modules = list(dict.fromkeys(node.rpartition("/")[0] for node in nodes))
    rest = f" and {len(modules) - most} more" if len(modules) > most else ""
    return _shown(f"{len(nodes)} {what}: {', '.join(modules[:most])}{rest}")


def print_analysis(analysis: Analysis, most: int = 20) -> None:
    """The costliest layers, and what the others come to."""
    total = sum(layer.kl for layer in analysis.layers) or 1.0
    macs = sum(layer.macs for layer in analysis.layers)
    table = _table("layer", "MACs|", "KL|", "share|", "of its input|", "of its weight|")
    for layer in analysis.layers[:most]:
        table.add_row(
            layer.module,
            f"{layer.macs / macs:.1%}",
            f"{layer.kl:.2g}",
            f"{layer.kl / total:.1%}",
            f"{layer.input_kl:.2g}",
            f"{layer.weight_kl:.2g}",
        )
    out.print(table)
    rest = analysis.layers[most:]
    if rest:
        share = sum(layer.kl for layer in rest) / total
        out.print(f"{len(rest)} more layers: {share:.1%} together; --json lists them")
    out.print(f"each alone in INT8, the rest in float, on {analysis.n} images of {_shown(analysis.images)}")


def print_predictions(predictions: Predictions) -> None:
    """A row per picture."""
    table = _table("image", "1", "2", "3", "4", "5")
    for answer in predictions.as_json():
        best = [_shown(f"{row['label']} {row['probability']:.3f}") for row in answer["top5"]]
        table.add_row(_shown(answer["image"]), *best)
    out.print(table)


def print_trained(trained: dict[str, Any]) -> None:
    """A row per epoch, and the weights."""
    table = _table("epoch|", "size|", "loss|", "held-out top-1|", "seconds|")
    for row in trained["history"]:
        table.add_row(
            str(row["epoch"] + 1),
            str(row["size"]),
            f"{row['loss']:.4f}",
            f"{row['accuracy']:.4f}",
            f"{row['seconds']:.0f}",
        )
    out.print(table)
    out.print(f"{_shown(trained['weights'])}  top-1 {trained['top1']:.4f} on the {trained['n']:,} test images")


def print_diagnosis(found: dict[str, Any]) -> None:
    """One line per extra, and below those that lack something, the line that installs it."""
    out.print(f"edgecnn {found['edgecnn']}, Python {found['python']}, {found['machine']}")
    for row in found["extras"]:
        state = "[green]ready  [/]" if not row["missing"] else "[yellow]missing[/]"
        installed = ", ".join(f"{name} {version}" for name, version in row["installed"].items())
        out.print(f"{state} {row['extra']:<12} {row['purpose']}{': ' if installed else ''}{installed}")
        if row["missing"]:
            out.print(f"{'':20} lacks {', '.join(row['missing'])}: {row['install']}", markup=False)


def _table(*columns: str) -> Table:
    """A plain table; a column named with a bar at its end is right-aligned."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.rstrip("|"), justify="right" if column.endswith("|") else "left", no_wrap=True)
    return table


def _shown(text: str) -> str:
    """Somebody else's text, which is no markup."""
    return escape(printable(text))

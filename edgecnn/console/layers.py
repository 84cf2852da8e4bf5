"""Layer by layer: what a runtime executes, how fast, and what INT8 costs where."""

from rich.markup import escape

from edgecnn.analysis import Analysis
from edgecnn.bench.versus import Versus
from edgecnn.console.evidence import share
from edgecnn.console.screen import out, shown, table_of
from edgecnn.inspection import Inspection
from edgecnn.verify.coverage import Coverage


def print_inspection(inspection: Inspection) -> None:
    """What is executed, then the latencies and the verdict."""
    manifest, coverage = inspection.artifact.manifest, inspection.coverage
    folder = shown(str(inspection.artifact.folder))
    out.print(
        f"{folder}  {manifest['model']['name']} {manifest['precision']} for {manifest['target']}, {manifest['status']}"
    )
    if inspection.artifact.advice is not None:
        out.print(shown(inspection.artifact.advice["text"]))
    if coverage is not None:
        _print_coverage(coverage)
    if inspection.absence:
        built = "not built here" if coverage is None else "built, not executed or timed here"
        out.print(shown(f"{built}: {inspection.absence}"))
    if inspection.versus is not None:
        _print_versus(inspection.versus)


def _print_coverage(coverage: Coverage) -> None:
    out.print(share(coverage))
    for planned, words in ((True, "quantized, but in float"), (False, "in float as planned")):
        layers = [layer for layer in coverage.float_layers if layer.planned is planned]
        part = sum(layer.macs_share for layer in layers)
        if layers:
            out.print(_listed(f"{words} ({part:.2%} of the MACs)", [layer.name for layer in layers]))
    if coverage.unfused:
        out.print(_listed("activations with a kernel of their own", list(coverage.unfused)))
    added = ", ".join(f"{count} {kind}" for kind, count in sorted(coverage.reformats.items()))
    out.print(f"reformats: {added or 'none'}")


def _print_versus(timed: Versus) -> None:
    table = table_of("precision", "rounds|", "p50 ms|", "mean ms|", "min ms|", "INT8 gains")
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
        out.print(f"{missing.name} was not timed: {shown(missing.reason)}")
    if timed.gain is not None:
        out.print(f"[{'green' if timed.gain.real else 'yellow'}]{shown(timed.verdict)}[/]")


def _listed(what: str, nodes: list[str], most: int = 4) -> str:
    """How many nodes, and the modules of the first."""
    modules = list(dict.fromkeys(node.rpartition("/")[0] for node in nodes))
    rest = f" and {len(modules) - most} more" if len(modules) > most else ""
    return shown(f"{len(nodes)} {what}: {', '.join(modules[:most])}{rest}")


def print_analysis(analysis: Analysis, most: int = 20) -> None:
    """The costliest layers, and what the others come to."""
    total = sum(layer.kl for layer in analysis.layers) or 1.0
    macs = sum(layer.macs for layer in analysis.layers)
    table = table_of("layer", "MACs|", "KL|", "share|", "of its input|", "of its weight|")
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
        part = sum(layer.kl for layer in rest) / total
        out.print(f"{len(rest)} more layers: {part:.1%} together; --json lists them")
    out.print(f"each alone in INT8, the rest in float, on {analysis.n} images of {shown(analysis.images)}")
    if analysis.remark:
        out.print(analysis.remark)

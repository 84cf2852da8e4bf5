"""A report as text for a terminal, as Markdown for docs/benchmarks/int8.md, and as JSON for both again."""

import json
from dataclasses import asdict

import msgspec

from tools.bench_int8.candidates import FP32, OURS
from tools.bench_int8.cases import TIMED_SIDE
from tools.bench_int8.results import CaseResult, Ratio, Report, Row
from tools.bench_int8.verdicts import FALLS_SHORT, NONE, agreement, verdicts

RUNTIMES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
ACCURACY = ("drop, pp [95 %]", "agreement [95 %]", "SQNR, dB", "KL")
LATENCY = ("ms, median (p10–p90)", "of FP32 [95 %]", "edgecnn takes [95 %]")


def as_text(report: Report) -> str:
    """One table per model, and below it what was asked."""
    facts = [f"{name} {value}" for name, value in report.machine.items()]
    blocks = ["; ".join(facts), how_measured(report)]
    blocks += ["\n".join(_case_text(result)) for result in report.cases]
    blocks += [f"failed: {error}" for error in report.errors]
    blocks.append(f"took {report.elapsed_s / 60:.0f} minutes")
    return "\n\n".join(blocks)


def as_markdown(report: Report) -> str:
    """The tables of docs/benchmarks/int8.md: INT8 rows of each runtime, then the goals."""
    blocks = []
    for runtime, title in RUNTIMES.items():
        header = ["model", f"INT8 for {title} by", *ACCURACY[:3], *LATENCY]
        rows = [
            [f"`{result.case.model}`" if row.quantizer == OURS else "", row.quantizer, *_cells(row, kl=False)]
            for result in report.cases
            for row in result.rows
            if row.runtime == runtime and row.quantizer != FP32
        ]
        blocks.append(markdown_table(header, rows))
    goals = [
        [f"`{result.case.model}`", verdict.goal, verdict.measured, _bold(verdict.outcome)]
        for result in report.cases
        for verdict in verdicts(result)
    ]
    blocks.append(markdown_table(["edgecnn for OpenVINO", "goal", "measured", ""], goals))
    blocks += [f"Failed: {error}." for error in report.errors]
    return "\n\n".join([*blocks, how_measured(report)])


def how_measured(report: Report) -> str:
    """What the columns mean, with every n."""
    settings, versions = report.settings, report.machine
    judged = sorted({result.judged for result in report.cases if result.judged})
    return (
        f"Against the FP32 graph, on {' and '.join(judged) or 'no images'}. Latency at 1×3×{TIMED_SIDE}×{TIMED_SIDE},"
        f" {settings.threads} threads, f32 hint: n = {settings.rounds} rounds, in each of which every candidate of a"
        f" runtime has a turn of {settings.inferences} inferences, whose median counts. “edgecnn takes” is edgecnn's"
        " latency as a share of that row's, with a bootstrap interval over rounds."
        f" NNCF {versions.get('nncf')}, OpenVINO {versions.get('openvino')},"
        f" ONNX Runtime {versions.get('onnxruntime')}."
    )


def _case_text(result: CaseResult) -> list[str]:
    case = result.case
    lines = [f"== {case.model}, {case.weights} weights"]
    if result.error:
        return [*lines, f"nothing was compared: {result.error}"]
    judged = f"accuracy at {result.side}×{result.side} on {result.judged}" if result.judged else "latency alone"
    lines.append(f"calibrated on {result.calibrated}; {judged}{_fp32_top1(result)}")
    if result.load is not None:
        lines.append(f"load {result.load:.1f} after latency was measured")
    header = ["runtime", "quantizer", "built in s", *ACCURACY, *LATENCY]
    rows = [
        [row.runtime, row.quantizer, NONE if row.build_s is None else f"{row.build_s:.1f}", *_cells(row, kl=True)]
        for row in result.rows
    ]
    lines += text_table(header, rows)
    lines += [f"error: {row.quantizer} on {row.runtime}: {row.error}" for row in result.rows if row.error]
    lines += [f"goal: {verdict.goal}: {verdict.measured}: {verdict.outcome}" for verdict in verdicts(result)]
    return lines


def _fp32_top1(result: CaseResult) -> str:
    found = next((row.accuracy for row in result.rows if row.accuracy), None)
    return f", FP32 top-1 {100 * found.top1_reference:.2f} %" if found else ""


def _cells(row: Row, kl: bool) -> list[str]:
    """Accuracy and latency; a row that failed says so in place of what it lacks."""
    lost, parity, latency = row.accuracy, row.parity, row.latency
    missing = "failed" if row.error else NONE
    cells = [
        f"{lost.drop_pp:+.2f} [{lost.drop_ci95_pp[0]:+.2f}, {lost.drop_ci95_pp[1]:+.2f}]" if lost else NONE,
        *([agreement(row), f"{parity.sqnr_db:.1f}"] if parity else [missing, missing]),
    ]
    if kl:
        cells.append(f"{parity.kl:.4f}" if parity else missing)
    if latency is None:
        return [*cells, missing, missing, missing]
    spread = f"{latency.median_ms:.2f} ({latency.p10_ms:.2f}–{latency.p90_ms:.2f})"
    return [*cells, spread, _share(latency.of_fp32), _share(latency.edgecnn_takes)]


def _share(ratio: Ratio | None) -> str:
    return f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]" if ratio else NONE


def _bold(outcome: str) -> str:
    return f"**{outcome}**" if outcome == FALLS_SHORT else outcome


def text_table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines with columns of even width."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A table as GitHub reads it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(report: Report) -> str:
    """Every figure, unrounded."""
    return json.dumps(asdict(report), ensure_ascii=False, indent=1)


def from_json(text: str) -> Report:
    """A report that was written before."""
    return msgspec.json.decode(text, type=Report)

"""The command line: measure, or show again what an earlier run measured."""

import argparse
import sys
import time
from pathlib import Path

from tools.bench_int8.cases import CASES
from tools.bench_int8.compare import compare_case, one_line
from tools.bench_int8.machine import machine
from tools.bench_int8.report import as_json, as_markdown, as_text, from_json
from tools.bench_int8.results import CaseResult, Report, Settings

QUICK = Settings(rounds=10, inferences=5, judging_images=200, calibration_images=32)


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tools.bench_int8", description="edgecnn's INT8 against other quantizers"
    )
    parser.add_argument("--models", nargs="+", metavar="MODEL", choices=[case.model for case in CASES], default=None)
    parser.add_argument("--quick", action="store_true", help="few images and rounds: to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/benchmarks/int8.md")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing, show what --json wrote")
    options = parser.parse_args()
    if options.read:
        report = from_json(options.read.read_text("utf-8"))
    else:
        report = measure(options.models, QUICK if options.quick else Settings(), options.json)
    print(as_markdown(report) if options.markdown else as_text(report))
    return 1 if report.errors else 0


def measure(models: list[str] | None, settings: Settings, path: Path | None) -> Report:
    """One case after the other; the file is written after each, so that an interrupted run keeps what it has."""
    facts, started = machine(), time.monotonic()
    results: list[CaseResult] = []
    for case in CASES:
        if models is not None and case.model not in models:
            continue
        try:
            results.append(compare_case(case, settings, _say))
        except Exception as error:  # the other models can still be compared
            results.append(CaseResult(case, error=one_line(error)))
        report = Report(facts, settings, tuple(results), time.monotonic() - started)
        if path is not None:
            path.write_text(as_json(report), "utf-8")
    return report


def _say(line: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

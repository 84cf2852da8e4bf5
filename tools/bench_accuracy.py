"""README's accuracy, measured again: every artifact in it, made and checked by the commands that users have.

None of the images that judge calibrated anything. It takes about twenty minutes on two cores; the file of ``--json`` is
written after each row, so that an interrupted run keeps what it has.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgecnn.bench.machine import facts, one_line, snapshot
from edgecnn.names import __version__
from tools.bench_int8.images import PHOTOGRAPHS
from tools.bench_int8.report import markdown_table
from tools.bench_int8.verdicts import NONE
from tools.make_unseen_photographs import write_photographs

TEST, THOUSAND = "fashion-mnist-test", "fashion-mnist-1000"
BUILTIN = ("mobilenetv3_large", "mobilenetv3_small", "efficientnet_b0")


@dataclass(frozen=True)
class Case:
    """An artifact, by the options of ``edgecnn export``, and the image sets that judge it."""

    model: str
    weights: str
    target: str
    options: tuple[str, ...]
    judged_on: tuple[str, ...]

    @property
    def words(self) -> str:
        return " ".join((self.target, *self.options))


def _cases() -> list[Case]:
    found = []
    for options in (("--int8",), ("--int8", "--effort", "best"), ("--int8", "--calib", "synthetic")):
        found += [Case(model, "builtin", "openvino", options, (TEST,)) for model in BUILTIN]
    found += [Case(model, "builtin", "onnxruntime", ("--int8",), (TEST,)) for model in BUILTIN]
    for precision in ("--int8", "--fp16"):
        found += [Case(model, "builtin", "tensorrt", (precision,), (THOUSAND,)) for model in BUILTIN]
    lite0 = ("efficientnet_lite0", "imagenet")
    int8 = ("--int8", "--calib", "photographs")
    found += [Case(*lite0, target, int8, (PHOTOGRAPHS,)) for target in ("openvino", "onnxruntime", "onnx")]
    found += [Case(*lite0, "openvino", (*int8, "--effort", "best"), (PHOTOGRAPHS,))]
    return [*found, Case(*lite0, "openvino", ("--int8", "--calib", "synthetic"), (PHOTOGRAPHS,))]


class Row(msgspec.Struct, frozen=True):
    """What ``edgecnn verify --json`` said of an artifact on a set, or why it said nothing."""

    model: str
    artifact: str
    images: str
    export_s: float
    said: dict[str, Any] = {}
    error: str = ""


class Report(msgspec.Struct, frozen=True):
    """All of them, and where they were measured."""

    edgecnn: str
    machine: str
    rows: tuple[Row, ...]


def main() -> int:
    parser = argparse.ArgumentParser("python -m tools.bench_accuracy", description="README's accuracy, measured again")
    parser.add_argument("--models", nargs="+", metavar="MODEL", choices=[*BUILTIN, "efficientnet_lite0"], default=None)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing, show what --json wrote")
    options = parser.parse_args()
    if options.read:
        report = msgspec.json.decode(options.read.read_bytes(), type=Report)
    else:
        report = measure(
            [case for case in _cases() if options.models is None or case.model in options.models], options.json
        )
    print(as_markdown(report))
    return 1 if any(row.error for row in report.rows) else 0


def measure(cases: list[Case], path: Path | None) -> Report:
    here = snapshot()
    machine = one_line(facts(here, here))
    rows: tuple[Row, ...] = ()
    with tempfile.TemporaryDirectory() as folder:
        sets = _images(Path(folder))
        for position, case in enumerate(cases):
            print(f"[{time.strftime('%H:%M:%S')}] {case.model} {case.words}", file=sys.stderr, flush=True)
            rows = (*rows, *_measured(case, Path(folder) / str(position), sets))
            report = Report(__version__, machine, rows)
            if path is not None:
                path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    return report


def _measured(case: Case, artifact: Path, sets: dict[str, str]) -> list[Row]:
    line = ["export", case.model, "--weights", case.weights, "--target", case.target, *case.options]
    started = time.monotonic()
    _, error = _said([*line, "--out", str(artifact)])
    seconds, rows = round(time.monotonic() - started, 1), []
    for images in case.judged_on:
        said, refusal = ({}, error) if error else _said(["verify", str(artifact), "--images", sets[images]])
        said.pop("stages", None)
        rows.append(Row(case.model, case.words, images, seconds, said, refusal))
    return rows


def _said(line: list[str]) -> tuple[dict[str, Any], str]:
    """The JSON of a command, or why there is none; a gate that rejects has an answer too."""
    done = subprocess.run(  # noqa: S603  # our own command line
        [sys.executable, "-m", "edgecnn", *line, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 6):
        return {}, done.stderr.strip().splitlines()[-1]
    return json.loads(done.stdout), ""


def _images(folder: Path) -> dict[str, str]:
    """What ``verify --images`` takes, by set."""
    photographs = folder / "photographs"
    write_photographs(photographs)
    return {TEST: TEST, THOUSAND: THOUSAND, PHOTOGRAPHS: str(photographs)}


def as_markdown(report: Report) -> str:
    """A table, and what it was measured on."""
    header = [
        "model",
        "artifact",
        "images",
        "n",
        "top-1 FP32",
        "top-1",
        "drop, pp [95 %]",
        "agreement",
        "SQNR, dB",
        "export, s",
    ]
    rows = [[f"`{row.model}`", row.artifact, row.images, *_cells(row), f"{row.export_s:.0f}"] for row in report.rows]
    return "\n\n".join([markdown_table(header, rows), f"edgecnn {report.edgecnn}; {report.machine}"])


def _cells(row: Row) -> list[str]:
    said = row.said
    if not said:
        return [row.error, *[NONE] * 5]
    lost = [NONE] * 3
    if said["drop_pp"] is not None:
        low, high = said["drop_ci95_pp"]
        lost = [f"{100 * said[key]:.2f} %" for key in ("top1_reference", "top1")]
        lost.append(f"{said['drop_pp']:+.2f} [{low:+.2f}, {high:+.2f}]")
    return [f"{said['n']:,}", *lost, f"{said['agreement']:.4f}", f"{said['sqnr_db']:.1f}"]


if __name__ == "__main__":
    sys.exit(main())

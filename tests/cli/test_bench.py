"""``edgecnn bench``: a document that ``report`` reads, rows that say why they are empty, and a table for people."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from safetensors.torch import load_file, save_file

from edgecnn.artifact import REJECTED, load_artifact, mark
from edgecnn.bench.record import Row, Run, read_run
from edgecnn.pipeline import Exported
from tests.conftest import Command

BRIEF = ("--duration", "0.1")


@pytest.fixture
def pair(tiny_export: Callable[..., Exported], tmp_path: Path) -> tuple[Path, Path]:
    """The same network for two runtimes."""
    return tuple(  # type: ignore[return-value]  # two of them
        shutil.copytree(tiny_export(target, "int8").artifact.folder, tmp_path / target)
        for target in ("openvino", "onnxruntime")
    )


def run_of(out: str) -> Run:
    return msgspec.json.decode(out.encode(), type=Run)


def timed(row: Row) -> None:
    """Everything that a row with figures has."""
    assert row.status == "ok"
    assert row.times is not None
    assert row.times.n == len(row.times.rounds_ms) >= 20
    assert 0 < row.times.min_ms <= row.times.p50_ms <= row.times.p90_ms <= max(row.times.rounds_ms)
    assert row.times.p99_ms is None or row.times.p99_ms <= max(row.times.rounds_ms)
    for figure in (row.images_per_s, row.load_ms, row.first_ms, row.memory_bytes):
        assert figure is not None
        assert figure > 0


def test_artifacts_and_their_network_side_by_side(command: Command, pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    answer = command("bench", *pair, "--against", "eager", *BRIEF, "--threads", "1", "--out", out, "--json")
    assert (answer.code, answer.err) == (0, "")
    found = run_of(answer.out)
    assert found == read_run(out)
    assert (found.kind, found.settings.batch, found.settings.threads) == ("bench", 1, 1)
    assert [(row.name, row.kind) for row in found.rows] == [
        ("eager", "eager"), ("openvino", "artifact"), ("onnxruntime", "artifact"),
    ]  # fmt: skip
    eager, *artifacts = found.rows
    for row in found.rows:
        timed(row)
    assert eager.ratio is None
    assert (eager.runtime.split()[0], eager.manifest, eager.size_bytes) == ("torch", None, None)
    for row, folder in zip(artifacts, pair, strict=True):
        assert row.ratio is not None
        assert row.ratio.against == "eager"
        assert row.ratio.ratio_ci95[0] <= row.ratio.ratio <= row.ratio.ratio_ci95[1]
        assert row.runtime.split()[0] == folder.name
        assert sum(row.executed.values()) == pytest.approx(1, abs=1e-4)
        assert row.size_bytes == sum(path.stat().st_size for path in folder.glob("model-*"))
        assert row.manifest is not None
        assert "labels" not in row.manifest
    share = load_artifact(pair[0]).manifest["coverage"]["int8_macs_share"]
    assert share > 0.9
    assert artifacts[0].executed["int8"] == pytest.approx(share, abs=1e-4)
    assert found.machine["cpu"]["cores"] >= 1


def test_people_read_a_table(command: Command, pair: tuple[Path, Path]) -> None:
    answer = command("bench", *pair, *BRIEF)
    assert (answer.code, answer.err) == (0, "")
    for words in (
        "p50 ms",
        "openvino",
        "int8",
        "times as long",
        "latency per call, the runtime's own threads",
        "cores",
    ):
        assert words in answer.out
    assert "\x1b" not in answer.out


def test_layers_of_two_runtimes_are_one_table(command: Command, pair: tuple[Path, Path]) -> None:
    """A line per PyTorch module with a time of each, whatever they call their kernels."""
    answer = command("bench", *pair, *BRIEF, "--layers")
    assert (answer.code, answer.err) == (0, "")
    lines = [line.split() for line in answer.out.splitlines()]
    heads = lines.index(["module", "ms", "share", "ms", "share"])
    assert lines[heads - 1] == ["openvino", "onnxruntime"]
    first = next(line for line in lines[heads:] if line[0] == "features.0.0")
    assert all(0 < float(share.rstrip("%")) < 100 for share in (first[2], first[4]))
    assert not [line for line in lines[heads:] if line[0] == "image"]
    assert "scaled to sum to the row's p50" in answer.out


def test_throughput_counts_what_was_answered(command: Command, pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    answer = command("bench", *pair, "--mode", "throughput", "--duration", "1", "--out", out).out
    head, first, *_ = answer.splitlines()
    assert head.index("images/s") < head.index("request p50 ms") < head.index("max")
    assert "mean" not in head
    assert first.startswith("openvino")
    found = read_run(out)
    assert found.settings.mode == "throughput"
    for row in found.rows:
        timed(row)
        assert row.times is not None
        assert row.images_per_s is not None
        slowest, fastest = (1000 / extreme(row.times.rounds_ms) for extreme in (max, min))
        assert slowest * 0.999 <= row.images_per_s <= fastest * 1.001
        assert row.requests is not None
        assert row.requests.n > row.times.n  # a turn is of many
        assert 0 < row.requests.p50_ms <= row.requests.p90_ms <= row.requests.max_ms
        assert row.requests.at_once is not None
        assert row.requests.at_once >= 1


def test_the_same_name_twice_is_told_apart(command: Command, artifact: Path, tmp_path: Path) -> None:
    other = shutil.copytree(artifact, tmp_path / "elsewhere" / artifact.name)
    found = run_of(command("bench", artifact, other, artifact, *BRIEF, "--json").out)
    assert [row.name for row in found.rows] == ["artifact", "artifact-2", "artifact-3"]
    assert found.rows[2].ratio is not None


def test_a_batch_is_of_real_images(command: Command, tiny_export: Callable[..., Exported]) -> None:
    folder = tiny_export("onnx", "fp32", batch=None).artifact.folder
    found = run_of(command("bench", folder, "--batch", "4", *BRIEF, "--json").out)
    (row,) = found.rows
    assert found.settings.batch == 4
    assert row.times is not None
    assert row.images_per_s == pytest.approx(4000 / row.times.p50_ms, rel=0.01)


def test_what_cannot_run_here_says_why_and_the_others_go_on(
    command: Command, tiny_export: Callable[..., Exported], artifact: Path
) -> None:
    engine = tiny_export("tensorrt", "fp32", flavour="bundle").artifact.folder
    found = run_of(command("bench", engine, artifact, *BRIEF, "--json").out)
    absent, here = found.rows
    assert absent.status == "the device builds its engine, from the bundle"
    assert (absent.times, absent.ratio, absent.images_per_s) == (None, None, None)
    timed(here)
    assert here.ratio is None
    people = command("bench", engine, artifact, *BRIEF)
    assert "was not timed: the device builds its engine" in people.out


def test_a_rejected_artifact_is_timed_and_named(command: Command, artifact: Path) -> None:
    mark(load_artifact(artifact), {"status": REJECTED})
    answer = command("bench", artifact, *BRIEF, "--json")
    timed(run_of(answer.out).rows[0])
    assert answer.err == "warning: artifact was rejected by its last check; `edgecnn verify` says why\n"


def test_an_artifact_made_from_a_file_is_held_against_its_own_network(
    command: Command, fragile_weights: Path, tmp_path: Path
) -> None:
    folder, other = tmp_path / "small", tmp_path / "other.safetensors"
    small = ("--target", "onnx", "--fp32", "--size", "32")
    assert command("export", "mobilenetv1", "--weights", fragile_weights, *small, "--out", folder).code in (0, 6)
    line = ("bench", folder, "--against", "eager", *BRIEF)
    eager, _ = run_of(command(*line, "--json").out).rows
    assert eager.status == (
        "the artifact was made from a file of weights, which it does not carry; name it with --weights"
    )
    answer = command(*line, "--weights", fragile_weights, "--json")
    for row in run_of(answer.out).rows:
        timed(row)
    state = load_file(fragile_weights)
    save_file(state | {"classifier.1.bias": state["classifier.1.bias"] + 1}, other)
    answer = command(*line, "--weights", other)
    assert (answer.code, answer.out) == (7, "")
    assert "other.safetensors: sha256 of the state dict is " in answer.err


def test_weights_are_of_networks_that_were_made_from_a_file(
    command: Command, artifact: Path, fragile_weights: Path
) -> None:
    answer = command("bench", artifact, "--weights", fragile_weights)
    assert (answer.code, answer.out) == (2, "")
    assert "--weights is for --against eager or compile; give one of them, or drop it" in answer.err
    answer = command("bench", artifact, "--against", "eager", "--weights", fragile_weights)
    assert (answer.code, answer.out) == (2, "")
    assert "--weights is for artifacts that were exported from a file, and none of these was; drop it" in answer.err
    answer = command("bench", artifact, "--against", "eager", "--weights", fragile_weights, "--host", "board")
    assert (answer.code, answer.out) == (2, "")
    assert "--weights needs PyTorch, which no board has to have; drop it, or --host" in answer.err


def test_what_could_not_be_measured_says_why(
    command: Command, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run.json"
    monkeypatch.setattr("edgecnn.bench.opening.LIMIT_S", 0.01)
    answer = command("bench", artifact, *BRIEF, "--out", out)
    assert answer.code == 0
    (row,) = read_run(out).rows
    assert (row.status, row.load_ms, row.first_ms, row.memory_bytes) == ("ok", None, None, None)
    why = "its own process took longer than 0.01 s"
    opening = {name: said for name, said in row.absences.items() if name != "p99_ms"}  # which a slow machine lacks too
    assert opening == {"load_ms": why, "first_ms": why, "memory_bytes": why}
    said = f"load time, first answer and memory were not measured: {why}"
    assert f"artifact: {said}" in answer.out
    assert f"artifact: {said}" in command("report", out, "--markdown").out
    page = tmp_path / "run.html"
    assert command("report", out, "-o", page).code == 0
    assert said in page.read_text("utf-8")


CRASHING = """
import os, signal, sys
if "crashing" in sys.argv[-1]:
    os.kill(os.getpid(), signal.SIGSEGV)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_a_runtime_that_crashes_is_a_row(
    command: Command, artifact: Path, tmp_path: Path, instead_of_python: Callable[[str], None]
) -> None:
    """The crash is that of a stand-in for Python; the processes are real."""
    bad = shutil.copytree(artifact, tmp_path / "crashing")
    instead_of_python(CRASHING)
    answer = command("bench", bad, artifact, *BRIEF, "--json")
    assert answer.code == 0
    crashed, other = run_of(answer.out).rows
    assert crashed.status == "its own process was killed by signal 11 (Segmentation fault)"
    timed(other)
    assert other.ratio is None  # it is the first that was timed
    assert other.load_ms is not None


WITHOUT_TORCH = """
import sys
for name in ("torch", "onnx", "onnxscript", "safetensors"):
    sys.modules[name] = None
from edgecnn.cli import main
main()
"""


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_a_device_needs_no_torch(tiny_export: Callable[..., Exported], target: str) -> None:
    folder = tiny_export(target, "int8").artifact.folder
    line = [sys.executable, "-c", WITHOUT_TORCH, "bench", str(folder), *BRIEF, "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONWARNINGS": ""})
    assert done.stderr == ""
    timed(run_of(done.stdout).rows[0])


def test_an_earlier_run_is_replaced(command: Command, artifact: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    for _ in range(2):
        assert command("bench", artifact, *BRIEF, "--out", out).code == 0
        assert read_run(out).rows[0].name == "artifact"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_document_is_one(command: Command, artifact: Path) -> None:
    found: Any = json.loads(command("bench", artifact, *BRIEF, "--json").out)
    assert found.keys() == set(Run.__struct_fields__)

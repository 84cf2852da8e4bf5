"""``bench --host`` with TensorRT artifacts: as far as a board goes without a GPU, and with stand-ins beyond that."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecnn.bench.device import ALONE
from edgecnn.bench.record import read_run
from tests.conftest import Answer, Command
from tests.faults.conftest import one_line
from tests.remote.board import Board
from tests.remote.bundles import answering
from tests.remote.bundles import artifact as artifact
from tests.remote.bundles import stand_in as stand_in
from tests.unit.verify.test_device import result as result

There = Callable[..., Answer]
SHORT = ("--duration", "0.2")


def test_an_engine_is_a_further_row_of_the_same_run(
    board: Board, there: There, command: Command, ort_artifact: Path, bundle_artifact: Path, result: Any, tmp_path: Path
) -> None:
    engine, run = answering(bundle_artifact, tmp_path / "small-tensorrt", result, 0), tmp_path / "run.json"
    answer = there("bench", engine, ort_artifact, *SHORT, "--threads", "1", "--out", run)
    assert answer.code == 0
    assert answer.err == "warning: --threads is for runtimes on a CPU, and does nothing to small-tensorrt\n"
    assert f"small-tensorrt: the ratio was not measured: {ALONE}" in answer.out
    found = read_run(run)
    first, second = found.rows
    assert (first.name, first.status, second.name, second.status) == ("small", "ok", "small-tensorrt", "ok")
    assert second.times is not None
    assert second.times.p50_ms == 0.5
    assert second.unstable[-2:] == ("--seconds", "0.2"), "as run.py was called"
    assert second.layers == ()
    assert found.reference is not None
    assert found.reference.name == "small"
    assert found.machine["gpu"]["name"] == "Orin"
    assert "numpy" in found.machine["runtimes"], "the rest is the board's own"
    page = command("report", run, "--markdown")
    assert (page.code, page.err) == (0, "")
    assert command("compare", run, run).code == 0
    assert board.left() == []


def test_engines_alone_make_a_run(
    board: Board, there: There, bundle_artifact: Path, result: dict[str, Any], tmp_path: Path
) -> None:
    engine = answering(bundle_artifact, tmp_path / "engine", result, 0)
    answer = there("bench", engine, *SHORT, "--layers", "--json")
    assert (answer.code, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert found["machine"] == result["machine"]
    assert [(row["name"], row["status"], len(row["layers"])) for row in found["rows"]] == [
        ("engine", "ok", len(result["layers"]))
    ]
    people = there("bench", engine, *SHORT)
    assert "aarch64, 6 cores; governor unknown; Orin; Linux 5.15" in " ".join(people.out.split())
    assert board.left() == []


def test_without_tensorrt_the_others_go_on(
    board: Board, there: There, ort_artifact: Path, bundle_artifact: Path
) -> None:
    answer = there("bench", bundle_artifact, ort_artifact, *SHORT, "--json")
    assert (answer.code, answer.err) == (0, "")
    other, engine = json.loads(answer.out)["rows"]
    assert (other["status"], other["target"]) == ("ok", "onnxruntime")
    assert engine["status"].startswith("build.py: tensorrt is not installed; ")
    assert board.left() == []


def test_where_other_runtimes_are_missing_engines_go_on(
    board: Board, there: There, openvino_artifact: Path, bundle_artifact: Path, result: dict[str, Any], tmp_path: Path
) -> None:
    engine = answering(bundle_artifact, tmp_path / "engine", result, 0)
    answer = there("bench", openvino_artifact, engine, *SHORT, "--json")
    assert (answer.code, answer.err) == (0, "")
    refused, row = json.loads(answer.out)["rows"]
    assert refused["status"].startswith("nothing of it can run here: target openvino needs openvino: pip install")
    assert (row["name"], row["status"]) == ("engine", "ok")


@pytest.mark.usefixtures("stand_in")
def test_without_a_gpu_the_board_says_so(board: Board, there: There, bundle_artifact: Path, tmp_path: Path) -> None:
    """The bundle's own scripts beside a stand-in for TensorRT, up to where CUDA is needed."""
    other = shutil.copytree(bundle_artifact, tmp_path / "other")
    answer = there("bench", bundle_artifact, other, *SHORT)
    assert (answer.code, answer.out) == (4, "")
    line = one_line(answer.err)
    assert line.startswith("edgecnn: board: nothing of it can run there: build.py: an engine is built on its own GPU: ")
    assert board.left() == []


def test_what_is_kept_is_kept_of_all(
    board: Board, there: There, ort_artifact: Path, bundle_artifact: Path, result: dict[str, Any], tmp_path: Path
) -> None:
    engine = answering(bundle_artifact, tmp_path / "engine", result, 0)
    assert there("bench", ort_artifact, engine, *SHORT, "--keep").code == 0
    kept = {path.stat().st_size for path in board.cache.iterdir()}
    assert {path.stat().st_size for path in (*engine.glob("bundle-*"), *ort_artifact.glob("model-*"))} <= kept
    assert there("bench", ort_artifact, engine, *SHORT).code == 0
    assert board.left() == []

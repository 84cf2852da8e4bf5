"""``bench --host``: the run is the board's own, its rows called as they are here."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn.bench.record import read_run
from edgecnn.pipeline import Exported
from tests.conftest import Answer
from tests.faults.conftest import one_line
from tests.remote.board import Board

There = Callable[..., Answer]
SHORT = ("--duration", "0.2")


def test_a_board_times_what_it_is_sent(
    board: Board, there: There, ort_artifact: Path, artifact: Path, openvino_artifact: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run.json"
    same_name = shutil.copytree(artifact, tmp_path / "other" / ort_artifact.name)
    answer = there("bench", ort_artifact, openvino_artifact, "--against", same_name, *SHORT, "--out", run, "--json")
    assert (answer.code, answer.err) == (0, "")
    found = read_run(run)
    assert json.loads(answer.out)["created"] == found.created
    assert [row.name for row in found.rows] == ["small", "small-2", "openvino-artifact"]
    assert [row.target for row in found.rows] == ["onnx", "onnxruntime", "openvino"]
    first, second, refused = found.rows
    assert (first.status, second.status) == ("ok", "ok")
    assert first.times is not None
    assert first.times.p50_ms > 0
    assert second.ratio is not None
    assert second.ratio.against == "small"
    assert refused.status == "target openvino needs openvino: pip install 'edgecnn[openvino]'"
    assert {"onnxruntime"} == set(found.machine["runtimes"]) - {"numpy"}, "this machine has more"
    assert board.left() == []


def test_settings_arrive(board: Board, there: There, tiny_export: Callable[..., Exported]) -> None:
    folder = tiny_export("onnxruntime", "fp32", batch=None).artifact.folder
    options = ("--threads", "1", "--batch", "3", "--mode", "throughput", *SHORT)
    answer = there("bench", folder, *options, "--json")
    assert (answer.code, answer.err) == (0, "")
    settings = json.loads(answer.out)["settings"]
    assert (settings["threads"], settings["batch"], settings["mode"], settings["duration_s"]) == (
        1,
        3,
        "throughput",
        0.2,
    )
    assert "throughput per batch of 3" in there("bench", folder, *options).out
    assert board.left() == []


@pytest.mark.parametrize(
    "name", ["-oProxyCommand=touch pwned", "$(touch pwned); 'touch' \"pwned\"", "--json", "Straße"]
)
def test_a_row_keeps_any_name(board: Board, there: There, ort_artifact: Path, name: str) -> None:
    answer = there("bench", ort_artifact.rename(ort_artifact.with_name(name)), *SHORT, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert [row["name"] for row in json.loads(answer.out)["rows"]] == [name]
    assert board.left() == []


def test_what_a_board_refuses_is_refused_here(
    there: There, ort_artifact: Path, openvino_artifact: Path, bundle_artifact: Path
) -> None:
    for code, arguments, said in (
        (2, (ort_artifact, "--duration", "-1"), "edgecnn: --duration is -1, expected seconds"),
        (2, (ort_artifact, "--against", "eagr"), "unknown --against 'eagr': did you mean eager?"),
        (4, (ort_artifact, "--against", "eager"), "board: --against eager and compile need torch: pip install"),
        (4, (openvino_artifact,), "board: nothing of it can run here: target openvino needs openvino: pip install"),
        (4, (bundle_artifact,), "board: nothing of it can run there: build.py: tensorrt is not installed; "),
        (2, (ort_artifact, "--against", bundle_artifact), "is for TensorRT, whose engine is timed alone there"),
        (2, (bundle_artifact, "--against", "eager"), "--against needs artifacts that are timed in turns"),
        (2, (bundle_artifact, "--threads", "1"), "--threads is for runtimes on a CPU"),
        (2, (bundle_artifact, ort_artifact, "--mode", "throughput"), "--mode throughput is not for "),
    ):
        answer = there("bench", *arguments)
        assert (answer.code, answer.out) == (code, "")
        assert said in one_line(answer.err)

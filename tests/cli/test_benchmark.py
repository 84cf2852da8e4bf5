"""``edgecnn benchmark``: a row for every target and precision, whatever became of it, and a verdict."""

import contextlib
import importlib.util
import io
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import torch

from edgecnn import pipeline
from edgecnn.artifact import load_artifact
from edgecnn.bench.record import Run, read_run
from edgecnn.cli import run
from edgecnn.export_process import exported
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model
from edgecnn.targets.registry import TARGETS
from tests.conftest import Command

NETWORK = ("mobilenetv1", "--weights", "random", "--size", "32", "--num-classes", "10")
SMALL = ("benchmark", *NETWORK, "--duration", "0.1", "--threads", "1")
TARGETS_HERE = ("onnx", "onnxruntime", "openvino")


class Ran(NamedTuple):
    """What a run printed, where it is, and where its artifacts are."""

    printed: str
    out: Path
    kept: Path


@pytest.fixture(scope="module")
def ran(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every precision for every target that runs here."""
    folder = tmp_path_factory.mktemp("benchmark")
    out, kept, said, complained = folder / "run.json", folder / "kept", io.StringIO(), io.StringIO()
    line = [*SMALL, "--targets", ",".join(TARGETS_HERE), "--effort", "fast", "--calib", str(photos), "--layers"]
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(complained),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("OMP_NUM_THREADS", "1")  # as here: torch's sums depend on it, and golden pairs on those
        code = run([*line, "--out", str(out), "--keep", str(kept), "--json"])
    assert (code, complained.getvalue()) == (0, "")
    return Ran(said.getvalue(), out, kept)


def test_every_target_and_precision_has_its_row(ran: Ran) -> None:
    found = msgspec.json.decode(ran.printed.encode(), type=Run)
    assert found == read_run(ran.out)
    assert found.kind == "benchmark"
    names = [f"{target}-{precision}" for target in TARGETS_HERE for precision in ("fp32", "fp16", "int8")]
    assert [row.name for row in found.rows] == names
    for row in found.rows:
        assert row.status == "ok"
        assert row.times is not None
        assert row.manifest is not None
        assert row.manifest["status"] == "not gated"
        assert "features.0.0" in {layer.module for layer in row.layers}
        assert load_artifact(ran.kept / row.name).manifest["target"] == row.target
    assert found.verdict.startswith("ship ")
    assert "none was verified" in found.verdict


@pytest.mark.parametrize(("target", "precision"), [("openvino", "fp32"), ("onnx", "int8")])
def test_artifacts_are_what_export_alone_publishes(
    command: Command, ran: Ran, photos: Path, tmp_path: Path, target: str, precision: str
) -> None:
    """One network makes all of them, float ones judged on other images than INT8, and no byte of them tells."""
    alone = tmp_path / f"{target}-{precision}"
    options = ("--effort", "fast", "--calib", photos) if precision == "int8" else ()
    answer = command("export", *NETWORK, "--target", target, f"--{precision}", *options, "--out", alone)
    assert (answer.code, answer.err) == (0, "")
    assert contents(ran.kept / alone.name) == contents(alone)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_row_that_fails_does_not_stop_the_others(command: Command, photos: Path, tmp_path: Path) -> None:
    """A layer that these images never excite has no range to calibrate."""
    state = load_model(find_model("mobilenetv1"), "random", 10).model.state_dict()
    torch.save(state | {"features.0.1.bias": state["features.0.1.bias"] - 1e4}, tmp_path / "weights.pth")
    arguments = ("--weights", tmp_path / "weights.pth", "--targets", "onnx", "--calib", photos)
    answer = command("benchmark", "mobilenetv1", "--size", "32", "--duration", "0.1", "--threads", "1", *arguments)
    assert (answer.code, answer.err) == (0, "")
    assert "onnx-int8: not built: " in answer.out
    assert "failed" in answer.out
    assert "ship onnx-fp" in answer.out


def test_a_target_that_cannot_run_here_does_not_stop_the_others(
    command: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--effort best` times layers, for which TensorRT needs a GPU."""
    # Exported in this process, with the fewest rounds: what is chosen does not matter here.
    monkeypatch.setattr("edgecnn.benchmark.export_apart", exported)
    monkeypatch.setattr(pipeline, "CHOOSING_S", 0.0)
    if not TARGETS["tensorrt"].absence:
        pytest.skip("this machine has a GPU for TensorRT")
    out = tmp_path / "run.json"
    answer = command(*SMALL, "--targets", "tensorrt,onnx", "--effort", "best", "--calib", photos, "--out", out)
    assert (answer.code, answer.err) == (0, "")
    rows = {row.name: row for row in read_run(out).rows}
    assert list(rows) == [f"{target}-{name}" for target in ("tensorrt", "onnx") for name in ("fp32", "fp16", "int8")]
    assert rows["tensorrt-int8"].status.startswith("not built: --effort best times layers on the device, and tensorrt")
    assert {rows[f"onnx-{name}"].status for name in ("fp32", "fp16", "int8")} == {"ok"}


def test_where_nothing_can_be_built_the_first_reason_ends_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))
    answer = command(*SMALL, "--targets", "onnx,openvino")
    assert (answer.code, answer.out) == (4, "")
    assert answer.err == "edgecnn: export needs torch: pip install 'edgecnn[export]'\n"


def test_a_rejected_row_is_shown_and_not_shipped(
    command: Command, fragile_weights: Path, labelled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run.json"
    answer = command(
        "benchmark", "mobilenetv1", "--weights", fragile_weights, "--size", "32", "--duration", "0.1",
        "--targets", "onnx", "--calib", labelled, "--effort", "fast", "--out", out,
    )  # fmt: skip
    assert (answer.code, answer.err) == (0, "")
    rows = {row.name: row for row in read_run(out).rows}
    assert rows["onnx-int8"].manifest is not None
    assert rows["onnx-int8"].manifest["status"] == "rejected"
    assert rows["onnx-int8"].times is not None
    assert "rejected" in answer.out
    assert "ship onnx-int8" not in answer.out


def test_throughput_of_batches(command: Command, photos: Path, tmp_path: Path) -> None:
    keep, out = tmp_path / "kept", tmp_path / "run.json"
    answer = command(
        *SMALL, "--targets", "onnxruntime", "--effort", "fast", "--calib", photos, "--batch", "2",
        "--mode", "throughput", "--keep", keep, "--out", out,
    )  # fmt: skip
    assert (answer.code, answer.err) == (0, "")
    head, *_ = answer.out.splitlines()
    assert "request p50 ms" in head
    assert "throughput per batch of 2, threads: 1, on " in answer.out
    found = read_run(out)
    assert (found.settings.mode, found.settings.batch) == ("throughput", 2)
    for row in found.rows:
        assert load_artifact(keep / row.name).interface.batch == 2
        assert row.requests is not None
        assert row.requests.at_once == 1  # of one thread
        assert f" {row.requests.p50_ms:.3f} " in answer.out
    assert found.verdict.startswith("ship ")

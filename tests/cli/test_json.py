"""What scripts read: one JSON document on stdout, the promised keys, and people's text elsewhere."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecnn.errors import StorageError
from edgecnn.pipeline import Exported
from edgecnn.targets.registry import TARGETS
from tests.conftest import Answer, Command

EXPORT = ("export", "mobilenetv1", "--weights", "random", "--size", "32", "--num-classes", "10")
LABEL_KEYS = {"top1", "top1_reference", "top5", "drop_pp", "drop_ci95_pp", "mcnemar_p"}
VERIFY_KEYS = {"n", "agreement", "sqnr_db", "cosine", "max_abs", "verdict", "stages"} | LABEL_KEYS


def document(answer: Answer, code: int = 0) -> Any:
    """The one document on stdout, with nothing on stderr."""
    assert (answer.code, answer.err) == (code, "")
    return json.loads(answer.out)


def test_export(command: Command, tmp_path: Path) -> None:
    out, started = tmp_path / "out", time.monotonic()
    found = document(command(*EXPORT, "--target", "onnx", "--out", out, "--json"))
    assert {"artifact", "manifest", "target", "precision", "files", "elapsed_s", "stages", "coverage"} <= found.keys()
    assert found["artifact"] == str(out)
    assert found["manifest"] == str(out / "manifest.json")
    assert (found["target"], found["precision"]) == ("onnx", "fp32")
    assert sorted(found["files"]) == sorted(str(path) for path in out.iterdir() if path.name != "manifest.json")
    assert [set(stage) for stage in found["stages"]] == [{"name", "elapsed_s"}] * len(found["stages"])
    assert sum(stage["elapsed_s"] for stage in found["stages"]) <= found["elapsed_s"] + 0.01
    assert 0 < found["elapsed_s"] < 600
    assert found["elapsed_s"] <= time.monotonic() - started + 0.01, "more than the whole call took"


def test_export_for_two_targets_writes_a_list(command: Command, tmp_path: Path) -> None:
    targets = ("--target", "onnx", "--target", "openvino")
    found = document(command(*EXPORT, *targets, "--out", tmp_path, "--json"))
    assert [row["target"] for row in found] == ["onnx", "openvino"]
    assert [row["artifact"] for row in found] == [str(tmp_path / "onnx"), str(tmp_path / "openvino")]


def test_what_was_published_before_a_refusal_is_told(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: object, graph: object) -> dict[str, bytes]:
        raise StorageError("no space left on the device")

    monkeypatch.setattr("edgecnn.targets.openvino.OpenVinoTarget.build", full)
    answer = command(*EXPORT, "--target", "onnx", "--target", "openvino", "--out", tmp_path, "--json")
    assert answer.code == 8
    assert [row["target"] for row in json.loads(answer.out)] == ["onnx"]
    assert "no space left" in answer.err


def test_a_manifest_says_what_images_are_called_and_not_where_they_lie(
    command: Command, photos: Path, tmp_path: Path
) -> None:
    found = document(
        command(
            *EXPORT,
            "--target",
            "onnx",
            "--int8",
            "--effort",
            "fast",
            "--calib",
            photos,
            "--out",
            tmp_path / "out",
            "--json",
        )
    )
    assert found["evidence"]["images"]["name"] == photos.name
    assert str(photos.parent) not in (tmp_path / "out" / "manifest.json").read_text()


def test_verify_with_labels(command: Command, artifact: Path, labelled: Path) -> None:
    found = document(command("verify", artifact, "--images", labelled, "--json"))
    assert found.keys() >= VERIFY_KEYS
    assert found["n"] == 10
    assert found["verdict"] in ("pass", "fail", "inconclusive")
    low, high = found["drop_ci95_pp"]
    assert low <= found["drop_pp"] <= high
    assert found["top5"] >= found["top1"]
    assert 0 < found["mcnemar_p"] <= 1
    assert [stage["name"] for stage in found["stages"]] == ["eager", "folded", "onnx", "lowered", "compiled"]
    assert all({"max_abs", "cosine", "sqnr_db", "agreement"} <= stage.keys() for stage in found["stages"])


def test_verify_of_few_labels_is_inconclusive(command: Command, artifact: Path, labelled: Path) -> None:
    found = document(command("verify", artifact, "--images", labelled, "--json"))
    assert found["verdict"] == "inconclusive"
    assert found["reasons"][0].startswith("labels say nothing at n=10: the reference is right on 0.1000 of them")


@pytest.mark.parametrize("images", ["folder", "golden"])
def test_verify_without_labels(command: Command, artifact: Path, photos: Path, images: str) -> None:
    given = ["--images", str(photos)] if images == "folder" else []
    found = document(command("verify", artifact, *given, "--json"))
    assert found.keys() >= VERIFY_KEYS
    assert {key: found[key] for key in LABEL_KEYS} == dict.fromkeys(LABEL_KEYS)
    assert found["reference"] == ("eager" if images == "folder" else "golden")
    assert found["verdict"] == "pass"


def test_predict(command: Command, artifact: Path, photos: Path) -> None:
    found = document(command("predict", artifact, photos / "0.jpg", photos / "1.jpg", "--json"))
    assert [row["image"] for row in found] == [str(photos / "0.jpg"), str(photos / "1.jpg")]
    for row in found:
        assert [set(answer) for answer in row["top5"]] == [{"label", "index", "probability"}] * 5
        odds = [answer["probability"] for answer in row["top5"]]
        assert odds == sorted(odds, reverse=True)
        assert 0 < sum(odds) <= 1.00001


COVERAGE_KEYS = {
    "macs", "int8_macs_share", "int8_layers", "planned_layers", "planned_int8_layers", "secretly_float",
    "float_layers", "reformats", "unfused_activations",
}  # fmt: skip


# Which layers a ladder keeps in float depends on its codes, and they on this CPU.
EVERY_LAYER = {"effort": "fast"}


@pytest.mark.parametrize("target", TARGETS)
def test_inspect(command: Command, tiny_export: Callable[..., Exported], target: str) -> None:
    folder = tiny_export(target, "int8", **EVERY_LAYER).artifact.folder
    found = document(command("inspect", folder, "--json"))
    assert {"artifact", "model", "target", "precision", "status", "coverage", "timing"} <= found.keys()
    assert (found["target"], found["precision"], found["status"]) == (target, "int8", "not gated")
    coverage, timing = found["coverage"], found["timing"]
    assert coverage.keys() >= COVERAGE_KEYS
    # Both runtimes on CPUs run MobileNetV3's gates in INT8 as well.
    whole = target in ("openvino", "onnxruntime")
    assert 0 < coverage["int8_macs_share"] <= 1
    assert (coverage["int8_macs_share"] == 1) == whole == (not coverage["float_layers"])
    assert bool(coverage["secretly_float"]) == (target == "onnx")
    assert all({"name", "macs_share", "precision"} <= row.keys() for row in coverage["float_layers"])
    if found["not_timed"]:
        assert target == "tensorrt"
        assert timing is None
        assert found["advice"]["costs"][0]["precision"] == "int8"
        return
    assert [row["name"] for row in timing["latencies"]][:2] == ["int8", "fp32"]
    for row in timing["latencies"]:
        assert {"name", "n", "p50_ms", "mean_ms", "min_ms"} == row.keys()
        assert 0 < row["min_ms"] <= row["p50_ms"]
        assert row["n"] >= 20
    assert {"candidate", "against", "ratio", "ratio_ci95", "worth_it"} <= timing["gain"].keys()
    assert timing["verdict"].startswith(("INT8 is not worth it here: ", "INT8 is "))
    assert {"fp16"} <= {row["name"] for row in timing["omitted"]} | {row["name"] for row in timing["latencies"]}


def test_inspect_without_timing(command: Command, artifact: Path) -> None:
    found = document(command("inspect", artifact, "--no-timing", "--json"))
    assert found["timing"] is None
    assert (found["coverage"]["int8_macs_share"], found["coverage"]["planned_layers"]) == (0, 0)
    people = command("inspect", artifact, "--no-timing")
    assert (people.code, people.err) == (0, "")
    assert "0.00% of " in people.out


def test_inspecting_changes_nothing(command: Command, artifact: Path) -> None:
    before = {path: path.read_bytes() for path in artifact.iterdir()}
    assert command("inspect", artifact).code == 0
    assert {path: path.read_bytes() for path in artifact.iterdir()} == before


def test_people_read_the_verdict(command: Command, tiny_export: Callable[..., Exported]) -> None:
    whole = command("inspect", tiny_export("onnxruntime", "int8", **EVERY_LAYER).artifact.folder, "--no-timing")
    assert "54 of 54 layers, 54 of 54 quantized ones" in whole.out
    answer = command("inspect", tiny_export("onnx", "int8", **EVERY_LAYER).artifact.folder)
    assert (answer.code, answer.err) == (0, "")
    for words in (
        " of 54 layers, ",
        " of 36 quantized ones",
        " quantized, but in float",
        "18 in float as planned",
        "reformats: ",
        "p50 ms",
        "INT8",
    ):
        assert words in answer.out


def test_list(command: Command) -> None:
    found = document(command("list", "--json"))
    assert len(found) == 17
    for row in found:
        assert {"name", "params", "macs", "input", "weights", "targets"} <= row.keys()
        assert row["weights"][-1] == "random"
        assert row["targets"] == ["onnx", "onnxruntime", "openvino", "tensorrt"]
    assert {row["name"]: row["params"] for row in found}["mobilenetv3_large"] == 5_483_032


def test_doctor(command: Command) -> None:
    found = document(command("doctor", "--json"))
    assert {"edgecnn", "python", "machine", "extras"} <= found.keys()
    for row in found["extras"]:
        assert {"extra", "purpose", "installed", "missing", "install"} <= row.keys()
        assert (row["install"] is None) == (not row["missing"])
        assert row["install"] in (None, f"pip install 'edgecnn[{row['extra']}]'")


def test_a_refusal_leaves_stdout_empty(command: Command, tmp_path: Path) -> None:
    answer = command("verify", tmp_path / "none", "--json")
    assert (answer.code, answer.out) == (7, "")
    assert answer.err.startswith("edgecnn: ")
    assert answer.err.count("\n") == 1


def test_people_read_tables(command: Command, artifact: Path, photos: Path) -> None:
    """Without --json: the same facts on stdout, nothing on stderr where nobody watches."""
    answer = command("verify", artifact, "--images", photos)
    assert (answer.code, answer.err) == (0, "")
    for word in ("stage", "eager", "compiled", "SQNR", "pass against eager on 10 images"):
        assert word in answer.out
    answer = command("predict", artifact, photos / "0.jpg")
    assert (answer.code, answer.err) == (0, "")
    assert "0.jpg" in answer.out
    for name in ("list", "doctor"):
        answer = command(name)
        assert (answer.code, answer.err) == (0, "")
    assert "\x1b" not in answer.out


def test_a_narrow_terminal_cuts_off_no_number() -> None:
    here, there = pty.openpty()
    line = [sys.executable, "-m", "edgecnn", "list"]
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm"}
    with subprocess.Popen(line, stdout=there, env=environment) as listing:
        os.close(there)
        seen = b""
        with contextlib.suppress(OSError):
            while part := os.read(here, 1 << 16):
                seen += part
        assert listing.wait() == 0
    os.close(here)
    assert "4,231,976" in seen.decode()
    assert "…" not in seen.decode()


@pytest.mark.parametrize(("closed", "encoding"), [(">&-", "utf-8"), ("2>&-", "utf-8"), ("", "ascii")])
def test_streams_that_are_closed_or_know_no_unicode_are_no_failure(closed: str, encoding: str) -> None:
    for flags in ("", "--json"):
        line = f"{sys.executable} -m edgecnn list {flags} {closed}"
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}
        )
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("arguments", [["--json"], []])
def test_a_terminal_gets_bars_and_a_pipe_none(artifact: Path, photos: Path, arguments: list[str]) -> None:
    here, there = pty.openpty()
    line = [sys.executable, "-m", "edgecnn", "verify", str(artifact), "--images", str(photos), *arguments]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=there, text=True) as verifying:
        os.close(there)
        seen = b""
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while block := os.read(here, 65536):
                seen += block
        os.close(here)
        stdout, _ = verifying.communicate(timeout=300)
    assert verifying.returncode == 0
    assert b"10/10" in seen
    assert "10/10" not in stdout
    if arguments:
        json.loads(stdout)


# analyze


def test_analyze(command: Command, photos: Path) -> None:
    small = ("analyze", "mobilenetv1", "--weights", "random", "--size", "32", "--num-classes", "10", "--calib", photos)
    found = document(command(*small, "--json"))
    assert (found["model"], found["weights"], found["images"]) == ("mobilenetv1", "random", str(photos))
    assert found["n"] >= 8
    layers = found["layers"]
    assert len(layers) == 28
    assert {layer["module"] for layer in layers} >= {"features.0.0", "classifier.1"}
    assert sum(layer["share"] for layer in layers) == pytest.approx(1, abs=1e-4)
    assert [layer["kl"] for layer in layers] == sorted((layer["kl"] for layer in layers), reverse=True)
    assert all(layer["kl"] == pytest.approx(layer["input_kl"] + layer["weight_kl"], rel=1e-4) for layer in layers)
    people = command(*small)
    assert people.code == 0
    assert layers[0]["module"] in people.out.splitlines()[1]
    assert "8 more layers" in people.out
    assert ("bounded in pairs" in people.out) is found["reduced_range"]


def test_analyze_rounds_weights_as_an_export_here_would(
    command: Command, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ("analyze", "mobilenetv1", "--weights", "random", "--size", "32", "--num-classes", "10", "--calib", photos)
    cost = {}
    for saturates in (False, True):
        monkeypatch.setattr("edgecnn.targets.cpu.saturates", lambda answer=saturates: answer)
        found = document(command(*small, "--json"))
        assert found["reduced_range"] is saturates
        cost[saturates] = {layer["module"]: layer["weight_kl"] for layer in found["layers"]}
    assert sum(cost[True].values()) > sum(cost[False].values())
    assert cost[True]["features.1.0.0"] == cost[False]["features.1.0.0"], "a depthwise layer has no pairs"

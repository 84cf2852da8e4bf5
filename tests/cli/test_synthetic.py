"""``--calib synthetic``: an artifact without any data, whose evidence does not pass for more than it is."""

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from edgecnn.artifact import load_artifact
from edgecnn.models.sources import BUILTIN
from edgecnn.names import SYNTHETIC
from edgecnn.pipeline import verify
from edgecnn.quant import synthetic
from tests.conftest import Command

EXPORT = ("export", "mobilenetv3_small", "--target", "onnx", "--size", "32", "--int8", "--effort", "fast")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """How good the images are is not what is tested here."""
    monkeypatch.setattr(synthetic, "STEPS", 2)


@pytest.fixture
def without_labels(command: Command, tmp_path: Path) -> Path:
    """Weights of the user's own, for which no evaluation set is there."""
    weights = tmp_path / "weights.safetensors"  # without the notes that say whose images they expect
    save_file(load_file(BUILTIN / "mobilenetv3_small.safetensors"), weights)
    out = tmp_path / "out"
    answer = command(*EXPORT, "--weights", weights, "--calib", SYNTHETIC, "--max-drop", "5", "--out", out)
    assert answer.code in (0, 6), answer.err
    return out


def test_a_pass_on_synthetic_images_is_inconclusive(command: Command, without_labels: Path, photos: Path) -> None:
    manifest = load_artifact(without_labels).manifest
    assert (manifest["calibration"]["set"], manifest["calibration"]["synthetic"]) == (SYNTHETIC, True)
    assert "say little of real ones" in manifest["calibration"]["note"]
    assert manifest["evidence"]["images"]["synthetic"] is True
    assert manifest["status"] == manifest["evidence"]["verdict"] == "inconclusive"
    # The golden pairs are synthetic too, and say so on the device.
    answer = command("verify", without_labels)
    assert answer.code == 0
    assert "judged on synthetic images alone, which say little of real ones; verify with --images" in answer.out
    # Real images give a verdict of their own.
    found = verify(without_labels, str(photos))
    assert "synthetic" not in found.images
    assert found.judgement.verdict.value in ("pass", "fail")


def test_labels_of_the_recipe_still_judge_and_people_are_told(command: Command, tmp_path: Path) -> None:
    answer = command(*EXPORT, "--calib", SYNTHETIC, "--max-drop", "20", "--out", tmp_path / "out")
    assert "calibration: the images are synthetic, made from the network's batch norms" in answer.out
    assert "on 1000 labelled images" in answer.out
    evidence = load_artifact(tmp_path / "out").manifest["evidence"]
    assert evidence["images"].keys() == {"name", "sha256"}
    assert evidence["verdict"] != "inconclusive" or "n=1000" in evidence["reasons"][0]

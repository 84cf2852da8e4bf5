"""The gate fails closed: exit code 6, an artifact marked rejected, and a verdict that follows the last check."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from edgecnn.artifact import INCONCLUSIVE, REJECTED, VERIFIED, load_artifact, mark
from edgecnn.cli import run
from edgecnn.data.sets import load_set
from edgecnn.errors import StorageError
from edgecnn.recipe import load_labels
from edgecnn.verify.standing import Standing, standing_of
from tests.conftest import Command


@pytest.fixture(scope="module")
def rejected_once(fragile_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    out = tmp_path_factory.mktemp("rejected") / "out"
    arguments = ["export", "mobilenetv1", "--weights", str(fragile_weights), "--size", "32", "--target", "onnx"]
    return run([*arguments, "--int8", "--out", str(out)]), out


@pytest.fixture
def rejected(rejected_once: tuple[int, Path], tmp_path: Path) -> Path:
    """A copy of an artifact that failed its gate."""
    return shutil.copytree(rejected_once[1], tmp_path / "rejected")


def status(folder: Path) -> str:
    return str(load_artifact(folder).manifest["status"])


def test_an_export_outside_its_bounds_is_rejected(
    command: Command, fragile_weights: Path, tmp_path: Path, rejected_once: tuple[int, Path]
) -> None:
    assert rejected_once[0] == 6
    assert status(rejected_once[1]) == REJECTED
    out = tmp_path / "out"
    arguments = ("export", "mobilenetv1", "--weights", fragile_weights, "--size", "32", "--target", "onnx", "--int8")
    answer = command(*arguments, "--out", out, "--json")
    assert answer.code == 6
    document = json.loads(answer.out)
    assert (document["status"], document["evidence"]["verdict"]) == ("rejected", "fail")
    assert answer.err.startswith(f"edgecnn: {out} is marked rejected: top-1 agreement ")
    assert answer.err.count("\n") == 1
    assert status(out) == REJECTED


def test_images_that_calibrate_do_not_judge(command: Command, tmp_path: Path) -> None:
    arguments = ("export", "mobilenetv3_small", "--size", "32", "--target", "onnx", "--int8", "--effort", "fast")
    answer = command(*arguments, "--calib", "fashion-mnist-1000", "--out", tmp_path / "out", "--json")
    evidence = json.loads(answer.out)["evidence"]
    assert evidence["n"] == 200
    assert "judged on images that were kept apart, since 800 of fashion-mnist-1000 calibrate" in evidence["note"]


def test_the_same_weights_in_float_are_verified(command: Command, fragile_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("export", "mobilenetv1", "--weights", fragile_weights, "--size", "32", "--target", "onnx")
    assert command(*arguments, "--out", out).code == 0
    assert status(out) == VERIFIED


def test_verify_rejects_again_and_says_why(command: Command, rejected: Path) -> None:
    answer = command("verify", rejected, "--json")
    assert answer.code == 6
    assert json.loads(answer.out)["verdict"] == "fail"
    assert answer.err.startswith(f"edgecnn: {rejected} is rejected: top-1 agreement ")
    assert answer.err.count("\n") == 1


def test_verify_takes_a_verdict_back(command: Command, rejected: Path) -> None:
    mark(load_artifact(rejected), {"status": VERIFIED})
    assert command("verify", rejected).code == 6
    assert status(rejected) == REJECTED


def test_a_verdict_changes_nothing_else(command: Command, rejected: Path) -> None:
    def others() -> dict[str, object]:
        manifest = load_artifact(rejected).manifest
        return {key: manifest[key] for key in manifest.keys() - {"status", "standing", "sha256"}}

    before = others()
    mark(load_artifact(rejected), {"status": VERIFIED})
    command("verify", rejected)
    assert others() == before


def test_a_weaker_check_clears_nothing(command: Command, fragile_weights: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("export", "mobilenetv1", "--weights", fragile_weights, "--size", "32", "--target", "onnx")
    assert command(*arguments, "--out", out).code == 0
    assert status(out) == VERIFIED
    artifact = load_artifact(out)
    of_ten = replace(standing_of(artifact).deciding, status=REJECTED, images="ten", n=10)
    mark(artifact, {"status": REJECTED, "standing": msgspec.to_builtins(Standing(of_ten, of_ten))})
    answer = command("verify", out)
    assert answer.code == 6
    assert "rejected by a check on 10 images without labels, which 8 images without labels do not undo" in answer.err
    assert answer.err.count("\n") == 1
    assert status(out) == REJECTED
    assert command("verify", out, "--images", photos).code == 0
    assert status(out) == VERIFIED
    assert command("verify", out).code == 0
    assert status(out) == VERIFIED


def test_copies_of_a_picture_are_one(command: Command, artifact: Path, photos: Path, tmp_path: Path) -> None:
    listing = tmp_path / "copies.csv"
    listing.write_text("\n".join(["path", *[str(photos / "0.jpg")] * 50, str(photos / "1.jpg")]))
    found = json.loads(command("verify", artifact, "--images", listing, "--json").out)
    assert found["n"] == 2
    assert found["note"].startswith("49 of 51 pictures are copies of others, and count once")


def test_what_says_little_clears_nothing(command: Command, tmp_path: Path) -> None:
    """Neither labels of something else, however many, nor a gate that is looser than the artifact's own."""
    out, names, count = tmp_path / "out", load_labels("fashion-mnist"), 100
    assert command("export", "mobilenetv3_small", "--target", "onnx", "--out", out).code == 0
    artifact = load_artifact(out)
    first = replace(standing_of(artifact).deciding, status=REJECTED, n=count)
    assert first.labelled
    mark(artifact, {"status": REJECTED, "standing": msgspec.to_builtins(Standing(first, first))})
    images = load_set("fashion-mnist-1000", names).samples[:count]
    right = [f"{sample.name},{sample.label}" for sample in images]
    wrong = [f"{sample.name},{((sample.label or 0) + by) % len(names)}" for sample in images for by in (1, 2)]
    for name, rows in (("right.csv", right), ("wrong.csv", wrong)):
        (tmp_path / name).write_text("\n".join(["path,label", *rows]))
    answer = command("verify", out, "--images", tmp_path / "wrong.csv")
    assert (answer.code, status(out)) == (6, REJECTED)
    assert "rejected by a check on 100 labelled images, which 200 images without labels do not undo" in answer.err
    answer = command("verify", out, "--images", tmp_path / "right.csv", "--max-drop", "50")
    assert (answer.code, status(out)) == (6, REJECTED)
    assert "do not undo with --max-drop 50, where the artifact's own is 1; export again with that" in answer.err
    assert command("verify", out, "--images", tmp_path / "right.csv").code == 0
    assert status(out) == INCONCLUSIVE, "a hundred cannot tell, and they are as many"


def test_a_largest_drop_needs_labels(command: Command, artifact: Path, photos: Path) -> None:
    for images in ((), ("--images", photos)):
        answer = command("verify", artifact, "--max-drop", "0.5", *images)
        assert answer.code == 2
        assert answer.err.startswith("edgecnn: --max-drop needs images with labels, and ")
        assert answer.err.count("\n") == 1


def test_predict_warns_of_a_rejected_artifact(command: Command, rejected: Path, photos: Path) -> None:
    for arguments in ([], ["--json"]):
        answer = command("predict", rejected, photos / "0.jpg", *arguments)
        assert answer.code == 0
        assert answer.err.startswith(f"warning: {rejected} was rejected by its last check")
        assert answer.err.count("\n") == 1
    json.loads(answer.out)
    mark(load_artifact(rejected), {"status": VERIFIED})
    assert command("predict", rejected, photos / "0.jpg").err == ""


def test_random_weights_are_measured_and_not_gated(command: Command, artifact: Path) -> None:
    assert status(artifact) == "not gated"
    assert load_artifact(artifact).manifest["evidence"]["n"] > 0
    assert command("verify", artifact).code == 0
    assert status(artifact) == "not gated"


def test_a_verdict_that_cannot_be_kept_is_still_told(
    command: Command, rejected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise StorageError(f"{path}: cannot be written (No space left on device); nothing was changed")

    mark(load_artifact(rejected), {"status": INCONCLUSIVE})  # so that any verdict is news
    monkeypatch.setattr("edgecnn.artifact.write_whole", full)
    answer = command("verify", rejected, "--json")
    assert "could not be kept in the artifact" in json.loads(answer.out)["note"]
    assert answer.code in (0, 6)

"""A user's own weights, with a recipe that says what they expect."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgecnn.artifact import load_artifact
from edgecnn.models.registry import find_model
from edgecnn.models.sources import TRAINED
from edgecnn.models.weights import load_model
from tests.conftest import Command

MINE = """
model = "mobilenetv3_small"
weights = "mine.pth"

[own]
labels = "classes.txt"
calibration = "pictures"
evaluation = "labelled.csv"

[own.preprocess]
height = 32
width = 48
crop = 0.9
interpolation = "bicubic"
mean = [0.4, 0.4, 0.4]
std = [0.3, 0.3, 0.3]

[gate]
min_agreement = 0.01
max_kl = 100.0
max_drop_pp = 100.0
"""
NOTE = "weights of yours, taken to expect ImageNet's preprocessing: --recipe says what else"


@pytest.fixture(scope="module")
def mine(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user may have it."""
    folder = tmp_path_factory.mktemp("mine")
    torch.save(load_model(find_model("mobilenetv3_small"), "random", 3).model.state_dict(), folder / "mine.pth")
    (folder / "mine.toml").write_text(MINE)
    (folder / "classes.txt").write_text("cat\ndog\nhorse\n")
    shutil.copytree(photos, folder / "pictures")
    # With a byte more, for these judge and others calibrate.
    for path in sorted((folder / "pictures").iterdir()):
        (folder / f"other-{path.name}").write_bytes(path.read_bytes() + b" ")
    names = ["cat", "dog", "horse"]
    rows = [f"{path.name},{names[place % 3]}" for place, path in enumerate(sorted(folder.glob("other-*")))]
    (folder / "labelled.csv").write_text("\n".join(["path,label", *rows]))
    return folder


def test_a_recipe_says_it_all(command: Command, mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--recipe", mine / "mine.toml", "--target", "onnx", "--int8", "--effort", "fast", "--out", out)
    assert command("export", "mobilenetv3_small", *arguments).code == 0
    manifest = load_artifact(out).manifest
    assert manifest["labels"] == ["cat", "dog", "horse"]
    assert (manifest["preprocess"]["height"], manifest["preprocess"]["width"]) == (32, 48)
    assert manifest["preprocess"]["mean"] == [0.4, 0.4, 0.4]
    assert manifest["gate"] == {"max_drop_pp": 100.0, "min_agreement": 0.01, "max_kl": 100.0}
    assert manifest["calibration"]["set"] == "pictures"
    assert manifest["evidence"]["images"]["name"] == "labelled.csv"
    assert manifest["evidence"]["top1"] is not None
    assert manifest["weights"]["file"] == "mine.pth"
    assert NOTE not in manifest["evidence"]["note"]
    assert str(mine) not in json.dumps(manifest)
    answer = command("predict", out, next((mine / "pictures").iterdir()), "--json")
    assert {row["label"] for row in json.loads(answer.out)[0]["top5"]} == {"cat", "dog", "horse"}


def test_without_one_it_is_said_what_was_taken_for_granted(command: Command, mine: Path, tmp_path: Path) -> None:
    arguments = ("export", "mobilenetv3_small", "--weights", mine / "mine.pth", "--size", "32", "--target", "onnx")
    answer = command(*arguments, "--out", tmp_path / "out", "--json")
    assert json.loads(answer.out)["evidence"]["note"] == NOTE


def test_weights_that_were_trained_here_expect_the_builtin_images(command: Command, tmp_path: Path) -> None:
    builtin = Path(__file__).parents[2] / "edgecnn" / "builtin" / "mobilenetv3_small.safetensors"
    save_file(load_file(builtin), tmp_path / "mine.safetensors", dict.fromkeys(TRAINED, ""))
    arguments = ("export", "mobilenetv3_small", "--weights", tmp_path / "mine.safetensors", "--target", "onnx")
    answer = command(*arguments, "--out", tmp_path / "out", "--json")
    evidence = json.loads(answer.out)["evidence"]
    assert (evidence["images"]["name"], evidence["note"]) == ("fashion-mnist-1000", "")
    assert load_artifact(tmp_path / "out").labels[0] == "T-shirt/top"


def test_a_size_that_no_network_takes_is_refused(command: Command, mine: Path) -> None:
    (mine / "small.toml").write_text(MINE.replace("height = 32", "height = 8"))
    answer = command("export", "mobilenetv3_small", "--recipe", mine / "small.toml", "--target", "onnx")
    assert (answer.code, answer.err) == (2, "edgecnn: the recipe's size is 8x48, expected sides of 32 to 4096\n")


@pytest.mark.parametrize("command_line", [("analyze",), ("benchmark", "--targets", "onnx")])
def test_other_commands_take_it_as_well(command: Command, mine: Path, command_line: tuple[str, ...]) -> None:
    other = mine / "wrong.toml"
    other.write_text(MINE.replace("mobilenetv3_small", "mobilenetv2"))
    answer = command(*command_line[:1], "mobilenetv3_small", *command_line[1:], "--recipe", other)
    assert (answer.code, answer.err) == (
        3,
        "edgecnn: recipe wrong.toml: model is 'mobilenetv2', expected 'mobilenetv3_small'\n",
    )

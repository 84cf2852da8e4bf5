"""The command line in this process, and a small gated export."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from edgecnn.cli import run
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model
from edgecnn.pipeline import Exported

CLASSES = 10


class Answer(NamedTuple):
    """What a command line came to."""

    code: int
    out: str
    err: str


class Command(Protocol):
    def __call__(self, *arguments: str | Path) -> Answer: ...


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line in this process."""

    def call(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten small JPEGs, and ``labels.csv`` with a label each."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for index in range(10):
        coarse = random.integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg")
    return folder


@pytest.fixture(scope="session")
def labelled(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file that gives each photograph a label."""
    listing = tmp_path_factory.mktemp("labels") / "labels.csv"
    rows = [f"{photos / f'{index}.jpg'},{index % CLASSES}" for index in range(10)]
    listing.write_text("path,label\n" + "\n".join(rows) + "\n")
    return listing


@pytest.fixture
def artifact(tiny_export: Callable[..., Exported], tmp_path: Path) -> Path:
    """A copy of an ONNX artifact."""
    return shutil.copytree(tiny_export("onnx", "fp32").artifact.folder, tmp_path / "artifact")


@pytest.fixture(scope="session")
def fragile_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose classes differ by less than an INT8 step of the classifier, so that quantizing decides anew."""
    state = dict(load_model(find_model("mobilenetv1"), "random", CLASSES).model.state_dict())
    weight = state["classifier.1.weight"]
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    state["classifier.1.weight"] = weight[:1].abs() + weight.abs().max() * 1e-4 * noise
    state["classifier.1.bias"] = torch.zeros(CLASSES)
    file = tmp_path_factory.mktemp("weights") / "fragile.safetensors"
    save_file(state, file)
    return file

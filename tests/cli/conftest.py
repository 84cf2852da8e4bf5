"""Labelled photographs, and weights that do not survive INT8."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model

CLASSES = 10


@pytest.fixture(scope="session")
def labelled(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file that gives each photograph a label."""
    listing = tmp_path_factory.mktemp("labels") / "labels.csv"
    rows = [f"{photos / f'{index}.jpg'},{index % CLASSES}" for index in range(10)]
    listing.write_text("path,label\n" + "\n".join(rows) + "\n")
    return listing


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

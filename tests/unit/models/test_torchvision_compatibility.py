"""torchvision's networks and ours are the same: names, shapes, order, and the answers with the same weights.

The reference was recorded with torchvision itself, from weights that numpy makes out of each tensor's position and
shape, so that it holds no weights.
"""

import gzip
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgecnn.models.registry import find_model

REFERENCE = Path(__file__).parents[2] / "golden" / "torchvision_reference.json.gz"
NETS = ["mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", *(f"efficientnet_b{i}" for i in range(8))]
TOLERANCE = 1e-4  # of the standard deviation of the logits


@cache
def reference() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress(REFERENCE.read_bytes()))
    return document


def recipe(position: int, name: str, shape: list[int], gain: float) -> NDArray[np.float32]:
    """The weight of one tensor, the same on every machine."""
    random = np.random.Generator(np.random.PCG64(1000 + position))
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.float32)
    if leaf in ("running_mean", "bias"):
        value = random.normal(0, 0.1, shape)
    elif leaf == "running_var" or len(shape) == 1:
        value = random.uniform(0.5, 1.5, shape)
    elif len(shape) == 4:
        value = random.normal(0, math.sqrt(2 / math.prod(shape[1:])) / gain, shape)
    else:
        value = random.normal(0, 1 / math.sqrt(shape[1]), shape)
    return np.asarray(value).astype(np.float32)


def test_the_reference_covers_every_family_that_torchvision_has() -> None:
    assert list(reference()["nets"]) == NETS


@pytest.mark.parametrize("net", NETS)
def test_names_shapes_and_order_are_torchvisions(net: str) -> None:
    with torch.device("meta"):
        state = find_model(net).build().state_dict()
    assert [[name, list(tensor.shape)] for name, tensor in state.items()] == reference()["nets"][net]["state_dict"]


@pytest.mark.parametrize("net", NETS)
def test_answers_are_torchvisions(net: str) -> None:
    entry = reference()["nets"][net]
    state = {
        name: torch.from_numpy(recipe(position, name, shape, reference()["conv_gain"]))
        for position, (name, shape) in enumerate(entry["state_dict"])
    }
    with torch.device("meta"):
        model = find_model(net).build()
    model.load_state_dict(state, assign=True)
    image = np.random.Generator(np.random.PCG64(7)).normal(0, 1, (1, 3, 64, 64)).astype(np.float32)
    with torch.inference_mode():
        logits = model.eval()(torch.from_numpy(image)).numpy().astype(np.float64)
    want = entry["output"]
    assert list(logits.shape) == want["shape"]
    bound = TOLERANCE * want["std"]
    np.testing.assert_allclose(logits[0, :16], want["head"], rtol=0, atol=bound)
    assert abs(logits.mean() - want["mean"]) < bound
    assert abs(logits.std() - want["std"]) < bound

"""Folding takes every batch norm away and changes no answer."""

import pytest
import torch
from torch import nn

from edgecnn.graph.fold import fold
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model

FAMILIES = ["mobilenetv1", "mobilenetv2", "mobilenetv3_small", "efficientnet_b0", "efficientnet_lite0"]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_folded_network_answers_the_same_without_batch_norms(name: str) -> None:
    model = load_model(find_model(name), "random", 10).model
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    folded = fold(model)
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        want, got = model(image), folded(image)
    assert float((want - got).abs().max()) <= 1e-4 * float(want.abs().max())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    # A copy: the model itself still has its norms, untouched.
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", FAMILIES)
def test_layers_keep_their_names(name: str) -> None:
    model = load_model(find_model(name), "random", 10).model
    assert [key for key, _ in fold(model).named_modules()] == [key for key, _ in model.named_modules()]


def test_a_norm_that_follows_no_convolution_stays() -> None:
    sequence = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    assert isinstance(fold(sequence)[2], nn.BatchNorm2d)  # type: ignore[index]  # a sequence in, a sequence out

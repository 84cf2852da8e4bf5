"""What batch norms remember, and images that contradict it."""

from pathlib import Path

import pytest
import torch
from torch import nn

from edgecnn.data.sets import load_set
from edgecnn.errors import InputError
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model
from edgecnn.quant.norms import batch_norms, check_contrast, norm_inputs
from edgecnn.recipe import Preprocess, load_labels, load_recipe

HOW = Preprocess(32, 32, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BUILTIN = ["mobilenetv3_small", "mobilenetv3_large", "efficientnet_b0"]


def scaled(factor: float, model: str = "mobilenetv3_small", weights: str = "random") -> nn.Module:
    """A model whose first convolution is weaker by a factor, as if it had been trained on brighter pixels."""
    loaded = load_model(find_model(model), weights, 10).model
    with torch.no_grad():
        loaded.get_parameter("features.0.0.weight").mul_(factor)
    return loaded


def test_inputs_of_every_norm_are_seen_in_order_and_then_no_more() -> None:
    model = scaled(1.0)
    with norm_inputs(batch_norms(model)) as seen, torch.inference_mode():
        model(torch.zeros(2, 3, 32, 32))
        assert list(seen) == batch_norms(model) == [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert {len(value) for value in seen.values()} == {2}
        before = dict(seen)
    with torch.inference_mode():
        model(torch.zeros(1, 3, 32, 32))
    assert seen == before


@pytest.mark.parametrize("factor", [1 / 58, 1 / 127, 1 / 255, 58, 255])
def test_weights_of_another_preprocessing_are_refused(photos: Path, factor: float) -> None:
    with pytest.raises(InputError, match=r"vary .* times .* at 'features\.0\.1' .* other preprocessing than") as caught:
        check_contrast(scaled(factor), load_set(str(photos), []), HOW)
    assert ("less" if factor < 1 else "as much") in str(caught.value)


@pytest.mark.parametrize("factor", [1 / 3, 1, 3])
def test_images_of_another_contrast_are_not(photos: Path, factor: float) -> None:
    check_contrast(scaled(factor), load_set(str(photos), []), HOW)


@pytest.mark.parametrize("model", BUILTIN)
def test_builtin_weights_know_their_own_images(model: str) -> None:
    data = load_recipe(model).data("builtin")
    images = load_set(data.calibration, load_labels(data.labels))
    for factor in (0.5, 2):
        check_contrast(scaled(factor, model, "builtin"), images, data.preprocess)
    with pytest.raises(InputError, match=r"127 times less|1\d\d times less"):
        check_contrast(scaled(1 / 127.5, model, "builtin"), images, data.preprocess)


def test_a_model_without_norms_is_not_judged(photos: Path) -> None:
    check_contrast(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), load_set(str(photos), []), HOW)

"""Synthetic images: on them batch norms see what they saw in training, and nothing else of the road is different."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgecnn.data.preprocess import normalise, preprocess
from edgecnn.data.sets import ImageSet
from edgecnn.errors import InputError
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model, state_sha256
from edgecnn.quant import synthetic
from edgecnn.quant.norms import batch_norms, norm_inputs
from edgecnn.quant.synthetic import image_count, synthesise
from edgecnn.recipe import Preprocess, load_recipe

HOW = Preprocess(32, 32, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
COUNT = 12


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return load_model(find_model("mobilenetv3_small"), "builtin").model


@pytest.fixture(scope="module")
def images(model: nn.Module) -> ImageSet:
    return synthesise(model, HOW, COUNT)


def inputs(images: ImageSet) -> Tensor:
    return torch.from_numpy(np.concatenate(list(images.batches(HOW, len(images)))))


def misfit(model: nn.Module, batch: Tensor) -> float:
    """Of batch norms' input deviations from the running ones, the median factor."""
    with norm_inputs(batch_norms(model)) as seen, torch.inference_mode():
        model(batch)
    factors = []
    for norm, value in seen.items():
        assert isinstance(norm.running_var, Tensor)
        ratio = ((value.var((0, 2, 3)) + norm.eps) / (norm.running_var + norm.eps)).sqrt()
        factors.append(ratio.log().abs().median().exp())
    return float(torch.stack(factors).median())


def test_norms_see_what_they_saw_in_training(model: nn.Module, images: ImageSet) -> None:
    noise = torch.randn(COUNT, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert misfit(model, inputs(images)) < 1.35  # these few small ones cannot vary as much
    assert misfit(model, noise) > 2


def test_pictures_are_pictures_and_no_two_are_alike(images: ImageSet) -> None:
    pictures = [sample.read() for sample in images.samples]
    assert {(picture.shape, picture.dtype.name) for picture in pictures} == {((32, 32, 3), "uint8")}
    flat = np.stack(pictures).reshape(COUNT, -1).astype(np.float64)
    correlation = np.corrcoef(flat) - np.eye(COUNT)
    assert np.abs(correlation).max() < 0.9
    assert len({sample.digest for sample in images.samples}) == COUNT


def test_the_set_says_what_it_is(images: ImageSet) -> None:
    assert images.synthetic
    assert not images.labelled
    assert images.name == "synthetic"
    assert "say little of real ones" in images.note
    assert [sample.name for sample in images.samples][:2] == ["synthetic/000", "synthetic/001"]


def test_the_same_seed_makes_the_same_bytes_whatever_the_threads(model: nn.Module, images: ImageSet) -> None:
    before, threads, state = state_sha256(model.state_dict()), torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(2)
    try:
        again = synthesise(model, HOW, COUNT)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert again.sha256 == images.sha256
    assert synthesise(model, HOW, COUNT, seed=1).sha256 != images.sha256
    assert state_sha256(model.state_dict()) == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "STEPS", 2)
    monkeypatch.setattr(synthetic, "COARSE_STEPS", 1)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(("height", "width", "crop"), [(32, 32, 0.875), (33, 47, 0.9), (160, 128, 0.875), (32, 32, 1)])
def test_the_centre_crop_leaves_what_was_optimised(model: nn.Module, height: int, width: int, crop: float) -> None:
    how = Preprocess(height, width, crop, "bicubic", HOW.mean, HOW.std)
    for sample in synthesise(model, how, 2).samples:
        picture = sample.read()
        top, left = (round((round(side / crop) - side) / 2) for side in (height, width))
        core = picture[top : top + height, left : left + width]
        np.testing.assert_array_equal(preprocess(picture, how), normalise(core, how))


@pytest.mark.usefixtures("hurried")
def test_batches_are_even_and_counted(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "BATCH", 4)
    seen: list[int] = []
    assert len(synthesise(model, HOW, 9, on_images=seen.append)) == 9
    assert seen == [3, 3, 3]


def test_large_inputs_get_fewer_images() -> None:
    assert image_count(HOW) == 64
    assert image_count(load_recipe("efficientnet_lite0").data("imagenet").preprocess) == 32


def test_a_model_without_norms_is_refused() -> None:
    with pytest.raises(InputError, match="the model has no batch norms to make images from; give real ones"):
        synthesise(nn.Sequential(nn.Conv2d(3, 4, 3)), HOW, 8)

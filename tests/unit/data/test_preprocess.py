"""The one transform, against what Pillow and numpy give by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgecnn.data.preprocess import Picture, crop, normalise, preprocess
from edgecnn.errors import InputError
from edgecnn.recipe import Preprocess

IMAGENET = Preprocess(224, 224, 0.875, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def picture(height: int, width: int) -> Picture:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (height, width, 3), np.uint8)


def by_hand(source: Picture, resized: tuple[int, int], box: tuple[int, int, int, int], how: str) -> NDArray[np.float32]:
    resampling = Image.Resampling.BICUBIC if how == "bicubic" else Image.Resampling.BILINEAR
    image = Image.fromarray(source).resize(resized, resampling).crop(box)
    scaled = np.asarray(image).astype(np.float64) / 255
    return ((scaled - IMAGENET.mean) / IMAGENET.std).transpose(2, 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "resized", "box"),
    [
        ((300, 400), (341, 256), (58, 16, 282, 240)),  # the short side to 256, then 224 from the middle
        ((400, 300), (256, 341), (16, 58, 240, 282)),
        ((256, 256), (256, 256), (16, 16, 240, 240)),
        ((28, 28), (256, 256), (16, 16, 240, 240)),
        ((64, 1000), (4000, 256), (1888, 16, 2112, 240)),
    ],
)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_imagenets_transform_by_hand(
    shape: tuple[int, int], resized: tuple[int, int], box: tuple[int, int, int, int], interpolation: str
) -> None:
    how = Preprocess(224, 224, 0.875, interpolation, IMAGENET.mean, IMAGENET.std)
    source = picture(*shape)
    got = preprocess(source, how)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_allclose(got, by_hand(source, resized, box, interpolation), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(32, 96), (96, 32), (65, 33)])
@pytest.mark.parametrize("share", [1.0, 0.875, 0.5])
@pytest.mark.parametrize("shape", [(50, 50), (300, 31), (31, 300), (1, 1)])
def test_oblong_inputs_are_filled_without_distortion(
    height: int, width: int, share: float, shape: tuple[int, int]
) -> None:
    how = Preprocess(height, width, share, "bilinear", (0.0,) * 3, (1.0,) * 3)
    assert crop(picture(*shape), how).shape == (height, width, 3)
    # A picture of horizontal stripes keeps them horizontal and, in the middle, as far apart as the scale says.
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None], (200, 200, 3)).copy()
    cut = crop(ramp, how).astype(int)
    assert (cut == cut[:, :1, :1]).all()
    scale = max(round(height / share), round(width / share)) / 200
    assert abs((cut[-1, 0, 0] - cut[0, 0, 0]) - (height - 1) / scale) <= 2 + 2 / scale


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    how = Preprocess(40, 60, 1.0, "bicubic", (0.0,) * 3, (1.0,) * 3)
    source = picture(40, 60)
    np.testing.assert_array_equal(crop(source, how), source)


def test_normalising_by_hand() -> None:
    how = Preprocess(1, 1, 1.0, "bilinear", (0.5, 0.0, 1.0), (0.5, 1.0, 0.25))
    pixels = np.array([[[0, 51, 255]], [[255, 255, 0]]], np.uint8)[None]
    want = np.array([[[[-1], [1]], [[0.2], [1]], [[0], [-4]]]])
    np.testing.assert_allclose(normalise(pixels, how), want, atol=1e-7)
    assert normalise(pixels, how).shape == (1, 3, 2, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        picture(8, 8).astype(np.float32) / 255,  # would be scaled again, and come out as black
        picture(8, 8).astype(np.float64),
        picture(8, 8)[:, :, :1],
        picture(8, 8)[:, :, 0],
        picture(8, 8)[None],
        picture(8, 0),
    ],
    ids=lambda wrong: f"{wrong.shape} {wrong.dtype}",
)
def test_what_is_no_picture_is_refused(wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match=r"picture is \(.*\) .*, expected \(H, W, 3\) uint8 RGB, 0\.\.255"):
        preprocess(wrong, IMAGENET)

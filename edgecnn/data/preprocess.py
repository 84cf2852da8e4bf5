"""The one transform from picture to network input, used by calibration, verify and predict alike."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.errors import InputError
from edgecnn.recipe import Preprocess

Picture = NDArray[np.uint8]  # (H, W, 3), RGB
Float = NDArray[np.float32]

MOST_PIXELS = 128_000_000  # of a resized picture, 512 MB: 1900 to 1 at 224×224, 5 to 1 at the largest --size
RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def crop(picture: Picture, how: Preprocess, name: str = "picture") -> Picture:
    """Resizes to cover the enlarged input, then cuts the centre.

    Args:
        picture: (H, W, 3) uint8 RGB.
        name: for messages.

    Returns:
        (height, width, 3) uint8.

    Raises:
        InputError: another dtype or shape, such as a picture already scaled to 0..1, which would come out as black; or
            one so long and thin that memory for it resized would run out.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise InputError(
            f"{name} is {picture.shape} {picture.dtype}, expected (H, W, 3) uint8 RGB, 0..255; preprocess normalises"
        )
    height, width = picture.shape[:2]
    # As torchvision and timm have it: the resized picture is the input divided by the crop's share.
    scale = max(round(how.height / how.crop) / height, round(how.width / how.crop) / width)
    resized = (max(how.width, round(width * scale)), max(how.height, round(height * scale)))
    if resized[0] * resized[1] > MOST_PIXELS:
        raise InputError(
            f"{name}: {width}×{height} pixels are too long and thin, resized to {resized[0]}×{resized[1]} for an input"
            f" of {how.width}×{how.height}; at most {MOST_PIXELS:,} pixels are made, crop the picture first"
        )
    image = Image.fromarray(picture)
    if resized != image.size:
        image = image.resize(resized, RESAMPLING[how.interpolation])
    left = round((resized[0] - how.width) / 2)
    top = round((resized[1] - how.height) / 2)
    return np.asarray(image.crop((left, top, left + how.width, top + how.height)))


def normalise(pixels: NDArray[np.uint8], how: Preprocess) -> Float:
    """Scales to 0..1, subtracts the mean, divides by the standard deviation, and puts channels first.

    Args:
        pixels: (..., H, W, 3) uint8.

    Returns:
        (..., 3, H, W) float32.
    """
    mean, std = np.array(how.mean, np.float32), np.array(how.std, np.float32)
    values = (np.arange(256, dtype=np.float32)[:, None] / np.float32(255) - mean) / std  # of each pixel: there are few
    channels = [np.take(values[:, channel], pixels[..., channel]) for channel in range(len(mean))]
    return np.stack(channels, axis=-3)


def preprocess(picture: Picture, how: Preprocess, name: str = "picture") -> Float:
    """``picture: (H, W, 3) uint8 RGB`` to ``(3, height, width) float32, normalised``."""
    return normalise(crop(picture, how, name), how)

"""Calibration images made from the network alone, for users with no data: ``--calib synthetic``.

Noise is optimised until the inputs of every batch norm have the mean and the variance that training left in it (ZeroQ,
Cai et al. 2020, arXiv 2001.00281; Haroush et al. 2020, arXiv 1912.01274). Statistics are taken over a batch of images
together, which keeps them apart from one another: behind a few layers most of the variance lies between images.

An image is the sum of grids from about 4×4 to its full size. Single pixels would match the same statistics with fine
noise, which no photograph has and whose ranges are not a photograph's (measured: see docs/decisions/0011).
"""

import copy
import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from edgecnn.data.preprocess import Picture
from edgecnn.data.sets import ImageSet, Sample
from edgecnn.errors import InputError
from edgecnn.names import SYNTHETIC
from edgecnn.quant.norms import batch_norms, norm_inputs
from edgecnn.recipe import Preprocess

STEPS = 60  # of each batch
LEARNING_RATE = 0.1  # of Adam, in units of a logit of a pixel; a cosine takes it to zero
BATCH = 32  # images that share their statistics
PIXELS = 2**19  # of a batch: what bounds memory
COARSEST = 4  # shorter side of the smallest grid, at most: sides are halved and rounded up, which makes 3 of 96
# Large inputs get fewer images, and their first steps go without the finest grid, at a quarter of the price.
LARGE = 128 * 128  # pixels, from which on an input is large
IMAGES, LARGE_IMAGES = 64, 32
COARSE_STEPS = 45
THREADS = 1  # sums would differ with their number, and pictures with the sums

NOTE = "the images are synthetic, made from the network's batch norms; they say little of real ones"


def image_count(how: Preprocess) -> int:
    """How many pictures are made for an input of this size."""
    return LARGE_IMAGES if how.height * how.width >= LARGE else IMAGES


def synthesise(
    model: nn.Module,
    how: Preprocess,
    count: int,
    seed: int = 0,
    on_images: Callable[[int], None] = lambda count: None,
) -> ImageSet:
    """Pictures on which a network's batch norms see what they saw in training. The same seed gives the same bytes.

    Args:
        model: before batch norms are folded, in evaluation mode; takes (N, 3, height, width) float32, normalised.
        how: the preprocessing that its images go through; the pictures come out of it as they were optimised.
        on_images: called with the number of images of each batch that is done.

    Raises:
        InputError: the model has no batch norms, so that nothing is known of its images.
    """
    frozen = copy.deepcopy(model).requires_grad_(False)
    if not batch_norms(frozen):
        raise InputError(
            f"--calib {SYNTHETIC}: the model has no batch norms to make images from; give real ones, --calib DIR"
        )
    most = max(1, min(BATCH, PIXELS // (how.height * how.width)))
    samples: list[Sample] = []
    with _threads(THREADS):
        generator = torch.Generator().manual_seed(seed)
        for part in np.array_split(np.arange(count), -(-count // most)):
            pictures = _optimised(frozen, how, len(part), generator)
            samples += [_sample(_framed(picture, how), index) for index, picture in zip(part, pictures, strict=True)]
            on_images(len(part))
    return ImageSet(SYNTHETIC, tuple(samples), NOTE, synthetic=True)


def _optimised(model: nn.Module, how: Preprocess, count: int, generator: torch.Generator) -> NDArray[np.uint8]:
    """``(count, height, width, 3)`` pictures that match together."""
    grids = [torch.randn(count, 3, *side, generator=generator).requires_grad_() for side in _sides(how)]
    mean, std = (torch.tensor(value).reshape(3, 1, 1) for value in (how.mean, how.std))
    optimizer = torch.optim.Adam(grids, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    coarse_steps = COARSE_STEPS if how.height * how.width >= LARGE else 0
    with norm_inputs(batch_norms(model)) as seen:
        for step in range(STEPS):
            optimizer.zero_grad()
            model((_pixels(grids[:-1] if step < coarse_steps else grids) - mean) / std)
            _mismatch(seen).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        pixels = (255 * _pixels(grids)).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().numpy()


def _sides(how: Preprocess) -> Iterator[tuple[int, int]]:
    """Height and width of each grid, doubling up to the full size."""
    levels = max(0, math.ceil(math.log2(min(how.height, how.width) / COARSEST)))
    for level in reversed(range(levels + 1)):
        yield -(-how.height // 2**level), -(-how.width // 2**level)


def _pixels(grids: list[Tensor]) -> Tensor:
    """The pictures of some grids, (N, 3, height, width) in 0..1."""
    full = grids[-1].shape[2:]
    grown = [interpolate(grid, size=full, mode="bilinear", align_corners=False) for grid in grids[:-1]]
    return torch.sigmoid((sum(grown) + grids[-1]) / math.sqrt(len(grids)))


def _mismatch(seen: dict[nn.BatchNorm2d, Tensor]) -> Tensor:
    """How far the batch norms' inputs are from their running statistics, in standard deviations, squared; a scalar."""
    losses = []
    for norm, value in seen.items():
        assert isinstance(norm.running_mean, Tensor)  # noqa: S101 - without statistics it would not be in a checkpoint
        assert isinstance(norm.running_var, Tensor)  # noqa: S101
        wanted = (norm.running_var + norm.eps).sqrt()
        deviation = (value.var((0, 2, 3), correction=0) + norm.eps).sqrt()
        shift = (value.mean((0, 2, 3)) - norm.running_mean) / wanted
        losses.append(shift.square().mean() + (deviation / wanted - 1).square().mean())
    return torch.stack(losses).mean()


def _framed(picture: Picture, how: Preprocess) -> Picture:
    """A picture with the frame that the centre crop cuts off again, so that nothing is resized."""
    height, width = round(how.height / how.crop), round(how.width / how.crop)
    top, left = round((height - how.height) / 2), round((width - how.width) / 2)
    frame = ((top, height - how.height - top), (left, width - how.width - left), (0, 0))
    return np.pad(picture, frame, mode="edge")


def _sample(picture: Picture, index: int) -> Sample:
    return Sample(f"{SYNTHETIC}/{index:03d}", None, hashlib.sha256(picture.tobytes()).hexdigest(), lambda: picture)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

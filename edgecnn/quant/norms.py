"""What batch norms remember of the images that a network was trained on: the mean and variance of their inputs."""

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from edgecnn.data.sets import ImageSet
from edgecnn.data.split import spread
from edgecnn.errors import InputError
from edgecnn.recipe import Preprocess

CHECKED_IMAGES = 8
# Ratio of standard deviations. Pixels of 0..255 that were meant to be normalised, or the other way round, are 57 times
# off with ImageNet's statistics; scaled to 0..1 alone, 4 times; images of a third of the contrast, 3 times.
LARGEST_RATIO = 8.0


def batch_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """Those of a model, in its order; empty where they were folded."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


@contextlib.contextmanager
def norm_inputs(norms: Iterable[nn.BatchNorm2d]) -> Iterator[dict[nn.BatchNorm2d, Tensor]]:
    """While it is open, each run of their model leaves these batch norms' inputs ``(N, C, H, W)`` in the dictionary."""
    seen: dict[nn.BatchNorm2d, Tensor] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        if isinstance(norm, nn.BatchNorm2d):
            seen[norm] = inputs[0]

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def check_contrast(model: nn.Module, images: ImageSet, how: Preprocess) -> None:
    """Refuses images with which the weights and the preprocessing cannot belong together.

    A network trained on pixels of 0..255, or under another normalisation, says so in its first batch norm: normalised
    images excite the layer before it many times less than its running variance. Nothing else would: such a network
    answers, and its ranges are finite. A model without batch norms is not judged.

    Args:
        model: before batch norms are folded, in evaluation mode.

    Raises:
        InputError: the first batch norm's input deviates 8 times more, or less, than in training.
    """
    norms = batch_norms(model)
    if not norms:
        return
    norm = norms[0]
    batch = np.concatenate(list(spread(images, CHECKED_IMAGES).batches(how, CHECKED_IMAGES)))
    with norm_inputs([norm]) as seen, torch.inference_mode():
        model(torch.from_numpy(batch))
    value = seen[norm]
    trained = norm.running_var
    assert isinstance(trained, Tensor)  # noqa: S101 - in every network of ours
    # The middle channel's: some are dead, and some see colours that these images lack.
    ratio = float((value.var((0, 2, 3)) / trained.clamp_min(torch.finfo().tiny)).sqrt().median())
    if not 1 / LARGEST_RATIO <= ratio <= LARGEST_RATIO:
        name = next(name for name, module in model.named_modules() if module is norm)
        times = f"{ratio:.3g} times as much" if ratio > 1 else f"{1 / ratio if ratio else np.inf:.3g} times less"
        raise InputError(
            f"{images.name}: these images vary {times} at {name!r} than the images that the weights were trained on;"
            f" was that on other preprocessing than (pixels / 255 - mean) / std, mean {_digits(how.mean)},"
            f" std {_digits(how.std)}?"
        )


def _digits(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.3g}" for value in values)

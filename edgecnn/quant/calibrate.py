"""Statistics of activations, observed while ONNX Runtime runs the FP32 graph over calibration images."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgecnn.data.preprocess import Float
from edgecnn.errors import InputError
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session
from edgecnn.names import INPUT, OUTPUT
from edgecnn.recipe import LARGEST_INPUT

Means = NDArray[np.float64]

BATCH = 8  # images at a time


class Range(NamedTuple):
    """Smallest and largest value of a tensor over all images."""

    low: float
    high: float


def wider(one: Range, other: Range) -> Range:
    """The range that holds both."""
    return Range(min(one.low, other.low), max(one.high, other.high))


def observe_ranges(graph: Graph, tensors: Iterable[str], batches: Iterable[Float]) -> dict[str, Range]:
    """The min-max range of each named tensor. Memory does not grow with the number of images.

    Args:
        batches: ``(n, C, H, W) float32, normalised``, at least one.

    Raises:
        InputError: no images, or what ``observe_values`` refuses.
    """
    ranges: dict[str, Range] = {}
    for values in observe_values(graph, tensors, batches):
        for name, value in values.items():
            seen = Range(float(value.min()), float(value.max()))
            ranges[name] = wider(ranges.get(name, seen), seen)
    if not ranges:
        raise InputError("calibration: 0 images; give at least one")
    return ranges


def observe_means(graph: Graph, tensors: Iterable[str], batches: Iterable[Float]) -> dict[str, Means]:
    """Each image's channel means, ``(images, channels) float64``, of each named tensor, over positions."""
    means: dict[str, list[Means]] = {}
    for values in observe_values(graph, tensors, batches):
        for name, value in values.items():
            means.setdefault(name, []).append(channel_means(value))
    return {name: np.concatenate(parts) for name, parts in means.items()}


def channel_means(value: Float) -> Means:
    """``(N, C, ...)`` to ``(N, C)``."""
    means: Means = value.reshape(*value.shape[:2], -1).mean(axis=2, dtype=np.float32).astype(np.float64)
    return means


def observe_values(graph: Graph, tensors: Iterable[str], batches: Iterable[Float]) -> Iterator[dict[str, Float]]:
    """The named tensors' values, batch by batch: the one way in which calibration data comes in.

    Raises:
        InputError: images that are not finite or not normalised, or on which a tensor is not finite. Minima, sums and
            histograms would launder either.
    """
    order = {name: position for position, node in enumerate(graph.nodes) for name in node.output}
    names = sorted(tensors, key=lambda name: order.get(name, -1))  # the first to go wrong is the one to be named
    model = with_batch(graph, None).copy()
    for name in names:
        if name not in (INPUT, OUTPUT):
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = inference_session(model.SerializeToString())
    made = [name for name in names if name != INPUT]
    count = 0
    for batch in batches:
        check_images(batch, count)
        values = dict(zip(made, session.run(made, {INPUT: batch}), strict=True))
        for name, value in values.items():
            _check_finite(name, value, count)
        count += len(batch)
        yield values | {INPUT: batch} if INPUT in names else values


def check_images(batch: Float, count: int = 0) -> None:
    """Refuses images that no preprocessing makes.

    Args:
        batch: (n, C, H, W) float32.
        count: of images before this batch, for messages.

    Raises:
        InputError: NaN or infinite values, or pixels that were never normalised.
    """
    for index, image in enumerate(batch, start=count):
        low, high = float(image.min()), float(image.max())  # NaN if any value is
        if not np.isfinite((low, high)).all():
            found = f"{np.isnan(image).sum()} NaN and {np.isinf(image).sum()} infinite values of {image.size}"
            raise InputError(f"calibration: tensor {INPUT!r} is not finite, image {index} holds {found}")
        if max(-low, high) > LARGEST_INPUT:
            raise InputError(
                f"calibration: image {index} reaches from {low:g} to {high:g}, mean {image.mean():g}; expected"
                f" normalised values within ±{LARGEST_INPUT:g}: (pixels / 255 - mean) / std of the recipe"
            )


def in_module(tensor: str) -> str:
    """A tensor for messages: its name, and the PyTorch module that puts it out."""
    module = tensor.rpartition("/")[0]
    return f"tensor {tensor!r}" + (f", of module {module!r}," if module else "")


def _check_finite(name: str, value: Float, count: int) -> None:
    with np.errstate(all="ignore"):
        if np.isfinite(value.sum()):  # NaN and infinity survive a sum, and one pass is cheap
            return
    finite = np.isfinite(value.reshape(len(value), -1)).all(axis=1)
    if not finite.all():
        raise InputError(
            f"calibration: {in_module(name)} is not finite on image {count + int((~finite).argmax())}, which itself is;"
            " the FP32 network overflows: check its weights, and that they belong to this preprocessing"
        )

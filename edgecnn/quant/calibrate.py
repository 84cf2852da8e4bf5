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
        InputError: no images, or a value that is not finite.
    """
    ranges: dict[str, Range] = {}
    for values in observe_values(graph, tensors, batches):
        for name, value in values.items():
            seen = Range(float(value.min()), float(value.max()))
            if not np.isfinite(seen).all():
                raise InputError(
                    f"calibration: tensor {name!r} is not finite on these images ({seen.low}, {seen.high})"
                )
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
    """The named tensors' values, batch by batch."""
    names = sorted(tensors)
    model = with_batch(graph, None).copy()
    for name in names:
        if name not in (INPUT, OUTPUT):
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = inference_session(model.SerializeToString())
    made = [name for name in names if name != INPUT]
    for batch in batches:
        values = dict(zip(made, session.run(made, {INPUT: batch}), strict=True))
        yield values | {INPUT: batch} if INPUT in names else values

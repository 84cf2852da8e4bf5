"""Statistics of activations over calibration images."""

from collections.abc import Iterable
from typing import NamedTuple

from edgecnn.data.preprocess import Float
from edgecnn.errors import InputError
from edgecnn.graph.graph import Graph
from edgecnn.quant.observe import Observer, Summary

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
    for found in Observer(graph, tensors, [Summary.LOW, Summary.HIGH]).over(batches):
        for name, summaries in found.items():
            seen = seen_range(summaries)
            ranges[name] = wider(ranges.get(name, seen), seen)
    if not ranges:
        raise InputError("calibration: 0 images; give at least one")
    return ranges


def seen_range(summaries: dict[Summary, Float]) -> Range:
    """Of a batch."""
    return Range(float(summaries[Summary.LOW].min()), float(summaries[Summary.HIGH].max()))

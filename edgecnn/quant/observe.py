"""How calibration data comes in: ONNX Runtime runs the FP32 graph over images, and no value passes unchecked.

What calibration wants of a tensor is a few numbers, and the runtime makes them where the values are: to copy all
activations of MobileNetV3-Large out of it takes longer than to compute them.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import Enum

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgecnn.data.preprocess import Float
from edgecnn.errors import InputError
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import AT_ONCE, as_many, in_chunks, shared_session
from edgecnn.names import INPUT, OUTPUT
from edgecnn.quant.patches import apart
from edgecnn.recipe import LARGEST_INPUT
from edgecnn.threads import in_order

SAMPLE = 2**13  # values of one image's tensor, at most


class Summary(Enum):
    """What is made of each image's values of a tensor: an operator of ONNX, over axes of (n, channels, positions)."""

    LOW = "ReduceMin", (1, 2)
    HIGH = "ReduceMax", (1, 2)
    MEAN = "ReduceMean", (1, 2)
    CHANNEL_LOWS = "ReduceMin", (2,)
    CHANNEL_HIGHS = "ReduceMax", (2,)
    CHANNEL_POWERS = "ReduceMean of squares", (2,)
    SAMPLE = "Slice", (1,)  # evenly, at most so many
    GRID = "Slice of positions", (2, 3)  # of every channel, evenly in both directions


class Observer:
    """Makes summaries of a graph's named tensors, batch by batch.

    Args:
        positions: of a grid, about.
    """

    def __init__(self, graph: Graph, tensors: Iterable[str], summaries: Sequence[Summary], positions: int = 1) -> None:
        self._graph, self._tensors, self._summaries = graph, list(tensors), summaries
        wanted = list(dict.fromkeys([*summaries, Summary.MEAN]))  # not a number if any value is not
        self._session = shared_session(_summarised(graph, self._tensors, wanted, positions))
        self._made = [_name(tensor, summary) for tensor in self._tensors for summary in wanted]

    def over(self, batches: Iterable[Float]) -> Iterator[dict[str, dict[Summary, Float]]]:
        """Summaries of each tensor, images first: (n,), (n, channels) or (n, sampled values).

        Args:
            batches: ``(n, C, H, W) float32, normalised``.

        Raises:
            InputError: what ``observe_values`` refuses.
        """
        count = 0
        for batch, found in in_order(self._run, _checked(batches)):  # decoding and counting are not the runtime's
            values = dict(zip(self._made, found, strict=True))
            if not all(np.isfinite(values[_name(tensor, Summary.MEAN)]).all() for tensor in self._tensors):
                for _ in observe_values(self._graph, self._tensors, [batch], count):  # says which; or it was too large
                    pass
            count += len(batch)
            yield {
                tensor: {summary: values[_name(tensor, summary)] for summary in self._summaries}
                for tensor in self._tensors
            }

    def _run(self, batch: Float) -> tuple[Float, list[Float]]:
        parts = in_chunks(batch, as_many(batch, AT_ONCE))
        found = [self._session.run(self._made, {INPUT: part}) for part in parts]
        return batch, [np.concatenate(values) for values in zip(*found, strict=True)]


def observe_values(
    graph: Graph, tensors: Iterable[str], batches: Iterable[Float], count: int = 0
) -> Iterator[dict[str, Float]]:
    """The named tensors' values, batch by batch.

    Args:
        batches: ``(n, C, H, W) float32, normalised``.
        count: of images before these, for messages.

    Raises:
        InputError: images that are not finite or not normalised, or on which a tensor is not finite. Minima, sums and
            histograms would launder either.
    """
    names = sorted(tensors, key=graph.positions.__getitem__)  # the first to go wrong is the one to be named
    model = with_batch(graph, None).copy()
    for name in names:
        if name not in (INPUT, OUTPUT):
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = shared_session(model.SerializeToString())
    made = [name for name in names if name != INPUT]
    for batch in _checked(batches, count):
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


def _checked(batches: Iterable[Float], count: int = 0) -> Iterator[Float]:
    for batch in batches:
        check_images(batch, count)
        count += len(batch)
        yield batch


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


def _summarised(graph: Graph, tensors: Collection[str], summaries: Sequence[Summary], grid: int) -> bytes:
    model = with_batch(graph, None).copy()
    for tensor in tensors:
        channels, *positions = graph.shapes[tensor]
        rows = f"{tensor}/rows"
        made = [
            _constant(f"{rows}/shape", [0, channels, int(np.prod(positions))]),
            helper.make_node("Reshape", [tensor, f"{rows}/shape"], [rows]),
        ]
        for summary in summaries:
            name = _name(tensor, summary)
            if summary is Summary.GRID:
                made += _grid(tensor, name, positions, grid)
            else:
                made += _nodes(summary, rows, name, channels, int(np.prod(positions)))
            model.graph.output.append(helper.make_tensor_value_info(made[-1].output[0], TensorProto.FLOAT, None))
        model.graph.node.extend(made)
    return bytes(model.SerializeToString())


def _grid(tensor: str, made: str, positions: Sequence[int], grid: int) -> list[onnx.NodeProto]:
    if not positions:
        return [helper.make_node("Identity", [tensor], [made])]
    height, width = positions
    step = apart(height, width, grid)
    return _slice(tensor, made, [0, 0], [height, width], Summary.GRID.value[1], [step, step])


def sample_step(channels: int, positions: int) -> int:
    """How far apart sampled values are: no factor shared with a channel's positions, so that it comes to all of them.

    Every 56th value of rows of 56 would be the left border alone, which padding makes unlike the rest.
    """
    step = -(-channels * positions // SAMPLE)
    while math.gcd(step, positions) > 1:
        step += 1
    return step


def _nodes(summary: Summary, rows: str, made: str, channels: int, positions: int) -> list[onnx.NodeProto]:
    """The last one makes the summary.

    Args:
        positions: of each channel of one image.
    """
    operator, axes = summary.value
    if summary is Summary.CHANNEL_POWERS:
        squares = helper.make_node("Mul", [rows, rows], [f"{made}/squares"])
        return [squares, helper.make_node("ReduceMean", squares.output, [made], axes=axes, keepdims=0)]
    if summary is not Summary.SAMPLE:
        return [helper.make_node(operator, [rows], [made], axes=axes, keepdims=0)]
    values, step = channels * positions, sample_step(channels, positions)
    flat = _constant(f"{made}/flat", [0, values])
    reshape = helper.make_node("Reshape", [rows, *flat.output], [f"{made}/values"])
    return [flat, reshape, *_slice(reshape.output[0], made, [0], [values], axes, [step])]


def _slice(tensor: str, made: str, *numbers: Sequence[int]) -> list[onnx.NodeProto]:
    """The last one takes values of a tensor.

    Args:
        numbers: where they start and end, along which axes, and in what steps.
    """
    constants = [_constant(f"{made}/slice/{place}", found) for place, found in enumerate(numbers)]
    return [*constants, helper.make_node("Slice", [tensor, *(one.output[0] for one in constants)], [made])]


def _constant(name: str, numbers: Iterable[int]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value_ints=list(numbers))


def _name(tensor: str, summary: Summary) -> str:
    return f"{tensor}/{summary.name}"

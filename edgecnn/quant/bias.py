"""Bias correction: the mean error that quantization leaves behind a layer is taken out of its bias.

Quantization noise is not zero-mean per channel, and depthwise networks add the means up (Nagel et al. 2019, arXiv
1906.04721, section 4.2; Finkelstein et al. 2019, arXiv 1906.03193). Those work on means of a layer's output over all
positions. But where an activation is flat, as HardSwish is below -3, nothing of an error is felt, and that is often
most of an image: its mean would move the few positions that count away from where they were right. So each position
counts by the square of the activation's slope, which makes the bias the one with the least squared error behind it.

The error has two parts. What the layer's own weight loses is taken out whole. What earlier layers left in its input
differs from image to image, and is corrected only as far as these images can tell: correcting all of it fits their
accidents, and costs 1 dB of EfficientNet-Lite0's logits on other photographs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.graph.attributes import attributes
from edgecnn.graph.graph import Graph
from edgecnn.quant.observe import Observer, Summary
from edgecnn.quant.patches import apart, padded, patches
from edgecnn.quant.placement import place
from edgecnn.quant.rounding import Batch
from edgecnn.quant.table import Float

Double = NDArray[np.float64]
Codes = NDArray[np.int8]

STEP = 1 / 80  # of a slope, kept as int8: HardSwish's reaches 1.5, which is 120
LOOKED_AT = 2**13  # positions of all images together, that a layer's output is looked at
MOST_VALUES = 96 * 2**20  # of all layers there
TRUSTED_FROM = 2.0  # standard errors of the mean
LEAST = 1e-4  # positions per image that must feel a channel's error, as if each did so in full


class FeltOfBatch(NamedTuple):
    """What is felt of a layer's output behind its activation, in FP32, at an even sample of positions.

    Args:
        slopes: (out, n, positions), of the activation, in steps.
        felt: (n, out), how much of an error's square is, as if so many positions felt all of it.
        wanted: (n, out), the output without its bias, summed over positions by the squares of their slopes.
    """

    slopes: Codes
    felt: Double
    wanted: Double


@dataclass(frozen=True)
class Felt:
    """What is felt of every layer.

    Args:
        batches: of each layer, by its output.
        positions: of an image, about.
    """

    batches: dict[str, list[FeltOfBatch]]
    positions: int


class Errors(NamedTuple):
    """Sums over positions, each by what is felt there of a layer's output.

    Args:
        inputs: (groups, out / groups, columns), over images too: the quantized input that weights multiply.
        upstream: (images, out), what the exact weight makes of it, less FP32's output.
        felt: (images, out), as ``FeltOfBatch`` has it.
    """

    inputs: Double
    upstream: Double
    felt: Double


def observe_felt(graph: Graph, batches: Sequence[Float]) -> Felt:
    """What is felt of every layer.

    The images are those that refine: another sample's outputs would differ by more than the error that is sought.
    """
    layers = set(place(graph).layers)
    biases = {
        node.output[0]: graph.weights[node.input[2]].astype(np.float32)[:, None]
        for node in graph.nodes
        if node.name in layers
    }
    names = list(biases)
    shapes = [graph.shapes[name] for name in names]
    images = sum(len(batch) for batch in batches)
    positions = -(-LOOKED_AT // images)
    while positions > 1 and images * _values(shapes, positions) > MOST_VALUES:
        positions //= 2
    found = Felt({name: [] for name in names}, positions)
    for summaries in Observer(graph, names, [Summary.GRID], positions).over(batches):
        for name in names:
            grid = summaries[name][Summary.GRID]
            values = grid.reshape(*grid.shape[:2], -1)
            slopes = np.rint(slope(graph, name, values) / STEP).astype(np.int8)
            shares = _shares(slopes)
            wanted = np.einsum("nop,nop->no", values - biases[name], shares).astype(np.float64)
            by_output = np.ascontiguousarray(slopes.swapaxes(0, 1))
            found.batches[name].append(FeltOfBatch(by_output, shares.sum(axis=2, dtype=np.float64), wanted))
    return found


def output_errors(
    node: onnx.NodeProto, weight: Float, positions: int, batches: Sequence[tuple[Batch, FeltOfBatch]]
) -> Errors:
    """What quantization in front of a layer does to its output, and how much the layer's own will count.

    Args:
        weight: (out, in / groups, ...) float32, exact.
        positions: of an image, as ``Felt`` has it.
        batches: the layer's input in the quantized graph, and what is felt of its output.
    """
    groups = attributes(node).get("group", 1)
    grouped = weight.reshape(groups, len(weight) // groups, -1)
    inputs, upstream = np.zeros(grouped.shape), []
    for batch, of_batch in batches:
        shares, made, first = _shares(of_batch.slopes), np.empty_like(of_batch.wanted), 0
        value, stride = padded(node, batch())
        for columns in patches(weight, value, stride, positions):
            images = slice(first, first := first + columns.shape[2] // shares.shape[2])
            some = shares[:, images]
            made[images] = np.einsum("onp,onp->no", (grouped @ columns).reshape(some.shape), some)
            inputs += some.reshape(*grouped.shape[:2], -1) @ columns.swapaxes(1, 2)
        upstream.append(made - of_batch.wanted)
    return Errors(inputs, np.concatenate(upstream), np.concatenate([of_batch.felt for _, of_batch in batches]))


def corrected_bias(bias: Float, lost: Float, errors: Sequence[Errors]) -> Float:
    """The bias with which the error that is felt behind a layer is zero on average, as far as the images can tell.

    Args:
        bias: (out,) float32, of the FP32 layer.
        lost: (out, in / groups, ...) float32, by which the rounded weight is above the exact one.
        errors: of every image.
    """
    upstream, felt = (np.concatenate(found) for found in ([e.upstream for e in errors], [e.felt for e in errors]))
    inputs = np.sum([found.inputs for found in errors], axis=0)
    own = (lost.reshape(inputs.shape) * inputs).sum(axis=2).reshape(-1)
    total = felt.sum(axis=0)
    alive = total > LEAST * len(felt)  # else nothing of the channel reaches anything
    whole = np.where(alive, total, 1.0)
    found = own / whole + _trusted_mean(upstream * len(felt) / whole)
    corrected: Float = (bias - np.where(alive, found, 0.0)).astype(np.float32)
    return corrected


def slope(graph: Graph, tensor: str, values: Float) -> Float:
    """Of the activation behind a tensor, at these values of it; 1 where there is none."""
    users = {node.op_type for node in graph.consumers.get(tensor, [])}
    found = np.ones_like(values)
    if "Relu" in users:
        found *= values > 0
    elif "Clip" in users:  # ReLU6
        found *= (values > 0) & (values < 6)
    elif "HardSwish" in users:
        found = np.where(values > 3, found, np.where(values < -3, 0, values / 3 + 0.5)).astype(np.float32)
    elif "HardSigmoid" in users:
        found *= (np.abs(values) < 3) / np.float32(6)
    elif "Sigmoid" in users:
        gate = (1 + np.tanh(values / 2)) / 2
        found *= gate * (1 + values * (1 - gate)) if "Mul" in users else gate * (1 - gate)
    return found


def _shares(slopes: Codes) -> Float:
    """Of an error's square, that are felt."""
    steps: Float = slopes * np.float32(STEP)
    return np.square(steps)


def _values(shapes: Sequence[Sequence[int]], positions: int) -> int:
    """Of one image, of all layers of these output shapes (channels, height, width) or (classes,)."""
    count = 0
    for channels, *sides in shapes:
        step = apart(sides[0], sides[1], positions) if sides else 1
        count += channels * math.prod(-(-side // step) for side in sides)
    return count


def _trusted_mean(errors: Double) -> Double:
    """The mean over images, shrunk towards zero by its own uncertainty; none of it below two standard errors.

    For each channel by itself, ``m * max(0, 1 - (2 * s / m) ** 2)``, with its mean ``m`` and that mean's standard error
    ``s``: the non-negative garrote (Breiman 1995, Technometrics 37(4), 373-384).

    Args:
        errors: (images, channels).
    """
    mean = errors.mean(axis=0)
    if len(errors) == 1:
        return np.zeros_like(mean)
    variance = errors.var(axis=0, ddof=1) / len(errors)
    power = np.maximum(mean * mean, np.finfo(np.float64).tiny)
    trusted: Double = mean * np.maximum(0.0, 1.0 - TRUSTED_FROM**2 * variance / power)
    return trusted

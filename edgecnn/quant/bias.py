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
from edgecnn.quant.table import Float, WeightQuantizer
from edgecnn.threads import in_parts

Double = NDArray[np.float64]
Half = NDArray[np.float16]  # halves the memory of what is only averaged

LOOKED_AT = 2**13  # positions of all images together, that a layer's output is looked at
MOST_VALUES = 96 * 2**20  # of all layers there
TRUSTED_FROM = 2.0  # standard errors of the mean
LEAST = 1e-4  # of positions that must feel a channel's error, as if each did so in full


@dataclass(frozen=True)
class Outputs:
    """Of layers in FP32.

    Args:
        values: of each layer, without its bias, (n, out, sampled positions) float16, batch by batch.
        positions: of an image, at most.
    """

    values: dict[str, list[Half]]
    positions: int


class Errors(NamedTuple):
    """Of a layer's output, (images, out): sums over positions, each by what is felt there.

    Args:
        own: what the rounded weight makes of the quantized input, less what the exact one does.
        upstream: what the exact weight makes of the quantized input, less FP32's output.
        felt: how much is, as if so many positions felt all of it.
    """

    own: Double
    upstream: Double
    felt: Double


def layer_outputs(graph: Graph, batches: Sequence[Float]) -> Outputs:
    """Every layer's FP32 output at an even sample of positions.

    They are of the very images that refine: another sample's would differ by more than the error that is sought.
    """
    layers = set(place(graph).layers)
    biases = {
        node.output[0]: graph.weights[node.input[2]].astype(np.float32) for node in graph.nodes if node.name in layers
    }
    names = list(biases)
    shapes = [graph.shapes[name] for name in names]
    images = sum(len(batch) for batch in batches)
    positions = -(-LOOKED_AT // images)
    while positions > 1 and images * _values(shapes, positions) > MOST_VALUES:
        positions //= 2
    found: dict[str, list[Half]] = {name: [] for name in names}
    largest = np.finfo(np.float16).max
    for summaries in Observer(graph, names, [Summary.GRID], positions).over(batches):
        for name in names:
            grid = summaries[name][Summary.GRID]
            values = grid.reshape(*grid.shape[:2], -1) - biases[name][:, None]
            found[name].append(np.clip(values, -largest, largest).astype(np.float16))
    return Outputs(found, positions)


def output_errors(
    graph: Graph, node: onnx.NodeProto, rounded: WeightQuantizer, inputs: Sequence[Batch], wanted: Outputs
) -> Errors:
    """What quantization does to a layer's output.

    Args:
        inputs: of the quantized graph, batch by batch.
        wanted: of the same batches.
    """
    weight, bias = (graph.weights[name].astype(np.float32) for name in node.input[1:3])
    outputs, groups = len(weight), attributes(node).get("group", 1)
    both = [one.reshape(groups, outputs // groups, -1) for one in (weight, rounded.real - weight)]
    factors = np.concatenate(both, axis=1)

    def of_batch(batch: Batch, want: Half) -> Errors:
        value, stride = padded(node, batch())
        rows = [
            (factors @ part).reshape(groups, 2, outputs // groups, -1, want.shape[2])
            for part in patches(weight, value, stride, wanted.positions)
        ]
        exact, lost = (found.reshape(outputs, *want.shape[::2]) for found in np.concatenate(rows, 3).swapaxes(0, 1))
        real = want.astype(np.float32).swapaxes(0, 1)
        felt = np.square(slope(graph, node.output[0], real + bias[:, None, None]))
        upstream = exact - real
        own, before = (np.einsum("oip,oip->io", one, felt) for one in (lost, upstream))
        return Errors(*(found.astype(np.float64) for found in (own, before, felt.sum(axis=2).T)))

    def of(part: Sequence[tuple[Batch, Half]]) -> list[Errors]:
        return [of_batch(*pair) for pair in part]

    pairs = list(zip(inputs, wanted.values[node.output[0]], strict=True))
    rows = [row for part in in_parts(of, pairs) for row in part]
    return Errors(*(np.concatenate(found) for found in zip(*rows, strict=True)))


def corrected_bias(bias: Float, errors: Errors) -> Float:
    """The bias with which the error that is felt behind a layer is zero on average, as far as the images can tell.

    Args:
        bias: (out,) float32, of the FP32 layer.
    """
    felt = errors.felt.sum(axis=0)
    alive = felt > LEAST * len(errors.felt)  # else nothing of the channel reaches anything
    whole = np.where(alive, felt, 1.0)
    upstream = _trusted_mean(errors.upstream * len(errors.felt) / whole)
    corrected: Float = (bias - np.where(alive, errors.own.sum(axis=0) / whole + upstream, 0.0)).astype(np.float32)
    return corrected


def slope(graph: Graph, tensor: str, values: Float) -> Float:
    """Of the activation behind a tensor, at these values of it; 1 where there is none."""
    users = {node.op_type for node in graph.consumers.get(tensor, [])}
    found = np.ones_like(values)
    if "Relu" in users:
        found[values <= 0] = 0
    elif "Clip" in users:  # ReLU6
        found[(values <= 0) | (values >= 6)] = 0
    elif "HardSwish" in users:
        found *= values / 3 + 0.5
        found[values > 3], found[values < -3] = 1, 0
    elif "HardSigmoid" in users:
        found /= 6
        found[np.abs(values) >= 3] = 0
    elif "Sigmoid" in users:
        gate = 1 / (1 + np.exp(-values))
        found *= gate * (1 + values * (1 - gate)) if "Mul" in users else gate * (1 - gate)
    return found


def _values(shapes: Sequence[Sequence[int]], positions: int) -> int:
    """Of one image, of all layers of these output shapes (channels, height, width) or (classes,)."""
    count = 0
    for channels, *sides in shapes:
        step = apart(sides[0], sides[1], positions) if sides else 1
        count += channels * math.prod(-(-side // step) for side in sides)
    return count


def _trusted_mean(errors: Double) -> Double:
    """The mean over images, shrunk towards zero by its own uncertainty; none of it below two standard errors.

    The positive part of James and Stein's estimator (1961), for each channel by itself.

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

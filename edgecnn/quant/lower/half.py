"""Scales that half precision can say, for graphs whose quantizers read and write it without a Cast.

Rounding a scale moves what its codes mean, so everything that was computed from it follows: codes of weights that the
rounding would carry away, the shift in front of a quantizer, and the biases that took that shift in.
"""

import numpy as np
from numpy.typing import NDArray

from edgecnn.graph.fp16 import fp16_arithmetic
from edgecnn.graph.graph import Graph, with_weights
from edgecnn.quant.lower.shift import weight_sums
from edgecnn.quant.saturation import WEIGHT_MAX

SMALLEST = np.finfo(np.float16).smallest_subnormal  # 2^-24


def with_fp16_scales(graph: Graph) -> Graph:
    """A lowered graph in half precision without Casts around its quantizers; see ``fp16_arithmetic``."""
    return fp16_arithmetic(half_scales(graph), fp16_scales=True)


def half_scales(graph: Graph) -> Graph:
    """The same graph, still float32, with every scale and shift a number of half precision.

    A scale moves by 2^-11 of itself at most, which changes no code. Below 2^-14 half precision has fewer bits, and the
    codes of a weight are found anew: it moves by half of its new step at most.

    Args:
        graph: lowered, with signed codes alone; see ``lower/shift.py``.
    """
    changed: dict[str, NDArray[np.generic]] = {}
    for node in graph.nodes:
        if node.op_type == "QuantizeLinear":
            changed[node.input[1]] = _rounded_scale(graph.weights[node.input[1]])
        elif node.op_type == "DequantizeLinear" and node.input[0] in graph.weights:
            codes, scale = (graph.weights[name] for name in node.input[:2])
            changed[node.input[1]], changed[node.input[0]] = _rounded_weight(codes, scale)
        elif node.op_type == "Sub":
            changed[node.input[1]] = _rounded(graph.weights[node.input[1]])
    rounded = with_weights(graph, changed)
    return with_weights(rounded, _biases(graph, rounded))


def _rounded(values: NDArray[np.generic]) -> NDArray[np.float32]:
    return np.asarray(values.astype(np.float16), np.float32)


def _rounded_scale(scale: NDArray[np.generic]) -> NDArray[np.float32]:
    return np.maximum(_rounded(scale), np.float32(SMALLEST))


def _rounded_weight(
    codes: NDArray[np.generic], scale: NDArray[np.generic]
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Scales, and the codes that are nearest to the same weights."""
    half = _rounded_scale(scale)
    too_small = WEIGHT_MAX * scale.astype(np.float64) / half >= WEIGHT_MAX + 0.5
    half[too_small] = np.nextafter(half[too_small].astype(np.float16), np.float16(np.inf))
    ratio = (scale.astype(np.float64) / half).reshape(-1, *(1,) * (codes.ndim - 1))
    return half, np.rint(codes.astype(np.float64) * ratio).astype(np.int8)


def _biases(graph: Graph, rounded: Graph) -> dict[str, NDArray[np.generic]]:
    """Of layers that read a shifted tensor: what they get back is the rounded shift by the rounded weights."""
    found: dict[str, NDArray[np.generic]] = {}
    for sub in graph.nodes:
        readers = graph.consumers[sub.output[0]] if sub.op_type == "Sub" else []
        for quantize in (node for node in readers if node.op_type == "QuantizeLinear"):
            (dequantize,) = graph.consumers[quantize.output[0]]
            for layer in graph.consumers[dequantize.output[0]]:
                was, now = (float(of.weights[sub.input[1]]) * weight_sums(of, layer) for of in (graph, rounded))
                bias = graph.weights[layer.input[2]].astype(np.float64) - was + now
                found[layer.input[2]] = bias.astype(np.float32)
    return found

"""Second-order rounding: each weight is rounded so that the ones after it can make good the error on real inputs.

The layer's output error is quadratic in its weights, with the covariance of its input as the Hessian (OBQ, Frantar and
Alistarh 2022, arXiv 2208.11580; GPTQ, Frantar et al. 2022, arXiv 2210.17323). Columns are rounded one by one, the most
excited first, and the error of each is spread over the columns that are left. A grouped convolution is a problem of its
own per group. The mean of the input is left out, because the bias takes care of it.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgecnn.data.preprocess import Float
from edgecnn.quant.table import WEIGHT_MAX, ActivationQuantizer, WeightQuantizer

Double = NDArray[np.float64]

ROWS = 4096  # input patches that a covariance is estimated from
GROUPED_ROWS = 1024  # likewise, for each group of a depthwise convolution, whose patches are a few pixels
DAMPING = 0.01  # of the mean diagonal, for directions that calibration never excited
BLOCK = 64  # columns after which the rest of the weight is updated at once


def round_weights(
    node: onnx.NodeProto, weight: Float, scale: Float, value: Float, quantizer: ActivationQuantizer
) -> WeightQuantizer:
    """The weight of a Conv or Gemm rounded for its own quantized input; its scales stay.

    Args:
        weight: (out, in / groups, ...) float32.
        scale: (out,) float32.
        value: (n, in, ...) float32, the layer's input.
        quantizer: of that input.
    """
    patches = quantizer.fake_quantize(_patches(node, weight, value))  # (groups, rows, columns)
    centred = patches - patches.mean(axis=1, keepdims=True)
    hessian = (centred.transpose(0, 2, 1) @ centred).astype(np.float64) / centred.shape[1]
    groups, _, columns = patches.shape
    codes = _round(
        weight.reshape(groups, -1, columns).astype(np.float64), scale.reshape(groups, -1).astype(np.float64), hessian
    )
    return WeightQuantizer(codes.reshape(weight.shape).astype(np.int8), scale)


def _patches(node: onnx.NodeProto, weight: Float, value: Float) -> Float:
    """A fixed random sample of the inputs that one output is made of: (groups, rows, columns)."""
    random = np.random.Generator(np.random.PCG64(0))
    if node.op_type == "Gemm":
        return value[None]
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    groups = attributes.get("group", 1)
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    stride_y, stride_x = attributes.get("strides", (1, 1))
    padded = np.pad(value, ((0, 0), (0, 0), (top, bottom), (left, right))) if top + left + bottom + right else value
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::stride_y, ::stride_x]  # (n, in, height, width, kernel, kernel), still a view
    positions = (windows.shape[0], *windows.shape[2:4])
    count = int(np.prod(positions))
    rows = min(count, GROUPED_ROWS if groups > 1 else ROWS)
    image, y, x = np.unravel_index(random.choice(count, rows, replace=False), positions)
    sampled = windows[image, :, y, x]  # (rows, in, kernel, kernel)
    return np.ascontiguousarray(sampled.reshape(rows, groups, -1).transpose(1, 0, 2))


def _round(weight: Double, scale: Double, hessian: Double) -> Double:
    """Codes of a weight ``(groups, out, columns)``, for its scale ``(groups, out)`` and hessian ``(groups, c, c)``."""
    columns = weight.shape[2]
    diagonal = np.einsum("gcc->gc", hessian)
    damping = DAMPING * diagonal.mean(axis=1) + np.finfo(np.float32).tiny
    order = np.argsort(-diagonal, axis=1, kind="stable")
    rest = np.take_along_axis(weight, order[:, None], axis=2)
    ordered = np.take_along_axis(np.take_along_axis(hessian, order[:, :, None], axis=1), order[:, None], axis=2)
    inverse = np.linalg.inv(ordered + damping[:, None, None] * np.eye(columns))
    upper = np.linalg.cholesky(inverse).transpose(0, 2, 1)
    codes = np.empty_like(rest)
    for start in range(0, columns, BLOCK):
        stop = min(start + BLOCK, columns)
        errors = np.empty((*rest.shape[:2], stop - start))
        for column in range(start, stop):
            codes[:, :, column] = np.clip(np.rint(rest[:, :, column] / scale), -WEIGHT_MAX, WEIGHT_MAX)
            error = (rest[:, :, column] - codes[:, :, column] * scale) / upper[:, column, column, None]
            rest[:, :, column:stop] -= error[:, :, None] * upper[:, column, None, column:stop]
            errors[:, :, column - start] = error
        rest[:, :, stop:] -= errors @ upper[:, start:stop, stop:]
    result = np.empty_like(codes)
    np.put_along_axis(result, order[:, None], codes, axis=2)
    return result

"""Windows that a layer slides over its input, unfolded, at an even sample of positions: what its weight multiplies."""

import math
from collections.abc import Iterator

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view

from edgecnn.data.preprocess import Float
from edgecnn.graph.attributes import attributes

VALUES = 2**24  # unfolded at a time


def apart(height: int, width: int, positions: int) -> int:
    """How far sampled positions are from each other in either direction, so that there are about so many.

    Each direction is rounded up by itself: of 52×52 positions with 304 asked for, every third makes 18×18, 324.
    """
    return math.ceil(math.sqrt(height * width / positions))


def padded(node: onnx.NodeProto, value: Float) -> tuple[Float, tuple[int, int]]:
    """What a layer's windows slide over, (n, in, height, width), and their stride; a Gemm has a single window."""
    if node.op_type == "Gemm":
        return value[:, :, None, None], (1, 1)
    known = attributes(node)
    top, left, bottom, right = known.get("pads", (0, 0, 0, 0))
    wide = np.pad(value, ((0, 0), (0, 0), (top, bottom), (left, right))) if top + left + bottom + right else value
    stride_y, stride_x = known.get("strides", (1, 1))
    return wide, (stride_y, stride_x)


def patches(weight: Float, value: Float, stride: tuple[int, int], positions: int) -> Iterator[Float]:
    """An even sample of the windows, some images at a time: (groups, columns, n × positions), image by image.

    Args:
        weight: (out, in / groups, ...) float32.
        value: what windows slide over, as ``padded`` has it.
        positions: of an image, about.
    """
    groups = value.shape[1] // weight.shape[1]
    windows = sliding_window_view(value, weight.shape[2:] or (1, 1), axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
    every = apart(windows.shape[2], windows.shape[3], positions)
    some = windows[:, :, ::every, ::every]
    for part in np.array_split(some, min(len(some), -(-some.size // VALUES))):
        columns = part[0, :, 0, 0].size // groups
        yield part.transpose(1, 4, 5, 0, 2, 3).reshape(groups, columns, -1)

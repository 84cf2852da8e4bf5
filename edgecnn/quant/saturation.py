"""Codes of weights for x86 kernels that add products in pairs, in 16 bits, and saturate.

VPMADDUBSW (Intel's Software Developer's Manual, volume 2) multiplies unsigned by signed bytes and adds each two
neighbours. Products of 255 with two weights of one sign fit as long as these are 128 together: 255 × 128 = 32,640. So
it is not each weight that has to do with seven bits, but each pair with eight, of which one may well have most.

Neighbours are input channels 2i and 2i + 1 at one place of the window. Depthwise kernels have none: they widen each
byte before they multiply. Both are so in OpenVINO and in ONNX Runtime (``tests/faults/test_saturation.py``).
"""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.graph.attributes import attributes, is_depthwise

WEIGHT_MAX = 127
PAIR_MAX = 128  # of both weights together, on either side of zero

Double = NDArray[np.float64]
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """What a layer's codes may be.

    Args:
        largest: of each, on either side of zero.
        neighbours: columns of the layer, (pairs, 2), whose products are added in 16 bits; no column is in two of them.
    """

    largest: int = WEIGHT_MAX
    neighbours: NDArray[np.intp] | None = None

    def widest(self, weight: Float) -> Float:
        """Of each output channel, (out,): what the largest code has to reach to.

        Args:
            weight: (out, in / groups, ...) float32.
        """
        columns = weight.reshape(len(weight), -1)
        alone: Float = np.abs(columns).max(axis=1)
        if self.neighbours is None:
            return alone
        pairs = columns[:, self.neighbours]
        sums = np.maximum(np.maximum(pairs, 0).sum(axis=2), np.maximum(-pairs, 0).sum(axis=2))
        found: Float = np.maximum(alone, sums.max(axis=1, initial=0.0))
        return found


EIGHT_BITS = Limits()


class Bounds:
    """What is left for the codes of columns that are rounded one by one: the first of two neighbours has the choice.

    Args:
        order: columns, in the order that they are rounded in.
    """

    def __init__(self, limits: Limits, order: NDArray[np.intp]) -> None:
        self._largest = limits.largest
        pairs = [] if limits.neighbours is None else np.argsort(order)[limits.neighbours].tolist()
        self._second = {min(pair): max(pair) for pair in pairs}  # by the first
        self._taken: dict[int, tuple[Double, Double]] = {}  # of a second's room, by positive and by negative codes

    def rounded(self, column: int, exact: Double) -> Double:
        """Codes of a column, (..., channels), nearest to ``exact``.

        Args:
            column: its place in the order.
        """
        above, below = self._taken.pop(column, (0.0, 0.0))
        highest = np.minimum(PAIR_MAX - above, self._largest)
        lowest = np.maximum(below - PAIR_MAX, -self._largest)
        codes: Double = np.minimum(np.maximum(np.rint(exact), lowest), highest)
        if column in self._second:
            self._taken[self._second[column]] = np.maximum(codes, 0), np.maximum(-codes, 0)
        return codes


def code_limits(node: onnx.NodeProto, weight: Float, reduced: bool) -> Limits:
    """Of a layer.

    Args:
        node: Conv or Gemm.
        weight: (out, in / groups, ...) float32.
        reduced: for kernels that add products in pairs, and not for those that add four in 32 bits.
    """
    if not reduced or is_depthwise(node, weight):
        return EIGHT_BITS
    channels, places = weight.shape[1], int(np.prod(weight.shape[2:]))
    if attributes(node).get("group", 1) > 1 or (channels % 2 and places > 1):
        return Limits(PAIR_MAX // 2)  # a stem's three channels: who is whose neighbour depends on the runtime
    columns = np.arange(channels * places).reshape(channels, places)
    even = channels - channels % 2
    return Limits(neighbours=np.stack((columns[:even:2].ravel(), columns[1:even:2].ravel()), axis=1))

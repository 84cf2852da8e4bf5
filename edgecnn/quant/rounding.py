"""Second-order rounding: each weight is rounded so that the ones after it can make good the error on real inputs.

The layer's output error is quadratic in its weights, with the covariance of its input as the Hessian (OBQ, Frantar and
Alistarh 2022, arXiv 2208.11580; GPTQ, Frantar et al. 2022, arXiv 2210.17323). Columns are rounded one by one, the most
excited first, and the error of each is spread over the columns that are left. A grouped convolution is a problem of its
own per group. The mean of the input is left out, because the bias takes care of it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgecnn.graph.attributes import attributes
from edgecnn.quant.saturation import EIGHT_BITS, Bounds, Limits
from edgecnn.quant.table import Float, WeightQuantizer
from edgecnn.threads import in_parts

Double = NDArray[np.float64]
Batch = Callable[[], Float]  # makes (n, in, ...) float32; several are made at a time, on threads of their own

PATCH_VALUES = 2**24  # unfolded at a time
POSITIONS = 256  # of an image that make its covariance; neighbours are alike: more gain nothing on EfficientNet-Lite0
# Of independent input patches that an image is worth, neighbours being alike: with it, shrinkage is near the best one
# for held-out images in every layer of EfficientNet-Lite0, from 9 columns to 1152 (2-fold, 27 images).
PATCHES_PER_IMAGE = 60
FEW_POSITIONS = 64  # where a window sees one channel: few columns need no more than what an image is worth
DAMPING = 0.01  # of the mean diagonal, for directions that calibration never excited
FITTED = 0.05  # that a scale moves at most: what calibration never excited has no say in it
BLOCK = 32  # columns that are not halved any more


@dataclass(frozen=True)
class Moments:
    """Of the input patches that a layer multiplies with its weight.

    Args:
        means: (images, groups, columns), of each image over positions.
        covariance: (groups, columns, columns), over images and positions.
        patches: how many were seen, of all images.
    """

    means: Double
    covariance: Double
    patches: int


def patch_means(node: onnx.NodeProto, weight: Float, batches: Sequence[Batch]) -> Double:
    """Means of a Conv's or Gemm's input patches over all positions, (images, groups, columns).

    Args:
        weight: (out, in / groups, ...) float32.
        batches: at least one.
    """

    def of(part: Sequence[Batch]) -> Double:
        return np.concatenate([_patch_means(weight, *_padded(node, batch())) for batch in part])

    return np.concatenate(in_parts(of, batches))


def observe_moments(node: onnx.NodeProto, weight: Float, batches: Sequence[Batch]) -> Moments:
    """Moments of a Conv's or Gemm's input: means over all positions, the covariance over an even sample of them.

    Args:
        weight: (out, in / groups, ...) float32.
        batches: at least one.
    """
    parts = in_parts(lambda part: _sums(node, weight, part), batches)
    means = np.concatenate([part.means for part in parts])
    rows = sum(part.rows for part in parts)
    mean: Double = sum((part.rows * part.mean for part in parts[1:]), parts[0].rows * parts[0].mean) / rows
    # Of the parts together, from each one's own (Chan, Golub and LeVeque 1979, Stanford STAN-CS-79-773).
    covariance = np.zeros_like(parts[0].squares)
    for part in parts:
        apart = part.mean - mean
        covariance += part.squares + part.rows * apart[:, :, None] * apart[:, None, :]
    return Moments(means, covariance / rows, rows)


def round_weights(weight: Float, scale: Float, moments: Moments, limits: Limits = EIGHT_BITS) -> WeightQuantizer:
    """A weight rounded for its own quantized input; then each channel's scale is the best one for its codes.

    Args:
        weight: (out, in / groups, ...) float32.
        scale: (out,) float32.
        moments: of that input.
        limits: of its codes.
    """
    _, groups, columns = moments.means.shape
    grouped = weight.reshape(groups, -1, columns).astype(np.float64)
    scales = scale.reshape(groups, -1).astype(np.float64)
    hessian = _shrunk(moments)
    codes = _round(grouped, scales, hessian, limits)
    fitted = _fitted(grouped, codes, scales, hessian)
    return WeightQuantizer(codes.reshape(weight.shape).astype(np.int8), fitted.reshape(-1).astype(np.float32))


def _padded(node: onnx.NodeProto, value: Float) -> tuple[Float, tuple[int, int]]:
    """What a layer's windows slide over, (n, in, height, width), and their stride; a Gemm has a single window."""
    if node.op_type == "Gemm":
        return value[:, :, None, None], (1, 1)
    known = attributes(node)
    top, left, bottom, right = known.get("pads", (0, 0, 0, 0))
    padded = np.pad(value, ((0, 0), (0, 0), (top, bottom), (left, right))) if top + left + bottom + right else value
    stride_y, stride_x = known.get("strides", (1, 1))
    return padded, (stride_y, stride_x)


class _Sums(NamedTuple):
    """Of some batches' patches.

    Args:
        means: (images, groups, columns), over all positions.
        mean: (groups, columns), of the sampled patches.
        squares: (groups, columns, columns), the sum of their products, less the mean.
        rows: how many were sampled.
    """

    means: Double
    mean: Double
    squares: Double
    rows: int


def _sums(node: onnx.NodeProto, weight: Float, batches: Sequence[Batch]) -> _Sums:
    first = batches[0]()
    patches = next(_patches(weight, *_padded(node, first[:1])))
    # Near the mean: of an input that hardly moves, squares would leave nothing but float32's rounding. Each place in a
    # window has its own: some see nothing but padding.
    shift: Float = np.asarray(patches.mean(axis=2, keepdims=True), np.float32)
    groups, columns, _ = shift.shape
    means, rows = [], 0
    moved_sum, squares = np.zeros((groups, columns)), np.zeros((groups, columns, columns))
    for batch in (lambda: first, *batches[1:]):
        padded, stride = _padded(node, batch())
        means.append(_patch_means(weight, padded, stride))
        for patches in _patches(weight, padded, stride):
            moved: Float = patches - shift
            squares += moved @ moved.swapaxes(1, 2)
            moved_sum += moved.mean(axis=2) * moved.shape[2]
            rows += moved.shape[2]
    moved_mean = moved_sum / rows
    squares -= rows * moved_mean[:, :, None] * moved_mean[:, None, :]
    return _Sums(np.concatenate(means), shift[:, :, 0] + moved_mean, squares, rows)


def _patch_means(weight: Float, padded: Float, stride: tuple[int, int]) -> Double:
    """Of each place in a window, over its positions: (n, groups, columns)."""
    images, channels, height, width = padded.shape
    kernel_y, kernel_x = weight.shape[2:] or (1, 1)
    across = (padded.reshape(-1, width) @ _places(width, kernel_x, stride[1])).reshape(-1, height, kernel_x)
    means: Double = _places(height, kernel_y, stride[0]).T.astype(np.float64) @ across
    return means.reshape(images, channels // weight.shape[1], -1)


def _places(size: int, kernel: int, stride: int) -> Float:
    """(size, kernel): what it multiplies becomes the mean, over positions of a window, at each place in it."""
    count = (size - kernel) // stride + 1
    places = np.zeros((size, kernel), np.float32)
    for place in range(kernel):
        places[place : place + stride * count : stride, place] = 1 / count
    return places


def _patches(weight: Float, padded: Float, stride: tuple[int, int]) -> Iterator[Float]:
    """An even sample of the windows, some images at a time: (groups, columns, n × positions)."""
    groups = padded.shape[1] // weight.shape[1]
    windows = sliding_window_view(padded, weight.shape[2:] or (1, 1), axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
    positions = POSITIONS if weight.shape[1] > 1 else FEW_POSITIONS
    every = math.ceil(math.sqrt(windows.shape[2] * windows.shape[3] / positions))
    some = windows[:, :, ::every, ::every]
    for part in np.array_split(some, min(len(some), -(-some.size // PATCH_VALUES))):
        columns = part[0, :, 0, 0].size // groups
        yield part.transpose(1, 4, 5, 0, 2, 3).reshape(groups, columns, -1)


def _shrunk(moments: Moments) -> Double:
    """The covariance with its off-diagonal shrunk by the share that a sample of this size gets wrong by chance.

    Few images excite few directions of a wide layer, and rounding would hide its errors in the others (the convex
    combination is Ledoit and Wolf's, 2004; the diagonal target is Schäfer and Strimmer's, 2005, target D).
    """
    columns = moments.covariance.shape[1]
    diagonal = np.einsum("gcc->gc", moments.covariance)
    patches = min(moments.patches, PATCHES_PER_IMAGE * len(moments.means))  # behind a global pool there is one
    kept = patches / (patches + columns)
    shrunk: Double = moments.covariance * kept + (1 - kept) * diagonal[:, None] * np.eye(columns)
    return shrunk


def _round(weight: Double, scale: Double, hessian: Double, limits: Limits) -> Double:
    """Codes of a weight ``(groups, out, columns)``, for its scale ``(groups, out)`` and hessian ``(groups, c, c)``."""
    groups, _, columns = weight.shape
    diagonal = np.einsum("gcc->gc", hessian)
    damping = DAMPING * diagonal.mean(axis=1) + np.finfo(np.float32).tiny
    order = np.argsort(-diagonal, axis=1, kind="stable")
    # In steps, and columns first, so that each is one run of memory.
    steps = np.take_along_axis(weight / scale[:, :, None], order[:, None], axis=2).swapaxes(1, 2)
    damped = hessian[np.arange(groups)[:, None, None], order[:, :, None], order[:, None]]
    damped += damping[:, None, None] * np.eye(columns)
    # The lower Cholesky factor of the inverse, without the inverse: backwards, it is the lower factor's own inverse.
    factor = np.asarray(np.linalg.cholesky(damped[:, ::-1, ::-1]), np.float64)
    lower = _inverse(factor)[:, ::-1, ::-1].swapaxes(1, 2)
    codes = np.ascontiguousarray(steps)
    _eliminate(codes, np.empty_like(codes), lower, Bounds(limits, order[0]))
    result = np.empty_like(weight)
    np.put_along_axis(result, order[:, None], codes.swapaxes(1, 2), axis=2)
    return result


def _eliminate(steps: Double, errors: Double, lower: Double, bounds: Bounds, first: int = 0) -> None:
    """Rounds columns in place, by halves: most of what one half's errors do to the other is products.

    Args:
        steps: (groups, columns, out), of which codes become.
        errors: likewise, to be filled: of each column, in steps over its diagonal.
        lower: (groups, columns, columns).
        first: of these columns, among all that the bounds know.
    """
    columns = steps.shape[1]
    if columns > BLOCK:
        half = columns // 2
        _eliminate(steps[:, :half], errors[:, :half], lower[:, :half, :half], bounds, first)
        steps[:, half:] -= lower[:, half:, :half] @ errors[:, :half]
        _eliminate(steps[:, half:], errors[:, half:], lower[:, half:, half:], bounds, first + half)
        return
    for column in range(columns):
        exact = steps[:, column].copy()
        codes = bounds.rounded(first + column, exact)
        error = (exact - codes) / lower[:, column, column, None]
        steps[:, column + 1 :] -= lower[:, column + 1 :, column, None] * error[:, None]
        steps[:, column], errors[:, column] = codes, error


def _inverse(lower: Double) -> Double:
    """Of lower triangular matrices, (groups, n, n), by halves: most of it is products."""
    columns = lower.shape[1]
    if columns <= BLOCK:
        return np.asarray(np.linalg.inv(lower))
    half = columns // 2
    first, second = _inverse(lower[:, :half, :half]), _inverse(lower[:, half:, half:])
    inverse = np.zeros_like(lower)
    inverse[:, :half, :half], inverse[:, half:, half:] = first, second
    inverse[:, half:, :half] = -second @ lower[:, half:, :half] @ first
    return inverse


def _fitted(weight: Double, codes: Double, scale: Double, hessian: Double) -> Double:
    """The scales ``(groups, out)`` with which codes leave the least squared error; a dead channel keeps its own."""
    along = codes @ hessian
    power, overlap = (np.einsum("goc,goc->go", along, other) for other in (codes, weight))
    best = np.where(power > 0, overlap / np.maximum(power, np.finfo(np.float64).tiny), scale)
    return np.clip(best, (1 - FITTED) * scale, (1 + FITTED) * scale)

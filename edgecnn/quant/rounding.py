"""Second-order rounding: each weight is rounded so that the ones after it can make good the error on real inputs.

The layer's output error is quadratic in its weights, with the covariance of its input as the Hessian (OBQ, Frantar and
Alistarh 2022, arXiv 2208.11580; GPTQ, Frantar et al. 2022, arXiv 2210.17323). Columns are rounded one by one, the most
excited first, and the error of each is spread over the columns that are left. A grouped convolution is a problem of its
own per group. The mean of the input is left out, because the bias takes care of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.quant.patches import padded, patches
from edgecnn.quant.saturation import EIGHT_BITS, Bounds, Limits
from edgecnn.quant.table import Float, WeightQuantizer
from edgecnn.threads import in_parts

Double = NDArray[np.float64]
Batch = Callable[[], Float]  # makes (n, in, ...) float32; several are made at a time, on threads of their own

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
        covariance: (groups, columns, columns), over images and positions.
        images: how many were seen.
        patches: how many were seen, of all images.
    """

    covariance: Double
    images: int
    patches: int


def observe_moments(node: onnx.NodeProto, weight: Float, batches: Sequence[Batch]) -> Moments:
    """Moments of a Conv's or Gemm's input, over an even sample of positions.

    Args:
        weight: (out, in / groups, ...) float32.
        batches: at least one.
    """
    parts = in_parts(lambda part: _sums(node, weight, part), batches)
    rows = sum(part.rows for part in parts)
    mean: Double = sum((part.rows * part.mean for part in parts[1:]), parts[0].rows * parts[0].mean) / rows
    # Of the parts together, from each one's own (Chan, Golub and LeVeque 1979, Stanford STAN-CS-79-773).
    covariance = np.zeros_like(parts[0].squares)
    for part in parts:
        apart = part.mean - mean
        covariance += part.squares + part.rows * apart[:, :, None] * apart[:, None, :]
    return Moments(covariance / rows, sum(part.images for part in parts), rows)


def round_weights(weight: Float, scale: Float, moments: Moments, limits: Limits = EIGHT_BITS) -> WeightQuantizer:
    """A weight rounded for its own quantized input; then each channel's scale is the best one for its codes.

    Args:
        weight: (out, in / groups, ...) float32.
        scale: (out,) float32.
        moments: of that input.
        limits: of its codes.
    """
    groups, columns, _ = moments.covariance.shape
    grouped = weight.reshape(groups, -1, columns).astype(np.float64)
    scales = scale.reshape(groups, -1).astype(np.float64)
    hessian = _shrunk(moments)
    codes = _round(grouped, scales, hessian, limits)
    fitted = _fitted(grouped, codes, scales, hessian)
    return WeightQuantizer(codes.reshape(weight.shape).astype(np.int8), fitted.reshape(-1).astype(np.float32))


class _Sums(NamedTuple):
    """Of some batches' patches.

    Args:
        mean: (groups, columns), of the sampled patches.
        squares: (groups, columns, columns), the sum of their products, less the mean.
        rows: how many were sampled.
        images: that they are of.
    """

    mean: Double
    squares: Double
    rows: int
    images: int


def _sums(node: onnx.NodeProto, weight: Float, batches: Sequence[Batch]) -> _Sums:
    first = batches[0]()
    positions = POSITIONS if weight.shape[1] > 1 else FEW_POSITIONS
    sampled = next(patches(weight, *padded(node, first[:1]), positions))
    # Near the mean: of an input that hardly moves, squares would leave nothing but float32's rounding. Each place in a
    # window has its own: some see nothing but padding.
    shift: Float = np.asarray(sampled.mean(axis=2, keepdims=True), np.float32)
    groups, columns, _ = shift.shape
    images = rows = 0
    moved_sum, squares = np.zeros((groups, columns)), np.zeros((groups, columns, columns))
    for batch in (lambda: first, *batches[1:]):
        value, stride = padded(node, batch())
        images += len(value)
        for sampled in patches(weight, value, stride, positions):
            moved: Float = sampled - shift
            squares += moved @ moved.swapaxes(1, 2)
            moved_sum += moved.mean(axis=2) * moved.shape[2]
            rows += moved.shape[2]
    moved_mean = moved_sum / rows
    squares -= rows * moved_mean[:, :, None] * moved_mean[:, None, :]
    return _Sums(shift[:, :, 0] + moved_mean, squares, rows, images)


def _shrunk(moments: Moments) -> Double:
    """The covariance with its off-diagonal shrunk by the share that a sample of this size gets wrong by chance.

    Few images excite few directions of a wide layer, and rounding would hide its errors in the others (the convex
    combination is Ledoit and Wolf's, 2004; the diagonal target is Schäfer and Strimmer's, 2005, target D).
    """
    columns = moments.covariance.shape[1]
    diagonal = np.einsum("gcc->gc", moments.covariance)
    seen = min(moments.patches, PATCHES_PER_IMAGE * moments.images)  # behind a global pool there is one
    kept = seen / (seen + columns)
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

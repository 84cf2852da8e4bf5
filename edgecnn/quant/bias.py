"""Bias correction: the mean error that quantization leaves in a layer's output is taken out of its bias.

Quantization noise is not zero-mean per channel, and depthwise networks add the means up (Nagel et al. 2019, arXiv
1906.04721, section 4.2; Finkelstein et al. 2019, arXiv 1906.03193). It has two parts. What the layer's own weight loses
is known exactly, from the mean of its input. What earlier layers left in that input differs from image to image, and is
corrected only as far as these images can tell: correcting all of it fits their accidents, and costs 1 dB of
EfficientNet-Lite0's logits on other photographs.
"""

import numpy as np
from numpy.typing import NDArray

from edgecnn.quant.table import Float, WeightQuantizer

Double = NDArray[np.float64]

TRUSTED_FROM = 2.0  # standard errors of the mean


def corrected_bias(bias: Float, weight: Float, rounded: WeightQuantizer, means: Double, wanted: Double) -> Float:
    """The bias with which the quantized layer has its FP32 channel means again, as far as the images can tell.

    Args:
        bias: (out,) float32, of the FP32 layer; ``weight: (out, in / groups, ...) float32`` likewise.
        means: (images, groups, columns), of the quantized input's patches.
        wanted: (images, out), the FP32 output's channel means of the same images.
    """
    before = mean_outputs(weight, means) + bias
    own = before.mean(axis=0) - bias - mean_outputs(rounded.real, means).mean(axis=0)
    upstream = wanted - before
    corrected: Float = (bias + own + _trusted_mean(upstream)).astype(np.float32)
    return corrected


def mean_outputs(weight: Float, means: Double) -> Double:
    """What a layer without bias puts out on average for each image: (images, out)."""
    images, groups, columns = means.shape
    grouped = weight.reshape(groups, -1, columns).astype(np.float64)
    outputs: Double = means.transpose(1, 0, 2) @ grouped.transpose(0, 2, 1)  # (groups, images, out / groups)
    return outputs.transpose(1, 0, 2).reshape(images, -1)


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

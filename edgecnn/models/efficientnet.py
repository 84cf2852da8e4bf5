"""EfficientNet by compound scaling (Tan and Le 2019, arXiv 1905.11946), and EfficientNet-Lite.

Lite is the authors' variant for integer hardware: no squeeze-excitation, ReLU6 for SiLU, stem and head unscaled
(tensorflow/tpu, models/official/efficientnet/lite).
"""

import math
from functools import partial
from typing import NamedTuple

from torch import nn

from edgecnn.models.blocks import (
    Activation,
    Classifier,
    ConvNormAct,
    InvertedResidual,
    Norm,
    SqueezeExcitation,
    make_divisible,
    tensorflow_norm,
)

# Expansion, kernel, first stride, output channels, repeats of each stage of B0: the paper's table 1.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
DROP_PATH = 0.2  # of the last block; earlier ones in proportion to their depth


class Scaling(NamedTuple):
    """One member of the family: multipliers of channels and of repeats, training and evaluation size, dropout."""

    width: float
    depth: float
    size: int
    dropout: float
    lite: bool = False
    norm: Norm = nn.BatchNorm2d


SCALINGS = {
    "efficientnet_b0": Scaling(1.0, 1.0, 224, 0.2),
    "efficientnet_b1": Scaling(1.0, 1.1, 240, 0.2),
    "efficientnet_b2": Scaling(1.1, 1.2, 260, 0.3),
    "efficientnet_b3": Scaling(1.2, 1.4, 300, 0.3),
    "efficientnet_b4": Scaling(1.4, 1.8, 380, 0.4),
    "efficientnet_b5": Scaling(1.6, 2.2, 456, 0.4, norm=tensorflow_norm),
    "efficientnet_b6": Scaling(1.8, 2.6, 528, 0.5, norm=tensorflow_norm),
    "efficientnet_b7": Scaling(2.0, 3.1, 600, 0.5, norm=tensorflow_norm),
    "efficientnet_lite0": Scaling(1.0, 1.0, 224, 0.2, lite=True, norm=tensorflow_norm),
    "efficientnet_lite1": Scaling(1.0, 1.1, 240, 0.2, lite=True, norm=tensorflow_norm),
    "efficientnet_lite2": Scaling(1.1, 1.2, 260, 0.3, lite=True, norm=tensorflow_norm),
    "efficientnet_lite3": Scaling(1.2, 1.4, 280, 0.3, lite=True, norm=tensorflow_norm),
    "efficientnet_lite4": Scaling(1.4, 1.8, 300, 0.3, lite=True, norm=tensorflow_norm),
}


def efficientnet(scaling: Scaling, num_classes: int = 1000, in_channels: int = 3) -> Classifier:
    """One network of the family, B0…B7 or Lite0…Lite4."""
    activation: Activation = nn.ReLU6 if scaling.lite else nn.SiLU
    stem, head = 32, 1280
    if not scaling.lite:
        stem, head = make_divisible(stem * scaling.width), 4 * make_divisible(320 * scaling.width)
    repeats = [math.ceil(stage[4] * scaling.depth) for stage in STAGES]
    if scaling.lite:
        repeats[0], repeats[-1] = STAGES[0][4], STAGES[-1][4]

    features: list[nn.Module] = [ConvNormAct(in_channels, stem, 3, 2, norm=scaling.norm, activation=activation)]
    channels, built, total = stem, 0, sum(repeats)
    for (expansion, kernel, stride, width, _), count in zip(STAGES, repeats, strict=True):
        out_channels = make_divisible(width * scaling.width)
        blocks: list[nn.Module] = []
        for index in range(count):
            # A quarter of the block's input, not of its expansion.
            attention = partial(_attention, squeezed=max(1, channels // 4))
            blocks.append(
                InvertedResidual(
                    channels,
                    make_divisible(channels * expansion),
                    out_channels,
                    kernel,
                    stride if index == 0 else 1,
                    scaling.norm,
                    activation,
                    None if scaling.lite else attention,
                    DROP_PATH * built / total,
                )
            )
            channels, built = out_channels, built + 1
        features.append(nn.Sequential(*blocks))
    features.append(ConvNormAct(channels, head, 1, norm=scaling.norm, activation=activation))
    return Classifier(
        nn.Sequential(*features), nn.Sequential(nn.Dropout(scaling.dropout), nn.Linear(head, num_classes))
    )


def _attention(channels: int, squeezed: int) -> SqueezeExcitation:
    return SqueezeExcitation(channels, squeezed, nn.SiLU, nn.Sigmoid)

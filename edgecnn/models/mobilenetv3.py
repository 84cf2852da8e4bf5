"""MobileNetV3: inverted residuals with squeeze-excitation and hard-swish (Howard et al. 2019, arXiv 1905.02244)."""

from functools import partial
from typing import NamedTuple

from torch import nn

from edgecnn.models.blocks import (
    Classifier,
    ConvNormAct,
    InvertedResidual,
    SqueezeExcitation,
    make_divisible,
    tensorflow_norm,
)


class Row(NamedTuple):
    """One row of the paper's tables 1 and 2."""

    kernel: int
    expanded: int
    out_channels: int
    attention: bool
    hard_swish: bool
    stride: int


LARGE = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)
SMALL = (
    Row(3, 16, 16, True, False, 2),
    Row(3, 72, 24, False, False, 2),
    Row(3, 88, 24, False, False, 1),
    Row(5, 96, 40, True, True, 2),
    Row(5, 240, 40, True, True, 1),
    Row(5, 240, 40, True, True, 1),
    Row(5, 120, 48, True, True, 1),
    Row(5, 144, 48, True, True, 1),
    Row(5, 288, 96, True, True, 2),
    Row(5, 576, 96, True, True, 1),
    Row(5, 576, 96, True, True, 1),
)


def attention(channels: int) -> SqueezeExcitation:
    """MobileNetV3's squeeze-excitation: a quarter of the channels, hard sigmoid as the gate (section 5.3)."""
    return SqueezeExcitation(channels, make_divisible(channels / 4), nn.ReLU, nn.Hardsigmoid)


def build(rows: tuple[Row, ...], head: int, num_classes: int = 1000, in_channels: int = 3) -> Classifier:
    """Stem, rows, last convolution of six times their channels, and the two-layer head."""
    features: list[nn.Module] = [ConvNormAct(in_channels, 16, 3, 2, norm=tensorflow_norm, activation=nn.Hardswish)]
    channels = 16
    for row in rows:
        features.append(
            InvertedResidual(
                channels,
                row.expanded,
                row.out_channels,
                row.kernel,
                row.stride,
                tensorflow_norm,
                nn.Hardswish if row.hard_swish else nn.ReLU,
                attention if row.attention else None,
            )
        )
        channels = row.out_channels
    last = 6 * channels
    features.append(ConvNormAct(channels, last, 1, norm=tensorflow_norm, activation=nn.Hardswish))
    classifier = nn.Sequential(
        nn.Linear(last, head), nn.Hardswish(inplace=True), nn.Dropout(0.2), nn.Linear(head, num_classes)
    )
    return Classifier(nn.Sequential(*features), classifier)


# 5,483,032 and 2,542,856 parameters at 1000 classes.
mobilenetv3_large = partial(build, LARGE, 1280)
mobilenetv3_small = partial(build, SMALL, 1024)

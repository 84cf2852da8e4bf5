"""MobileNetV1: depthwise-separable convolutions, nothing else (Howard et al. 2017, arXiv 1704.04861)."""

from torch import nn

from edgecnn.models.blocks import Classifier, ConvNormAct, DepthwiseSeparable

# Output channels and stride of each depthwise-separable layer: the paper's table 1.
LAYERS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


def mobilenetv1(num_classes: int = 1000, in_channels: int = 3) -> Classifier:
    """MobileNetV1 at width 1.0: 4,231,976 parameters at 1000 classes."""
    features: list[nn.Module] = [ConvNormAct(in_channels, 32, 3, 2)]
    channels = 32
    for out_channels, stride in LAYERS:
        features.append(DepthwiseSeparable(channels, out_channels, stride))
        channels = out_channels
    return Classifier(nn.Sequential(*features), nn.Sequential(nn.Dropout(0.001), nn.Linear(channels, num_classes)))

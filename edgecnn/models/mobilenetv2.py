"""MobileNetV2: inverted residuals with linear bottlenecks (Sandler et al. 2018, arXiv 1801.04381)."""

from torch import Tensor, nn

from edgecnn.models.blocks import Classifier, ConvNormAct

# Expansion, output channels, repeats and first stride of each stage: the paper's table 2.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class LinearBottleneck(nn.Module):
    """MobileNetV2's inverted residual; its projection's convolution and norm are bare, as checkpoints name them."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.use_residual = stride == 1 and in_channels == out_channels
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(ConvNormAct(in_channels, hidden, 1, activation=nn.ReLU6))
        layers += [
            ConvNormAct(hidden, hidden, 3, stride, hidden, activation=nn.ReLU6),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.use_residual else y


def mobilenetv2(num_classes: int = 1000, in_channels: int = 3) -> Classifier:
    """MobileNetV2 at width 1.0: 3,504,872 parameters at 1000 classes."""
    features: list[nn.Module] = [ConvNormAct(in_channels, 32, 3, 2, activation=nn.ReLU6)]
    channels = 32
    for expansion, out_channels, repeats, stride in STAGES:
        for index in range(repeats):
            features.append(LinearBottleneck(channels, out_channels, stride if index == 0 else 1, expansion))
            channels = out_channels
    features.append(ConvNormAct(channels, 1280, 1, activation=nn.ReLU6))
    return Classifier(nn.Sequential(*features), nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, num_classes)))

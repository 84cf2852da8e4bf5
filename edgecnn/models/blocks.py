"""The few blocks that every network here is made of.

Attribute names (``block``, ``fc1``, ``fc2``, positions inside ``Sequential``) follow torchvision, because a checkpoint
is keyed by them. Shapes are ``(N, C, H, W)`` float32 throughout.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

Activation = Callable[..., nn.Module]
Norm = Callable[[int], nn.Module]

GATE_DAMPING = 0.1  # of random squeeze-excitation weights, see settle

# The MobileNetV3 and larger EfficientNet checkpoints were trained with TensorFlow's BatchNorm constants.
tensorflow_norm: Norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Rounds a channel count to a multiple of ``divisor``, never losing more than 10 %.

    The rule is that of the MobileNet authors' code (tensorflow/models, research/slim/nets/mobilenet).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch norm, activation; padded so that stride 1 keeps the size.

    Args:
        activation: None leaves the output linear, as a bottleneck's projection is.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        norm: Norm = nn.BatchNorm2d,
        activation: Activation | None = nn.ReLU,
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
            norm(out_channels),
        ]
        if activation is not None:
            layers.append(activation(inplace=True))
        super().__init__(*layers)


class DepthwiseSeparable(nn.Sequential):
    """Depthwise 3×3, then pointwise 1×1, each with norm and activation (MobileNetV1, arXiv 1704.04861)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(
            ConvNormAct(in_channels, in_channels, 3, stride, groups=in_channels),
            ConvNormAct(in_channels, out_channels, 1),
        )


class SqueezeExcitation(nn.Module):
    """Channel attention: pool, two 1×1 convolutions, gate in 0..1, multiply (arXiv 1709.01507)."""

    def __init__(self, channels: int, squeezed: int, activation: Activation, gate: Activation) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation()
        self.scale_activation = gate()

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x)))))
        return x * gate


class StochasticDepth(nn.Module):
    """Drops a residual branch per sample while training (arXiv 1603.09382); the identity otherwise.

    Args:
        probability: of dropping, 0..1.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability
        mask = torch.empty((x.shape[0], 1, 1, 1), dtype=x.dtype, device=x.device).bernoulli_(keep)
        return x * mask / keep


class InvertedResidual(nn.Module):
    """Expand 1×1, depthwise, optional squeeze-excitation, project 1×1 linearly; add the input where shapes allow.

    MobileNetV3's and EfficientNet's block (arXiv 1905.02244, 1905.11946). MobileNetV2 nests the same layers under other
    names and keeps its own class.

    Args:
        attention: builds the squeeze-excitation for a channel count, or None.
        drop_path: probability of dropping the branch while training, 0..1.
    """

    def __init__(
        self,
        in_channels: int,
        expanded: int,
        out_channels: int,
        kernel: int,
        stride: int,
        norm: Norm,
        activation: Activation,
        attention: Callable[[int], nn.Module] | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.use_residual = stride == 1 and in_channels == out_channels
        layers: list[nn.Module] = []
        if expanded != in_channels:
            layers.append(ConvNormAct(in_channels, expanded, 1, norm=norm, activation=activation))
        layers.append(ConvNormAct(expanded, expanded, kernel, stride, expanded, norm, activation))
        if attention is not None:
            layers.append(attention(expanded))
        layers.append(ConvNormAct(expanded, out_channels, 1, norm=norm, activation=None))
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + self.stochastic_depth(y) if self.use_residual else y


class Classifier(nn.Module):
    """Features, global average pool, classifier: the whole network's shape.

    ``forward`` takes ``x: (N, in_channels, H, W) float32, normalised`` and returns logits ``(N, num_classes)``.
    """

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = classifier
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))
        return logits


def initialise(model: nn.Module) -> None:
    """Random weights to train from: He's normal for convolutions (fan out), a small normal for linear layers."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)


@torch.no_grad()
def settle(model: nn.Module, in_channels: int) -> None:
    """Scales batch norms by what one batch of noise excites, so that random weights give activations of ordinary size.

    Without it, squeeze-excitation halves the signal in every block, and a deep network answers with denormals. The
    noise is coarse and fine at once, as pictures are. The second moment is used, not the variance: an untrained network
    sees little difference between inputs, and dividing by that would blow pictures up. Untrained gates swing from shut
    to open for the same reason, and are damped. Left in evaluation mode.
    """
    for module in model.modules():
        if isinstance(module, SqueezeExcitation):
            module.fc2.weight.mul_(GATE_DAMPING)
    hooks = [
        module.register_forward_pre_hook(_scale_by_second_moment)
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    # In float64, then rounded: sums differ between thread counts and machines in their last digits, and weights are
    # known by their hash.
    model.eval().double()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # float64 runs a depthwise layer channel by channel, which threads only slow down
    try:
        coarse = nn.functional.interpolate(torch.randn(8, in_channels, 4, 4), size=(64, 64), mode="bilinear")
        model((coarse + 0.25 * torch.randn(8, in_channels, 64, 64)).double())
    finally:
        torch.set_num_threads(threads)
        for hook in hooks:
            hook.remove()
    model.float()


def _scale_by_second_moment(norm: nn.Module, inputs: tuple[Tensor]) -> None:
    statistic = norm.running_var
    if isinstance(statistic, Tensor):
        statistic.copy_(inputs[0].square().mean((0, 2, 3)).bfloat16())

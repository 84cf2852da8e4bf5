"""Batch norm folded into the convolution before it, in PyTorch (Jacob et al. 2018, arXiv 1712.05877, section 3.2)."""

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold(model: nn.Module) -> nn.Module:
    """A copy without batch norms that answers the same, up to rounding.

    A folded norm leaves an identity in its place, so that every other layer keeps its name.

    Args:
        model: in evaluation mode.
    """
    folded = copy.deepcopy(model)
    for sequence in folded.modules():
        if not isinstance(sequence, nn.Sequential):
            continue
        for (name, layer), (norm_name, norm) in pairwise(list(sequence.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(sequence, name, fuse_conv_bn_eval(layer, norm))
                setattr(sequence, norm_name, nn.Identity())
    return folded

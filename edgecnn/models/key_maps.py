"""State dicts under other projects' names, renamed to ours.

efficientnet-pytorch's spelling (``_blocks.7._depthwise_conv.weight``), which EfficientNet-Lite's checkpoint uses,
counts blocks through all stages; torchvision's counts stages, then blocks in each.
"""

from collections.abc import Iterator

from torch import Tensor

from edgecnn.errors import InputError
from edgecnn.models.blocks import InvertedResidual, SqueezeExcitation
from edgecnn.models.efficientnet import SCALINGS, efficientnet

State = dict[str, Tensor]

# What a state dict has before every name that was saved from inside a wrapper, or from inside wrappers of wrappers.
PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, of torch.compile, and of a trainer's own module


def to_torchvision(model: str, state: State) -> State:
    """The same tensors under torchvision's names; a state dict that has them already passes unchanged."""
    while prefix := next((p for p in PREFIXES if state and all(name.startswith(p) for name in state)), ""):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    if "_conv_stem.weight" not in state:
        return state
    if model not in SCALINGS:
        raise InputError(f"the state dict is an EfficientNet's (it has _conv_stem.weight), expected {model}'s")
    prefixes = dict(_efficientnet_pytorch(model))
    renamed = {}
    for name, tensor in state.items():
        prefix, _, leaf = name.rpartition(".")
        renamed[f"{prefixes.get(prefix, prefix)}.{leaf}"] = tensor
    return renamed


def _efficientnet_pytorch(model: str) -> Iterator[tuple[str, str]]:
    import torch

    with torch.device("meta"):  # names only, no memory
        network = efficientnet(SCALINGS[model])
    yield "_conv_stem", "features.0.0"
    yield "_bn0", "features.0.1"
    blocks = [(n, m) for n, m in network.named_modules() if isinstance(m, InvertedResidual)]
    for index, (name, module) in enumerate(blocks):
        theirs = f"_blocks.{index}"
        layers = list(module.block.named_children())
        convolutions = [position for position, layer in layers if not isinstance(layer, SqueezeExcitation)]
        spelled = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        # A block that does not expand has no first pair.
        for position, (convolution, norm) in zip(convolutions, spelled[-len(convolutions) :], strict=True):
            yield f"{theirs}.{convolution}", f"{name}.block.{position}.0"
            yield f"{theirs}.{norm}", f"{name}.block.{position}.1"
        for position, layer in layers:
            if isinstance(layer, SqueezeExcitation):
                yield f"{theirs}._se_reduce", f"{name}.block.{position}.fc1"
                yield f"{theirs}._se_expand", f"{name}.block.{position}.fc2"
    last = f"features.{len(network.features) - 1}"
    yield "_conv_head", f"{last}.0"
    yield "_bn1", f"{last}.1"
    yield "_fc", "classifier.1"

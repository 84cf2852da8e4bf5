"""Every registered network has the size that is published, takes what it should take, and is found by its names."""

import pytest
import torch
from torch import Tensor, nn

from edgecnn.errors import UsageError
from edgecnn.models.registry import ALIASES, MODELS, ModelSpec, find_model

# From the papers' own implementations and torchvision's tables, at 1000 classes.
PUBLISHED = {
    "mobilenetv1": 4_231_976,
    "mobilenetv2": 3_504_872,
    "mobilenetv3_small": 2_542_856,
    "mobilenetv3_large": 5_483_032,
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_lite0": 4_652_008,
}
NAMES = [f"efficientnet_b{i}" for i in range(8)] + [f"efficientnet_lite{i}" for i in range(5)]
FAMILIES = ["mobilenetv1", "mobilenetv2", "mobilenetv3_small", "efficientnet_b0", "efficientnet_lite0"]


def count_macs(model: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of convolutions and linear layers: outputs times the weights behind each."""
    total = 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        total += output.numel() * weight[0].numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    model(image)
    return total


def test_the_families_are_complete() -> None:
    assert set(MODELS) == {"mobilenetv1", "mobilenetv2", "mobilenetv3_small", "mobilenetv3_large", *NAMES}


@pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
def test_parameters_and_macs_are_the_registrys(spec: ModelSpec) -> None:
    with torch.device("meta"):
        model = spec.build().eval()
        image = torch.zeros(1, 3, spec.size, spec.size)
    assert sum(parameter.numel() for parameter in model.parameters()) == spec.params
    assert count_macs(model, image) == spec.macs


@pytest.mark.parametrize(("name", "params"), PUBLISHED.items())
def test_parameters_are_the_published_ones(name: str, params: int) -> None:
    assert MODELS[name].params == params


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("num_classes", "in_channels", "height", "width"), [(10, 3, 64, 64), (1, 1, 32, 96), (37, 4, 65, 33)]
)
def test_other_classes_channels_and_sizes(
    name: str, num_classes: int, in_channels: int, height: int, width: int
) -> None:
    with torch.device("meta"):
        model = MODELS[name].build(num_classes, in_channels).eval()
        logits = model(torch.zeros(2, in_channels, height, width))
    assert logits.shape == (2, num_classes)


@pytest.mark.parametrize("name", FAMILIES)
def test_networks_learn(name: str) -> None:
    """A training step, with stochastic depth and dropout, reaches every parameter."""
    torch.manual_seed(0)
    model = MODELS[name].build(4)
    # Eight, so that no residual branch is dropped for the whole batch.
    model(torch.randn(8, 3, 32, 32)).square().sum().backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


def test_every_alias_leads_to_a_model() -> None:
    assert find_model("mobilenetv3") is MODELS["mobilenetv3_large"]
    for alias, name in ALIASES.items():
        assert find_model(alias) is MODELS[name]
    assert not set(ALIASES) & set(MODELS)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("mobilnetv2", "mobilenetv2"), ("efficientnet-b0", "efficientnet_b0"), ("MobileNetV3_Large", "mobilenetv3_large")],
)
def test_a_typo_is_refused_with_the_nearest_name(typo: str, meant: str) -> None:
    with pytest.raises(UsageError, match="did you mean") as caught:
        find_model(typo)
    assert meant in str(caught.value)


def test_a_strange_name_is_refused_with_all_names() -> None:
    with pytest.raises(UsageError, match="unknown model 'zzz': known: ") as caught:
        find_model("zzz")
    assert all(name in str(caught.value) for name in MODELS)

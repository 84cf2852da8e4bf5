"""The counts are the published ones, and a SiLU is one activation."""

from collections.abc import Callable

import pytest

from edgecnn.graph.graph import Graph
from edgecnn.graph.macs import activation_sizes, facts, layer_macs

TinyGraph = Callable[..., Graph]


@pytest.mark.parametrize(
    ("name", "macs"),
    # The registry's own numbers, less what the classifier of 1000 classes has more than one of ten.
    [
        ("mobilenetv2", 300_774_272 - 1280 * 990),
        ("mobilenetv3_large", 216_589_760 - 1280 * 990),
        ("efficientnet_b0", 385_814_752 - 1280 * 990),
    ],
)
def test_multiply_accumulates_are_the_published_ones(tiny_graph: TinyGraph, name: str, macs: int) -> None:
    assert sum(layer_macs(tiny_graph(name, 224)).values()) == macs


def test_layers_keep_their_order_and_the_last_makes_the_logits(tiny_graph: TinyGraph) -> None:
    graph = tiny_graph("mobilenetv3_small")
    layers = list(layer_macs(graph))
    assert layers[0] == "features.0.0/Conv"
    assert layers[-1] == graph.nodes[-1].name == "classifier.3/Gemm"
    assert [row["name"] for row in facts(graph)["layers"]] == layers


def test_one_layer_by_hand(tiny_graph: TinyGraph) -> None:
    """3x3, 3 to 16 channels, 32x32 to 16x16; then a depthwise one to 8x8."""
    macs = layer_macs(tiny_graph("mobilenetv3_small"))
    assert macs["features.0.0/Conv"] == 16 * 16 * 16 * 3 * 9
    assert macs["features.1.block.0.0/Conv"] == 8 * 8 * 16 * 9
    assert macs["classifier.3/Gemm"] == 1024 * 10


def test_a_silu_goes_by_the_name_of_its_product(tiny_graph: TinyGraph) -> None:
    found = activation_sizes(tiny_graph("efficientnet_b0"))
    assert found["features.0.2/Mul"] == 32 * 16 * 16
    assert "features.0.2/Sigmoid" not in found
    gates = [name for name in found if name.endswith("/Sigmoid")]
    assert len(gates) == 16
    assert all(name.endswith(".scale_activation/Sigmoid") for name in gates)
    assert len(found) == 49 + 16  # the gates' own products are no activations


@pytest.mark.parametrize(("name", "kinds"), [("mobilenetv1", {"Relu"}), ("mobilenetv2", {"Clip"})])
def test_other_activations(tiny_graph: TinyGraph, name: str, kinds: set[str]) -> None:
    assert {node.rpartition("/")[2] for node in activation_sizes(tiny_graph(name))} == kinds

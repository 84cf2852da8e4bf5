"""Quantizers stand where INT8 kernels need them, and nowhere in squeeze-excitation."""

from collections.abc import Callable

import pytest

from edgecnn.graph.graph import Graph
from edgecnn.quant.placement import Role, place, skip_input

FAMILIES = ["mobilenetv1", "mobilenetv2", "mobilenetv3_small", "efficientnet_b0", "efficientnet_lite0"]
TinyGraph = Callable[..., Graph]


@pytest.mark.parametrize(
    ("name", "layers"),
    # All convolutions and linear layers but the two of each squeeze-excitation.
    [
        ("mobilenetv1", 27 + 1),
        ("mobilenetv2", 52 + 1),
        ("mobilenetv3_small", 52 - 2 * 9 + 2),
        ("efficientnet_b0", 81 - 2 * 16 + 1),
        ("efficientnet_lite0", 49 + 1),
    ],
)
def test_every_layer_but_squeeze_excitations_is_int8(tiny_graph: TinyGraph, name: str, layers: int) -> None:
    graph = tiny_graph(name)
    found = place(graph).layers
    assert len(found) == layers
    left_out = {node.name for node in graph.nodes if node.op_type in ("Conv", "Gemm")} - set(found)
    assert all(".fc1/Conv" in node or ".fc2/Conv" in node for node in left_out)


@pytest.mark.parametrize("name", FAMILIES)
def test_inputs_are_those_of_the_int8_layers(tiny_graph: TinyGraph, name: str) -> None:
    graph = tiny_graph(name)
    placement = place(graph)
    nodes = {node.name: node for node in graph.nodes}
    with_role = {tensor for tensor, roles in placement.roles.items() if Role.INPUT in roles}
    assert with_role == {nodes[layer].input[0] for layer in placement.layers}
    assert "image" in with_role


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_small", "efficientnet_b0", "efficientnet_lite0"])
def test_one_side_of_every_add_is_a_skip_and_the_other_a_convolution(tiny_graph: TinyGraph, name: str) -> None:
    graph = tiny_graph(name)
    roles = place(graph).roles
    adds = [node for node in graph.nodes if node.op_type == "Add"]
    assert adds
    for add in adds:
        skip = skip_input(graph, add)
        (other,) = set(add.input) - {skip}
        assert Role.SKIP in roles[skip]
        assert Role.SKIP not in roles.get(other, frozenset())
        assert graph.producers[other].op_type == "Conv"
        assert Role.OUTPUT in roles[add.output[0]]


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_are_taken_behind_a_relu_and_before_anything_else(tiny_graph: TinyGraph, name: str) -> None:
    graph = tiny_graph(name)
    placement = place(graph)
    roles = placement.roles
    assert "logits" not in roles
    for node in graph.nodes:
        if node.name not in placement.layers or node.output[0] == "logits":
            continue
        users = graph.consumers[node.output[0]]
        behind_relu = len(users) == 1 and users[0].op_type in ("Relu", "Clip")
        tensor = users[0].output[0] if behind_relu else node.output[0]
        assert Role.OUTPUT in roles[tensor]


@pytest.mark.parametrize("name", ["mobilenetv3_small", "efficientnet_b0"])
def test_nothing_inside_squeeze_excitation_has_a_quantizer(tiny_graph: TinyGraph, name: str) -> None:
    inside = ("/GlobalAveragePool", ".fc1/Conv", ".fc2/Conv", ".scale_activation/", ".2.activation/", ".1.activation/")
    for tensor in place(tiny_graph(name)).roles:
        assert tensor == "avgpool/GlobalAveragePool" or not any(part in tensor for part in inside)

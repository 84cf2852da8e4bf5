"""Quantizers stand where INT8 kernels need them, and around no product of a gate."""

from collections.abc import Callable

import pytest

from edgecnn.graph.graph import Graph
from edgecnn.quant.placement import Role, place, skip_input

FAMILIES = ["mobilenetv1", "mobilenetv2", "mobilenetv3_small", "efficientnet_b0", "efficientnet_lite0"]
TinyGraph = Callable[..., Graph]


@pytest.mark.parametrize(
    ("name", "layers", "gates"),
    [
        ("mobilenetv1", 27 + 1, 0),
        ("mobilenetv2", 52 + 1, 0),
        ("mobilenetv3_small", 52 + 2, 2 * 9),
        ("efficientnet_b0", 81 - 2 * 16 + 1, 0),
        ("efficientnet_lite0", 49 + 1, 0),
    ],
)
def test_every_layer_is_int8_but_gates_behind_a_sigmoid(
    tiny_graph: TinyGraph, name: str, layers: int, gates: int
) -> None:
    graph = tiny_graph(name)
    placement = place(graph)
    squeezed = (".fc1/Conv", ".fc2/Conv")
    assert len(placement.layers) == layers
    assert len(placement.gates) == gates
    assert placement.gates == {node for node in placement.layers if node.endswith(squeezed)}
    left_out = {node.name for node in graph.nodes if node.op_type in ("Conv", "Gemm")} - set(placement.layers)
    assert all(node.endswith(squeezed) for node in left_out)


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
        if node.name not in set(placement.layers) - placement.gates or node.output[0] == "logits":
            continue
        users = graph.consumers[node.output[0]]
        behind_relu = len(users) == 1 and users[0].op_type in ("Relu", "Clip")
        tensor = users[0].output[0] if behind_relu else node.output[0]
        assert Role.OUTPUT in roles[tensor]


@pytest.mark.parametrize("name", ["mobilenetv3_small", "efficientnet_b0"])
def test_inside_squeeze_excitation_only_what_its_layers_read_has_a_quantizer(tiny_graph: TinyGraph, name: str) -> None:
    """Neither the pool's input nor the gate has one, unless a layer outside reads it."""
    graph = tiny_graph(name)
    placement = place(graph)
    for node in graph.nodes:
        if node.name.endswith((".fc1/Conv", ".fc2/Conv")):
            assert (Role.INPUT in placement.roles.get(node.input[0], ())) == (node.name in placement.gates)
            assert node.output[0] not in placement.roles
    pools = [node for node in graph.nodes if node.name.endswith(".avgpool/GlobalAveragePool")]
    assert pools
    for pool in pools:
        assert Role.OUTPUT in placement.roles[pool.output[0]]
        for user in graph.consumers[pool.input[0]]:
            if user.op_type == "Mul":  # the gate's product
                assert not set(user.input) & {name for name, roles in placement.roles.items() if Role.INPUT in roles}


def test_a_runtime_sees_what_it_quantizes_alone(tiny_graph: TinyGraph) -> None:
    whole = place(tiny_graph("mobilenetv3_small"))
    inputs = whole.of({Role.INPUT})
    assert (inputs.layers, inputs.gates) == (whole.layers, whole.gates)
    assert inputs.roles == {name: frozenset({Role.INPUT}) for name, roles in whole.roles.items() if Role.INPUT in roles}
    assert len(inputs.roles) < len(whole.roles)
    assert whole.of(Role) == whole

"""Which tensors get a quantizer, and why: the roles that lowerings choose from.

INT8 convolutions and linear layers need their input and weight quantized. A residual Add reads its other input, the
skip, in eight bits when that is quantized too. Squeeze-excitation stays in float: its tensors are tiny, and its gate
multiplies every error.
"""

from dataclasses import dataclass
from enum import Enum

import onnx

from edgecnn.graph.graph import Graph
from edgecnn.names import INPUT, OUTPUT


class Role(Enum):
    """Why a tensor has a quantizer."""

    INPUT = "input"  # of an INT8 convolution or linear layer; every runtime needs it
    SKIP = "skip"  # the side of a residual Add that no convolution feeds directly
    OUTPUT = "output"  # of an INT8 layer, or of an Add; only runtimes with INT8-to-INT8 kernels need it


@dataclass(frozen=True)
class Placement:
    """INT8 layers by node name, and every tensor that may need a quantizer with its roles."""

    layers: tuple[str, ...]
    roles: dict[str, frozenset[Role]]


def place(graph: Graph) -> Placement:
    """Finds the INT8 layers and the roles of the tensors around them."""
    gated = _squeeze_excitation(graph)
    layers = [
        node for node in graph.nodes if node.op_type == "Gemm" or (node.op_type == "Conv" and node.name not in gated)
    ]
    roles: dict[str, set[Role]] = {}
    for node in layers:
        roles.setdefault(node.input[0], set()).add(Role.INPUT)
        output = activation_output(graph, node)
        if output != OUTPUT:
            roles.setdefault(output, set()).add(Role.OUTPUT)
    for node in graph.nodes:
        if node.op_type == "Add":
            roles.setdefault(skip_input(graph, node), set()).add(Role.SKIP)
            roles.setdefault(node.output[0], set()).add(Role.OUTPUT)
    return Placement(tuple(node.name for node in layers), {name: frozenset(found) for name, found in roles.items()})


def activation_output(graph: Graph, layer: onnx.NodeProto) -> str:
    """The tensor behind a layer and its ReLU or ReLU6, which a quantizer's own saturation can stand in for."""
    output: str = layer.output[0]
    users = graph.consumers.get(output, [])
    if len(users) == 1 and users[0].op_type in ("Relu", "Clip"):
        return str(users[0].output[0])
    return output


def skip_input(graph: Graph, add: onnx.NodeProto) -> str:
    """The input of an Add that is not a convolution's own output; the earlier one where both are."""
    order = {node.output[0]: position for position, node in enumerate(graph.nodes)} | {INPUT: -1}
    first, second = sorted(add.input, key=order.__getitem__)
    producer = graph.producers.get(second)
    return str(first if producer is not None and producer.op_type == "Conv" else second)


def _squeeze_excitation(graph: Graph) -> set[str]:
    """Names of convolutions that follow a global pool: the two of each squeeze-excitation."""
    pooled: set[str] = set()
    names: set[str] = set()
    for node in graph.nodes:  # in topological order
        if node.op_type == "GlobalAveragePool":
            pooled.add(node.output[0])
        elif any(name in pooled for name in node.input):
            if node.op_type == "Conv":
                names.add(node.name)
            # The gate's Mul returns to full size; anything else stays a vector per image.
            if node.op_type != "Mul" or all(name in pooled for name in node.input):
                pooled.add(node.output[0])
    return names

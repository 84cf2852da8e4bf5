"""Which tensors get a quantizer, and why: the roles that lowerings choose from.

INT8 convolutions and linear layers need their input and weight quantized. A residual Add reads its other input, the
skip, in eight bits when that is quantized too. Squeeze-excitation pools and multiplies in float, for its gate
multiplies every error. The two layers that compute MobileNetV3's gates are INT8 where a runtime gains by it: they work
on vectors, and what they cost is reading their weights, a fourth of the network's. EfficientNet's are smaller, and INT8
costs 3 dB of the refined B0's logits for 1 % of its time; they stay float.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import Enum

import onnx

from edgecnn.graph.attributes import pads
from edgecnn.graph.graph import Graph
from edgecnn.names import OUTPUT


class Role(Enum):
    """Why a tensor has a quantizer."""

    INPUT = "input"  # of an INT8 convolution or linear layer; every runtime needs it
    SKIP = "skip"  # the side of a residual Add that no convolution feeds directly
    OUTPUT = "output"  # of an INT8 layer, an Add or a pool; only runtimes with INT8-to-INT8 kernels need it
    ACTIVATION = "activation"  # a layer's output that HardSwish or SiLU computes from, where codes can do that


@dataclass(frozen=True)
class Placement:
    """INT8 layers by node name, and every tensor that may need a quantizer with its roles.

    Args:
        gates: those of the INT8 layers that compute a squeeze-excitation's gate.
    """

    layers: tuple[str, ...]
    gates: frozenset[str]
    roles: dict[str, frozenset[Role]]

    def of(self, roles: Iterable[Role]) -> "Placement":
        """The same with these roles alone, and the tensors that have one of them."""
        wanted = frozenset(roles)
        return replace(self, roles={name: found & wanted for name, found in self.roles.items() if found & wanted})


def place(graph: Graph) -> Placement:
    """Finds the INT8 layers and the roles of the tensors around them."""
    squeezed = _squeeze_excitations(graph)
    gates = frozenset(name for found in squeezed if found.quantizable for name in found.layers)
    float_layers = frozenset(name for found in squeezed for name in found.layers) - gates
    layers = [node for node in graph.nodes if node.op_type in ("Conv", "Gemm") and node.name not in float_layers]
    roles: dict[str, set[Role]] = {}
    for node in layers:
        roles.setdefault(node.input[0], set()).add(Role.INPUT)
        output = activation_output(graph, node)
        if output != OUTPUT and node.name not in gates:
            roles.setdefault(output, set()).add(Role.OUTPUT)
    for node in graph.nodes:
        if node.op_type == "Add":
            roles.setdefault(skip_input(graph, node), set()).add(Role.SKIP)
            roles.setdefault(node.output[0], set()).add(Role.OUTPUT)
        elif node.op_type == "GlobalAveragePool":
            roles.setdefault(node.output[0], set()).add(Role.OUTPUT)
        elif node.op_type in ("HardSwish", "Sigmoid") and Role.OUTPUT in roles.get(node.input[0], ()):
            roles[node.input[0]].add(Role.ACTIVATION)
    return Placement(
        tuple(node.name for node in layers), gates, {name: frozenset(found) for name, found in roles.items()}
    )


def needing_zero(graph: Graph, placement: Placement) -> frozenset[str]:
    """Tensors of which zero must be code zero: a layer pads them with it, or an Add reads them.

    Of all others a zero-point is a constant that the layers behind them can take into their biases.
    """
    padded = {node.input[0] for node in graph.nodes if node.name in placement.layers and pads(node)}
    return frozenset(padded | {name for name, roles in placement.roles.items() if Role.SKIP in roles})


def activation_output(graph: Graph, layer: onnx.NodeProto) -> str:
    """The tensor behind a layer and its ReLU or ReLU6, which a quantizer's own saturation can stand in for."""
    output: str = layer.output[0]
    users = graph.consumers.get(output, [])
    if len(users) == 1 and users[0].op_type in ("Relu", "Clip"):
        return str(users[0].output[0])
    return output


def reads_codes(
    graph: Graph, reader: onnx.NodeProto, tensor: str, roles: Collection[Role], layers: Collection[str]
) -> bool:
    """Whether a node reads a tensor's quantized side, where INT8 kernels leave a float side beside it.

    Args:
        roles: that codes are for.
        layers: INT8 ones.
    """
    if reader.op_type == "Add":
        return Role.SKIP in roles and tensor == skip_input(graph, reader)
    return Role.INPUT in roles and reader.name in layers


def skip_input(graph: Graph, add: onnx.NodeProto) -> str:
    """The input of an Add that is not a convolution's own output; the earlier one where both are."""
    first, second = sorted(add.input, key=graph.positions.__getitem__)
    producer = graph.producers.get(second)
    return str(first if producer is not None and producer.op_type == "Conv" else second)


@dataclass(frozen=True)
class _Gate:
    """The convolutions between a pool and the product with its gate."""

    layers: tuple[str, ...]
    quantizable: bool


def _squeeze_excitations(graph: Graph) -> list[_Gate]:
    """The gates behind every global pool; the last pool of a network has none."""
    pooled: dict[str, str] = {}  # the pool behind every tensor that is one vector per image
    nodes: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.nodes:  # in topological order
        behind = [pooled[name] for name in node.input if name in pooled]
        if node.op_type == "GlobalAveragePool":
            pooled[node.output[0]] = node.name
        elif behind:
            nodes.setdefault(behind[0], []).append(node)
            # The gate's Mul returns to full size; anything else stays a vector per image.
            if node.op_type != "Mul" or all(name in pooled for name in node.input):
                pooled[node.output[0]] = behind[0]
    return [
        _Gate(
            tuple(node.name for node in found if node.op_type == "Conv"),
            not any(node.op_type == "Sigmoid" for node in found),
        )
        for found in nodes.values()
    ]

"""What each node of a network computes: the numbers that let a device say which share of it runs in INT8.

They travel in the manifest, because a device has no ONNX package to count with.
"""

import math
from typing import Any

import onnx

from edgecnn.graph.check import ACTIVATIONS
from edgecnn.graph.graph import Graph


def layer_macs(graph: Graph) -> dict[str, int]:
    """Multiply-accumulates of one image, by convolution and linear layer, in the graph's order.

    Args:
        graph: FP32, at batch 1.
    """
    sizes = {name: math.prod(shape) for name, shape in graph.shapes.items()}
    found = {}
    for node in graph.nodes:
        if node.op_type in ("Conv", "Gemm"):
            weight = graph.weights[node.input[1]].shape  # (out, in / groups, kernel, kernel) or (out, in)
            found[node.name] = sizes[node.output[0]] * math.prod(weight[1:])
    return found


def activation_sizes(graph: Graph) -> dict[str, int]:
    """Values of one image that each activation makes, by node, in the graph's order.

    A SiLU is two nodes, a sigmoid and its product with its own input, and goes by the name of the product.
    """
    sizes = {name: math.prod(shape) for name, shape in graph.shapes.items()}
    found = {}
    for node in graph.nodes:
        inside = any(_is_silu(graph, user) for user in graph.consumers.get(node.output[0], []))
        if _is_silu(graph, node) or (node.op_type in ACTIVATIONS and not (node.op_type == "Sigmoid" and inside)):
            found[node.name] = sizes[node.output[0]]
    return found


def facts(graph: Graph) -> dict[str, Any]:
    """The manifest's entry on an FP32 graph; lists, because their order counts and a sorted object has none."""
    return {
        "sha256": graph.sha256,
        "layers": [{"name": name, "macs": count} for name, count in layer_macs(graph).items()],
        "activations": [{"name": name, "values": count} for name, count in activation_sizes(graph).items()],
    }


def _is_silu(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type != "Mul":
        return False
    for gate, value in (tuple(node.input), tuple(reversed(node.input))):
        producer = graph.producers.get(gate)
        if producer is not None and producer.op_type == "Sigmoid" and producer.input[0] == value:
            return True
    return False

"""Zero-points taken into biases, for runtimes that have none.

An unpadded layer that reads ``x = scale * (code - zero_point)`` may as well read ``x - c`` with signed codes and no
zero-point, where ``c = scale * (128 - zero_point)``: the codes are the same less 128, and what the layer loses is its
weights' sum times ``c``, a constant that its bias gets back.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgecnn.errors import BuildError
from edgecnn.graph.attributes import pads
from edgecnn.graph.check import check_graph
from edgecnn.graph.graph import Graph

Double = NDArray[np.float64]

MIDDLE = 128  # of unsigned codes, which becomes 0


def absorb_zero_points(graph: Graph) -> Graph:
    """The graph with signed codes alone; each tensor that had unsigned ones is shifted in front of its quantizer.

    Args:
        graph: lowered, with float biases.

    Raises:
        BuildError: a layer pads such a tensor, or something that is no layer reads it.
    """
    model = graph.copy()
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    biases: dict[str, Double] = {}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        zero_point = graph.weights[node.input[2]] if node.op_type == "QuantizeLinear" else None
        if zero_point is not None and zero_point.dtype == np.uint8:
            tensor, scale = node.input[0], graph.weights[node.input[1]].astype(np.float32)
            shift = np.asarray(scale * np.float32(MIDDLE - int(zero_point)), np.float32)
            constants[f"{tensor}/shift"] = numpy_helper.from_array(shift, f"{tensor}/shift")
            constants[node.input[2]] = numpy_helper.from_array(np.array(0, np.int8), node.input[2])
            nodes.append(helper.make_node("Sub", [tensor, f"{tensor}/shift"], [f"{tensor}/Sub"], f"{tensor}/Sub"))
            node.input[0] = f"{tensor}/Sub"
            for layer in _readers(graph, node):
                bias = biases.get(layer.input[2], graph.weights[layer.input[2]].astype(np.float64))
                biases[layer.input[2]] = bias + float(shift) * weight_sums(graph, layer)
        nodes.append(node)
    constants |= {name: numpy_helper.from_array(bias.astype(np.float32), name) for name, bias in biases.items()}
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(constants[name] for name in sorted(constants))
    shifted = Graph(model)
    check_graph(shifted, "lowered graph (shifted)")
    return shifted


def _readers(graph: Graph, quantize: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The layers that read a tensor's codes, all of them able to take its zero-point in."""
    (dequantize,) = graph.consumers[quantize.output[0]]
    layers = graph.consumers[dequantize.output[0]]
    for layer in layers:
        if layer.op_type != "Conv" or pads(layer):
            where = f"{layer.op_type} {layer.name!r}"
            raise BuildError(f"{quantize.name!r} has a zero-point that {where} cannot take into a bias")
    return layers


def weight_sums(graph: Graph, layer: onnx.NodeProto) -> Double:
    """Of a layer's dequantized weights, (output channels,): what its output loses where its input is lower by one."""
    codes, scale = (graph.weights[name].astype(np.float64) for name in graph.producers[layer.input[1]].input[:2])
    return np.asarray(scale * codes.reshape(len(codes), -1).sum(axis=1))

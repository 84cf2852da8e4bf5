"""Linear tensors raised until they begin at zero, for runtimes that are faster without zero-points.

What a convolution or a residual Add puts out, with no activation behind it, may as well be higher by a constant. Higher
by (scale × zero-point), its codes stay the same and need no zero-point. The bias in front raises it, and the biases of
what reads it take that back: an unpadded layer's own, and for a residual Add that of the convolution it is fused with.
No node is added. Behind an activation the constant would need one, which was measured to cost what it gains.
"""

from collections import defaultdict

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn.graph.attributes import pads
from edgecnn.graph.check import check_graph
from edgecnn.graph.graph import Graph, with_weights
from edgecnn.quant.lower.shift import weight_sums

Double = NDArray[np.float64]


def raise_linear_tensors(graph: Graph) -> Graph:
    """The same function and codes, up to the rounding of biases, with zero-point 0 wherever biases can see to it.

    Args:
        graph: lowered, with unsigned codes and float biases.
    """
    added: dict[str, Double] = defaultdict(lambda: np.zeros(()))
    changed: dict[str, NDArray[np.generic]] = {}
    for quantize in graph.nodes:
        if quantize.op_type != "QuantizeLinear" or not graph.weights[quantize.input[2]]:
            continue
        constant = float(graph.weights[quantize.input[1]]) * int(graph.weights[quantize.input[2]])
        moves = _moves(graph, quantize, constant)
        for bias, amount in moves or []:
            added[bias] = added[bias] + amount
        if moves is not None:
            changed[quantize.input[2]] = np.zeros_like(graph.weights[quantize.input[2]])
    for bias, amount in added.items():
        changed[bias] = (graph.weights[bias].astype(np.float64) + amount).astype(np.float32)
    raised = with_weights(graph, changed)
    check_graph(raised, "lowered graph (raised)")
    return raised


def _moves(graph: Graph, quantize: onnx.NodeProto, constant: float) -> list[tuple[str, Double]] | None:
    """What biases get when a quantized tensor is higher by a constant; None where a reader would notice."""
    tensor = quantize.input[0]
    producer = _bare_layer(graph, tensor)
    if producer is None:
        return None
    moves = [(producer.input[2], np.array(constant))]
    for reader in graph.consumers[tensor]:
        if reader.op_type == "Add":
            fused = next((_only_for(graph, name, reader) for name in reader.input if name != tensor), None)
            if fused is None:
                return None
            moves.append((fused.input[2], np.array(-constant)))
        elif reader.op_type != "QuantizeLinear":
            return None
    (dequantize,) = graph.consumers[quantize.output[0]]
    for layer in graph.consumers[dequantize.output[0]]:
        if layer.op_type != "Conv" or pads(layer):
            return None
        moves.append((layer.input[2], -constant * weight_sums(graph, layer)))
    return moves


def _bare_layer(graph: Graph, tensor: str) -> onnx.NodeProto | None:
    """The convolution whose bias moves a tensor and nothing else: its own, or one of the residual Add that makes it."""
    producer = graph.producers.get(tensor)
    if producer is None or producer.op_type != "Add":
        return producer if producer is not None and producer.op_type == "Conv" else None
    found = (_only_for(graph, name, producer) for name in producer.input)
    return next((layer for layer in found if layer is not None), None)


def _only_for(graph: Graph, tensor: str, reader: onnx.NodeProto) -> onnx.NodeProto | None:
    """The convolution that makes a tensor for one reader alone."""
    producer = graph.producers.get(tensor)
    alone = len(graph.consumers[tensor]) == 1
    return producer if producer is not None and producer.op_type == "Conv" and alone else None

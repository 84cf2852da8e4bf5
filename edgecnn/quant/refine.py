"""Refinement layer by layer, each with everything before it quantized: rounding for its real input, then its bias.

Quantization noise is not zero-mean per channel, and depthwise networks add the means up; each layer's mean error is
taken out of its bias (Nagel et al. 2019, arXiv 1906.04721, section 4.2; Finkelstein et al. 2019, arXiv 1906.03193).
Layers are visited in the graph's order, so a later layer also corrects what earlier ones left.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.data.preprocess import Float
from edgecnn.graph.graph import IR_VERSION, OPSET, Graph
from edgecnn.graph.session import inference_session
from edgecnn.names import INPUT
from edgecnn.quant.calibrate import channel_means, observe_means
from edgecnn.quant.lower.qdq import activation_pair
from edgecnn.quant.placement import skip_input
from edgecnn.quant.rounding import round_weights
from edgecnn.quant.table import Layer, QuantizerTable

CHUNK = 8  # images that one node runs over at a time


def refine(
    graph: Graph, table: QuantizerTable, images: Float, on_layer: Callable[[], None] = lambda: None
) -> QuantizerTable:
    """The table with weights rounded to second order, and biases that give every layer its FP32 channel means again.

    Args:
        images: (n, C, H, W) float32, normalised; all live tensors of this many images are held in memory.
        on_layer: called after each layer.
    """
    layers = {layer.node: layer for layer in table.layers}
    outputs = [node.output[0] for node in graph.nodes if node.name in layers]
    # Over these very images: another sample's means would differ by more than the error that is sought.
    wanted = observe_means(graph, outputs, np.array_split(images, max(1, len(images) // CHUNK)))
    reads = Counter(name for node in graph.nodes for name in node.input)
    values: dict[str, Float] = {INPUT: images}
    weights, biases = dict(table.weights), dict(table.biases)
    for node in graph.nodes:
        layer = layers.get(node.name)
        if layer is not None:
            weights[layer.weight] = round_weights(
                node,
                graph.weights[layer.weight].astype(np.float32),
                table.weights[layer.weight].scale,
                values[layer.input],
                table.activations[layer.input],
            )
        output = _run(graph, node, layer, replace(table, weights=weights), values)
        if layer is not None:
            error = (wanted[node.output[0]] - channel_means(output)).astype(np.float32)
            biases[layer.bias] = graph.weights[layer.bias].astype(np.float32) + error
            output += error.reshape(1, -1, *[1] * (output.ndim - 2))
            on_layer()
        values[node.output[0]] = output
        for name in node.input:
            reads[name] -= 1
            if reads[name] == 0:
                values.pop(name, None)
    return replace(table, weights=weights, biases=biases)


def _run(
    graph: Graph, node: onnx.NodeProto, layer: Layer | None, table: QuantizerTable, values: dict[str, Float]
) -> Float:
    """One node over all images, its inputs and weight quantized as the INT8 kernels will see them."""
    skip = skip_input(graph, node) if node.op_type == "Add" else None
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    nodes, constants, inputs = [], [], {}
    for position, name in enumerate(node.input):
        if name in graph.weights:
            weight = graph.weights[name]
            if layer is not None and name == layer.weight:
                weight = table.weights[name].real
            constants.append(numpy_helper.from_array(np.asarray(weight), name))
            continue
        inputs[name] = values[name]
        if layer is not None or name == skip:
            alone.input[position] = f"{name}/DequantizeLinear"
            nodes += activation_pair(name, table.activations[name], constants)
    model = helper.make_model(
        helper.make_graph(
            [*nodes, alone],
            node.name,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inputs],
            [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)],
            constants,
        ),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    session = inference_session(model.SerializeToString())
    count = len(next(iter(inputs.values())))
    return np.concatenate(
        [
            session.run(None, {name: value[start : start + CHUNK] for name, value in inputs.items()})[0]
            for start in range(0, count, CHUNK)
        ]
    )

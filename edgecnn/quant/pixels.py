"""The image's quantizer laid on its pixels, which are eight-bit codes already: then it costs no accuracy at all.

A normalised pixel is ``(p - 255 * mean) / (255 * std)`` with ``p`` in 0..255. Zero, which padding is made of, must have
a code, and often lies half-way between two pixels; then every pixel lies half-way between two codes. Shifting the image
by that half step, and the first layer's bias back, puts pixels on codes. Only padding is then off, by half a step.
"""

import numpy as np
from onnx import helper, numpy_helper

from edgecnn.graph.graph import Graph, with_weights
from edgecnn.names import INPUT
from edgecnn.quant.calibrate import Range
from edgecnn.quant.table import LEVELS
from edgecnn.recipe import Preprocess

PIXELS = "pixels"  # as the method that found a range
SHIFTED = f"{INPUT}/shifted"
ON_GRID = 1e-3  # of a step


def on_pixel_grid(graph: Graph, how: Preprocess) -> tuple[Graph, dict[str, Range]]:
    """The graph, whose image may be shifted by less than a step, and the exact range of the tensor that layers read.

    Channels that are normalised differently have no common grid: then the graph is returned as it is, and no range.
    """
    readers = graph.consumers.get(INPUT, [])
    if len(set(how.mean)) > 1 or len(set(how.std)) > 1 or any(node.op_type != "Conv" for node in readers):
        return graph, {}
    step, zero = 1 / (LEVELS * how.std[0]), LEVELS * how.mean[0]
    code = np.ceil(zero - ON_GRID)  # of zero
    exact = Range(float(-code * step), float((LEVELS - code) * step))
    if abs(code - zero) < ON_GRID:
        return graph, {INPUT: exact}
    return _shifted(graph, float((code - zero) * step)), {SHIFTED: exact}


def _shifted(graph: Graph, offset: float) -> Graph:
    """Layers read ``image - offset``, and answer the same but for their padding."""
    biases = {}
    for node in graph.consumers[INPUT]:
        weight, bias = graph.weights[node.input[1]], graph.weights[node.input[2]]
        moved = bias + offset * weight.reshape(len(weight), -1).sum(axis=1, dtype=np.float64)
        biases[node.input[2]] = moved.astype(np.float32)
    model = with_weights(graph, biases).model
    for node in model.graph.node:
        if INPUT in node.input:
            node.input[0] = SHIFTED
    name = f"{SHIFTED}/offset"
    model.graph.initializer.append(numpy_helper.from_array(np.array(offset, np.float32), name))
    model.graph.node.insert(0, helper.make_node("Sub", [INPUT, name], [SHIFTED], SHIFTED))
    return Graph(model)

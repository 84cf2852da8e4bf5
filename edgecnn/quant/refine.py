"""Refinement in the graph's order, everything before a layer quantized: first its rounding, then its bias."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecnn.data.preprocess import Float
from edgecnn.data.sets import ImageSet
from edgecnn.data.split import spread
from edgecnn.graph.graph import Graph
from edgecnn.graph.session import in_chunks, shared_session
from edgecnn.names import INPUT
from edgecnn.quant.bias import Felt, corrected_bias, output_errors
from edgecnn.quant.lower.profiles import OPENVINO
from edgecnn.quant.lower.qdq import Profile, lower
from edgecnn.quant.rounding import observe_moments, round_weights
from edgecnn.quant.saturation import code_limits
from edgecnn.quant.segments import segments
from edgecnn.quant.table import QuantizerTable
from edgecnn.recipe import Preprocess
from edgecnn.threads import beside, in_order, one_blas_thread, parts

CHUNK = 8  # images that a segment runs over at a time
MOST_IMAGES = 256
# Of the largest tensor in float32, over all images: 27 of EfficientNet-Lite0's at 224 pixels, as good as twice as many.
MOST_BYTES = 128 * 2**20


@one_blas_thread()
def refine(
    graph: Graph,
    table: QuantizerTable,
    images: Float,
    felt: Felt,
    on_layer: Callable[[], None] = lambda: None,
    profile: Profile = OPENVINO,
    rounded: bool = False,
) -> QuantizerTable:
    """The table with weights rounded to second order, and biases with which no error is felt on average.

    Args:
        images: (n, C, H, W) float32, normalised; the codes of all live tensors of this many are held in memory.
        felt: ``observe_felt`` of the same graph and ``in_chunks`` of the same images.
        on_layer: called after each layer.
        profile: whose graph is refined, layer by layer; layers that it leaves in float keep their codes.
        rounded: the weights are already, over a graph that differs in few layers; biases alone follow.
    """
    layers = {layer.node: layer for layer in profile.kept(table).layers}
    nodes = {node.name: node for node in graph.nodes}
    chunks = in_chunks(images, CHUNK)
    values: list[dict[str, NDArray[Any]]] = [{INPUT: chunk} for chunk in chunks]  # uint8 codes, and some float32
    lowered = lower(graph, table, profile)
    constants = {tensor.name: tensor for tensor in lowered.model.graph.initializer}
    weights, biases = dict(table.weights), dict(table.biases)
    for segment in segments(lowered, set(layers)):
        if segment.layer:
            layer, node = layers[segment.layer], nodes[segment.layer]
            weight = graph.weights[layer.weight].astype(np.float32)
            quantizer, codes = table.activations[layer.input], f"{layer.input}/QuantizeLinear"
            inputs = [partial(quantizer.dequantize, value[codes]) for value in values]
            rounding = partial(table.weights.__getitem__, layer.weight)
            if not rounded:
                limits = code_limits(node, weight, profile.reduced_range)
                moments = observe_moments(node, weight, inputs)
                rounding = partial(round_weights, weight, table.weights[layer.weight].scale, moments, limits)
            errors_of = partial(output_errors, node, weight, felt.positions)
            batches = list(zip(inputs, felt.batches[node.output[0]], strict=True))
            found, errors = beside(rounding, errors_of, parts(batches))
            bias = corrected_bias(graph.weights[layer.bias].astype(np.float32), found.real - weight, errors)
            weights[layer.weight], biases[layer.bias] = found, bias
            constants[f"{layer.weight}/codes"] = numpy_helper.from_array(found.codes, f"{layer.weight}/codes")
            constants[f"{layer.weight}/scale"] = numpy_helper.from_array(found.scale, f"{layer.weight}/scale")
            constants[layer.bias] = numpy_helper.from_array(bias, layer.bias)
            on_layer()
        session = shared_session(segment.model(constants), int8_kernels=False)
        fed = [{name: value[name] for name in segment.inputs} for value in values]
        for value, made in zip(values, in_order(partial(session.run, segment.outputs), fed), strict=True):
            value.update(zip(segment.outputs, made, strict=True))
            for name in segment.dead:
                del value[name]
    return replace(table, weights=weights, biases=biases)


def refinement_images(graph: Graph, images: ImageSet, how: Preprocess) -> Float:
    """``(n, C, H, W) float32``: an even sample of a set, as many as refinement layer by layer can hold in memory."""
    count = max(1, min(MOST_IMAGES, MOST_BYTES // (4 * max(map(math.prod, graph.shapes.values())))))
    return np.concatenate(list(spread(images, count).batches(how, CHUNK)))

"""Networks whose channels are scaled at random without changing what they answer."""

import numpy as np

from edgecnn.graph.graph import Graph, with_weights
from edgecnn.quant.equalize import find_groups


def rescaled(graph: Graph, seed: int) -> Graph:
    """Channels of every linear tensor times powers of two from 1/16 to 16, with the inverse in what reads them."""
    random = np.random.default_rng(seed)
    weights = {name: weight.astype(np.float32) for name, weight in graph.weights.items()}
    for group in find_groups(graph):
        channels = len(weights[group.producers[0].input[2]])
        scale = np.exp2(random.integers(-4, 5, channels)).astype(np.float32)
        for node in group.producers:
            weight = weights[node.input[1]]
            weights[node.input[1]] = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
            weights[node.input[2]] = weights[node.input[2]] * scale
        for node in group.consumers:
            weight = weights[node.input[1]]
            depthwise = weight.shape[1] == 1 and len(weight) > 1
            shape = (-1, *[1] * (weight.ndim - 1)) if depthwise else (1, -1, *[1] * (weight.ndim - 2))
            weights[node.input[1]] = weight / scale.reshape(shape)
    return with_weights(graph, weights)

"""A graph and calibration images, to a quantizer table."""

from collections.abc import Callable

import numpy as np
import onnx

from edgecnn.data.preprocess import Float
from edgecnn.data.sets import ImageSet
from edgecnn.data.split import spread
from edgecnn.graph.graph import Graph
from edgecnn.quant.calibrate import observe_ranges
from edgecnn.quant.placement import place
from edgecnn.quant.table import QuantizerTable, make_table
from edgecnn.recipe import Preprocess

BATCH = 8
REFINEMENT_IMAGES = 256
REFINEMENT_BYTES = 256 * 2**20  # of the largest tensor in float32, over all images that layers are refined on


def observe(
    graph: Graph, images: ImageSet, how: Preprocess, on_images: Callable[[int], None] = lambda count: None
) -> QuantizerTable:
    """A table from min-max ranges over all images.

    Args:
        on_images: called with the number of images of each batch done.

    Raises:
        InputError: an image that cannot be read, or values that no quantizer can hold.
    """
    placement = place(graph)
    return make_table(graph, placement, observe_ranges(graph, placement.roles, images.batches(how, BATCH, on_images)))


def refinement_images(graph: Graph, images: ImageSet, how: Preprocess) -> Float:
    """``(n, C, H, W) float32``: an even sample of a set, as many as refinement layer by layer can hold in memory."""
    count = max(1, min(REFINEMENT_IMAGES, REFINEMENT_BYTES // _largest_tensor_bytes(graph)))
    return np.concatenate(list(spread(images, count).batches(how, BATCH)))


def _largest_tensor_bytes(graph: Graph) -> int:
    """Of one image, float32."""
    inferred = onnx.shape_inference.infer_shapes(graph.model)
    sizes = [
        int(np.prod([dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]))
        for value in (*inferred.graph.value_info, *inferred.graph.input)
    ]
    return 4 * max(sizes)

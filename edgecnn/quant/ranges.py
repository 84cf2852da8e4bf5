"""The range of each tensor, chosen among several methods' by what it does to the logits, not by one method for all.

No method is best on every tensor (Wu et al. 2020, arXiv 2004.09602, table 5): a ReLU6 wants its whole range, the
HardSwish behind a first convolution a third of it. So each tensor is quantized alone with each candidate, on images
that the ranges were not observed on, and the KL divergence of the softmax decides. Most tensors hardly matter; they
keep min-max, which cuts off nothing.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session
from edgecnn.names import INPUT, OUTPUT
from edgecnn.parity import compare
from edgecnn.quant.calibrate import Range, observe_values
from edgecnn.quant.histogram import MIN_MAX, Histogram, candidates
from edgecnn.quant.lower.qdq import activation_pair
from edgecnn.quant.placement import Placement, Role, skip_input
from edgecnn.quant.table import ActivationQuantizer, Float, activation_quantizer

if TYPE_CHECKING:
    import onnxruntime


CHUNK = 32  # images at a time
SCREENING = 8  # images that say which tensors matter at all
MATTERS = 0.01  # of all tensors' divergence together; one below it keeps min-max
BETTER = 0.9  # of min-max's divergence, before its guarantee to cut off nothing is given up


def observe_histograms(graph: Graph, placement: Placement, batches: Iterable[Float]) -> dict[str, Histogram]:
    """A histogram of each tensor that may get a quantizer."""
    histograms = {name: Histogram() for name in placement.roles}
    for values in observe_values(graph, histograms, batches):
        for name, value in values.items():
            histograms[name].add(value)
    return histograms


class Chosen(NamedTuple):
    """A range, and the method that found it."""

    method: str
    range: Range


def search_ranges(
    graph: Graph,
    placement: Placement,
    histograms: dict[str, Histogram],
    widest: dict[str, Chosen],
    images: Float,
    on_tensor: Callable[[], None] = lambda: None,
    symmetric: bool = False,
) -> dict[str, Chosen]:
    """The range of each tensor of a placement.

    Args:
        widest: min-max ranges, which are kept unless another is clearly better.
        images: (n, C, H, W) float32, normalised; not the ones behind the histograms.
        symmetric: quantizers have signed codes and no zero-point.
        on_tensor: called after each tensor that was tried.
    """
    want = _run(inference_session(with_batch(graph, None).content), images, {})
    chosen = dict(widest)
    few = slice(None, None, -(-len(images) // SCREENING))  # enough to see which tensors matter
    alone: dict[str, float] = {}
    for name in histograms:
        # What only a runtime with INT8-to-INT8 kernels quantizes is not tried: its range is of little weight.
        if placement.roles[name] & {Role.INPUT, Role.SKIP}:
            least = {MIN_MAX: widest[name].range}
            tried = _divergences(graph, placement, name, least, images[few], want[few], symmetric)
            alone[name] = tried[MIN_MAX]
        on_tensor()
    total = sum(alone.values())
    for name, divergence in alone.items():
        if divergence < MATTERS * total:
            continue
        ranges = candidates(histograms[name]) | {MIN_MAX: widest[name].range}
        tried = _divergences(graph, placement, name, ranges, images, want, symmetric)
        best = min(tried, key=tried.__getitem__)
        if tried[best] < BETTER * tried[MIN_MAX]:
            chosen[name] = Chosen(best, ranges[best])
    return chosen


def _divergences(
    graph: Graph,
    placement: Placement,
    tensor: str,
    ranges: dict[str, Range],
    images: Float,
    want: Float,
    symmetric: bool,
) -> dict[str, float]:
    """KL divergence of the logits, nats, with this tensor alone quantized to each of these ranges."""
    alone = _quantized_alone(graph, placement, tensor, symmetric)
    scale, zero_point = f"{tensor}/scale", f"{tensor}/zero_point"
    found = {}
    session = inference_session(alone.content, int8_kernels=False)
    for method, candidate in ranges.items():
        quantizer = activation_quantizer(tensor, candidate, placement.roles[tensor], symmetric)
        feeds: dict[str, NDArray[Any]] = {
            scale: np.array(quantizer.scale, np.float32),
            zero_point: np.array(quantizer.zero_point, quantizer.dtype),
        }
        found[method] = compare(want, _run(session, images, feeds)).kl
    return found


def _quantized_alone(graph: Graph, placement: Placement, tensor: str, symmetric: bool) -> Graph:
    """The FP32 graph but for one tensor, whose scale and zero-point are inputs, so that one session tries them all."""
    model = with_batch(graph, None).copy()
    pair = activation_pair(tensor, ActivationQuantizer(1.0, 0, frozenset()), [])
    nodes = list(pair) if tensor == INPUT else []
    for original, node in zip(graph.nodes, model.graph.node, strict=True):
        skips = original.op_type == "Add" and skip_input(graph, original) == tensor
        if skips or original.name in placement.layers:
            for position, name in enumerate(original.input):
                if name == tensor:
                    node.input[position] = pair[1].output[0]
        nodes.append(node)
        if tensor in node.output:
            nodes += pair
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    codes = TensorProto.INT8 if symmetric else TensorProto.UINT8
    for name, kind in zip(pair[0].input[1:], (TensorProto.FLOAT, codes), strict=True):
        model.graph.input.append(helper.make_tensor_value_info(name, kind, []))
    return Graph(model)


def _run(session: "onnxruntime.InferenceSession", images: Float, feeds: dict[str, NDArray[Any]]) -> Float:
    parts = np.array_split(images, -(-len(images) // CHUNK))
    return np.concatenate([session.run([OUTPUT], {INPUT: part, **feeds})[0] for part in parts])

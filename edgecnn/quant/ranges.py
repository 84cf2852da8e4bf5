"""The range of each tensor, chosen among several methods' by what it does to the logits, not by one method for all.

No method is best on every tensor (Wu et al. 2020, arXiv 2004.09602, table 5): a ReLU6 wants its whole range, the
HardSwish behind a first convolution a third of it. So each tensor is quantized alone with each candidate, on images
that the ranges were not observed on, and the KL divergence of the softmax decides. Most tensors hardly matter; they
keep min-max, which cuts off nothing.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session, logits
from edgecnn.names import INPUT
from edgecnn.parity import compare
from edgecnn.quant.calibrate import Range, observe_values
from edgecnn.quant.histogram import MIN_MAX, Histogram, candidates
from edgecnn.quant.lower.qdq import activation_pair
from edgecnn.quant.placement import Placement, Role, skip_input
from edgecnn.quant.table import ActivationQuantizer, Float, activation_quantizer

SCREENING = 4  # images that say which tensors matter at all
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
    signed: Collection[str] = (),
) -> dict[str, Chosen]:
    """The range of each tensor of a placement.

    Args:
        widest: min-max ranges, which are kept unless another is clearly better.
        images: (n, C, H, W) float32, normalised; not the ones behind the histograms.
        on_tensor: called after each tensor that was tried.
        signed: tensors whose quantizers have signed codes and no zero-point.
    """
    want = logits(inference_session(with_batch(graph, None).content), images)
    # What only a runtime with INT8-to-INT8 kernels quantizes is not tried: its range is of little weight.
    tried = {name: roles for name, roles in placement.roles.items() if roles & {Role.INPUT, Role.SKIP}}
    session = inference_session(_switched(graph, placement, tried, signed).content, int8_kernels=False)
    idle = {name: ActivationQuantizer(1.0, 0, frozenset(), name in signed) for name in tried}
    off = {name: value for tensor in tried for name, value in _switch(tensor, idle[tensor], on=False).items()}

    def divergence(tensor: str, candidate: Range, part: slice) -> float:
        quantizer = activation_quantizer(tensor, candidate, tried[tensor], tensor in signed)
        return compare(want[part], logits(session, images[part], off | _switch(tensor, quantizer))).kl

    few = slice(None, None, -(-len(images) // SCREENING))  # enough to see which tensors matter
    alone: dict[str, float] = {}
    for name in histograms:
        if name in tried:
            alone[name] = divergence(name, widest[name].range, few)
        on_tensor()
    total = sum(alone.values())
    chosen = dict(widest)
    for name, screened in alone.items():
        if screened < MATTERS * total:
            continue
        ranges = candidates(histograms[name]) | {MIN_MAX: widest[name].range}
        found = {method: divergence(name, candidate, slice(None)) for method, candidate in ranges.items()}
        best = min(found, key=found.__getitem__)
        if found[best] < BETTER * found[MIN_MAX]:
            chosen[name] = Chosen(best, ranges[best])
    return chosen


def _switched(graph: Graph, placement: Placement, tensors: Collection[str], signed: Collection[str]) -> Graph:
    """The FP32 graph with a quantizer that can be switched on behind each of these tensors.

    To make one session and feed it switches, scales and zero-points is several times as fast as a session per tensor.
    """
    model = with_batch(graph, None).copy()
    nodes = [_quantized_if_on(INPUT)] if INPUT in tensors else []
    for original, node in zip(graph.nodes, model.graph.node, strict=True):
        for position, name in enumerate(original.input):
            skips = original.op_type == "Add" and skip_input(graph, original) == name
            if name in tensors and (skips or original.name in placement.layers):
                node.input[position] = f"{name}/switched"
        nodes += [node, *(_quantized_if_on(name) for name in node.output if name in tensors)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for tensor in tensors:
        codes = TensorProto.INT8 if tensor in signed else TensorProto.UINT8
        kinds = {"on": TensorProto.BOOL, "scale": TensorProto.FLOAT, "zero_point": codes}
        model.graph.input.extend(
            helper.make_tensor_value_info(f"{tensor}/{name}", kind, []) for name, kind in kinds.items()
        )
    return Graph(model)


def _quantized_if_on(tensor: str) -> onnx.NodeProto:
    pair = activation_pair(tensor, ActivationQuantizer(1.0, 0, frozenset()), [])
    same = [helper.make_node("Identity", [tensor], [f"{tensor}/same"])]
    then_branch, else_branch = (
        helper.make_graph(
            nodes,
            nodes[-1].output[0],
            [],
            [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        )
        for nodes in (pair, same)
    )
    return helper.make_node(
        "If", [f"{tensor}/on"], [f"{tensor}/switched"], then_branch=then_branch, else_branch=else_branch
    )


def _switch(tensor: str, quantizer: ActivationQuantizer, on: bool = True) -> dict[str, NDArray[Any]]:
    """What a tensor's switch is fed; one that is off leaves it in float."""
    return {
        f"{tensor}/on": np.array(on),
        f"{tensor}/scale": np.array(quantizer.scale, np.float32),
        f"{tensor}/zero_point": np.array(quantizer.zero_point, quantizer.dtype),
    }

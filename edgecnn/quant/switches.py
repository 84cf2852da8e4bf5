"""What one quantized tensor alone does to the logits: the FP32 graph, with a quantizer behind each to switch on.

One session that is fed switches, scales and zero-points is several times as fast as a session for each tensor.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session, logits
from edgecnn.names import INPUT
from edgecnn.parity import compare
from edgecnn.quant.calibrate import Range
from edgecnn.quant.lower.qdq import activation_pair
from edgecnn.quant.placement import Placement, Role, skip_input
from edgecnn.quant.table import ActivationQuantizer, Float, activation_quantizer

EVERY = slice(None)


class Switches:
    """Quantizes one tensor of a graph at a time.

    Args:
        roles: tensors with one of these get a switch.
        images: (n, C, H, W) float32, normalised, that the logits are compared on.
        signed: tensors whose quantizers have signed codes and no zero-point.
    """

    def __init__(
        self,
        graph: Graph,
        placement: Placement,
        roles: Collection[Role],
        images: Float,
        signed: Collection[str] = (),
    ) -> None:
        self.tensors = {name: found for name, found in placement.roles.items() if found & set(roles)}
        self._signed = signed
        self._images = images
        self._want = logits(inference_session(with_batch(graph, None).content), images)
        self._session = inference_session(_switched(graph, placement, self.tensors, signed).content, int8_kernels=False)
        idle = {tensor: ActivationQuantizer(1.0, 0, frozenset(), tensor in signed) for tensor in self.tensors}
        self._off = {name: value for tensor in idle for name, value in _switch(tensor, idle[tensor], on=False).items()}

    def divergence(self, tensor: str, candidate: Range, some: slice = EVERY) -> float:
        """KL divergence of the logits, nats, with this tensor alone quantized to a range, on some of the images."""
        quantizer = activation_quantizer(tensor, candidate, self.tensors[tensor], tensor in self._signed)
        found = logits(self._session, self._images[some], self._off | _switch(tensor, quantizer))
        return compare(self._want[some], found).kl


def _switched(graph: Graph, placement: Placement, tensors: Collection[str], signed: Collection[str]) -> Graph:
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

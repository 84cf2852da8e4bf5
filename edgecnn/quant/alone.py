"""What one quantized tensor alone does to the logits: the FP32 graph, with a quantizer behind each to switch on.

Everything in front of the tensor stays as it was, so its values are kept, and only what lies behind it runs again. A
session serves tensors that follow one another: one for each would take longer to open than to run.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgecnn.graph.graph import Graph, model_of
from edgecnn.graph.session import shared_session
from edgecnn.names import OUTPUT
from edgecnn.parity import compare
from edgecnn.quant.calibrate import Range
from edgecnn.quant.lower.pairs import activation_pair
from edgecnn.quant.observe import observe_values
from edgecnn.quant.placement import Placement, Role, reads_codes
from edgecnn.quant.table import ActivationQuantizer, Float, activation_quantizer
from edgecnn.threads import in_order

if TYPE_CHECKING:
    import onnxruntime

EVERY = slice(None)
SESSIONS = 8  # of a network


class Alone:
    """Quantizes one tensor of a graph at a time.

    Args:
        placement: as the runtime has it.
        roles: tensors with one of these are quantized, where a layer or a skip of the placement reads them.
        images: (n, C, H, W) float32, normalised, that the logits are compared on; the values of as many tensors as
            there are sessions are held in memory, and of the skips across them.
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
        self.tensors = {
            name: placement.roles[name]
            for name in sorted(placement.roles, key=graph.positions.__getitem__)
            if placement.roles[name] & set(roles)
        }
        self._signed = signed
        parts = np.array_split(np.array(list(self.tensors)), min(SESSIONS, len(self.tensors)))
        self._behind = list(in_order(lambda part: _Behind(graph, placement, part.tolist(), signed), parts))
        read = {OUTPUT}.union(*(behind.reads for behind in self._behind))
        (self._values,) = observe_values(graph, read, [images])

    def divergence(self, tensor: str, candidate: Range, some: slice = EVERY) -> float:
        """KL divergence of the logits, nats, with this tensor alone quantized to a range, on some of the images.

        Several threads may ask at once: each runs on one core.
        """
        behind = next(behind for behind in self._behind if tensor in behind.tensors)
        quantizer = activation_quantizer(tensor, candidate, self.tensors[tensor], tensor in self._signed)
        values = {name: self._values[name][some] for name in behind.reads}
        return compare(self._values[OUTPUT][some], behind.run(values, tensor, quantizer)).kl


class _Behind:
    """The part of a graph that the quantizers of some tensors have an influence on.

    Args:
        reads: tensors that it reads from the part in front of it.
    """

    def __init__(self, graph: Graph, placement: Placement, tensors: Sequence[str], signed: Collection[str]) -> None:
        self.tensors = tensors
        self._graph, self._signed = graph, signed
        idle = [(name, ActivationQuantizer(1.0, 0, frozenset(), name in signed)) for name in tensors]
        self._off = {key: value for name, one in idle for key, value in _switch(name, one, on=False).items()}
        self._nodes: list[onnx.NodeProto] = []
        made: set[str] = set()
        for node in graph.nodes:
            codes = {
                name
                for name in node.input
                if name in tensors and reads_codes(graph, node, name, placement.roles[name], placement.layers)
            }
            if codes or made.intersection(node.input):
                self._nodes.append(_reading(node, codes))
                made.update(node.output)
        read = {name.removesuffix("/switched") for node in self._nodes for name in node.input}
        self.reads = sorted(read - made - graph.weights.keys())
        self._session = self._opened()

    def run(self, values: dict[str, Float], tensor: str, quantizer: ActivationQuantizer) -> Float:
        """Logits, (n, classes), with this tensor quantized.

        Args:
            values: of what it reads.
        """
        (answers,) = self._session.run([OUTPUT], values | self._off | _switch(tensor, quantizer, on=True))
        return np.asarray(answers)

    def _opened(self) -> "onnxruntime.InferenceSession":
        nodes = [_quantized_if_on(name) for name in self.tensors if name in self.reads]
        for node in self._nodes:
            nodes += [node, *(_quantized_if_on(name) for name in node.output if name in self.tensors)]
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.reads]
        for name in self.tensors:
            codes = TensorProto.INT8 if name in self._signed else TensorProto.UINT8
            kinds = {"on": TensorProto.BOOL, "scale": TensorProto.FLOAT, "zero_point": codes}
            inputs += [helper.make_tensor_value_info(f"{name}/{part}", kind, []) for part, kind in kinds.items()]
        read = {name for node in self._nodes for name in node.input}
        weights = [tensor for tensor in self._graph.model.graph.initializer if tensor.name in read]
        outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, None)]
        graph = helper.make_graph(nodes, "alone", inputs, outputs, weights)
        return shared_session(model_of(graph).SerializeToString(), int8_kernels=False)


def _reading(node: onnx.NodeProto, quantized: Collection[str]) -> onnx.NodeProto:
    """A node that reads the switched side of some of its inputs."""
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    for position, name in enumerate(node.input):
        if name in quantized:
            changed.input[position] = f"{name}/switched"
    return changed


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


def _switch(tensor: str, quantizer: ActivationQuantizer, on: bool) -> dict[str, NDArray[Any]]:
    """What a tensor's switch is fed; one that is off leaves it in float."""
    return {
        f"{tensor}/on": np.array(on),
        f"{tensor}/scale": np.array(quantizer.scale, np.float32),
        f"{tensor}/zero_point": np.array(quantizer.zero_point, quantizer.dtype),
    }

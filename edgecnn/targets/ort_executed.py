"""Which nodes of a graph each kernel of ONNX Runtime's optimized graph stands for.

ONNX Runtime numbers, suffixes or drops the names of what it rewrites: ``features.0.0/Conv_token_86`` is a convolution,
``features.1.block.1.activation/Relu_nchwc`` is one too, named by the Relu that it swallowed, and the HardSigmoid and
the Mul that it makes of a HardSwish have no name at all. Their places among the tensors say what they are.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgecnn.targets.base import FP32, INT8, ExecutedLayer, KernelTime
from edgecnn.targets.onnx_file import OnnxNode

LAYERS = {"Conv", "FusedConv", "QLinearConv", "ConvInteger", "Gemm", "FusedGemm", "QGemm", "MatMul", "QLinearMatMul"}
INTEGER = re.compile(r"QLinear\w+|QGemm|(Conv|MatMul)Integer\w*|DynamicQuantizeMatMul")
# What moves values between layouts and number formats, and computes nothing of the network's own.
QUANTIZERS = {"QuantizeLinear", "DequantizeLinear"}
ADDED = QUANTIZERS | {"ReorderInput", "ReorderOutput", "Transpose", "Cast"}


def executed_layers(written: Sequence[OnnxNode], optimized: Sequence[OnnxNode]) -> tuple[ExecutedLayer, ...]:
    """Kernels in the order that the file has them.

    Args:
        written: nodes of the graph that ONNX Runtime was given.
        optimized: nodes of the graph that it made of it.
    """
    names = _Names(written, optimized)
    return tuple(
        ExecutedLayer(names.behind(node), node.operator, INT8 if INTEGER.fullmatch(node.operator) else FP32)
        for node in optimized
    )


def timed_kernels(executed: Sequence[ExecutedLayer], events: Sequence[Mapping[str, Any]]) -> tuple[KernelTime, ...]:
    """Milliseconds of each kernel.

    Args:
        executed: kernels in the order of the optimized graph's file, which is the order that they run in.
        events: of ONNX Runtime's profile, of any number of runs.
    """
    kernels = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    spent: list[list[float]] = [[] for _ in executed]
    for position, event in enumerate(kernels):
        place = position % len(executed)
        if event["args"]["op_name"] != executed[place].kind:
            return ()  # another order than the file's, which no version is known to have
        spent[place].append(event["dur"] / 1000)  # microseconds
    return tuple(KernelTime.of_runs(kernel, ms) for kernel, ms in zip(executed, spent, strict=True))


class _Names:
    """Both graphs, by node, by tensor and by the nodes that read a tensor."""

    def __init__(self, written: Sequence[OnnxNode], optimized: Sequence[OnnxNode]) -> None:
        self._written = {node.name: node for node in written}
        self._position = {node.name: position for position, node in enumerate(written)}
        self._makers = {tensor: node for node in written for tensor in node.outputs}
        self._readers: dict[str, list[OnnxNode]] = {}
        for node in optimized:
            for tensor in node.inputs:
                self._readers.setdefault(tensor, []).append(node)

    def behind(self, kernel: OnnxNode) -> tuple[str, ...]:
        """Names of the nodes that a kernel stands for; of a layer and what it swallowed, the layer first."""
        known = self._known(kernel.name)
        node = known if known is not None or kernel.operator in ADDED else self._by_tensors(kernel)
        if node is None:
            return ()
        if kernel.operator in LAYERS and node.operator not in LAYERS:
            layer = self._layer_before(node)
            return (node.name,) if layer is None else (layer.name, node.name)
        return (node.name,)

    def _known(self, name: str) -> OnnxNode | None:
        """The written node whose name this is, or begins with."""
        while name:
            if name in self._written:
                return self._written[name]
            name = name[: max(name.rfind("_"), name.rfind("/"), 0)]
        return None

    def _by_tensors(self, kernel: OnnxNode) -> OnnxNode | None:
        """The written node that makes what this kernel makes, looked for downstream until a name is known."""
        for tensor in kernel.outputs:
            if tensor in self._makers:
                return self._maker(tensor)
            for reader in self._readers.get(tensor, []):
                known = self._known(reader.name)
                if known is None:
                    found = self._by_tensors(reader)
                    if found is not None:
                        return found
                    continue
                place = reader.inputs.index(tensor)
                if place < len(known.inputs) and known.inputs[place] in self._makers:
                    return self._maker(known.inputs[place])
        return None

    def _maker(self, tensor: str) -> OnnxNode:
        """The node that computes a tensor, in front of its quantizer."""
        node = self._makers[tensor]
        while node.operator in QUANTIZERS and node.inputs[0] in self._makers:
            node = self._makers[node.inputs[0]]
        return node

    def _layer_before(self, node: OnnxNode) -> OnnxNode | None:
        """The layer whose output ends up in this node; an Add's is the later of its two."""
        while node.operator not in LAYERS:
            makers = [self._makers[tensor] for tensor in node.inputs if tensor in self._makers]
            if not makers:
                return None
            node = max(makers, key=lambda maker: self._position[maker.name])
        return node

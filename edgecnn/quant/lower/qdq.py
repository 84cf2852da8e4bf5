"""QuantizeLinear/DequantizeLinear nodes from a quantizer table, for any profile."""

from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecnn.graph.check import check_graph
from edgecnn.graph.graph import Graph
from edgecnn.names import INPUT
from edgecnn.quant.lower.codes import computed_from_codes
from edgecnn.quant.lower.pairs import activation_pair, dequantize
from edgecnn.quant.lower.scales import check_scales
from edgecnn.quant.placement import Placement, Role, needing_zero, reads_codes
from edgecnn.quant.table import Layer, QuantizerTable


@dataclass(frozen=True)
class Profile:
    """How a runtime wants its graph.

    Args:
        roles: activations with one of these roles get a Q/DQ pair.
        int8_gates: layers that compute a squeeze-excitation's gate are INT8, else they stay float.
        int8_linear: linear layers are INT8, else they stay float.
        depthwise_multiple: depthwise convolutions are INT8 where this divides their channels, else they stay float.
        symmetric: zero must be code zero wherever no bias can take a zero-point in, which the table is made for.
        int32_bias: biases are int32 multiples of (input scale × weight scale), else they stay float.
        reduced_range: kernels add products in pairs, which the table's weights are made for; see ``saturation.py``.
        raised: linear tensors are raised, in the end, to have no zero-point; see ``lower/raised.py``.
        from_codes: activations and gates are computed from codes, with quantizers of their own; see ``lower/codes.py``.
    """

    name: str
    roles: frozenset[Role]
    int8_gates: bool = False
    int8_linear: bool = True
    depthwise_multiple: int = 1
    symmetric: bool = False
    int32_bias: bool = False
    raised: bool = False
    from_codes: bool = False
    reduced_range: bool = False

    def reduced(self) -> "Profile":
        """The same for kernels that add products in pairs."""
        return replace(self, name=f"{self.name}, reduced range", reduced_range=True)

    def kept(self, table: QuantizerTable) -> QuantizerTable:
        """The table without the layers that this runtime runs in float."""
        left_out = [layer.node for layer in table.layers if not self._runs(layer, table.weights[layer.weight].codes)]
        return table.without(left_out) if left_out else table

    def signed(self, graph: Graph, placement: Placement) -> frozenset[str]:
        """Tensors whose quantizers have signed codes and no zero-point."""
        return needing_zero(graph, placement) if self.symmetric else frozenset()

    def _runs(self, layer: Layer, codes: NDArray[np.int8]) -> bool:
        """Whether this runtime runs a layer in INT8."""
        linear = codes.ndim == 2
        return (
            (self.int8_gates or not layer.gate)
            and (self.int8_linear or not linear)
            and (not layer.depthwise or len(codes) % self.depthwise_multiple == 0)
        )


def lower(graph: Graph, table: QuantizerTable, profile: Profile) -> Graph:
    """The Q/DQ graph of a profile: every code as in the table, nothing else changed but what is computed from codes.

    Raises:
        InputError: a scale that is zero, denormal or not finite.
    """
    table = profile.kept(table)
    model = graph.copy()
    layers = {layer.node: layer for layer in table.layers}
    quantized = {name: quantizer for name, quantizer in table.activations.items() if quantizer.roles & profile.roles}
    codes_alone = Role.OUTPUT in profile.roles  # INT8-to-INT8 kernels write codes: there is no float side
    tensors: list[onnx.TensorProto] = []
    replaced: set[str] = set()
    nodes = activation_pair(INPUT, quantized[INPUT], tensors) if INPUT in quantized else []
    for original, node in zip(graph.nodes, model.graph.node, strict=True):
        for position, name in enumerate(original.input):
            if name in quantized and (codes_alone or reads_codes(graph, original, name, profile.roles, layers)):
                node.input[position] = f"{name}/DequantizeLinear"
        layer = layers.get(node.name)
        if layer is not None:
            nodes.append(_weight(layer, table, tensors))
            node.input[1] = nodes[-1].output[0]
            replaced.add(layer.weight)
            replaced.add(layer.bias)
            if profile.int32_bias:
                nodes.append(_bias(layer, table, tensors))
                node.input[2] = nodes[-1].output[0]
            else:
                tensors.append(numpy_helper.from_array(table.biases[layer.bias], layer.bias))
        nodes.append(node)
        for name in node.output:
            if name in quantized:
                nodes += activation_pair(name, quantized[name], tensors)
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in replaced]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(sorted([*kept, *tensors], key=lambda tensor: tensor.name))
    lowered = computed_from_codes(Graph(model)) if profile.from_codes else Graph(model)
    check_graph(lowered, f"lowered graph ({profile.name})")
    check_scales(lowered)
    return lowered


def _weight(layer: Layer, table: QuantizerTable, tensors: list[onnx.TensorProto]) -> onnx.NodeProto:
    quantizer = table.weights[layer.weight]
    codes, scale, zero_point = (f"{layer.weight}/{part}" for part in ("codes", "scale", "zero_point"))
    tensors.append(numpy_helper.from_array(quantizer.codes, codes))
    tensors.append(numpy_helper.from_array(quantizer.scale, scale))
    tensors.append(numpy_helper.from_array(np.zeros(len(quantizer.scale), np.int8), zero_point))
    return dequantize(layer.weight, codes, scale, zero_point, axis=0)


def _bias(layer: Layer, table: QuantizerTable, tensors: list[onnx.TensorProto]) -> onnx.NodeProto:
    """Int32 multiples of (input scale × weight scale): the unit in which INT8 kernels accumulate."""
    step = np.float32(table.activations[layer.input].scale) * table.weights[layer.weight].scale
    codes, scale = f"{layer.bias}/codes", f"{layer.bias}/scale"
    tensors.append(numpy_helper.from_array(np.rint(table.biases[layer.bias] / step).astype(np.int32), codes))
    tensors.append(numpy_helper.from_array(step, scale))
    return dequantize(layer.bias, codes, scale, axis=0)

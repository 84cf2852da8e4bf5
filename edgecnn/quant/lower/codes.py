"""Activations and gates computed from codes, for runtimes whose kernels are INT8 to INT8.

Left in float between a DequantizeLinear and a QuantizeLinear, HardSwish and SiLU cost several passes over a tensor at
four bytes a value: on ONNX Runtime more than half of EfficientNet-B0's time, and more than INT8 saves. As sums and
products of quantized tensors they have INT8 kernels there:

- HardSwish(x) is x times relu6(x + 3) / 6 (Howard et al. 2019, arXiv 1905.02244, section 5.2). Codes of x + 3 whose
  scale is 6/255 saturate where ReLU6 does, and read with a scale of 1/255 they are its sixth.
- HardSigmoid(x) is relu6(x + 3) / 6: the bias in front takes the three in, and nothing is left to compute.
- SiLU(x) is x times sigmoid(x). Like each gate of a squeeze-excitation, that lies between 0 and 1.
- What an activation puts out for the 256 values that it may read is its range: nothing has to be observed.

The codes of the table stay as they are; what is added rounds once more.
"""

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgecnn.graph.graph import Graph, with_weights
from edgecnn.quant.calibrate import Range
from edgecnn.quant.lower.pairs import activation_pair
from edgecnn.quant.placement import Role
from edgecnn.quant.table import LEVELS, RAISED_BY, ActivationQuantizer, activation_quantizer

Double = NDArray[np.float64]

WRITTEN = frozenset({Role.OUTPUT})
GATE = ActivationQuantizer(1 / LEVELS, 0, WRITTEN)  # 0..1
UP_TO_SIX = ActivationQuantizer(6 / LEVELS, 0, WRITTEN)
THREE = ActivationQuantizer(0.03, 0, WRITTEN), 100  # and its code for 3


def computed_from_codes(graph: Graph) -> Graph:
    """The lowered graph with quantizers in and behind its activations, wherever they read codes.

    Args:
        graph: with unsigned codes, and a quantizer behind every INT8 layer.
    """
    return _Rewriting(graph).graph()


class _Rewriting:
    """Goes through the nodes in their order, and knows of each tensor whether it is codes by then."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: list[onnx.TensorProto] = []
        self._changed: dict[str, NDArray[np.generic]] = {}  # weights
        self._read: dict[str, str] = {}  # what readers of a float tensor read instead

    def graph(self) -> Graph:
        for original in self._graph.nodes:
            node = onnx.NodeProto()
            node.CopyFrom(original)
            if node.op_type != "QuantizeLinear":
                node.input[:] = [self._read.get(name, name) for name in original.input]
            if node.op_type == "HardSwish" and _codes(node.input[0]) and self._wanted(node):
                self._hard_swish(node)
            elif node.op_type == "HardSigmoid" and (bias := self._bias_of(node)):  # whoever reads it, codes or not
                self._hard_sigmoid(node, bias)
            else:
                self._nodes.append(node)
                if node.op_type in ("Sigmoid", "HardSigmoid") and self._scales_codes(original):
                    self._quantize(node.output[0], GATE)
                elif node.op_type == "Mul" and self._wanted(node) and (source := self._silu_of(node)):
                    self._quantize_activation(node.output[0], source, _silu)
        model = with_weights(self._graph, self._changed).copy()
        del model.graph.node[:]
        model.graph.node.extend(self._nodes)
        model.graph.initializer.extend(self._tensors)
        return Graph(model)

    def _hard_swish(self, node: onnx.NodeProto) -> None:
        source, gate, three = node.input[0], f"{node.name}_gate", f"{node.name}_three"
        constant, code = THREE
        self._tensors.append(numpy_helper.from_array(np.array(code, np.uint8), f"{three}/codes"))
        _, addend = activation_pair(three, constant, self._tensors)
        addend.input[0] = f"{three}/codes"
        sixth = self._a_sixth_of(gate, gate)
        self._nodes += [
            addend,
            helper.make_node("Add", [source, addend.output[0]], [gate], gate),
            *sixth,
            helper.make_node("Mul", [source, sixth[-1].output[0]], list(node.output), node.name),
        ]
        self._quantize_activation(node.output[0], source, _hard_swish)

    def _hard_sigmoid(self, node: onnx.NodeProto, bias: onnx.NodeProto) -> None:
        codes, step = (self._graph.weights[name] for name in bias.input)
        self._changed[bias.input[0]] = (codes + np.rint(RAISED_BY / step.astype(np.float64))).astype(np.int32)
        self._nodes += self._a_sixth_of(node.input[0], node.output[0])
        self._read[node.output[0]] = self._nodes[-1].output[0]

    def _a_sixth_of(self, tensor: str, name: str) -> list[onnx.NodeProto]:
        """Quantizes relu6 of a tensor, to ``name/DequantizeLinear``, which is a sixth of it."""
        quantized, read = activation_pair(name, UP_TO_SIX, self._tensors)
        quantized.input[0], read.input[1] = tensor, f"{name}/sixth"
        self._tensors.append(numpy_helper.from_array(np.array(GATE.scale, np.float32), read.input[1]))
        return [quantized, read]

    def _bias_of(self, gate: onnx.NodeProto) -> onnx.NodeProto | None:
        """What reads the bias of the INT8 layer in front of a gate, if one is, and for nothing else."""
        layer = self._graph.producers[gate.input[0]]
        alone = len(self._graph.consumers[gate.input[0]]) == 1
        if layer.op_type != "Conv" or not alone or not _codes(layer.input[2]):
            return None
        return self._graph.producers[layer.input[2]]

    def _wanted(self, activation: onnx.NodeProto) -> bool:
        """Whether a layer reads it in codes, or a gate scales it; a last pool's one in codes costs the logits 4 dB."""
        readers = self._graph.consumers[activation.output[0]]
        return any(reader.op_type in ("QuantizeLinear", "Mul") for reader in readers)

    def _scales_codes(self, gate: onnx.NodeProto) -> bool:
        """Whether all that reads a gate multiplies codes by it."""
        readers = self._graph.consumers[gate.output[0]]
        return all(
            reader.op_type == "Mul"
            and self._wanted(reader)
            and all(_codes(self._read.get(name, name)) for name in reader.input if name != gate.output[0])
            for reader in readers
        )

    def _silu_of(self, product: onnx.NodeProto) -> str:
        """The codes that a product is the SiLU of, or empty."""
        for source, gate in (product.input, reversed(product.input)):
            made = self._graph.producers.get(gate.removesuffix("/DequantizeLinear"))
            if made is not None and made.op_type == "Sigmoid" and made.input[0] == source and _codes(source):
                return str(source)
        return ""

    def _quantize_activation(self, made: str, source: str, function: Callable[[Double], Double]) -> None:
        """A quantizer for what an activation makes of codes, unless the table has one."""
        if any(reader.op_type == "QuantizeLinear" for reader in self._graph.consumers[made]):
            return
        scale, zero_point = (self._graph.weights[name] for name in self._graph.producers[source].input[1:])
        values = function((np.arange(LEVELS + 1, dtype=np.float64) - float(zero_point)) * float(scale))
        self._quantize(made, activation_quantizer(made, Range(float(values.min()), float(values.max())), WRITTEN))

    def _quantize(self, tensor: str, quantizer: ActivationQuantizer) -> None:
        self._nodes += activation_pair(tensor, quantizer, self._tensors)
        self._read[tensor] = f"{tensor}/DequantizeLinear"


def _codes(tensor: str) -> bool:
    return tensor.endswith("/DequantizeLinear")


def _hard_swish(values: Double) -> Double:
    return np.asarray(values * np.clip(values + 3, 0, 6) / 6)


def _silu(values: Double) -> Double:
    return np.asarray(values * (1 + np.tanh(values / 2)) / 2)  # with nothing that overflows

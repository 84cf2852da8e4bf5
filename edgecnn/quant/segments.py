"""A Q/DQ graph cut before each INT8 layer, to run it layer by layer over many images.

Quantized tensors cross a cut as codes, a quarter of their size in float32; what lies within a segment is never stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from edgecnn.graph.graph import Graph, model_of
from edgecnn.names import INPUT, OUTPUT


@dataclass(frozen=True)
class Segment:
    """Nodes from one INT8 layer up to the next.

    Args:
        layer: the first node's name; empty before the first layer.
        inputs: tensors that it reads from earlier segments, or the image.
        outputs: tensors that later segments read, or the logits.
        dead: tensors that nothing reads after it.
    """

    layer: str
    nodes: tuple[onnx.NodeProto, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dead: tuple[str, ...]

    def model(self, constants: dict[str, onnx.TensorProto]) -> bytes:
        """The segment as a model of its own.

        Args:
            constants: initializers by name; those that it reads are taken.
        """
        read = sorted({name for node in self.nodes for name in node.input} & constants.keys())
        graph = helper.make_graph(
            list(self.nodes),
            self.layer or INPUT,
            [_value(name, constants) for name in self.inputs],
            [_value(name, constants) for name in self.outputs],
            [constants[name] for name in read],
        )
        return bytes(model_of(graph).SerializeToString())


def segments(lowered: Graph, layers: set[str]) -> Iterator[Segment]:
    """The whole graph in its order, which starts a segment at each of these nodes."""
    # A dequantizer belongs to whoever reads it, so that codes are what crosses.
    dequantizers = {node.output[0]: node for node in lowered.nodes if node.op_type == "DequantizeLinear"}
    groups: list[list[onnx.NodeProto]] = [[]]
    for node in lowered.nodes:
        if node.op_type == "DequantizeLinear":
            continue
        if node.name in layers:
            groups.append([])
        for name in node.input:
            if name in dequantizers and dequantizers[name] not in groups[-1]:
                groups[-1].append(dequantizers[name])
        groups[-1].append(node)
    made = [{name for node in group for name in node.output} for group in groups]
    read = [
        {name for node in group for name in node.input if name not in lowered.weights} - own
        for group, own in zip(groups, made, strict=True)
    ]
    for position, group in enumerate(groups):
        later = {OUTPUT}.union(*read[position + 1 :])
        yield Segment(
            layer=next((node.name for node in group if node.name in layers), ""),
            nodes=tuple(group),
            inputs=tuple(sorted(read[position])),
            outputs=tuple(sorted(made[position] & later)),
            dead=tuple(sorted(read[position] - later)),
        )


def _value(name: str, constants: dict[str, onnx.TensorProto]) -> onnx.ValueInfoProto:
    """A tensor that crosses a cut; codes have the type of their zero-point."""
    tensor = name.removesuffix("/QuantizeLinear")
    kind = TensorProto.FLOAT if tensor == name else constants[f"{tensor}/zero_point"].data_type
    return helper.make_tensor_value_info(name, kind, None)

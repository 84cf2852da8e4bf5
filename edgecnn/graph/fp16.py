"""Half precision: stored in it, for CPUs that compute in float32 anyway, or computed in it, for GPUs."""

from collections.abc import Collection, Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.errors import InputError
from edgecnn.graph.graph import Graph
from edgecnn.names import INPUT, OUTPUT

IN_SINGLE = ("QuantizeLinear", "DequantizeLinear", "Sub")  # and the shift in front of one
HALF_OPSET, HALF_IR_VERSION = 19, 9  # from which on quantizers read, write and scale by half precision


def fp16_weights(graph: Graph) -> Graph:
    """Stores the weights of convolutions and linear layers in half precision, each behind a Cast that runtimes fold.

    Raises:
        InputError: a weight is beyond half precision's 65,504.
    """
    model = graph.copy()
    stored = {node.input[1] for node in graph.nodes if node.op_type in ("Conv", "Gemm")}
    casts: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        if tensor.name in stored:
            name = tensor.name
            half = f"{name}/fp16"
            tensor.CopyFrom(_halved(tensor, half))
            casts.append(_cast(half, f"{name}/Cast", TensorProto.FLOAT))
    nodes = list(model.graph.node)
    for node in nodes:
        for position, name in enumerate(node.input):
            if name in stored:
                node.input[position] = f"{name}/Cast"
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    return Graph(model)


def fp16_arithmetic(graph: Graph, fp16_scales: bool = False) -> Graph:
    """Computes in half precision between the image and the logits, which stay float32.

    Quantizers keep their float32 scales and read and write float32, with a Cast on either side. Of the spellings of
    half-precision INT8 graphs it is the one that ONNX Runtime computes rightly at every level of optimization, and
    strongly typed builders take the Casts into their kernels.

    Args:
        graph: FP32, lowered or not.
        fp16_scales: quantizers are half precision like everything else, without Casts, which takes opset 19. It is how
            NVIDIA's own quantizer writes it. ONNX Runtime computes it rightly without optimizations alone. Scales are
            to be numbers of half precision before: ``quant/lower/half.py``.

    Raises:
        InputError: a weight is beyond half precision's 65,504.
    """
    model = graph.copy()
    kept = () if fp16_scales else IN_SINGLE
    scales = {name for node in graph.nodes if node.op_type in kept for name in node.input[1:]}
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in scales:
            tensor.CopyFrom(_halved(tensor, tensor.name))
    if fp16_scales:
        model.opset_import[0].version, model.ir_version = HALF_OPSET, HALF_IR_VERSION
    nodes = list(_typed(list(model.graph.node), kept))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return Graph(model)


def _typed(nodes: list[onnx.NodeProto], kept: Collection[str]) -> Iterator[onnx.NodeProto]:
    """The nodes with Casts wherever a tensor of one type is read as the other.

    Args:
        kept: operators that stay float32.
    """
    floats = {INPUT} | {node.output[0] for node in nodes if node.op_type in kept and node.op_type != "QuantizeLinear"}
    halves = {name for node in nodes if node.op_type not in kept for name in node.output}
    cast: set[str] = set()
    for node in nodes:
        wrong, kind, suffix = (
            (halves, TensorProto.FLOAT, "fp32")
            if node.op_type in kept and node.op_type != "DequantizeLinear"
            else (floats, TensorProto.FLOAT16, "fp16")
        )
        for position, name in enumerate(node.input):
            if name in wrong:
                made = f"{name}/{suffix}"
                if made not in cast:
                    cast.add(made)
                    yield _cast(name, made, kind)
                node.input[position] = made
        last = OUTPUT in node.output
        if last:
            node.output[0] = f"{OUTPUT}/fp16"
        yield node
        if last:
            yield _cast(f"{OUTPUT}/fp16", OUTPUT, TensorProto.FLOAT)


def _halved(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    weight = numpy_helper.to_array(tensor)
    if weight.size and np.abs(weight).max() > np.finfo(np.float16).max:
        raise InputError(f"weight {tensor.name!r} reaches {np.abs(weight).max():g}, too large for fp16; use --fp32")
    return numpy_helper.from_array(weight.astype(np.float16), name)


def _cast(source: str, made: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [made], made, to=kind)

"""What TensorRT would take without a word and compute otherwise, refused by name before its parser sees it.

Its parser reads an empty file as an empty network, takes a scale of shape [1] or a wrong axis and then computes in
float, and reads unsigned codes as signed ones: measured with TensorRT-RTX 1.7.1.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from edgecnn.errors import BuildError
from edgecnn.graph.attributes import attributes
from edgecnn.graph.check import OPSETS
from edgecnn.graph.fp16 import HALF_OPSET
from edgecnn.graph.graph import Graph

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
IR_VERSIONS = range(7, 13)
OUTPUT_AXES = {"Conv": 0, "ConvTranspose": 1}  # of a weight; a Gemm's depends on whether it is transposed


def lint_tensorrt(graph: Graph, profile: bool) -> None:
    """Refuses a graph that TensorRT would misread.

    Args:
        profile: whether the build will say which batches a dynamic input takes.

    Raises:
        BuildError: the first thing found.
    """
    for problem in _problems(graph, profile):
        raise BuildError(f"tensorrt refuses the graph: {problem}")


def _problems(graph: Graph, profile: bool) -> Iterator[str]:
    model = graph.model
    if not model.graph.node or not model.graph.output:
        yield "the network is empty"
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(versions) != 1 or versions[0] not in OPSETS:
        yield f"opset {versions}, expected one of {OPSETS.start} to {OPSETS.stop - 1}"
    if model.ir_version not in IR_VERSIONS:
        yield f"IR version {model.ir_version}, expected {IR_VERSIONS.start} to {IR_VERSIONS.stop - 1}"
    for value in model.graph.input:
        kind = value.type.tensor_type
        if kind.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16):
            yield f"input {value.name!r} is {_type(kind.elem_type)}, expected float32 or float16"
        if not profile and any(not dim.dim_value for dim in kind.shape.dim):
            yield f"input {value.name!r} is dynamic and there is no profile; give a batch, or a profile"
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.DOUBLE:
            yield f"tensor {tensor.name!r} is float64, expected float32 or float16"
    for node in graph.nodes:
        if node.op_type in QUANTIZERS:
            yield from _quantizer_problems(graph, node)


def _quantizer_problems(graph: Graph, node: onnx.NodeProto) -> Iterator[str]:
    where = f"node {node.name!r} ({node.op_type})"
    weight = graph.weights.get(node.input[0])
    if weight is not None and weight.dtype == np.int32:
        yield f"{where}: an int32 bias, expected a float one"
    found_scale = graph.weights.get(node.input[1])
    if found_scale is None:
        yield f"{where}: its scale is computed, expected a constant"
        return
    if found_scale.dtype == np.float16 and graph.opset < HALF_OPSET:
        yield f"{where}: a float16 scale, which takes opset {HALF_OPSET}, not {graph.opset}"
    scale = found_scale.astype(np.float64)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        yield f"{where}: its scale is not positive and finite"
    zero_point = graph.weights.get(node.input[2]) if len(node.input) > 2 else None
    if zero_point is None or zero_point.dtype != np.int8:
        # Without one, QuantizeLinear writes unsigned codes.
        found = "no zero-point" if zero_point is None else f"{zero_point.dtype} zero-points"
        yield f"{where}: {found}, expected int8 ones of 0"
    elif zero_point.any():
        yield f"{where}: a zero-point of {int(zero_point.reshape(-1)[zero_point.reshape(-1) != 0][0])}, expected 0"
    if weight is None:
        if scale.ndim:
            yield f"{where}: an activation's scale of shape {list(scale.shape)}, expected a scalar of shape []"
    else:
        yield from _axis_problems(graph, node, weight.shape, scale.shape, where)


def _axis_problems(
    graph: Graph, node: onnx.NodeProto, weight: tuple[int, ...], scale: tuple[int, ...], where: str
) -> Iterator[str]:
    """A weight's scales must lie along the output channels of the layer that reads it, through any Cast."""
    if scale in ((), (1,)):
        return  # one scale for all channels
    axis = attributes(node).get("axis", 1)
    axis += len(weight) if axis < 0 else 0
    if axis >= len(weight) or (weight[axis],) != scale:
        yield f"{where}: scales of shape {list(scale)} on axis {axis} of a weight of shape {list(weight)}"
    for layer in _readers(graph, node.output[0]):
        expected = OUTPUT_AXES.get(layer.op_type)
        if layer.op_type == "Gemm":
            expected = 1 - attributes(layer).get("transB", 0)
        if expected is not None and axis != expected:
            yield f"{where}: axis {axis}, expected {expected}, where {layer.op_type} {layer.name!r} has its outputs"


def _readers(graph: Graph, tensor: str) -> Iterator[onnx.NodeProto]:
    for node in graph.consumers.get(tensor, []):
        if node.op_type == "Cast":
            yield from _readers(graph, node.output[0])
        else:
            yield node


def _type(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower()

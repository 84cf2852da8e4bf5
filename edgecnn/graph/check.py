"""The allow-list that every graph passes before anything runs it: no foreign op, no outside data, shapes as agreed."""

import onnx

from edgecnn.errors import InputError
from edgecnn.graph.graph import Graph
from edgecnn.names import INPUT, OUTPUT

ACTIVATIONS = frozenset({"Clip", "HardSigmoid", "HardSwish", "Relu", "Sigmoid"})
FLOAT_OPS = ACTIVATIONS | {"Add", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "Mul"}
LOWERED_OPS = FLOAT_OPS | {"Cast", "QuantizeLinear", "DequantizeLinear", "Sub"}
OPSETS = range(13, 25)  # per-channel Q/DQ needs 13


def read_graph(content: bytes, what: str) -> Graph:
    """Parses and checks the bytes of an ONNX file.

    Raises:
        InputError: not ONNX, or not a graph that edgecnn makes.
    """
    try:
        graph = Graph(onnx.load_from_string(content))
    except Exception as error:  # protobuf's parser has no public exception type
        raise InputError(f"{what}: not an ONNX file ({type(error).__name__})") from error
    check_graph(graph, what)
    return graph


def check_graph(graph: Graph, what: str = "graph") -> None:
    """Refuses what edgecnn did not make, by name.

    Raises:
        InputError: the first thing that is not allowed.
    """
    model = graph.model
    if not model.graph.node:
        raise InputError(f"{what}: the graph is empty")
    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise InputError(f"{what}: local functions, training steps and sparse tensors are not allowed")
    for opset in model.opset_import:
        if opset.domain not in ("", "ai.onnx"):
            raise InputError(f"{what}: domain {opset.domain!r} is not allowed, only standard ONNX")
        if opset.version not in OPSETS:
            raise InputError(f"{what}: opset {opset.version}, expected {OPSETS.start} to {OPSETS.stop - 1}")
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in LOWERED_OPS:
            raise InputError(
                f"{what}: node {node.name!r} is {node.domain or 'ai.onnx'}.{node.op_type},"
                f" allowed: {', '.join(sorted(LOWERED_OPS))}"
            )
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise InputError(f"{what}: tensor {tensor.name!r} has external data, which is not accepted")
    for values, name, rank in ((model.graph.input, INPUT, 4), (model.graph.output, OUTPUT, 2)):
        if [value.name for value in values] != [name]:
            raise InputError(f"{what}: tensors {[value.name for value in values]}, expected [{name!r}]")
        kind = values[0].type.tensor_type
        dims = [dim.dim_value for dim in kind.shape.dim]
        if kind.elem_type != onnx.TensorProto.FLOAT or len(dims) != rank or 0 in dims[1:]:
            raise InputError(f"{what}: {name} must be float32 of rank {rank}, static but for the batch; got {dims}")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise InputError(f"{what}: not a valid ONNX model ({str(error).splitlines()[0]})") from error

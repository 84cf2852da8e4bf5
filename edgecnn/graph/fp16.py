"""FP16 weights: half the file, float32 arithmetic. What CPUs without half-precision kernels do with FP16 anyway."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.errors import InputError
from edgecnn.graph.graph import Graph


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
            weight = numpy_helper.to_array(tensor)
            if np.abs(weight).max() > np.finfo(np.float16).max:
                raise InputError(
                    f"weight {tensor.name!r} reaches {np.abs(weight).max():g}, too large for fp16; use --fp32"
                )
            name = tensor.name
            half = f"{name}/fp16"
            tensor.CopyFrom(numpy_helper.from_array(weight.astype(np.float16), half))
            casts.append(helper.make_node("Cast", [half], [f"{name}/Cast"], f"{name}/Cast", to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    for node in nodes:
        for position, name in enumerate(node.input):
            if name in stored:
                node.input[position] = f"{name}/Cast"
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    return Graph(model)

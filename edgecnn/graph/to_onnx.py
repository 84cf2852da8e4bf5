"""PyTorch to ONNX, then to one canonical spelling: names that say the module, ops that runtimes fuse, stable bytes."""

import ast
import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from edgecnn.errors import BuildError
from edgecnn.graph.attributes import attributes
from edgecnn.graph.check import check_graph
from edgecnn.graph.graph import Graph, model_of
from edgecnn.names import INPUT, OUTPUT

PARAMETERS = {1: "weight", 2: "bias"}  # of a convolution or linear layer, by position
EXPORTED_OPSET = 18  # the oldest that torch's exporter writes itself


def to_onnx(model: nn.Module, in_channels: int, height: int, width: int) -> Graph:
    """Exports a folded network at batch 1.

    Args:
        model: in evaluation mode; takes ``(1, in_channels, height, width) float32``.

    Raises:
        InputError: the network has operators outside the allow-list.
    """
    example = torch.zeros(1, in_channels, height, width)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=EXPORTED_OPSET,
            verbose=False,
        )
    if program is None:
        raise BuildError("torch's exporter gave no program")
    graph = Graph(canonical(program.model_proto))
    check_graph(graph)
    return graph


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Holds back the exporter's notes on packages it does not find, and on its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore", (FutureWarning))
            warnings.simplefilter("ignore", (DeprecationWarning))
            yield
    finally:
        logger.setLevel(level)


def canonical(exported: onnx.ModelProto) -> onnx.ModelProto:
    """Renames tensors to ``module.path/Op`` and drops everything that names this machine or this version of torch."""
    names = {INPUT: INPUT}
    constants = {tensor.name: tensor for tensor in exported.graph.initializer}
    taken: Counter[str] = Counter()
    nodes, initializers = [], {}
    for node in exported.graph.node:
        scope = _scope(node)
        node = _respell(node, constants)
        name = f"{scope}/{node.op_type}"
        taken[name] += 1
        if taken[name] > 1:
            name = f"{name}_{taken[name]}"
        inputs = []
        for position, source in enumerate(node.input):
            if source in constants:
                tensor = constants[source]
                target = f"{name}.{position}"
                if node.op_type in ("Conv", "Gemm"):
                    # A layer's own parameters: where two layers hold the same values, the exporter keeps one of them.
                    target = f"{scope}.{PARAMETERS[position]}"
                initializers[target] = numpy_helper.from_array(numpy_helper.to_array(tensor), target)
                inputs.append(target)
            else:
                inputs.append(names[source])
        if node.op_type in ("Conv", "Gemm") and len(inputs) == 2:  # the exporter drops a bias of zeros
            bias = inputs[1].removesuffix(".weight") + ".bias"
            zeros = np.zeros(initializers[inputs[1]].dims[0], np.float32)
            initializers[bias] = numpy_helper.from_array(zeros, bias)
            inputs.append(bias)
        (output,) = node.output
        names[output] = OUTPUT if output == OUTPUT else name
        known = dict(sorted(attributes(node).items()))
        nodes.append(helper.make_node(node.op_type, inputs, [names[output]], name, **known))
    graph = helper.make_graph(
        nodes,
        "edgecnn",
        [_value(exported.graph.input[0])],
        [_value(exported.graph.output[0])],
        [initializers[name] for name in sorted(initializers)],
    )
    return model_of(graph, producer="edgecnn")


def _scope(node: onnx.NodeProto) -> str:
    """The module path that the exporter noted on a node, such as ``features.1.block.0.2``."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            modules = [name for name in ast.literal_eval(entry.value)[:-1] if name]
            return str(modules[-1]) if modules else "top"
    return "top"


def _respell(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> onnx.NodeProto:
    """A mean over height and width is a global pool, and flattening it needs no shape: neither then knows the batch."""
    if node.op_type == "ReduceMean":
        axes = sorted(int(axis) % 4 for axis in numpy_helper.to_array(constants[node.input[1]]))
        if axes == [2, 3]:
            return helper.make_node("GlobalAveragePool", [node.input[0]], node.output)
    if node.op_type == "Reshape":
        return helper.make_node("Flatten", [node.input[0]], node.output, axis=1)
    return node


def _value(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, dims)

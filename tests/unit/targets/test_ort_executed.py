"""Kernels of ONNX Runtime's optimized graph find the nodes that they stand for, whatever became of their names."""

from collections.abc import Callable

import pytest

from edgecnn.graph.graph import Graph
from edgecnn.graph.macs import activation_sizes, layer_macs
from edgecnn.quant.lower.profiles import ONNXRUNTIME, PORTABLE
from edgecnn.quant.lower.qdq import Profile, lower
from edgecnn.quant.placement import place
from edgecnn.quant.table import QuantizerTable
from edgecnn.targets.base import FP32, INT8, ExecutedLayer, Interface
from edgecnn.targets.onnx_file import OnnxNode
from edgecnn.targets.onnxruntime import OnnxRuntimeSession
from edgecnn.targets.ort_executed import executed_layers
from edgecnn.verify.coverage import layer_precisions

SIDE = 64
TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]


def executed(graph: Graph) -> tuple[ExecutedLayer, ...]:
    return OnnxRuntimeSession(graph.content, Interface(1, 3, SIDE, SIDE, 10)).executed()


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_large", "efficientnet_b0"])
@pytest.mark.parametrize("profile", [None, ONNXRUNTIME, PORTABLE], ids=["fp32", "onnxruntime", "portable"])
def test_every_layer_and_no_other_is_found_once(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str, profile: Profile | None
) -> None:
    graph = tiny_graph(name, SIDE)
    kernels = executed(graph if profile is None else lower(graph, tiny_table(name, SIDE), profile))
    macs = layer_macs(graph)
    layers = [node for kernel in kernels for node in kernel.nodes if node in macs]
    assert sorted(layers) == sorted(macs)
    known = {node.name for node in graph.nodes} | {""}
    for kernel in kernels:
        for node in kernel.nodes:
            of_the_graph = node.removesuffix("_gate") in known  # a HardSwish's first part
            assert of_the_graph or node.endswith(("/QuantizeLinear", "/DequantizeLinear")), kernel


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_large", "efficientnet_b0"])
def test_every_int8_layer_runs_in_int8_and_no_other(tiny_graph: TinyGraph, tiny_table: TinyTable, name: str) -> None:
    graph = tiny_graph(name, SIDE)
    found = layer_precisions(executed(lower(graph, tiny_table(name, SIDE), ONNXRUNTIME)), layer_macs(graph))
    planned = {layer.node for layer in ONNXRUNTIME.kept(tiny_table(name, SIDE)).layers}
    assert found == {layer: INT8 if layer in planned else FP32 for layer in found}


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_large", "efficientnet_b0"])
def test_the_portable_graph_reaches_int8_kernels_for_some_layers(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str
) -> None:
    """Only a layer whose output is quantized as well has an INT8 kernel here."""
    graph = tiny_graph(name, SIDE)
    found = layer_precisions(executed(lower(graph, tiny_table(name, SIDE), PORTABLE)), layer_macs(graph))
    assert 0 < list(found.values()).count(INT8) < len(place(graph).layers)


@pytest.mark.parametrize(("name", "alone"), [("mobilenetv3_large", 21), ("efficientnet_b0", 49)])
def test_nameless_parts_of_an_activation_are_found(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str, alone: int
) -> None:
    """A HardSwish becomes two nodes without a name; ONNX Runtime has no fused one for INT8."""
    graph = tiny_graph(name, SIDE)
    activations = activation_sizes(graph)
    kernels = executed(lower(graph, tiny_table(name, SIDE), ONNXRUNTIME))
    assert len({node for kernel in kernels for node in kernel.nodes} & set(activations)) >= alone
    assert all(kernel.nodes for kernel in kernels if kernel.kind in ("HardSigmoid", "Mul", "Sigmoid", "QuickGelu"))


def test_names_by_hand() -> None:
    written = [
        OnnxNode(("x", "w"), ("a/Conv",), "a/Conv", "Conv"),
        OnnxNode(("a/Conv",), ("a/Relu",), "a/Relu", "Relu"),
        OnnxNode(("a/Relu", "v"), ("a/Conv_2",), "a/Conv_2", "Conv"),
        OnnxNode(("a/Conv_2",), ("b/HardSwish",), "b/HardSwish", "HardSwish"),
        OnnxNode(("b/HardSwish", "s"), ("b/HardSwish/QuantizeLinear",), "b/HardSwish/QuantizeLinear", "QuantizeLinear"),
    ]
    optimized = [
        OnnxNode(("x",), ("r",), "ReorderInput_token_1", "ReorderInput"),
        OnnxNode(("r", "w2"), ("r2",), "a/Relu_nchwc", "Conv"),
        OnnxNode(("r2", "v"), ("r3",), "a/Conv_2_token_7", "QLinearConv"),
        OnnxNode(("r3",), ("r4",), "", "HardSigmoid"),
        OnnxNode(("r3", "r4"), ("r5",), "", "Mul"),
        OnnxNode(("r5", "s"), ("r6",), "b/HardSwish/QuantizeLinear_token_9", "QuantizeLinear"),
        OnnxNode(("r6",), ("r7",), "", "Erf"),
    ]
    assert executed_layers(written, optimized) == (
        ExecutedLayer((), "ReorderInput", FP32),
        ExecutedLayer(("a/Conv", "a/Relu"), "Conv", FP32),
        ExecutedLayer(("a/Conv_2",), "QLinearConv", INT8),
        ExecutedLayer(("b/HardSwish",), "HardSigmoid", FP32),
        ExecutedLayer(("b/HardSwish",), "Mul", FP32),
        ExecutedLayer(("b/HardSwish/QuantizeLinear",), "QuantizeLinear", FP32),
        ExecutedLayer((), "Erf", FP32),
    )

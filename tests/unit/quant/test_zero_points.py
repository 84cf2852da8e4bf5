"""Zero-points of linear tensors move into biases, and no code notices."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session
from edgecnn.quant.lower.profiles import OPENVINO, REFINEMENT
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.table import QuantizerTable

TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]
name_each = pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_large", "efficientnet_lite0"])


def biased(table: QuantizerTable) -> QuantizerTable:
    """With the biases that random networks lack, of the size of a few of the layer's smallest weights."""
    random = np.random.default_rng(3)
    return replace(
        table,
        biases={
            layer.bias: random.normal(0, 10, table.biases[layer.bias].shape).astype(np.float32)
            * table.weights[layer.weight].scale
            for layer in table.layers
        },
    )


def codes(lowered: Graph, name: str, image: NDArray[np.float32]) -> NDArray[np.int64]:
    model = with_batch(lowered, None).copy()
    model.graph.output.append(helper.make_tensor_value_info(f"{name}/QuantizeLinear", TensorProto.UINT8, None))
    session = inference_session(model.SerializeToString(), optimize=False)
    found: NDArray[np.uint8] = session.run([f"{name}/QuantizeLinear"], {"image": image})[0]
    return found.astype(np.int64)


def pads(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "pads" and any(attribute.ints) for attribute in node.attribute)


@name_each
def test_codes_stay_up_to_rounding(tiny_graph: TinyGraph, tiny_table: TinyTable, name: str) -> None:
    """Up to the first residual Add: later layers see more and more of the values that lay between two codes."""
    graph, table = tiny_graph(name), biased(tiny_table(name))
    before, after = (lower(graph, table, profile) for profile in (REFINEMENT, OPENVINO))
    image = np.random.default_rng(4).normal(0, 1, (4, 3, 32, 32)).astype(np.float32)
    first_add = next(node.name for node in graph.nodes if node.op_type == "Add")
    compared = 0
    for tensor in graph.producers:
        if f"{tensor}/QuantizeLinear" in after.producers:
            differences = np.abs(codes(before, tensor, image) - codes(after, tensor, image))
            assert differences.mean() < 0.01
            compared += 1
        if tensor == first_add:
            break
    assert compared >= 4


@name_each
def test_zero_points_stay_where_padding_or_an_activation_needs_them(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str
) -> None:
    graph, table = tiny_graph(name), tiny_table(name)
    lowered = lower(graph, table, OPENVINO)
    moved = 0
    for tensor, quantizer in table.activations.items():
        if f"{tensor}/zero_point" not in lowered.weights:
            continue
        found = int(lowered.weights[f"{tensor}/zero_point"])
        readers = lowered.consumers[f"{tensor}/DequantizeLinear"]
        if any(pads(node) for node in readers) or graph.producers.get(tensor) is None:
            assert found == quantizer.zero_point
        elif graph.producers[tensor].op_type in ("Conv", "Add"):
            assert found == 0
            moved += quantizer.zero_point > 0
        else:
            assert found == quantizer.zero_point
    assert moved > 10


def test_a_linear_tensor_that_a_padding_layer_reads_keeps_its_zero_point(
    tiny_graph: TinyGraph, tiny_table: TinyTable
) -> None:
    """None of the networks has one: the first bottleneck's expansion is made to pad."""
    graph, table = tiny_graph("mobilenetv2"), tiny_table("mobilenetv2")
    layer = next(found for found in table.layers if found.input in graph.producers and found.input.endswith("/Conv"))
    padded = graph.copy()
    (node,) = (node for node in padded.graph.node if node.name == layer.node)
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("pads", [1, 1, 1, 1]))
    assert table.activations[layer.input].zero_point > 0
    for model, kept in ((graph, False), (Graph(padded), True)):
        found = lower(model, table, OPENVINO).weights[f"{layer.input}/zero_point"]
        assert found == (table.activations[layer.input].zero_point if kept else 0)


def test_what_reads_a_sum_reads_it_shifted(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    graph, table = tiny_graph("mobilenetv2"), tiny_table("mobilenetv2")
    lowered = lower(graph, table, OPENVINO)
    sums = [node.name for node in graph.nodes if node.op_type == "Add"]
    for name in sums:
        (shift,) = lowered.consumers[name]
        assert (shift.op_type, shift.name) == ("Add", f"{name}/Shift")
        (quantize,) = lowered.consumers[shift.output[0]]
        assert quantize.name == f"{name}/QuantizeLinear"
        inputs = [source.removesuffix("/DequantizeLinear") for source in lowered.producers[name].input]
        raised = [table.activations[key].scale * table.activations[key].zero_point for key in (name, *inputs)]
        want = raised[0] - raised[1] - raised[2]
        np.testing.assert_allclose(float(lowered.weights[shift.input[1]]), want, rtol=1e-5, atol=1e-5)

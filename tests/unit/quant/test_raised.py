"""Linear tensors without zero-points: the same function, the same codes, and not a node more."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session
from edgecnn.parity import compare
from edgecnn.quant.lower.profiles import OPENVINO
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.lower.raised import raise_linear_tensors
from edgecnn.quant.table import QuantizerTable

MODELS = ["mobilenetv1", "mobilenetv2", "mobilenetv3_small", "efficientnet_b0", "efficientnet_lite0"]
LINEAR = ["mobilenetv2", "mobilenetv3_small", "efficientnet_b0", "efficientnet_lite0"]  # those with bare projections
TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]
IMAGES = np.random.default_rng(0).normal(0, 1, (4, 3, 32, 32)).astype(np.float32)


@pytest.fixture
def pair(request: pytest.FixtureRequest, tiny_graph: TinyGraph, tiny_table: TinyTable) -> tuple[Graph, Graph]:
    lowered = lower(tiny_graph(request.param), tiny_table(request.param), OPENVINO)
    return lowered, raise_linear_tensors(lowered)


def unquantized(graph: Graph) -> bytes:
    """Activations in float, so that no rounding at a tie hides what biases do; weights keep their codes."""
    model = with_batch(graph, None).copy()
    floats = {
        dequantize.output[0]: graph.producers[dequantize.input[0]].input[0]
        for dequantize in graph.nodes
        if dequantize.op_type == "DequantizeLinear" and dequantize.input[0] in graph.producers
    }
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = floats.get(name, name)
    return bytes(model.SerializeToString())


def zero_points(graph: Graph) -> dict[str, int]:
    return {n.input[0]: int(graph.weights[n.input[2]]) for n in graph.nodes if n.op_type == "QuantizeLinear"}


def raised_tensors(pair: tuple[Graph, Graph]) -> list[str]:
    before, after = (zero_points(graph) for graph in pair)
    return [name for name in before if before[name] and not after[name]]


def codes(graph: Graph, tensor: str) -> NDArray[np.uint8]:
    model = with_batch(graph, None).copy()
    model.graph.output.append(helper.make_tensor_value_info(f"{tensor}/QuantizeLinear", TensorProto.UINT8, None))
    session = inference_session(model.SerializeToString(), optimize=False)
    found: NDArray[np.uint8] = session.run([f"{tensor}/QuantizeLinear"], {"image": IMAGES})[0]
    return found


@pytest.mark.parametrize("pair", MODELS, indirect=True)
def test_the_function_stays(pair: tuple[Graph, Graph]) -> None:
    want, got = (inference_session(unquantized(graph)).run(["logits"], {"image": IMAGES})[0] for graph in pair)
    assert compare(want, got).sqnr_db > 90


@pytest.mark.parametrize("pair", LINEAR, indirect=True)
def test_the_first_raised_tensor_keeps_its_codes(pair: tuple[Graph, Graph]) -> None:
    """The first, because a rounding that falls the other way there moves everything behind it."""
    first = raised_tensors(pair)[0]
    want, got = (codes(graph, first).astype(np.int64) for graph in pair)
    assert np.ptp(want) > 100
    assert (want == got).mean() > 0.999
    assert abs(want - got).max() <= 1


@pytest.mark.parametrize("pair", MODELS, indirect=True)
def test_only_biases_and_zero_points_change(pair: tuple[Graph, Graph]) -> None:
    lowered, raised = pair
    assert [node.SerializeToString() for node in lowered.nodes] == [node.SerializeToString() for node in raised.nodes]
    for key, value in raised.weights.items():
        if not key.endswith((".bias", "/zero_point")):
            np.testing.assert_array_equal(value, lowered.weights[key])


@pytest.mark.parametrize("pair", LINEAR, indirect=True)
def test_every_projection_in_front_of_a_layer_begins_at_zero(pair: tuple[Graph, Graph]) -> None:
    _, raised = pair
    left = {name for name, zero_point in zero_points(raised).items() if zero_point}
    kinds = {name: raised.producers[name].op_type for name in left if name in raised.producers}
    pooled = {n.input[0] for n in raised.nodes if n.op_type == "GlobalAveragePool"}
    assert raised_tensors(pair)
    assert not {name for name, kind in kinds.items() if kind in ("Conv", "Add")} - pooled


def test_a_tensor_that_a_layer_pads_keeps_its_zero_point(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    lowered = lower(tiny_graph("mobilenetv3_small"), tiny_table("mobilenetv3_small"), OPENVINO)
    before, after = zero_points(lowered), zero_points(raise_linear_tensors(lowered))
    assert before["image"] == after["image"] != 0

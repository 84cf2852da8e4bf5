"""Zero-points in biases: the same codes less 128, the same answers, and a refusal where it would not be exact."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgecnn.errors import BuildError
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session
from edgecnn.parity import compare
from edgecnn.quant.lower.profiles import PORTABLE, TENSORRT
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.lower.shift import absorb_zero_points
from edgecnn.quant.table import QuantizerTable

MODELS = ["mobilenetv1", "mobilenetv2", "mobilenetv3_small", "efficientnet_b0", "efficientnet_lite0"]
TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]


@pytest.fixture(params=MODELS)
def pair(request: pytest.FixtureRequest, tiny_graph: TinyGraph, tiny_table: TinyTable) -> tuple[Graph, Graph]:
    """A lowered graph, and the same without zero-points."""
    lowered = lower(tiny_graph(request.param), tiny_table(request.param, symmetric=True), TENSORRT)
    return lowered, absorb_zero_points(lowered)


def run(graph: Graph, images: NDArray[np.float32], *names: str) -> list[NDArray[np.generic]]:
    model = with_batch(graph, None).copy()
    for name in names:
        kind = graph.weights[name.replace("/QuantizeLinear", "/zero_point")].dtype
        element = TensorProto.INT8 if kind == np.int8 else TensorProto.UINT8
        model.graph.output.append(helper.make_tensor_value_info(name, element, None))
    session = inference_session(model.SerializeToString(), optimize=False)
    found: list[NDArray[np.generic]] = session.run(["logits", *names], {"image": images})
    return found


def shifted_tensors(lowered: Graph) -> list[str]:
    names = [key.removesuffix("/zero_point") for key in lowered.weights if key.endswith("/zero_point")]
    return [name for name in names if lowered.weights[f"{name}/zero_point"].dtype == np.uint8]


def test_answers_stay(pair: tuple[Graph, Graph]) -> None:
    images = np.random.default_rng(0).normal(0, 1, (4, 3, 32, 32)).astype(np.float32)
    (want,), (got,) = run(pair[0], images), run(pair[1], images)
    # Codes that round the other way at a tie move everything behind them; a bias that is wrong leaves nothing.
    assert compare(want, got).sqnr_db > 10  # type: ignore[arg-type]  # both are logits, float32


def test_the_first_shifted_tensor_has_the_same_codes_less_128(pair: tuple[Graph, Graph]) -> None:
    """The first, because a rounding that falls the other way there moves everything behind it."""
    lowered, shifted = pair
    names = set(shifted_tensors(lowered))
    first = next(node.input[0] for node in lowered.nodes if node.op_type == "QuantizeLinear" and node.input[0] in names)
    images = np.random.default_rng(0).normal(0, 1, (4, 3, 32, 32)).astype(np.float32)
    _, want = run(lowered, images, f"{first}/QuantizeLinear")
    _, got = run(shifted, images, f"{first}/QuantizeLinear")
    assert np.ptp(want.astype(np.int64)) > 100
    difference = want.astype(np.int64) - got.astype(np.int64)
    assert (difference == 128).mean() > 0.999
    assert set(np.unique(difference)) <= {127, 128, 129}


def test_no_zero_point_is_left_and_nothing_but_biases_changed(pair: tuple[Graph, Graph]) -> None:
    lowered, shifted = pair
    moved = shifted_tensors(lowered)
    assert moved
    for key, value in shifted.weights.items():
        if key.endswith("/zero_point"):
            assert value.dtype == np.int8
            assert not value.any()
        elif not key.endswith((".bias", "/shift")):
            np.testing.assert_array_equal(value, lowered.weights[key])
    added = [node for node in shifted.nodes if node.op_type == "Sub"]
    assert sorted(node.input[0] for node in added) == sorted(moved)
    assert len(shifted.nodes) == len(lowered.nodes) + len(moved)


def test_a_graph_whose_layers_pad_is_refused(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    lowered = lower(tiny_graph(), tiny_table(), PORTABLE)
    with pytest.raises(BuildError, match=r"has a zero-point that Conv 'features\.0\.0/Conv' cannot take into a bias"):
        absorb_zero_points(lowered)

"""Scales of half precision: the same codes, and everything that came from a scale moved with it.

That answers stay is asked of a network that was trained, in ``tests/golden``: in random ones a single code that rounds
the other way moves everything behind it.
"""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn.graph.check import check_graph
from edgecnn.graph.graph import Graph, with_weights
from edgecnn.graph.session import inference_session
from edgecnn.quant.lower.half import half_scales, with_fp16_scales
from edgecnn.quant.lower.profiles import TENSORRT
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.lower.shift import absorb_zero_points, weight_sums
from edgecnn.quant.table import QuantizerTable

MODELS = ["mobilenetv2", "mobilenetv3_small", "efficientnet_b0"]
WEIGHT = "features.0.0.weight"
TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]


@pytest.fixture(params=MODELS)
def lowered(request: pytest.FixtureRequest, tiny_graph: TinyGraph, tiny_table: TinyTable) -> Graph:
    table = tiny_table(request.param, symmetric=True)
    return absorb_zero_points(lower(tiny_graph(request.param), table, TENSORRT))


def test_scales_move_by_the_rounding_of_half_precision_and_no_code_does(lowered: Graph) -> None:
    rounded = half_scales(lowered)
    for key in lowered.weights:
        was, now = (of.weights[key].astype(np.float64) for of in (lowered, rounded))
        if key.endswith("/scale"):
            np.testing.assert_array_equal(now, now.astype(np.float16).astype(np.float64))
            assert (np.abs(now - was) <= np.maximum(2.0**-11 * was, 2.0**-25)).all(), key
        elif key.endswith("/shift"):
            assert abs(now - was) <= 2.0**-11 * abs(was)
        elif key.endswith("/codes"):
            normal = lowered.weights[key.replace("/codes", "/scale")].astype(np.float64) >= 2.0**-14
            np.testing.assert_array_equal(now[normal], was[normal])
        elif not key.endswith(".bias"):
            np.testing.assert_array_equal(now, was)


def test_biases_give_back_the_shift_that_is_really_taken(lowered: Graph) -> None:
    """Else every layer behind a shift would be off by a constant."""
    rounded = half_scales(lowered)
    seen = 0
    for sub in (node for node in lowered.nodes if node.op_type == "Sub"):
        (quantize,) = lowered.consumers[sub.output[0]]
        (dequantize,) = lowered.consumers[quantize.output[0]]
        for layer in lowered.consumers[dequantize.output[0]]:
            own = [
                of.weights[layer.input[2]].astype(np.float64) - float(of.weights[sub.input[1]]) * weight_sums(of, layer)
                for of in (lowered, rounded)
            ]
            largest = float(np.abs(lowered.weights[layer.input[2]].astype(np.float64)).max())
            np.testing.assert_allclose(own[1], own[0], rtol=0, atol=1e-6 * max(1.0, largest))
            seen += 1
    assert seen > 5


@pytest.mark.parametrize("scale", [2.0**-14, 3e-5, 1e-5, 1.6e-6, 9e-8, 2.0**-25, 1e-9])
def test_weights_with_tiny_scales_stay_within_half_a_step(lowered: Graph, scale: float) -> None:
    codes = lowered.weights[f"{WEIGHT}/codes"].astype(np.float64)
    spoiled = with_weights(lowered, {f"{WEIGHT}/scale": np.full(len(codes), scale, np.float32)})
    rounded = half_scales(spoiled)
    step = rounded.weights[f"{WEIGHT}/scale"].astype(np.float64)
    assert (step > 0).all()
    now = rounded.weights[f"{WEIGHT}/codes"].astype(np.float64) * step.reshape(-1, 1, 1, 1)
    assert np.abs(now - codes * scale).max() <= 0.5 * step.max() * (1 + 1e-6)
    assert np.abs(rounded.weights[f"{WEIGHT}/codes"].astype(int)).max() <= 127


def test_nothing_but_the_ends_is_cast_and_everything_between_them_is_half(lowered: Graph) -> None:
    graph = with_fp16_scales(lowered)
    check_graph(graph)
    assert graph.opset == 19
    assert [node.input[0] for node in graph.nodes if node.op_type == "Cast"] == ["image", "logits/fp16"]
    inferred = onnx.shape_inference.infer_shapes(graph.model, check_type=True, strict_mode=True).graph
    kinds = {value.type.tensor_type.elem_type for value in inferred.value_info}
    assert kinds == {TensorProto.FLOAT16, TensorProto.INT8}
    assert {tensor.data_type for tensor in graph.model.graph.initializer} == kinds
    codes = [key for key in lowered.weights if key.endswith("/codes")]
    for key in codes:
        np.testing.assert_array_equal(graph.weights[key], lowered.weights[key])


@pytest.mark.parametrize("scale", [0.0312042236328125, 2.0**-14, 0.00390625, 1.5])
def test_a_quantizer_gives_the_same_bits_in_both_spellings(scale: float) -> None:
    """Of a scale that half precision can say, for every number of half precision that is not NaN or infinite."""
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    x = every[np.isfinite(every)]
    constants = [numpy_helper.from_array(np.array(0, np.int8), "zero")]
    found = []
    for half in (False, True):
        kind = np.float16 if half else np.float32
        nodes = [
            helper.make_node("QuantizeLinear", ["x" if half else "x/fp32", "scale", "zero"], ["codes"]),
            helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y" if half else "y/fp32"]),
        ]
        if not half:
            nodes.insert(0, helper.make_node("Cast", ["x"], ["x/fp32"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Cast", ["y/fp32"], ["y"], to=TensorProto.FLOAT16))
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [len(x)]) for name in "xy"]
        scales = [numpy_helper.from_array(np.array(scale, kind), "scale")]
        graph = helper.make_graph(nodes, "pair", ends[:1], ends[1:], [*constants, *scales])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
        session = inference_session(model.SerializeToString(), optimize=False)
        found.append(session.run(["y"], {"x": x})[0])
    np.testing.assert_array_equal(*found)


def test_rounding_repeats_its_bytes_and_is_done_once(lowered: Graph) -> None:
    before = lowered.model.SerializeToString(deterministic=True)
    rounded = half_scales(lowered)
    assert half_scales(lowered).content == rounded.content
    assert half_scales(rounded).content == rounded.content
    assert lowered.model.SerializeToString(deterministic=True) == before

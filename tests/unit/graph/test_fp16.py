"""Half precision: every tensor between image and logits is computed in it, and quantizers keep float32."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecnn.errors import InputError
from edgecnn.graph.check import check_graph
from edgecnn.graph.fp16 import fp16_arithmetic, fp16_weights
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session
from edgecnn.parity import compare
from edgecnn.quant.lower.profiles import TENSORRT
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.lower.shift import absorb_zero_points
from edgecnn.quant.pixels import SHIFTED, on_pixel_grid
from edgecnn.quant.table import QuantizerTable
from edgecnn.recipe import Preprocess

MODELS = ["mobilenetv2", "mobilenetv3_small", "efficientnet_b0"]
TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]


def types(graph: Graph) -> dict[str, int]:
    """Of every tensor, as ONNX's own strict inference has it."""
    inferred = onnx.shape_inference.infer_shapes(graph.model, check_type=True, strict_mode=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    made = {value.name: value.type.tensor_type.elem_type for value in values}
    return made | {tensor.name: tensor.data_type for tensor in graph.model.graph.initializer}


def run(graph: Graph, images: NDArray[np.float32], optimize: bool = False) -> NDArray[np.float32]:
    session = inference_session(with_batch(graph, None).content, optimize)
    logits: NDArray[np.float32] = session.run(["logits"], {"image": images})[0]
    return logits


@pytest.mark.parametrize("name", MODELS)
def test_layers_compute_in_half_precision_and_the_ends_stay_float(tiny_graph: TinyGraph, name: str) -> None:
    graph = fp16_arithmetic(tiny_graph(name))
    check_graph(graph)
    found = types(graph)
    assert found["image"] == found["logits"] == onnx.TensorProto.FLOAT
    for node in graph.nodes:
        if node.op_type != "Cast":
            assert {found[tensor] for tensor in (*node.input, *node.output)} == {onnx.TensorProto.FLOAT16}, node.name


@pytest.mark.parametrize("name", MODELS)
def test_quantizers_keep_float32_scales(tiny_graph: TinyGraph, tiny_table: TinyTable, name: str) -> None:
    lowered = absorb_zero_points(lower(tiny_graph(name), tiny_table(name, symmetric=True), TENSORRT))
    graph = fp16_arithmetic(lowered)
    check_graph(graph)
    found = types(graph)
    for node in graph.nodes:
        kinds = [found[tensor] for tensor in (*node.input, *node.output)]
        if node.op_type == "QuantizeLinear":
            assert kinds == [
                onnx.TensorProto.FLOAT,
                onnx.TensorProto.FLOAT,
                onnx.TensorProto.INT8,
                onnx.TensorProto.INT8,
            ]
        elif node.op_type == "DequantizeLinear":
            assert kinds == [
                onnx.TensorProto.INT8,
                onnx.TensorProto.FLOAT,
                onnx.TensorProto.INT8,
                onnx.TensorProto.FLOAT,
            ]
        elif node.op_type == "Sub":  # a shift belongs to its quantizer
            assert set(kinds) == {onnx.TensorProto.FLOAT}
        elif node.op_type != "Cast":
            assert set(kinds) == {onnx.TensorProto.FLOAT16}, node.name
    quantizers = [key for key in lowered.weights if key.endswith(("/codes", "/scale", "/shift", "/zero_point"))]
    assert quantizers
    for key in quantizers:
        np.testing.assert_array_equal(graph.weights[key], lowered.weights[key])


@pytest.mark.parametrize("name", MODELS)
def test_answers_stay_within_half_precision_at_every_level_of_optimization(tiny_graph: TinyGraph, name: str) -> None:
    graph = tiny_graph(name)
    images = np.random.default_rng(0).normal(0, 1, (4, 3, 32, 32)).astype(np.float32)
    want = run(graph, images)
    for optimize in (False, True):
        assert compare(want, run(fp16_arithmetic(graph), images, optimize)).sqnr_db > 30


@pytest.mark.parametrize("fp16_scales", [False, True])
def test_a_float_layer_may_read_a_shifted_image(tiny_graph: TinyGraph, fp16_scales: bool) -> None:
    """As where the ladder leaves the first layer in float, whose image lies on the grid of its pixels."""
    half = (0.5, 0.5, 0.5)
    graph, found = on_pixel_grid(tiny_graph(), Preprocess(32, 32, 1.0, "bilinear", half, half))
    assert list(found) == [SHIFTED]
    images = np.random.default_rng(0).normal(0, 1, (4, 3, 32, 32)).astype(np.float32)
    assert compare(run(graph, images), run(fp16_arithmetic(graph, fp16_scales), images)).sqnr_db > 30


@pytest.mark.parametrize("convert", [fp16_weights, fp16_arithmetic])
def test_a_weight_beyond_half_precision_is_refused_by_name(
    tiny_graph: TinyGraph, convert: Callable[[Graph], Graph]
) -> None:
    model = tiny_graph().copy()
    (tensor,) = (found for found in model.graph.initializer if found.name == "features.0.0.weight")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e8), tensor.name))
    with pytest.raises(InputError, match=r"weight 'features\.0\.0\.weight' reaches .*, too large for fp16; use --fp32"):
        convert(Graph(model))


def test_converting_leaves_the_graph_alone_and_repeats_its_bytes(tiny_graph: TinyGraph) -> None:
    graph = tiny_graph()
    before = graph.model.SerializeToString(deterministic=True)
    assert fp16_arithmetic(graph).content == fp16_arithmetic(graph).content
    assert graph.model.SerializeToString(deterministic=True) == before

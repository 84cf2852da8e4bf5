"""Every graph that TensorRT would misread without a word is refused by name before its parser sees it."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn.errors import BuildError
from edgecnn.graph.fp16 import fp16_arithmetic
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.lint import lint_tensorrt
from edgecnn.quant.lower.half import with_fp16_scales
from edgecnn.quant.lower.profiles import ONNXRUNTIME, TENSORRT
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.lower.shift import absorb_zero_points
from edgecnn.quant.table import QuantizerTable

TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]
FIRST = "features.0.0.weight"


@pytest.fixture(scope="module")
def good(tiny_graph: TinyGraph, tiny_table: TinyTable) -> Graph:
    return absorb_zero_points(lower(tiny_graph(), tiny_table(symmetric=True), TENSORRT))


def replace(model: onnx.ModelProto, name: str, value: NDArray[np.generic]) -> None:
    (tensor,) = (found for found in model.graph.initializer if found.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value, name))


def value(model: onnx.ModelProto, name: str) -> NDArray[np.generic]:
    (tensor,) = (found for found in model.graph.initializer if found.name == name)
    return numpy_helper.to_array(tensor)


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(candidate for candidate in model.graph.node if candidate.name == name)
    return found


def empty(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


def scale_of_rank_one(model: onnx.ModelProto) -> None:
    replace(model, "image/scale", value(model, "image/scale").reshape(1))


def scale_of_zero(model: onnx.ModelProto) -> None:
    replace(model, "image/scale", np.zeros((), np.float32))


def scale_that_is_computed(model: onnx.ModelProto) -> None:
    (tensor,) = (found for found in model.graph.initializer if found.name == "image/scale")
    model.graph.initializer.remove(tensor)
    model.graph.input.append(helper.make_tensor_value_info("image/scale", TensorProto.FLOAT, []))


def unsigned_codes(model: onnx.ModelProto) -> None:
    replace(model, "image/zero_point", np.zeros((), np.uint8))


def no_zero_point(model: onnx.ModelProto) -> None:
    del node(model, "image/QuantizeLinear").input[2]


def zero_point_that_is_not_zero(model: onnx.ModelProto) -> None:
    replace(model, "image/zero_point", np.full((), 3, np.int8))


def scales_along_the_inputs(model: onnx.ModelProto) -> None:
    dequantize = node(model, f"{FIRST}/DequantizeLinear")
    dequantize.attribute[0].i = 1
    replace(model, f"{FIRST}/scale", value(model, f"{FIRST}/scale")[:3])
    replace(model, f"{FIRST}/zero_point", np.zeros(3, np.int8))


def scales_of_another_length(model: onnx.ModelProto) -> None:
    replace(model, f"{FIRST}/scale", value(model, f"{FIRST}/scale")[:3])


def int32_bias(model: onnx.ModelProto) -> None:
    bias = value(model, "features.0.0.bias").astype(np.int32)
    model.graph.initializer.append(numpy_helper.from_array(bias, "codes"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(len(bias), np.float32), "step"))
    dequantize = helper.make_node("DequantizeLinear", ["codes", "step"], ["dequantized"], "dequantized", axis=0)
    model.graph.node.insert(0, dequantize)
    node(model, "features.0.0/Conv").input[2] = "dequantized"


def newer_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def newer_file(model: onnx.ModelProto) -> None:
    model.ir_version = 99


def half_scale_before_its_opset(model: onnx.ModelProto) -> None:
    replace(model, "image/scale", value(model, "image/scale").astype(np.float16))


def float64_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def float64_weight(model: onnx.ModelProto) -> None:
    replace(model, "features.0.0.bias", value(model, "features.0.0.bias").astype(np.float64))


BAD: dict[Callable[[onnx.ModelProto], None], str] = {
    empty: "the network is empty",
    scale_of_rank_one: "node 'image/QuantizeLinear' (QuantizeLinear): an activation's scale of shape [1], expected a"
    " scalar of shape []",
    scale_of_zero: "node 'image/QuantizeLinear' (QuantizeLinear): its scale is not positive and finite",
    scale_that_is_computed: "node 'image/QuantizeLinear' (QuantizeLinear): its scale is computed, expected a constant",
    unsigned_codes: "node 'image/QuantizeLinear' (QuantizeLinear): uint8 zero-points, expected int8 ones of 0",
    no_zero_point: "node 'image/QuantizeLinear' (QuantizeLinear): no zero-point, expected int8 ones of 0",
    zero_point_that_is_not_zero: "node 'image/QuantizeLinear' (QuantizeLinear): a zero-point of 3, expected 0",
    scales_along_the_inputs: "node 'features.0.0.weight/DequantizeLinear' (DequantizeLinear): axis 1, expected 0, where"
    " Conv 'features.0.0/Conv' has its outputs",
    scales_of_another_length: "node 'features.0.0.weight/DequantizeLinear' (DequantizeLinear): scales of shape [3] on"
    " axis 0 of a weight of shape [16, 3, 3, 3]",
    int32_bias: "node 'dequantized' (DequantizeLinear): an int32 bias, expected a float one",
    newer_opset: "opset [99], expected one of 13 to 24",
    newer_file: "IR version 99, expected 7 to 12",
    half_scale_before_its_opset: "node 'image/QuantizeLinear' (QuantizeLinear): a float16 scale, which takes opset 19,"
    " not 17",
    float64_input: "input 'image' is double, expected float32 or float16",
    float64_weight: "tensor 'features.0.0.bias' is float64, expected float32 or float16",
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_each_silent_trap_is_refused_by_name(good: Graph, spoil: Callable[[onnx.ModelProto], None], half: bool) -> None:
    graph = fp16_arithmetic(good) if half else good
    lint_tensorrt(graph, profile=False)
    model = graph.copy()
    spoil(model)
    with pytest.raises(BuildError) as caught:
        lint_tensorrt(Graph(model), profile=False)
    assert str(caught.value) == f"tensorrt refuses the graph: {BAD[spoil]}"


def test_a_dynamic_input_needs_a_profile(good: Graph) -> None:
    dynamic = with_batch(good, None)
    lint_tensorrt(dynamic, profile=True)
    with pytest.raises(BuildError, match="input 'image' is dynamic and there is no profile"):
        lint_tensorrt(dynamic, profile=False)


def test_another_runtimes_spelling_is_refused(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    with pytest.raises(BuildError, match="uint8 zero-points, expected int8 ones of 0"):
        lint_tensorrt(lower(tiny_graph(), tiny_table(), ONNXRUNTIME), profile=False)


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_large", "efficientnet_b0", "efficientnet_lite0"])
def test_every_family_passes(tiny_graph: TinyGraph, tiny_table: TinyTable, name: str) -> None:
    lowered = absorb_zero_points(lower(tiny_graph(name), tiny_table(name, symmetric=True), TENSORRT))
    for graph in (tiny_graph(name), lowered, fp16_arithmetic(lowered), with_fp16_scales(lowered)):
        lint_tensorrt(graph, profile=False)

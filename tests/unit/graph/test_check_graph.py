"""Every rule of the allow-list refuses what it is there for, and the message names it."""

from collections.abc import Callable

import onnx
import pytest
from onnx import TensorProto, helper

from edgecnn.errors import InputError
from edgecnn.graph.check import LOWERED_OPS, check_graph, read_graph
from edgecnn.graph.graph import Graph, with_batch

TinyGraph = Callable[..., Graph]


@pytest.fixture
def model(tiny_graph: TinyGraph) -> onnx.ModelProto:
    """A good model that a test may spoil."""
    return tiny_graph().copy()


def refused(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_graph(Graph(model), "it")


def test_our_own_graphs_pass(model: onnx.ModelProto) -> None:
    check_graph(Graph(model))
    check_graph(with_batch(Graph(model), None))
    assert read_graph(Graph(model).content, "it").content == Graph(model).content


def test_an_empty_graph(model: onnx.ModelProto) -> None:
    del model.graph.node[:]
    refused(model, "it: the graph is empty")


def test_a_foreign_opset_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.evil", 1))
    refused(model, r"domain 'com\.evil' is not allowed")


def test_a_node_of_a_foreign_domain(model: onnx.ModelProto) -> None:
    model.graph.node[3].domain = "com.microsoft"
    refused(model, rf"node '{model.graph.node[3].name}' is com\.microsoft\.")


@pytest.mark.parametrize("operator", ["If", "Loop", "Constant", "ConvTranspose", "conv", ""])
def test_an_unknown_operator(model: onnx.ModelProto, operator: str) -> None:
    model.graph.node[0].op_type = operator
    refused(model, rf"is ai\.onnx\.{operator}, allowed: Add, ")


@pytest.mark.parametrize("version", [7, 12, 25])
def test_another_opset(model: onnx.ModelProto, version: int) -> None:
    model.opset_import[0].version = version
    refused(model, f"opset {version}, expected 13 to 24")


@pytest.mark.parametrize("marked", [True, False])
def test_external_data(model: onnx.ModelProto, marked: bool) -> None:
    tensor = model.graph.initializer[0]
    if marked:
        tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    refused(model, f"tensor {tensor.name!r} has external data")


def test_another_input_or_output_name(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "x"
    refused(model, r"tensors \['x'\], expected \['image'\]")
    model.graph.input[0].name = "image"
    model.graph.output[0].name = "y"
    refused(model, r"tensors \['y'\], expected \['logits'\]")


def test_a_second_or_no_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    refused(model, r"tensors \['image', 'more'\]")
    del model.graph.input[:]
    refused(model, r"tensors \[\], expected \['image'\]")


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8, TensorProto.UNDEFINED])
def test_an_input_that_is_not_float32(model: onnx.ModelProto, kind: int) -> None:
    model.graph.input[0].type.tensor_type.elem_type = kind
    refused(model, "image must be float32 of rank 4")


@pytest.mark.parametrize("shape", [[1, 3, 32], [1, 3, 32, 32, 1], [1, 3, None, 32], [1, None, 32, 32]])
def test_an_input_of_another_rank_or_a_dynamic_side(model: onnx.ModelProto, shape: list[int | None]) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, shape))
    refused(model, "image must be float32 of rank 4, static but for the batch")


def test_a_graph_that_onnx_itself_refuses(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "nowhere"
    refused(model, "not a valid ONNX model")


@pytest.mark.parametrize("content", [b"\xff" * 64, b"GIF89a", "ß".encode() * 40])
def test_bytes_that_are_no_model(content: bytes) -> None:
    with pytest.raises(InputError, match=r"upload\.onnx: not an ONNX file"):
        read_graph(content, "upload.onnx")


def test_no_bytes_at_all() -> None:
    with pytest.raises(InputError, match="the graph is empty"):
        read_graph(b"", "upload.onnx")


def test_local_functions_cannot_stand_in_for_operators(model: onnx.ModelProto) -> None:
    body = [helper.make_node("Loop", ["x"], ["y"])]
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], body, [helper.make_opsetid("", 17)]))
    refused(model, "local functions, training steps and sparse tensors are not allowed")


def test_sparse_tensors_cannot_hide_from_the_checks(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add().dims.append(1)
    refused(model, "local functions, training steps and sparse tensors are not allowed")


def test_no_operator_of_the_list_takes_a_subgraph() -> None:
    kinds = onnx.defs.OpSchema.AttrType
    for operator in LOWERED_OPS:
        attributes = onnx.defs.get_schema(operator, 17).attributes.values()
        assert not any(attribute.type in (kinds.GRAPH, kinds.GRAPHS) for attribute in attributes)

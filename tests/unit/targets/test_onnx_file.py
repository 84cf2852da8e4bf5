"""Nodes read without the onnx package are the ones that it reads."""

import contextlib
from collections.abc import Callable

import pytest
from onnx import TensorProto, helper

from edgecnn.graph.graph import Graph
from edgecnn.targets.onnx_file import OnnxNode, read_nodes


def test_a_network(tiny_graph: Callable[..., Graph]) -> None:
    graph = tiny_graph("efficientnet_b0")
    assert read_nodes(graph.content) == [
        OnnxNode(tuple(node.input), tuple(node.output), node.name, node.op_type) for node in graph.nodes
    ]


def test_nodes_without_a_name_and_with_every_kind_of_attribute() -> None:
    node = helper.make_node("LRN", ["x"], ["y"], alpha=1e-4, size=300, more=[1, 2], text="é", bias=2.0)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])], [])
    model = helper.make_model(graph, producer_name="x" * 300)
    assert read_nodes(model.SerializeToString()) == [OnnxNode(("x",), ("y",), "", "LRN")]


@pytest.mark.parametrize("content", [b"\x3b", b"\xff\xff", b"no model at all"])
def test_what_is_no_onnx_is_no_graph(content: bytes) -> None:
    with contextlib.suppress(IndexError, ValueError):
        assert read_nodes(content) == []

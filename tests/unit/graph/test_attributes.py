"""What a layer is, by its node: which ones are depthwise, and which ones pad."""

import numpy as np
import pytest
from onnx import helper

from edgecnn.graph.attributes import attributes, is_depthwise, pads


@pytest.mark.parametrize(
    ("group", "outputs", "inputs", "depthwise"),
    [
        (8, 8, 1, True),
        (8, 16, 1, True),
        (1, 16, 1, False),  # the stem of a network that sees grey
        (4, 8, 2, False),
        (1, 8, 8, False),
    ],
)
def test_depthwise_layers_read_one_channel_each(group: int, outputs: int, inputs: int, depthwise: bool) -> None:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], group=group)
    assert is_depthwise(node, np.zeros((outputs, inputs, 3, 3), np.float32)) is depthwise


def test_what_a_node_leaves_out_is_its_operator_s_default() -> None:
    gemm = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    assert attributes(gemm) == {"transB": 1}
    assert not is_depthwise(gemm, np.zeros((10, 1), np.float32))
    assert not pads(gemm)


@pytest.mark.parametrize(("sides", "padded"), [([0, 0, 0, 0], False), ([0, 1, 0, 1], True)])
def test_a_layer_pads_where_any_side_does(sides: list[int], padded: bool) -> None:
    assert pads(helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=sides)) is padded

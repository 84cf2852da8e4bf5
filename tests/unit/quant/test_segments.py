"""Segments run one after the other are the graph, and what crosses between them are codes."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session
from edgecnn.names import INPUT, OUTPUT
from edgecnn.quant.lower.profiles import REFINEMENT
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.segments import Segment, segments
from edgecnn.quant.table import QuantizerTable

TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]
name_each = pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_small", "efficientnet_b0"])


def cut(graph: Graph, table: QuantizerTable) -> tuple[Graph, list[Segment]]:
    lowered = lower(graph, table, REFINEMENT)
    return lowered, list(segments(lowered, {layer.node for layer in table.layers}))


@name_each
def test_segments_in_turn_answer_as_the_whole_graph(tiny_graph: TinyGraph, tiny_table: TinyTable, name: str) -> None:
    lowered, parts = cut(tiny_graph(name), tiny_table(name))
    constants = {tensor.name: tensor for tensor in lowered.model.graph.initializer}
    image = np.random.default_rng(2).normal(0, 1, (3, 3, 32, 32)).astype(np.float32)
    values: dict[str, NDArray[np.float32] | NDArray[np.uint8]] = {INPUT: image}
    for part in parts:
        session = inference_session(part.model(constants), optimize=False)
        made = session.run(part.outputs, {name: values[name] for name in part.inputs})
        values.update(zip(part.outputs, made, strict=True))
        for dead in part.dead:
            del values[dead]
    whole = inference_session(with_batch(lowered, None).content, optimize=False)
    np.testing.assert_array_equal(values[OUTPUT], whole.run([OUTPUT], {INPUT: image})[0])
    assert values.keys() == {OUTPUT}


@name_each
def test_one_segment_starts_at_each_layer_and_reads_codes(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str
) -> None:
    table = tiny_table(name)
    _, parts = cut(tiny_graph(name), table)
    layers = {layer.node: layer for layer in table.layers}
    assert [part.layer for part in parts if part.layer] == list(layers)
    assert [part.layer for part in parts].index("") == 0
    for part in parts[1:]:
        assert f"{layers[part.layer].input}/QuantizeLinear" in part.inputs
        assert not any(value.endswith("/DequantizeLinear") for value in (*part.inputs, *part.outputs))

"""One place at a time: a coarse range or a coarse weight is found by its name."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgecnn.graph.graph import Graph
from edgecnn.quant.alone import Alone
from edgecnn.quant.calibrate import observe_ranges
from edgecnn.quant.placement import Role, place
from edgecnn.quant.sensitivity import layer_sensitivities, tensor_sensitivities
from edgecnn.quant.table import WeightQuantizer, make_table

TinyGraph = Callable[..., Graph]
IMAGES = np.random.default_rng(0).normal(0, 1, (8, 3, 32, 32)).astype(np.float32)


def test_a_tensor_with_a_coarse_range_is_the_costliest(tiny_graph: TinyGraph) -> None:
    graph = tiny_graph()
    placement = place(graph)
    alone = Alone(graph, placement, {Role.INPUT}, IMAGES)
    ranges = observe_ranges(graph, placement.roles, [IMAGES])
    fine = tensor_sensitivities(alone, ranges)
    tensor = sorted(fine, key=fine.__getitem__)[-2]
    coarse = ranges | {tensor: ranges[tensor]._replace(high=ranges[tensor].high * 50)}
    assert set(fine) == {name for name, roles in placement.roles.items() if Role.INPUT in roles}
    assert all(value >= 0 for value in fine.values())
    found = tensor_sensitivities(alone, coarse)
    assert max(found, key=found.__getitem__) == tensor
    assert {name: value for name, value in found.items() if name != tensor} == {
        name: value for name, value in fine.items() if name != tensor
    }


def test_a_layer_with_a_coarse_weight_is_the_costliest_by_its_modules_name(tiny_graph: TinyGraph) -> None:
    graph = tiny_graph()
    placement = place(graph)
    table = make_table(graph, placement, observe_ranges(graph, placement.roles, [IMAGES]))
    inputs = {layer.input: 0.0 for layer in table.layers}
    fine = layer_sensitivities(graph, table, inputs, IMAGES)
    layer = next(layer for layer in table.layers if layer.node.startswith(fine[1].module + "/"))
    weight = table.weights[layer.weight]
    coarse = WeightQuantizer((weight.codes // 32).astype(np.int8), weight.scale * 32)
    calls: list[None] = []
    found = layer_sensitivities(
        graph,
        replace(table, weights=table.weights | {layer.weight: coarse}),
        inputs | {table.layers[-1].input: 1e-9},
        IMAGES,
        lambda: calls.append(None),
    )
    assert found[0].module == fine[1].module
    assert found[0].kl == found[0].weight_kl > fine[1].kl
    assert len(calls) == len(found) == len(table.layers)
    assert next(one for one in found if one.module == "classifier.3").input_kl == 1e-9

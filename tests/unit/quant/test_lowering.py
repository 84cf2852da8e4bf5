"""One table, three spellings: the same codes and scales, and the nodes where each runtime wants them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session
from edgecnn.quant.lower.profiles import ONNXRUNTIME, OPENVINO, PORTABLE, TENSORRT
from edgecnn.quant.lower.qdq import Profile, lower
from edgecnn.quant.placement import Role, skip_input
from edgecnn.quant.table import QuantizerTable, WeightQuantizer

MODELS = ["mobilenetv2", "mobilenetv3_small", "efficientnet_b0"]
PROFILES = [OPENVINO, PORTABLE, ONNXRUNTIME, TENSORRT]
TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]


def int8(table: QuantizerTable, profile: Profile) -> QuantizerTable:
    """What a profile keeps in eight bits."""
    left_out = [layer.node for layer in table.layers if layer.gate and not profile.int8_gates]
    left_out += [layer.node for layer in table.layers if layer.node.endswith("/Gemm") and not profile.int8_linear]
    return table.without(left_out)


name_each = pytest.mark.parametrize("name", MODELS)
profile_each = pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)


@name_each
@profile_each
def test_codes_and_scales_are_the_tables_own(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str, profile: Profile
) -> None:
    graph, whole = tiny_graph(name), tiny_table(name, symmetric=profile.symmetric)
    table, weights = int8(whole, profile), lower(graph, whole, profile).weights
    for key, quantizer in table.weights.items():
        np.testing.assert_array_equal(weights[f"{key}/codes"], quantizer.codes)
        np.testing.assert_array_equal(weights[f"{key}/scale"], quantizer.scale)
        assert not weights[f"{key}/zero_point"].any()
        assert key not in weights  # the float weight is gone
    present = 0
    for key, activation in table.activations.items():
        if f"{key}/scale" in weights:
            present += 1
            assert activation.roles & profile.roles
            assert weights[f"{key}/scale"] == np.float32(activation.scale)
            assert weights[f"{key}/scale"].dtype == np.float32
            assert weights[f"{key}/zero_point"] == activation.zero_point
            assert weights[f"{key}/zero_point"].dtype == activation.dtype
            assert profile.symmetric or not activation.signed
    assert present == sum(bool(activation.roles & profile.roles) for activation in table.activations.values())


@name_each
@profile_each
def test_biases_are_the_tables_own_in_the_runtimes_type(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str, profile: Profile
) -> None:
    graph, whole = tiny_graph(name), tiny_table(name, symmetric=profile.symmetric)
    table, weights = int8(whole, profile), lower(graph, whole, profile).weights
    for layer in table.layers:
        bias = table.biases[layer.bias]
        if not profile.int32_bias:
            np.testing.assert_array_equal(weights[layer.bias], bias)
            continue
        codes, step = weights[f"{layer.bias}/codes"], weights[f"{layer.bias}/scale"]
        assert codes.dtype == np.int32
        np.testing.assert_array_equal(
            step, np.float32(table.activations[layer.input].scale) * table.weights[layer.weight].scale
        )
        real, rounded = codes.astype(np.float64) * step.astype(np.float64), 1
        if [reader.op_type for reader in graph.consumers.get(layer.node, [])] == ["HardSigmoid"]:
            real, rounded = real - 3, 2  # which the gate's own function begins with
        assert (np.abs(real - bias) <= rounded * step.astype(np.float64) / 2 + 1e-6 * np.abs(bias)).all()


@name_each
def test_openvino_has_nothing_between_a_layer_and_its_activation(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str
) -> None:
    graph, table = tiny_graph(name), tiny_table(name)
    lowered = lower(graph, table, OPENVINO)
    for layer in table.layers:
        before = {node.name for node in graph.consumers.get(layer.node, [])}
        after = {node.name for node in lowered.consumers.get(layer.node, [])}
        if Role.INPUT in getattr(table.activations.get(layer.node), "roles", ()):
            after -= {f"{layer.node}/QuantizeLinear"}  # a linear bottleneck's output, which feeds the next layer
            assert after <= before
        else:
            assert after == before


@name_each
def test_openvino_adds_in_float(tiny_graph: TinyGraph, tiny_table: TinyTable, name: str) -> None:
    """Although layers read the same tensors in eight bits."""
    graph = tiny_graph(name)
    lowered = lower(graph, tiny_table(name), OPENVINO)
    originals = {node.name: node for node in graph.nodes}
    adds = [node for node in lowered.nodes if node.op_type == "Add"]
    assert adds
    for node in adds:
        assert list(node.input) == list(originals[node.name].input)


@name_each
def test_onnx_runtime_writes_codes_behind_every_layer_and_reads_them_in_every_add(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str
) -> None:
    graph, table = tiny_graph(name), int8(tiny_table(name), ONNXRUNTIME)
    lowered = lower(graph, tiny_table(name), ONNXRUNTIME)
    for node in lowered.nodes:
        if node.op_type == "Add":
            assert all(source.endswith("/DequantizeLinear") for source in node.input)
    layers = {layer.node: layer for layer in table.layers}
    for node in lowered.nodes:
        layer = layers.get(node.name)
        if layer is not None:
            sources = [layer.input, layer.weight, layer.bias]
            assert list(node.input) == [f"{source}/DequantizeLinear" for source in sources]
    for key in table.activations:
        assert [node.op_type for node in lowered.consumers[key]] == ["QuantizeLinear"]


def test_the_portable_graph_is_openvinos_with_float_gates(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    graph, table = tiny_graph(), tiny_table()
    gates = [layer.node for layer in table.layers if layer.gate]
    assert gates
    assert lower(graph, table, PORTABLE).content == lower(graph, table.without(gates), OPENVINO).content
    assert lower(graph, table, PORTABLE).content != lower(graph, table, OPENVINO).content


@name_each
@profile_each
def test_a_layer_taken_out_of_the_table_is_the_float_graphs_own(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str, profile: Profile
) -> None:
    graph, table = tiny_graph(name), tiny_table(name, symmetric=profile.symmetric)
    out = table.layers[2]
    rest = table.without({out.node})
    assert out not in rest.layers
    assert {*rest.layers, out} == set(table.layers)
    nodes = {node.name: node for node in lower(graph, rest, profile).nodes}
    assert list(nodes[out.node].input)[1:] == [out.weight, out.bias]
    for key, quantizer in rest.weights.items():
        assert quantizer is table.weights[key]
    for key, activation in rest.activations.items():
        assert (activation.scale, activation.zero_point) == (
            table.activations[key].scale,
            table.activations[key].zero_point,
        )
        readers = {layer.node for layer in rest.layers if layer.input == key}
        assert bool(readers) == (Role.INPUT in activation.roles)


@name_each
def test_what_a_float_layer_writes_is_codes_only_for_who_computes_from_codes(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str
) -> None:
    graph, table = tiny_graph(name), tiny_table(name)
    writers = [layer for layer in table.layers if layer.output in table.activations and not layer.gate]
    assert writers
    for layer in writers:
        rest = table.without({layer.node}).activations
        codes = layer.output in rest and Role.OUTPUT in rest[layer.output].roles
        readers = {node.op_type for node in graph.consumers[layer.output]}
        assert codes == bool(readers & {"HardSwish", "Sigmoid"})


@name_each
def test_tensorrt_reads_codes_in_convolutions_and_skips_alone(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str
) -> None:
    graph, table = tiny_graph(name), tiny_table(name, symmetric=True)
    lowered = lower(graph, table, TENSORRT)
    int8_layers = {layer.node for layer in TENSORRT.kept(table).layers}
    skips = {node.name: skip_input(graph, node) for node in graph.nodes if node.op_type == "Add"}
    assert skips
    for node in lowered.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        quantized = [source for source in node.input if source.endswith("/DequantizeLinear")]
        if node.name in int8_layers:
            assert quantized == list(node.input)[:2]
        elif node.name in skips:
            assert quantized == [f"{skips[node.name]}/DequantizeLinear"]
        else:
            assert not quantized


def test_tensorrt_runs_depthwise_layers_of_odd_width_in_float(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    table = tiny_table("mobilenetv2", symmetric=True)
    depthwise = next(layer for layer in table.layers if table.weights[layer.weight].codes.shape[1] == 1)
    codes = table.weights[depthwise.weight]
    assert depthwise in TENSORRT.kept(table).layers
    odd = replace(
        table, weights=table.weights | {depthwise.weight: WeightQuantizer(codes.codes[:12], codes.scale[:12])}
    )
    assert {*TENSORRT.kept(table).layers} - {*TENSORRT.kept(odd).layers} == {depthwise}


@pytest.mark.parametrize("name", ["mobilenetv3_small", "mobilenetv3_large"])
def test_gates_read_codes_in_openvino_and_the_pool_and_the_product_do_not(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str
) -> None:
    graph, table = tiny_graph(name), tiny_table(name)
    lowered = lower(graph, table, OPENVINO)
    nodes = {node.name: node for node in lowered.nodes}
    for layer in table.layers:
        if layer.gate:
            assert list(nodes[layer.node].input)[:2] == [
                f"{layer.input}/DequantizeLinear",
                f"{layer.weight}/DequantizeLinear",
            ]
    for node in lowered.nodes:
        if node.op_type in ("GlobalAveragePool", "Mul"):
            assert not any(source.endswith("/DequantizeLinear") for source in node.input)


@name_each
@profile_each
def test_lowering_leaves_the_graph_alone_and_repeats_its_bytes(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str, profile: Profile
) -> None:
    graph, table = tiny_graph(name), tiny_table(name, symmetric=profile.symmetric)
    before = graph.model.SerializeToString(deterministic=True)
    first, second = lower(graph, table, profile), lower(graph, table, profile)
    assert first.content == second.content
    assert graph.model.SerializeToString(deterministic=True) == before


def run(graph: Graph, images: NDArray[np.float32]) -> NDArray[np.float32]:
    session = inference_session(with_batch(graph, None).content, optimize=False)
    logits: NDArray[np.float32] = session.run(["logits"], {"image": images})[0]
    return logits


@name_each
@profile_each
def test_the_lowered_graph_still_answers_like_the_float_one(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str, profile: Profile
) -> None:
    """A wiring mistake, such as a skip that reads another tensor's codes, leaves nothing of the signal."""
    graph, table = tiny_graph(name), tiny_table(name, symmetric=profile.symmetric)
    images = np.random.default_rng(0).normal(0, 1, (8, 3, 32, 32)).astype(np.float32)
    want, got = run(graph, images), run(lower(graph, table, profile), images)
    centred = want - want.mean(axis=0), got - got.mean(axis=0)
    correlation = (centred[0] * centred[1]).sum() / np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    assert correlation > 0.8

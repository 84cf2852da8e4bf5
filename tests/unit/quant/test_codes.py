"""Activations and gates computed from codes: the same values but for one more rounding, and no float kernel left."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session
from edgecnn.names import INPUT, OUTPUT
from edgecnn.parity import compare
from edgecnn.quant.lower.profiles import ONNXRUNTIME
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.table import Float, QuantizerTable
from edgecnn.targets.base import INT8, Interface
from edgecnn.targets.onnxruntime import OnnxRuntimeSession

IN_FLOAT = replace(ONNXRUNTIME, from_codes=False)
TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]
FUNCTIONS = {
    "mobilenetv3_small": ("features.0.2/HardSwish", torch.nn.Hardswish()),
    "efficientnet_b0": ("features.0.2/Mul", torch.nn.SiLU()),
}


def noise(count: int) -> Float:
    return np.random.default_rng(5).normal(0, 1, (count, 3, 32, 32)).astype(np.float32)


def values(graph: Graph, tensors: list[str]) -> list[Float]:
    """In float, node by node."""
    model = with_batch(graph, None).copy()
    added = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors if name != OUTPUT]
    model.graph.output.extend(added)
    return list(inference_session(model.SerializeToString(), optimize=False).run(tensors, {INPUT: noise(4)}))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_activation_is_its_own_function_of_the_codes_that_it_reads(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str
) -> None:
    lowered = lower(tiny_graph(name), tiny_table(name), ONNXRUNTIME)
    made, function = FUNCTIONS[name]
    read, found = values(lowered, ["features.0.0/Conv/DequantizeLinear", made])
    wanted = function(torch.from_numpy(read)).numpy()
    assert np.unique(read).size > 50
    # The gate is off by half of its step, 1/255, at most.
    assert (np.abs(found - wanted) <= np.abs(read) * 0.51 / 255 + 1e-6).all()


@pytest.mark.parametrize("name", ["mobilenetv3_small", "mobilenetv3_large", "efficientnet_b0"])
def test_logits_hardly_move(tiny_graph: TinyGraph, tiny_table: TinyTable, name: str) -> None:
    graph, table = tiny_graph(name), tiny_table(name)
    (reference,) = values(graph, ["logits"])
    in_float, from_codes = (
        compare(reference, values(lower(graph, table, profile), ["logits"])[0]).sqnr_db
        for profile in (IN_FLOAT, ONNXRUNTIME)
    )
    assert from_codes > in_float - 3


def test_a_gate_is_what_its_layer_writes(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    """No node computes a HardSigmoid: its layer's bias and the codes' own saturation do."""
    graph, table = tiny_graph(), tiny_table()
    gates = [node for node in graph.nodes if node.op_type == "HardSigmoid"]
    lowered, plain = (lower(graph, table, profile) for profile in (ONNXRUNTIME, IN_FLOAT))
    assert gates
    assert not [node for node in lowered.nodes if node.op_type == "HardSigmoid"]
    first = gates[0].output[0]
    (found,), (wanted,) = values(lowered, [f"{first}/DequantizeLinear"]), values(plain, [first])
    assert 0.1 < wanted.mean() < 0.9
    assert np.abs(found - wanted).max() < 0.02  # what it reads differs, too


def test_a_gate_of_float_layers_is_quantized_behind_its_function(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    lowered = lower(tiny_graph(), tiny_table(), replace(ONNXRUNTIME, int8_gates=False))
    gates = [node for node in lowered.nodes if node.op_type == "HardSigmoid"]
    assert gates
    for gate in gates:
        (reader,) = lowered.consumers[gate.output[0]]
        assert reader.op_type == "QuantizeLinear"
        assert lowered.weights[reader.input[1]] == np.float32(1 / 255)


@pytest.mark.parametrize("name", ["mobilenetv3_small", "mobilenetv3_large"])
def test_onnx_runtime_has_no_float_kernel_between_the_first_codes_and_the_last_pool(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str
) -> None:
    lowered = lower(tiny_graph(name, 64), tiny_table(name, 64), ONNXRUNTIME)
    kernels = OnnxRuntimeSession(lowered.content, Interface(1, 3, 64, 64, 10)).executed()
    floats = Counter(kernel.kind for kernel in kernels if not kernel.kind.startswith(("QLinear", "QGemm")))
    # The last convolution's HardSwish, and what goes to and from it; layouts change around the layers of gates.
    assert floats.keys() <= {
        "QuantizeLinear", "DequantizeLinear", "HardSigmoid", "Mul", "GlobalAveragePool", "Flatten", "Transpose",
    }  # fmt: skip
    assert floats["HardSigmoid"] == floats["Mul"] == floats["GlobalAveragePool"] == 1


@pytest.mark.parametrize("behind", [True, False])
def test_a_gate_stays_int8_beside_layers_in_float(tiny_graph: TinyGraph, tiny_table: TinyTable, behind: bool) -> None:
    """Behind it or in front of its pool: its own layers need a quantizer on what they write all the same."""
    graph, table = tiny_graph(), tiny_table()
    gate = next(node for node in graph.nodes if node.op_type == "HardSigmoid")
    (product,) = graph.consumers[gate.output[0]]
    if behind:
        beside = {node.name for node in graph.consumers[product.output[0]]}
    else:
        scaled = next(name for name in product.input if name != gate.output[0])
        beside = {graph.producers[graph.producers[scaled].input[0]].name}  # its activation's layer
    layers = {layer.node for layer in table.layers}
    assert beside < layers
    lowered = lower(graph, table.without(list(beside)), ONNXRUNTIME)
    executed = OnnxRuntimeSession(lowered.content, Interface(1, 3, 32, 32, 10)).executed()
    int8 = {node for kernel in executed if kernel.precision == INT8 for node in kernel.nodes}
    assert layers - int8 == beside

"""What OpenVINO really executes, read from its runtime model: which nodes it fused, and in what precision they run.

The counts are pinned, because speed depends on them and no numeric test would notice a fusion that is lost.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from edgecnn.graph.graph import Graph
from edgecnn.quant.lower.profiles import OPENVINO
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.placement import place
from edgecnn.quant.table import QuantizerTable
from edgecnn.targets.base import Interface
from edgecnn.targets.openvino import OpenVinoSession

SIDE = 64
ACTIVATIONS = {"Clip", "HardSigmoid", "HardSwish", "Mul", "Relu", "Sigmoid", "Swish"}
MODELS = ["mobilenetv2", "mobilenetv3_large", "efficientnet_b0"]
TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]


class Executed(NamedTuple):
    """One executed node: its kind, the precision it computes in, and the graph's nodes that it stands for."""

    kind: str
    precision: str
    originals: tuple[str, ...]


@pytest.fixture(scope="module")
def executed(tiny_graph: TinyGraph, tiny_table: TinyTable) -> Callable[[str, str], list[Executed]]:
    made: dict[tuple[str, str], list[Executed]] = {}

    def get(name: str, precision: str) -> list[Executed]:
        if (name, precision) not in made:
            graph = tiny_graph(name, SIDE)
            if precision == "int8":
                graph = lower(graph, tiny_table(name, SIDE), OPENVINO)
            session = OpenVinoSession(graph.content, None, Interface(1, 3, SIDE, SIDE, 10))
            made[name, precision] = [
                _executed(operation) for operation in session.compiled.get_runtime_model().get_ordered_ops()
            ]
        return made[name, precision]

    return get


def _executed(operation: Any) -> Executed:
    info = operation.get_rt_info()
    kind, precision, names = (
        str(info[key].astype(str)) for key in ("layerType", "runtimePrecision", "originalLayersNames")
    )
    return Executed(kind, precision, tuple(names.split(",")))


def operators(node: Executed) -> set[str]:
    """The kinds of the graph's nodes behind an executed one: ``features.0.0/Conv/WithoutBiases`` is a Conv."""
    return {part.partition("_")[0] for name in node.originals for part in name.split("/")[1:]}


@pytest.mark.parametrize(
    ("name", "fused", "alone"),
    [
        ("mobilenetv2", {"Clip": 35}, {}),
        # Squeeze-excitation's gates, one value per channel, and their products with the whole tensor stand alone.
        ("mobilenetv3_large", {"HardSwish": 21, "Relu": 19}, {"HardSigmoid": 8, "Mul": 8}),
        # A SiLU goes by the name of its product: 33 behind INT8 layers and 16 inside squeeze-excitation.
        ("efficientnet_b0", {"Mul": 49, "Sigmoid": 16}, {"Mul": 16}),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_activations_are_fused_into_the_layer_before_them(
    executed: Callable[[str, str], list[Executed]],
    name: str,
    precision: str,
    fused: dict[str, int],
    alone: dict[str, int],
) -> None:
    found = {True: Counter[str](), False: Counter[str]()}
    for node in executed(name, precision):
        found[node.kind in ("Convolution", "FullyConnected")].update(operators(node) & ACTIVATIONS)
    assert found == {True: fused, False: alone}


@pytest.mark.parametrize("name", MODELS)
def test_every_int8_layer_runs_in_int8_and_no_other(
    executed: Callable[[str, str], list[Executed]], tiny_graph: TinyGraph, name: str
) -> None:
    wanted = set(place(tiny_graph(name, SIDE)).layers)
    kinds = Counter(
        (node.kind, node.precision) for node in executed(name, "int8") if node.kind in ("Convolution", "FullyConnected")
    )
    linear = sum("/Gemm" in layer for layer in wanted)
    float_gates = {"mobilenetv2": 0, "mobilenetv3_large": 0, "efficientnet_b0": 32}[name]
    expected = {
        ("Convolution", "u8"): len(wanted) - linear,
        ("FullyConnected", "u8"): linear,
        ("Convolution", "f32"): float_gates,
    }
    assert kinds == Counter(expected)


def test_the_pools_of_int8_gates_write_codes(executed: Callable[[str, str], list[Executed]]) -> None:
    """The quantizer before a gate is no kernel of its own."""
    pools = [node for node in executed("mobilenetv3_large", "int8") if node.kind == "Reduce"]
    fused = [
        node for node in pools if any(name.endswith("GlobalAveragePool/QuantizeLinear") for name in node.originals)
    ]
    assert (len(pools), len(fused)) == (9, 8)  # the last pool is not a gate's


@pytest.mark.parametrize("name", MODELS)
def test_float_precision_is_what_is_asked_for(executed: Callable[[str, str], list[Executed]], name: str) -> None:
    """Without the precision hint, CPUs with bf16 kernels would compute in bf16."""
    for precision in ("fp32", "int8"):
        assert not {node.precision for node in executed(name, precision)} & {"bf16", "f16"}
    assert {node.precision for node in executed(name, "fp32") if node.kind == "Convolution"} == {"f32"}


@pytest.mark.parametrize(("name", "adds"), [("mobilenetv2", 10), ("mobilenetv3_large", 10), ("efficientnet_b0", 9)])
def test_residual_adds(executed: Callable[[str, str], list[Executed]], name: str, adds: int) -> None:
    """They run in the convolution's epilogue, in INT8 with the shift and the quantizer behind them."""
    where = {
        precision: Counter(
            (node.kind, node.precision) for node in executed(name, precision) if {"Add", "Shift"} & operators(node)
        )
        for precision in ("fp32", "int8")
    }
    assert where["fp32"] == {("Convolution", "f32"): adds}
    assert where["int8"] == {("Convolution", "u8"): adds}
    for node in executed(name, "int8"):
        if "Add" in operators(node):
            assert any(original.endswith("/Add/QuantizeLinear") for original in node.originals)

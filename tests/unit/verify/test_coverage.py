"""Coverage is counted from what ran: shares by hand, and what counts as secretly float."""

import json
from dataclasses import replace

import pytest

from edgecnn.parity import Parity
from edgecnn.targets.base import BF16, FP32, INT8, ExecutedLayer
from edgecnn.verify.coverage import NOT_SEEN, Coverage, cover, layer_precisions
from edgecnn.verify.policy import Judgement, Verdict
from edgecnn.verify.stages import Verification

MACS = {"a/Conv": 600, "se/Conv": 100, "b/Conv": 200, "c/Gemm": 100}
ACTIVATIONS = {"a/Relu": 50, "se/Sigmoid": 5, "b/HardSwish": 70}
PLANNED = ["a/Conv", "b/Conv", "c/Gemm"]
RUN = [
    ExecutedLayer(("x/QuantizeLinear",), "Subgraph", FP32),
    ExecutedLayer((), "Reorder", FP32),
    ExecutedLayer(("a/Conv", "a/Relu", "a/Relu/QuantizeLinear"), "Convolution", INT8),
    ExecutedLayer(("se/Conv",), "Convolution", FP32),
    ExecutedLayer(("se/Sigmoid",), "Math", FP32),
    ExecutedLayer(("b/Conv",), "QLinearConv", INT8),
    ExecutedLayer(("b/HardSwish", "b/HardSwish/QuantizeLinear"), "Subgraph", FP32),
    ExecutedLayer(("b/HardSwish",), "Mul", FP32),
    ExecutedLayer((), "Reorder", FP32),
    ExecutedLayer(("c/Gemm",), "FullyConnected", INT8),
]


def counted(every_layer: bool = True, **precisions: str) -> Coverage:
    """Coverage of the run above, with these layers in another precision."""
    run = [
        replace(kernel, precision=precisions.get(kernel.nodes[0].partition("/")[0], kernel.precision))
        if kernel.kind in ("Convolution", "QLinearConv", "FullyConnected")
        else kernel
        for kernel in RUN
    ]
    return cover(run, MACS, ACTIVATIONS, PLANNED, every_layer)


def test_everything_planned_is_int8() -> None:
    found = counted()
    assert (found.macs, found.int8_macs_share, found.int8_layers) == (1000, 0.9, 3)
    assert (found.planned, found.planned_int8, found.problem) == (3, 3, "")
    assert [(layer.name, layer.macs_share, layer.planned) for layer in found.float_layers] == [("se/Conv", 0.1, False)]
    assert found.reformats == {"Subgraph": 1, "Reorder": 2}
    assert found.unfused == {"b/HardSwish": 70, "se/Sigmoid": 5}


def test_one_layer_in_float_is_named() -> None:
    found = counted(b=BF16)
    assert found.int8_macs_share == pytest.approx(0.7)
    assert [(layer.name, layer.precision) for layer in found.float_layers] == [("b/Conv", BF16), ("se/Conv", FP32)]
    assert found.problem == "2 of 3 quantized layers run in int8; not: b/Conv (bf16)"
    assert found.as_json()["secretly_float"] == ["b/Conv"]


def test_a_layer_that_no_kernel_stands_for_counts_as_float() -> None:
    found = cover(RUN[:-1], MACS, ACTIVATIONS, PLANNED, True)
    assert found.problem == f"2 of 3 quantized layers run in int8; not: c/Gemm ({NOT_SEEN})"


def test_a_portable_graph_needs_some_layers_only() -> None:
    assert counted(every_layer=False, a=FP32).problem == ""
    nothing = counted(every_layer=False, a=FP32, b=FP32, c=FP32)
    assert nothing.problem.startswith("0 of 3 quantized layers run in int8; not: a/Conv (fp32)")
    assert nothing.int8_macs_share == 0


def test_many_layers_are_counted_not_listed() -> None:
    macs = {f"{index}/Conv": 1 for index in range(12)}
    found = cover([], macs, {}, list(macs), True)
    assert found.problem.startswith("0 of 12 quantized layers run in int8; not: 0/Conv (not seen), ")
    assert found.problem.endswith(" and 9 more")


def test_a_float_artifact_plans_nothing() -> None:
    for every_layer in (True, False):
        assert cover(RUN, MACS, ACTIVATIONS, [], every_layer).problem == ""


def test_the_last_layer_may_go_by_the_name_of_its_output() -> None:
    named = [*RUN[:-1], ExecutedLayer(("logits",), "FullyConnected", INT8)]
    assert layer_precisions(named, MACS)["c/Gemm"] == INT8
    assert cover(named, MACS, ACTIVATIONS, PLANNED, True) == counted()


def test_json_is_json() -> None:
    document = counted().as_json()
    assert json.loads(json.dumps(document)) == document


def test_secretly_float_fails_whatever_the_answers_are() -> None:
    parity = Parity(1, 0.0, 1.0, 300.0, 1.0, 0.0)
    good = Verification("eager", {}, parity, None, Judgement(Verdict.PASS, (), rejected=False), ())
    assert not good.secretly_float
    assert good.with_coverage(counted()).judgement == good.judgement
    bad = good.with_coverage(counted(a=FP32))
    assert bad.secretly_float
    assert (bad.judgement.verdict, bad.judgement.rejected) == (Verdict.FAIL, True)
    assert bad.judgement.reasons == ("2 of 3 quantized layers run in int8; not: a/Conv (fp32)",)

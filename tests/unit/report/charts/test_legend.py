"""A legend has the colours that are drawn, and no others."""

import msgspec

from edgecnn.report.charts.legend import drawn_precisions
from tests.made_up import layers, made_up_run, row


def test_the_legend_has_what_is_drawn() -> None:
    """Not what a row was exported as that runs in something else, what few layers run in, or what was not timed."""
    half = row("small-onnx-fp16", 9.7, executed={"fp32": 0.9, "bf16": 0.1}, layers=())
    run = made_up_run(rows={"small-onnx-fp16": half})
    assert drawn_precisions(run) == ["int8", "fp32"]
    with_layers = msgspec.structs.replace(half, layers=layers(1.0, "fp16", 2))
    assert drawn_precisions(made_up_run(rows={"small-onnx-fp16": with_layers})) == ["int8", "fp16", "fp32"]
    odd = row("small-onnx-fp16", 9.7, executed={"fp8": 1.0}, layers=())
    assert drawn_precisions(made_up_run(rows={"small-onnx-fp16": odd})) == ["int8", "fp32", "other"]
    assert drawn_precisions(made_up_run(rows=dict.fromkeys([made.name for made in run.rows[:4]]))) == []

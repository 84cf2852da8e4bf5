"""Colours by precision."""

from edgecnn.report.charts.drawing import colour


def test_unknown_precisions_have_a_colour() -> None:
    assert (colour("int8"), colour("fp8"), colour('"/>')) == ("var(--int8)", "var(--other)", "var(--other)")

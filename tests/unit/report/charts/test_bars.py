"""Bars of modules, read back from the SVG."""

import re

from edgecnn.bench.record import LayerTime, Row
from edgecnn.report.charts.bars import LAYERS, layer_bars
from edgecnn.report.columns import ms
from tests.made_up import layers, row


def of_layers(*found: LayerTime, median_ms: float = 3.0) -> Row:
    return row("small-openvino-int8", median_ms, layers=found)


def test_the_costliest_modules_are_bars_and_the_rest_is_words() -> None:
    """A bar for the sum of the others would set the scale."""
    made = of_layers(*layers(5.0, count=LAYERS + 6))
    svg, words = layer_bars(made)
    assert len(re.findall(r"aria-roledescription=\"bar\"", svg)) == LAYERS
    assert "others" not in svg
    assert made.times is not None
    assert words.startswith(f"Milliseconds by module, of {ms(made.times.p50_ms)} ms. features.0.0 Convolution int8: ")
    assert re.search(r"; 6 other modules: 0\.[0-9]+ ms, 14\.5 %\.$", words)


def test_a_module_is_one_bar_in_milliseconds_of_the_median() -> None:
    kernels = [LayerTime("0.0", kind, "int8", 1.5, 0.3) for kind in ("Conv", "HardSigmoid")]
    made = of_layers(*kernels, LayerTime("", "Reorder", "fp32", 2.0, 0.4))
    svg, words = layer_bars(made)
    assert made.times is not None
    three_fifths = ms(0.6 * made.times.p50_ms)
    assert f"0.0 Conv, HardSigmoid int8: {three_fifths} ms, 60.0 %" in words
    assert f">{three_fifths}</text>" in svg
    assert words.endswith(f"reformats, casts and input: {ms(0.4 * made.times.p50_ms)} ms, 40.0 %.")


def test_reformats_alone_are_words_alone() -> None:
    svg, words = layer_bars(of_layers(LayerTime("", "Reorder", "fp32", 0.1, 1.0)))
    assert svg == ""
    assert words.endswith("ms, 100.0 %.")

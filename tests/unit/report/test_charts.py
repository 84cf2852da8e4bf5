"""What a chart draws, read back from its SVG; how it looks is seen in the browser's tests."""

import re

import msgspec
import pytest

from edgecnn.bench.record import LayerTime, Row
from edgecnn.report.charts import (
    LAYERS,
    NARROW,
    WIDE,
    accuracy_against_speed,
    colour,
    distributions,
    drawn_precisions,
    layer_bars,
)
from edgecnn.report.columns import ms
from tests.made_up import ALONE, SETTINGS, layers, made_up_run, manifest, row, times

HOSTILE = '</svg><script>alert(1)</script>"datum.value'


def test_every_row_with_both_is_a_point_with_its_intervals() -> None:
    svg, words = accuracy_against_speed(made_up_run(), WIDE)
    assert len(re.findall(r"aria-roledescription=\"point\"", svg)) == 4
    assert "small-openvino-int8: 94.30 % [94.00, 94.60], 1." in words
    assert words.endswith("Not drawn: small-tensorrt-int8.")


def test_agreement_and_top1_do_not_share_an_axis() -> None:
    unlabelled = row("small-onnx-fp32", 9.7, manifest=manifest(top1=None))
    _, words = accuracy_against_speed(made_up_run(rows={"small-onnx-fp32": unlabelled}), WIDE)
    assert words.startswith("top-1 on 1,000 images of made-up-1000 against")
    assert words.endswith("Not drawn: small-onnx-fp32, small-tensorrt-int8.")


def test_accuracy_on_different_images_does_not_share_an_axis() -> None:
    other = manifest()
    other["evidence"]["images"] = {"name": "others", "sha256": "8" * 64}
    run = made_up_run(rows={"small-onnx-fp32": row("small-onnx-fp32", 9.7, manifest=other, model="other")})
    assert "Not drawn: small-onnx-fp32" in accuracy_against_speed(run, WIDE)[1]


def test_points_on_top_of_each_other_share_a_readable_number() -> None:
    run = made_up_run(
        rows={f"small-{target}-int8": row(f"small-{target}-int8", 1.1) for target in ("a", "b", "openvino")}
    )
    svg, _ = accuracy_against_speed(run, WIDE)
    numbers = re.findall(r'<text [^>]*font-weight="bold"[^>]*>([^<]*)</text>', svg)
    assert sorted(set(numbers)) == ["1", "2,6,7", "3", "4"]


def test_who_was_timed_alone_is_hollow_and_said_to_be() -> None:
    engine = row("small-tensorrt-int8", 0.2, absences=ALONE)
    run = made_up_run(rows={"small-tensorrt-int8": engine})
    hollow = re.compile(r'<path [^>]*aria-roledescription="point"[^>]*fill="var\(--back\)"[^>]*stroke="var\(--int8\)"')
    svg, words = accuracy_against_speed(run, WIDE)
    assert len(hollow.findall(svg)) == 1
    assert not hollow.search(accuracy_against_speed(made_up_run(), WIDE)[0])
    assert words.count("timed alone, not in turns with the others") == 1
    svg, words = distributions(run, WIDE)
    assert "small-tensorrt-int8, timed alone</text>" in svg
    assert words.count("timed alone, not in turns with the others") == 1


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_throughput_is_images_per_second_and_turns(width: int) -> None:
    fast = row("small-openvino-int8", 1.0, times=times(1.0, n=20))
    rows = dict.fromkeys([made.name for made in made_up_run().rows]) | {fast.name: fast}
    run = made_up_run(rows=rows, settings=msgspec.structs.replace(SETTINGS, mode="throughput", batch=4))
    assert fast.times is not None
    median = f"{4000 / fast.times.p50_ms:,.0f}"
    svg, words = accuracy_against_speed(run, width)
    assert "images per second, median turn" in svg
    assert (
        f"against throughput in the median turn. small-openvino-int8: 94.30 % [94.00, 94.60], {median} images/s ["
        in words
    )
    svg, spread = distributions(run, width)
    assert "images per second, each turn" in svg
    assert spread.startswith(
        f"Throughput of every counted turn. small-openvino-int8: median {median}, slowest 333.3 images/s"
    )
    assert "latency" not in words + spread
    assert " ms" not in words + spread


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


def test_the_tail_is_not_cut_off() -> None:
    """The slowest call of all is a bar of its own at the right end."""
    run = made_up_run()
    svg, words = distributions(run, WIDE)
    slowest = max(run.rows[0].times.rounds_ms)  # type: ignore[union-attr]
    assert slowest == 124.8
    assert "eager: p50 10." in words
    assert "slowest 124.8 ms of 150 calls" in words
    for timed in run.rows[:-1]:
        assert f" {timed.name}</text>" in svg
        assert f"{timed.name}: p50" in words
    bars = [float(x) for x in re.findall(r' d="M([\d.]+),', svg)]
    assert WIDE - 12 < max(bars) < WIDE


def test_every_call_is_in_some_bar() -> None:
    """A row of two calls is two bars, however far apart."""
    times = msgspec.structs.replace(row("eager", 1.0).times, rounds_ms=(1.0, 1000.0), n=2)  # type: ignore[type-var]
    run = made_up_run(rows={made.name: None for made in made_up_run().rows} | {"eager": row("eager", 1.0, times=times)})
    svg, _ = distributions(run, WIDE)
    assert svg.count(f'fill="{colour("fp32")}"') == 2


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


def test_nothing_to_draw_is_nothing() -> None:
    empty = made_up_run(rows={made.name: None for made in made_up_run().rows[:-1]})
    assert (
        accuracy_against_speed(empty, WIDE) == distributions(empty, WIDE) == layer_bars(row("eager", 1.0)) == ("", "")
    )


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_names_are_data(width: int) -> None:
    hostile = msgspec.structs.replace(made_up_run().rows[0], name=HOSTILE)
    run = made_up_run(rows={"eager": hostile})
    for svg, _ in (
        accuracy_against_speed(run, width),
        distributions(run, width),
        layer_bars(of_layers(LayerTime(HOSTILE, HOSTILE, HOSTILE, 1.0, 1.0))),
    ):
        assert "<script" not in svg
        assert svg.count("</svg>") == 1
        assert "&lt;/svg&gt;" in svg
        assert "http" not in svg.replace("http://www.w3.org/", "")


def test_unknown_precisions_have_a_colour() -> None:
    assert (colour("int8"), colour("fp8"), colour('"/>')) == ("var(--int8)", "var(--other)", "var(--other)")

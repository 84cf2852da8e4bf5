"""What all charts do alike: rows that were timed alone, throughput, nothing to draw, and names as data."""

import re

import msgspec
import pytest

from edgecnn.bench.record import LayerTime
from edgecnn.report.charts.bars import layer_bars
from edgecnn.report.charts.distributions import distributions
from edgecnn.report.charts.drawing import NARROW, WIDE
from edgecnn.report.charts.points import accuracy_against_speed
from tests.made_up import ALONE, SETTINGS, made_up_run, row, times

HOSTILE = '</svg><script>alert(1)</script>"datum.value'


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
        layer_bars(row("eager", 3.0, layers=(LayerTime(HOSTILE, HOSTILE, HOSTILE, 1.0, 1.0),))),
    ):
        assert "<script" not in svg
        assert svg.count("</svg>") == 1
        assert "&lt;/svg&gt;" in svg
        assert "http" not in svg.replace("http://www.w3.org/", "")

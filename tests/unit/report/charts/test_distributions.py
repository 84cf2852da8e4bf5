"""Bars of every counted call, read back from the SVG."""

import re

import msgspec

from edgecnn.report.charts.distributions import distributions
from edgecnn.report.charts.drawing import WIDE, colour
from tests.made_up import made_up_run, row


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

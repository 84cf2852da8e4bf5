"""Charts as Vega-Lite specifications, drawn to static SVG. Colours are the page's variables, and follow its theme.

Names of rows and layers are data of a specification, never part of an expression.
"""

import functools
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecnn.bench.modules import Line, Part, layer_table
from edgecnn.bench.record import Row, Run
from edgecnn.bench.resample import median_interval
from edgecnn.report.columns import ms
from edgecnn.report.quality import quality

Spec = dict[str, Any]

WIDE, NARROW = 540, 270  # of the plot itself, pixels: for a column of a desktop, and for a phone
VEGA_LITE = "6.4"
PRECISIONS = ("int8", "bf16", "fp16", "fp32")
LAYERS = 24  # bars that a reader can take in; the table below them has every kernel
BIN = 2  # pixels of a distribution's bar
PATH, DIGITS = re.compile(r' d="[^"]*"'), re.compile(r"(\.\d\d)\d+")
INK, QUIET, RULE = "var(--ink)", "var(--quiet)", "var(--rule)"
CONFIG: Spec = {
    "font": "Arial, Helvetica, Liberation Sans, sans-serif",
    "background": None,
    "view": {"stroke": None},
    "mark": {"aria": False},  # but for those that say something
    "axis": {
        "aria": False,
        "labelColor": QUIET,
        "titleColor": QUIET,
        "gridColor": RULE,
        "domainColor": RULE,
        "tickColor": RULE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 10,
    },
}


@functools.lru_cache(maxsize=256)
def _draw(text: str) -> str:
    import vl_convert

    svg = str(vl_convert.vegalite_to_svg(text, vl_version=VEGA_LITE))
    # A hundredth of a pixel is enough.
    return PATH.sub(lambda path: DIGITS.sub(r"\1", path[0]), svg)


def draw(spec: Spec, width: int, height: int) -> str:
    """SVG text. The same specification gives the same bytes."""
    whole = {"width": width, "height": height, "config": CONFIG, "padding": 2, **spec}
    return _draw(json.dumps(whole, sort_keys=True))


def colour(precision: str) -> str:
    """A variable of the page's style; names that are not known here share one."""
    return f"var(--{precision if precision in PRECISIONS else 'other'})"


def _main_precision(row: Row) -> str:
    return max(row.executed, key=lambda name: row.executed[name]) if row.executed else row.precision


def accuracy_against_latency(run: Run, width: int) -> tuple[str, str]:
    """The chart and what it says in words; both empty where no row has both.

    Horizontal bars are 95 % intervals of the median, vertical ones of the accuracy. Shares of different images, or of
    different things, do not stand on one axis: the commonest are drawn, and the words say which rows are not.
    """
    points: list[Spec] = []
    for number, row in enumerate(run.rows, 1):
        found = quality(row, run)
        if row.times is None or found is None:
            continue
        low, high = median_interval(row.times.rounds_ms)
        below, above = found.ci95 or (found.value, found.value)
        points.append(
            {
                "number": str(number),
                "axis": f"{found.measure} on {found.n:,} images of {found.images.name}",
                "group": [found.measure, found.images.sha256],
                "ms": row.times.p50_ms,
                "low": low,
                "high": high,
                "percent": 100 * found.value,
                "below": 100 * below,
                "above": 100 * above,
                "fill": colour(_main_precision(row)),
                "says": f"{row.name}: {100 * found.value:.2f} % [{100 * below:.2f}, {100 * above:.2f}],"
                f" {ms(row.times.p50_ms)} ms [{ms(low)}, {ms(high)}]",
            }
        )
    if not points:
        return "", ""
    groups = [point["group"] for point in points]
    points = [point for point in points if point["group"] == max(groups, key=groups.count)]
    measure, drawn = points[0]["group"][0], {point["number"] for point in points}
    x: Spec = {"field": "ms", "type": "quantitative", "title": "median latency, ms", **_latency_axis(points)}
    y: Spec = {
        "field": "percent",
        "type": "quantitative",
        "title": f"{measure}, %",
        "scale": {"zero": False, "nice": True},
    }
    bar = {"type": "rule", "strokeWidth": 2, "opacity": 0.7}
    fill = {"field": "fill", "type": "nominal", "scale": None}
    spec: Spec = {
        "data": {"values": points},
        "layer": [
            {"mark": bar, "encoding": {"x": x, "y": {**y, "field": "below"}, "y2": {"field": "above"}, "color": fill}},
            {"mark": bar, "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y, "color": fill}},
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "aria": True},
                "encoding": {"x": x, "y": y, "color": fill, "description": {"field": "says"}},
            },
            {
                "mark": {"type": "text", "dx": 7, "dy": -8, "align": "left", "fontSize": 13, "fontWeight": "bold"},
                "encoding": {"x": x, "y": y, "text": {"field": "number"}, "color": {"value": INK}},
            },
        ],
    }
    absent = [row.name for number, row in enumerate(run.rows, 1) if str(number) not in drawn]
    words = f"{points[0]['axis']} against median latency. {'. '.join(point['says'] for point in points)}."
    words += f" Not drawn: {', '.join(absent)}." if absent else ""
    return draw(spec, width, 300), words


def _latency_axis(points: Sequence[Spec]) -> Spec:
    """Logarithmic where the rows are far apart."""
    low, high = min(point["low"] for point in points), max(point["high"] for point in points)
    if high > 4 * low:
        return _logarithmic(low / 1.15, high * 1.25)
    margin = 0.1 * (high - low) + 0.01 * high
    domain = [max(0.0, low - margin), high + margin]
    return {"scale": {"zero": False, "nice": False, "domain": domain}, "axis": {"tickCount": 5}}


def _logarithmic(low: float, high: float) -> Spec:
    """A scale with a line at 1, 2 and 5 of each power of ten, or at the powers alone where these are many."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if len(powers) <= 3 else (1,)
    ticks = [round(step * 10.0**power, 9) for power in powers for step in steps]
    return {
        "scale": {"type": "log", "domain": [low, high], "nice": False},
        "axis": {"values": [tick for tick in ticks if low <= tick <= high], "format": "~g"},
    }


def distributions(run: Run, width: int) -> tuple[str, str]:
    """Every counted call of every row on one logarithmic axis: the tail is where it was; and the same in words."""
    rows = [(number, row, row.times) for number, row in enumerate(run.rows, 1) if row.times and row.times.rounds_ms]
    if not rows:
        return "", ""
    lowest = min(min(times.rounds_ms) for _, _, times in rows)
    highest = max(max(times.rounds_ms) for _, _, times in rows)
    edges = np.geomspace(lowest * 0.98, highest * 1.02, width // BIN + 1)
    bars, marks, names, words = [], [], [], []
    for place, (number, row, times) in enumerate(rows):
        counts, _ = np.histogram(times.rounds_ms, edges)
        fill, foot = colour(_main_precision(row)), place + 0.92
        for index in np.flatnonzero(counts):
            # The square root keeps a single slow call visible beside a thousand fast ones.
            top = foot - 0.5 * float(np.sqrt(counts[index] / counts.max()))
            bars.append(
                {"from": edges[index], "to": edges[index + 1], "top": min(top, foot - 0.05), "foot": foot, "fill": fill}
            )
        tail = [("p50", times.p50_ms), ("p90", times.p90_ms), ("p99", times.p99_ms)]
        marks += [{"ms": value, "top": foot - 0.55, "foot": foot + 0.05} for _, value in tail if value is not None]
        slowest = max(times.rounds_ms)
        said = [f"{name} {ms(value)}" for name, value in tail if value is not None]
        names.append({"name": f"{number}  {row.name}", "at": place + 0.2})
        words.append(f"{row.name}: {', '.join(said)}, slowest {ms(slowest)} ms of {times.n} calls")
    x: Spec = {
        "type": "quantitative",
        "title": "milliseconds per call",
        **_logarithmic(float(edges[0]), float(edges[-1])),
    }
    y: Spec = {"type": "quantitative", "axis": None, "scale": {"domain": [len(rows), 0], "nice": False}}
    spec: Spec = {
        "layer": [
            {
                "data": {"values": bars},
                "mark": "rect",
                "encoding": {
                    "x": {**x, "field": "from"},
                    "x2": {"field": "to"},
                    "y": {**y, "field": "top"},
                    "y2": {"field": "foot"},
                    "color": {"field": "fill", "type": "nominal", "scale": None},
                },
            },
            {
                "data": {"values": marks},
                "mark": {"type": "rule", "color": INK, "strokeWidth": 1.2},
                "encoding": {"x": {**x, "field": "ms"}, "y": {**y, "field": "top"}, "y2": {"field": "foot"}},
            },
            {
                "data": {"values": names},
                "mark": {"type": "text", "align": "left", "baseline": "middle", "fontSize": 12, "limit": width},
                "encoding": {
                    "x": {"value": 0},
                    "y": {**y, "field": "at"},
                    "text": {"field": "name"},
                    "color": {"value": INK},
                },
            },
        ]
    }
    return draw(spec, width, 46 * len(rows)), "Latency of every counted call. " + "; ".join(words) + "."


def layer_bars(row: Row) -> tuple[str, str]:
    """The costliest modules of a row, in milliseconds that sum with the others to its p50; and the same in words.

    What is no single module has words and no bar: the sum of all others would set the scale, and squash the rest.
    """
    table = layer_table([row], LAYERS)
    if not table.rows or row.times is None:
        return "", ""
    bars = [
        {
            "place": place,
            "name": line.name,
            "ms": part.ms,
            "text": ms(part.ms),
            "fill": colour(part.precisions[0]),
            "says": f"{line.name} {', '.join(part.kinds)} {', '.join(part.precisions)}: {_time(part)}",
        }
        for place, line in enumerate(table.modules)
        for part in line.parts
        if part is not None
    ]
    y: Spec = {"field": "place", "type": "ordinal", "axis": None}
    x: Spec = {"field": "ms", "type": "quantitative", "axis": None, "scale": {"nice": False}}
    spec: Spec = {
        # Fonts differ: what is a little wider than it was measured is not cut off.
        "padding": {"left": 22, "right": 12, "top": 2, "bottom": 2},
        "data": {"values": bars},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.7}, "aria": True},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": {"field": "fill", "type": "nominal", "scale": None},
                    "description": {"field": "says"},
                },
            },
            {
                "mark": {"type": "text", "align": "right", "baseline": "middle", "fontSize": 12, "limit": 140},
                "encoding": {"x": {"value": -6}, "y": y, "text": {"field": "name"}, "color": {"value": INK}},
            },
            {
                "mark": {"type": "text", "align": "left", "baseline": "middle", "fontSize": 12, "dx": 4},
                "encoding": {"x": x, "y": y, "text": {"field": "text"}, "color": {"value": QUIET}},
            },
        ],
    }
    said = [str(bar["says"]) for bar in bars[:8]] + [sum_of(line) for line in table.sums]
    words = f"Milliseconds by module, of {ms(row.times.p50_ms)} ms. {'; '.join(said)}."
    return draw(spec, 130, 20 * len(bars)) if bars else "", words


def sum_of(line: Line) -> str:
    """What is no bar, of a table of one row: ``5 other modules: 0.200 ms, 12.0 %``."""
    return "; ".join(f"{line.name.strip('()')}: {_time(part)}" for part in line.parts if part is not None)


def _time(part: Part) -> str:
    return f"{ms(part.ms)} ms, {100 * part.share:.1f} %"
